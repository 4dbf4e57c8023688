/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* refusal - what a client would not take of one type, until it has taken, or lost, a later version
 * of it. Owner: xds/server. */
#include <stddef.h>
#include <stdint.h>

#include "xds/resources.h"

#define REFUSAL_DETAIL_MAX 512

struct refusal {
	uint64_t to;                     /* the last change that was in the response */
	char detail[REFUSAL_DETAIL_MAX]; /* in the client's words; never empty */
};

/**
 * refusal_note() - a response was refused
 * @r: of what was refused before and still is; *@r NULL: nothing was. It is free()d by its owner;
 * without memory nothing is noted.
 * @to: the last change that was in the response. @words: the client's, borrowed; "": none.
 */
void refusal_note(struct refusal **r, uint64_t to, const char *words);

/** refusal_review() - a later response was taken: unless there is still a resource that *@r names,
 * in the version that was refused, *@r is freed and NULL. Names are looked for as ours say them,
 * "NAME: why"; a refusal that names none is over. */
void refusal_review(struct refusal **r, const struct resources *store);

/** refusals_detail() - of @n refusals, NULL where there is none, one's words. Return: borrowed; "":
 * there is none. */
const char *refusals_detail(struct refusal *const *all, size_t n);
