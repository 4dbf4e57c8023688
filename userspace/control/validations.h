/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* validations - what the webhook has said, counted for metrics. Whoever reaches it may send it any
 * words: only those of our own tables become labels. Owner: cluster. One thread. Zero it before
 * use. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admission.h"
#include "base/buf.h"
#include "base/macros.h"

#define VALIDATIONS_MAX 64 /* kinds, each in each of its versions */

struct validations {
	struct {
		struct admission_subject subject;
		uint64_t passed, failed;
	} rows[VALIDATIONS_MAX];
	size_t n_rows;
	uint64_t malformed; /* no review at all */
};

/** validations_count() - one was answered; @subject of admission_review(). */
void validations_count(struct validations *v, const struct admission_subject *subject);
/** validations_write() - append Prometheus' text format. Return: 0; -ENOMEM. */
_must_check_ int validations_write(const struct validations *v, struct buf *into);
