/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/looser.h"

#include <stddef.h>
#include <string.h>

#include "base/macros.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"

static bool has_same_policies(const struct workload *a, const struct workload *b)
{
	if (a->app->policies_count != b->app->policies_count)
		return false;
	for (size_t i = 0; i < a->app->policies_count; i++)
		if (!streq(a->app->policies[i], b->app->policies[i]))
			return false;
	return streq(a->app->namespace_, b->app->namespace_);
}

bool workload_has_same_verdicts(const struct workload *a, const struct workload *b)
{
	if (a->incarnation != b->incarnation)
		return false;
	if (a->app == b->app)
		return a->protocol == b->protocol;
	return has_same_policies(a, b) && streq(a->app->identity, b->app->identity) &&
	       a->protocol == b->protocol &&
	       a->app->waypoint.hbone_port == b->app->waypoint.hbone_port;
}

bool workload_is_looser(const struct workload *old, const struct workload *now)
{
	size_t found = 0;

	for (size_t i = 0; i < now->app->policies_count && found < old->app->policies_count; i++)
		found += streq(now->app->policies[i], old->app->policies[found]);
	return found < old->app->policies_count;
}

bool policy_is_looser(const struct policy *old, const struct policy *now)
{
	return old->scope != POLICY_WORKLOAD && (!now || now->scope > old->scope);
}
