/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admission - would the control plane take this object? Answers the API server's AdmissionReview
 * (admission.k8s.io/v1) with the checks that the source itself makes. No state, no I/O. */
#include <stddef.h>

#include "base/macros.h"

#define ADMISSION_BODY_MAX (8u << 20) /* an object and the one before it */

/**
 * admission_review() - answer a review
 * @body: what the API server sent; any bytes.
 * @ret: the answer, JSON; free with free().
 * Return: 0; -EBADMSG it is no review; -ENOMEM.
 */
_must_check_ int admission_review(const char *body, size_t len, char **ret);
