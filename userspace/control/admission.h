/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admission - would the control plane take this object? Answers the API server's AdmissionReview
 * (admission.k8s.io/v1) with the checks that the source itself makes. No state, no I/O. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct schema_kind; /* source/schema.h */

#define ADMISSION_BODY_MAX (8u << 20) /* an object and the one before it */

/** struct admission_subject - what a review was about. */
struct admission_subject {
	const struct schema_kind *kind; /* static; NULL: nothing was looked at */
	const char *api_version;        /* static, one of the kind's; NULL: another */
	bool is_allowed;
};

/**
 * admission_review() - answer a review
 * @body: what the API server sent; any bytes.
 * @ret_subject: set on success.
 * @ret: the answer, JSON; free with free().
 * Return: 0; -EBADMSG it is no review; -ENOMEM.
 */
_must_check_ int admission_review(const char *body, size_t len,
				  struct admission_subject *ret_subject, char **ret);
