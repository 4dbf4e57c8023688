/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/refusal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void refusal_note(struct refusal **r, uint64_t to, const char *words)
{
	struct refusal *new = malloc(sizeof(*new));

	if (!new)
		return;
	new->to = to;
	(void)str_concat(new->detail, sizeof(new->detail),
			 *words ? words : "refused without a word", *r ? "; " : "",
			 *r ? (*r)->detail : "");
	(void)str_utf8(new->detail);
	free(*r);
	*r = new;
}

/* Is there a resource, in the version that was refused, whose name begins at @start and ends at a
 * colon? A name may have colons itself. */
static bool is_there(const struct refusal *r, const char *start, const struct resources *store)
{
	char name[REFUSAL_DETAIL_MAX];

	for (const char *end = strchr(start, ':'); end; end = strchr(end + 1, ':')) {
		const struct resource_entry *e;
		size_t n = (size_t)(end - start);

		memcpy(name, start, n);
		name[n] = '\0';
		e = resources_get(store, name);
		if (e && e->packed && e->seq <= r->to)
			return true;
	}
	return false;
}

/* What is named and has not changed since. The words are few, the resources may be many. */
static bool stands(const struct refusal *r, const struct resources *store)
{
	const char *start = r->detail;

	while (start) {
		if (is_there(r, start, store))
			return true;
		start = strchr(start, ' ');
		start = start ? start + 1 : NULL;
	}
	return false;
}

void refusal_review(struct refusal **r, const struct resources *store)
{
	if (!*r || stands(*r, store))
		return;
	free(*r);
	*r = NULL;
}

const char *refusals_detail(struct refusal *const *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (all[i])
			return all[i]->detail;
	return "";
}
