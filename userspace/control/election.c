/* SPDX-License-Identifier: Apache-2.0 */
#include "election.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

#define DURATION_MAX_S 3600 /* of a Lease that somebody else wrote */

static void text_take(char *dst, size_t size, const json_t *from, const char *key)
{
	if (str_copy(dst, size, json_text(from, key, "")) < 0)
		dst[0] = '\0';
}

static void lease_take(struct election *e, const json_t *lease)
{
	const json_t *spec = json_object_get(lease, "spec");
	int64_t s = json_integer_value(json_object_get(spec, "leaseDurationSeconds"));

	text_take(e->holder, sizeof(e->holder), spec, "holderIdentity");
	text_take(e->renewed, sizeof(e->renewed), spec, "renewTime");
	text_take(e->acquired, sizeof(e->acquired), spec, "acquireTime");
	text_take(e->version, sizeof(e->version), json_object_get(lease, "metadata"),
		  "resourceVersion");
	e->transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
	e->duration_s = s > 0 && s <= DURATION_MAX_S ? s : ELECTION_LEASE_S;
}

static bool is_changed(const struct election *e, const struct election *before)
{
	return !streq(e->holder, before->holder) || !streq(e->renewed, before->renewed) ||
	       !streq(e->version, before->version) || !before->seen_us;
}

enum election_action election_see(struct election *e, const json_t *lease, uint64_t now_us)
{
	struct election before = *e;

	if (!lease) {
		election_lost(e);
		e->version[0] = '\0';
		return ELECTION_CREATE;
	}
	lease_take(e, lease);
	if (is_changed(e, &before))
		e->seen_us = now_us;
	if (streq(e->holder, e->self))
		return ELECTION_UPDATE;
	election_lost(e);
	if (!*e->holder || now_us - e->seen_us >= (uint64_t)e->duration_s * 1000000)
		return ELECTION_UPDATE;
	return ELECTION_WAIT;
}

json_t *election_lease(const struct election *e, const char *namespace_, const char *name,
		       const char *wall, bool is_release)
{
	bool is_ours = *e->version && streq(e->holder, e->self);
	json_int_t transitions = e->transitions + (*e->version && !is_ours);
	json_t *lease = json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s,s:i,s:s,s:s,s:I}}", "apiVersion",
				  "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name",
				  name, "namespace", namespace_, "spec", "holderIdentity",
				  is_release ? "" : e->self, "leaseDurationSeconds",
				  is_release ? 1 : ELECTION_LEASE_S, "acquireTime",
				  is_ours && *e->acquired ? e->acquired : wall, "renewTime", wall,
				  "leaseTransitions", transitions);

	/* of two who see the same one, the API server lets the first through */
	if (lease && *e->version &&
	    json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion",
				json_string(e->version)) < 0) {
		json_decref(lease);
		return NULL;
	}
	return lease;
}

void election_won(struct election *e, const json_t *lease, uint64_t sent_us)
{
	lease_take(e, lease);
	e->seen_us = e->renewed_us = sent_us;
	if (!streq(e->holder, e->self))
		election_lost(e);
}

void election_lost(struct election *e)
{
	e->renewed_us = 0;
}

bool election_is_leader(const struct election *e, uint64_t now_us)
{
	return e->renewed_us && now_us - e->renewed_us < ELECTION_DEADLINE_US;
}
