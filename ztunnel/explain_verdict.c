/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/explain_verdict.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "ztunnel/authz.h"
#include "ztunnel/config_dump.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"

struct gather {
	const struct workload *dst;
	const struct authz_conn *conn; /* NULL: no question of matching */
	json_t *found;                 /* key -> policy */
};

static bool applies_to(const struct policy *p, const struct workload *dst)
{
	switch (p->scope) {
	case POLICY_GLOBAL:
		return true;
	case POLICY_NAMESPACE:
		return streq(p->namespace_, dst->app->namespace_);
	case POLICY_WORKLOAD:
		for (size_t i = 0; i < dst->app->policies_count; i++)
			if (streq(p->key, dst->app->policies[i]))
				return true;
		break;
	}
	return false;
}

static int on_policy(void *arg, const struct policy *p)
{
	struct gather *g = arg;
	json_t *o;

	if (!applies_to(p, g->dst))
		return 0;
	o = policy_to_json(p);
	(void)json_object_set_new(o, "key", json_string(p->key));
	if (g->conn)
		(void)json_object_set_new(o, "matches", json_boolean(policy_is_match(p, g->conn)));
	return json_object_set_new(g->found, p->key, o) == 0 ? 0 : -ENOMEM;
}

/* add_missing() - a workload names a policy that has not come: that denies. */
static int add_missing(struct gather *g)
{
	for (size_t i = 0; i < g->dst->app->policies_count; i++) {
		const char *key = g->dst->app->policies[i];

		if (json_object_get(g->found, key))
			continue;
		if (json_object_set_new(g->found, key,
					json_pack("{s:s, s:s, s:s, s:[]}", "key", key, "action",
						  "Deny", "error", "not received yet", "rules")) <
		    0)
			return -ENOMEM;
	}
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* sorted() - the values of an object as a list, by key. */
static json_t *sorted(json_t *object)
{
	size_t n = json_object_size(object), i = 0;
	_cleanup_(freep) const char **keys = calloc(n + 1, sizeof(*keys));
	json_t *list = json_array();
	const char *key;
	json_t *value;

	if (!keys)
		return json_decref(list), NULL;
	json_object_foreach (object, key, value)
		keys[i++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (i = 0; i < n; i++)
		(void)json_array_append(list, json_object_get(object, keys[i]));
	return list;
}

json_t *explain_policies(const struct state *s, const struct workload *dst,
			 const struct authz_conn *conn)
{
	_cleanup_(json_decrefp) json_t *found = json_object();
	struct gather g = {.dst = dst, .conn = conn, .found = found};

	if (!found || state_visit_policies(s, on_policy, &g) < 0 || add_missing(&g) < 0)
		return NULL;
	return sorted(found);
}

/* What the policies of one action add up to. */
struct tally {
	unsigned int count;
	unsigned int matching;
	char matching_keys[1024]; /* "a, b" */
	char keys[1024];
};

static void append_key(char *list, size_t size, const char *key)
{
	size_t len = strlen(list);

	(void)snprintf(list + len, size - len, "%s%s", len > 0 ? ", " : "", key);
}

static void tally(const json_t *policies, const char *action, struct tally *ret)
{
	const json_t *p;
	size_t i;

	*ret = (struct tally){0};
	json_array_foreach (policies, i, p) {
		const char *key = json_string_value(json_object_get(p, "key"));

		if (!streq(json_string_value(json_object_get(p, "action")), action) ||
		    json_is_true(json_object_get(p, "dryRun")))
			continue;
		ret->count++;
		append_key(ret->keys, sizeof(ret->keys), key);
		if (!json_is_true(json_object_get(p, "matches")))
			continue;
		ret->matching++;
		append_key(ret->matching_keys, sizeof(ret->matching_keys), key);
	}
}

static void add(json_t *list, char *sentence)
{
	(void)json_array_append_new(list, json_string(sentence ? sentence : ""));
	free(sentence);
}

/* enrolling_helps() - would the same client be let in if it could prove who it is? */
static bool enrolling_helps(const struct state *s, const struct workload *src,
			    const struct workload *dst, const struct authz_conn *conn)
{
	struct authz_conn with = *conn;
	struct authz_verdict v;

	/* who is in it already comes without for another reason, such as an annotation */
	if (conn->src_identity || !src || src->app->identity[0] == '\0' ||
	    src->protocol == WORKLOAD_HBONE)
		return false;
	with.src_identity = src->app->identity;
	authz_check(s, dst, &with, &v);
	return v.is_allowed;
}

/* is_peer_authentication() - is it what one of these, and nothing else, has become? */
static bool is_peer_authentication(const char *key)
{
	const char *name = strchr(key, '/');

	return name && !strchr(key, ',') &&
	       (streq(name, "/istio_converted_static_strict") ||
		str_has_prefix(name, "/converted_peer_authentication_"));
}

/* What would make a no into a yes. */
static void changes_of_denial(json_t *list, const json_t *policies, const struct authz_conn *conn)
{
	const char *who = conn->src_identity ? conn->src_identity : "a client without identity";
	unsigned int port = ntohs(conn->dst.port);
	struct tally deny, allow;

	tally(policies, "Deny", &deny);
	tally(policies, "Allow", &allow);
	if (deny.matching > 0 && is_peer_authentication(deny.matching_keys))
		add(list, str_format("mode PERMISSIVE in the PeerAuthentication that holds for it, "
				     "which %s stands for",
				     deny.matching_keys));
	else if (deny.matching > 0)
		add(list, str_format("removing or narrowing the DENY %s %s%s",
				     deny.matching == 1 ? "policy" : "policies", deny.matching_keys,
				     deny.matching == 1 ? "" : " (all of them match)"));
	if (allow.count > 0 && allow.matching == 0)
		add(list, str_format("%san ALLOW rule that matches %s on port %u; the ALLOW "
				     "policies that apply are %s",
				     deny.matching > 0 ? "and then " : "", who, port, allow.keys));
}

/* What would make a yes into a no. */
static void changes_of_consent(json_t *list, const json_t *policies, const struct workload *dst,
			       const struct authz_conn *conn)
{
	struct tally allow;

	tally(policies, "Allow", &allow);
	if (allow.matching == 1 && allow.count > 1)
		add(list, str_format("removing the ALLOW policy %s: others exist and none of them "
				     "matches",
				     allow.matching_keys));
	if (allow.matching > 0)
		add(list, str_format("narrowing %s so that no rule matches this connection",
				     allow.matching_keys));
	else
		add(list, str_format("any ALLOW policy for the destination that does not match "
				     "this connection"));
	add(list, str_format("a DENY policy that matches it"));
	if (!conn->src_identity && dst->protocol == WORKLOAD_HBONE)
		add(list, str_format("a PeerAuthentication with mode STRICT for %s/%s: it comes in "
				     "without mutual TLS",
				     dst->app->namespace_, dst->name));
}

json_t *explain_verdict(const struct state *s, const struct workload *src,
			const struct workload *dst, const struct authz_conn *conn)
{
	json_t *policies = explain_policies(s, dst, conn);
	json_t *changes = json_array();
	struct authz_verdict v;

	authz_check(s, dst, conn, &v);
	if (v.is_allowed)
		changes_of_consent(changes, policies, dst, conn);
	else
		changes_of_denial(changes, policies, conn);
	if (!v.is_allowed && enrolling_helps(s, src, dst, conn))
		add(changes, str_format("enrolling %s/%s in the mesh: it would then prove to be %s",
					src->app->namespace_, src->name, src->app->identity));
	return json_pack("{s:b, s:s, s:s, s:o, s:o}", "allowed", v.is_allowed, "policy", v.policy,
			 "reason", v.reason, "policies", policies, "change", changes);
}
