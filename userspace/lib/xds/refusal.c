/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/refusal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
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
	free(*r);
	*r = new;
}

static bool is_named(const char *detail, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = strstr(detail, name); at; at = strstr(at + 1, name))
		if (at[n] == ':' && (at == detail || at[-1] == ' '))
			return true;
	return false;
}

/* What is named and has not changed since. */
static bool stands(const struct refusal *r, const struct resources *store)
{
	for (const struct resource_entry *e = resources_after(store, 0); e && e->seq <= r->to;
	     e = resources_next(store, e))
		if (e->packed && is_named(r->detail, e->name))
			return true;
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
