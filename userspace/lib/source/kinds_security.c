/* SPDX-License-Identifier: Apache-2.0 */
/* kinds_security - PeerAuthentication and AuthorizationPolicy (security.istio.io), checked as
 * Istio's webhook does. */
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "source/schema.h"

static const struct schema list_any = {.type = SCHEMA_LIST};
static const struct schema map_any = {.type = SCHEMA_MAP};
static const struct schema_field selector_fields[] = {FIELD("matchLabels", &schema_labels),
						      FIELDS_END};
static const struct schema selector = {.type = SCHEMA_OBJECT, .fields = selector_fields};

/* PeerAuthentication */
static const char *const modes[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT", NULL};
static const struct schema mode = {.type = SCHEMA_STRING, .words = modes};
static const struct schema_field mtls_fields[] = {FIELD("mode", &mode), FIELDS_END};
static const struct schema mtls = {.type = SCHEMA_OBJECT, .fields = mtls_fields};
static const struct schema port_mtls = {
	.type = SCHEMA_MAP,
	.item = &mtls,
	.is_key = word_is_port,
	.key_expected = "a port number from 1 to 65535",
};
static const struct schema_field peer_spec_fields[] = {
	FIELD("selector", &selector),
	FIELD("mtls", &mtls),
	FIELD("portLevelMtls", &port_mtls),
	FIELDS_END,
};
static const struct schema peer_spec = {.type = SCHEMA_OBJECT, .fields = peer_spec_fields};
static const struct schema_field peer_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("spec", &peer_spec),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema peer_authentication = {.type = SCHEMA_OBJECT, .fields = peer_fields};

/* AuthorizationPolicy */
static const struct schema word = {
	.type = SCHEMA_STRING,
	.is_nonempty = true,
	.expected = "a string that is not empty",
};
/* An empty list says nothing, as Istio has it: templates write one beside full ones. */
static const struct schema words = {.type = SCHEMA_LIST, .item = &word};
static const struct schema block = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_ip_or_cidr,
	.expected = "a string with an IP address or CIDR",
};
static const struct schema blocks = {.type = SCHEMA_LIST, .item = &block};
static const struct schema port = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_port,
	.expected = "a string with a port number from 1 to 65535",
};
static const struct schema ports = {.type = SCHEMA_LIST, .item = &port};

#define ACCOUNT_MAX 320

/* An asterisk would stand for itself, which no account is called: what is meant to keep out
 * everybody of a namespace would keep out nobody. */
static bool is_account(const char *s)
{
	const char *slash = strchr(s, '/');

	return *s && strlen(s) <= ACCOUNT_MAX && !strchr(s, '*') &&
	       (!slash || (slash > s && slash[1] && !strchr(slash + 1, '/')));
}

static const struct schema account = {
	.type = SCHEMA_STRING,
	.is_valid = is_account,
	.expected = "a string with a service account, NAME or NAMESPACE/NAME, no wildcard",
};
static const struct schema accounts = {.type = SCHEMA_LIST, .item = &account};

static const struct schema_field source_fields[] = {
	FIELD("principals", &words),
	FIELD("notPrincipals", &words),
	FIELD("requestPrincipals", &words),
	FIELD("notRequestPrincipals", &words),
	FIELD("namespaces", &words),
	FIELD("notNamespaces", &words),
	FIELD("ipBlocks", &blocks),
	FIELD("notIpBlocks", &blocks),
	FIELD("remoteIpBlocks", &blocks),
	FIELD("notRemoteIpBlocks", &blocks),
	FIELD("serviceAccounts", &accounts),
	FIELD("notServiceAccounts", &accounts),
	FIELD("trustDomains", &words),
	FIELD("notTrustDomains", &words),
	FIELDS_END,
};
static const struct schema source = {.type = SCHEMA_OBJECT, .fields = source_fields};
static const struct schema_field from_fields[] = {REQUIRED("source", &source), FIELDS_END};
static const struct schema from = {.type = SCHEMA_OBJECT, .fields = from_fields};
static const struct schema froms = {.type = SCHEMA_LIST, .item = &from};
static const struct schema_field operation_fields[] = {
	FIELD("hosts", &words),    FIELD("notHosts", &words), FIELD("ports", &ports),
	FIELD("notPorts", &ports), FIELD("methods", &words),  FIELD("notMethods", &words),
	FIELD("paths", &words),    FIELD("notPaths", &words), FIELDS_END,
};
static const struct schema operation = {.type = SCHEMA_OBJECT, .fields = operation_fields};
static const struct schema_field to_fields[] = {REQUIRED("operation", &operation), FIELDS_END};
static const struct schema to = {.type = SCHEMA_OBJECT, .fields = to_fields};
static const struct schema tos = {.type = SCHEMA_LIST, .item = &to};
static const struct schema_field condition_fields[] = {
	REQUIRED("key", &word),
	FIELD("values", &words),
	FIELD("notValues", &words),
	FIELDS_END,
};
static const struct schema condition = {.type = SCHEMA_OBJECT, .fields = condition_fields};
static const struct schema conditions = {.type = SCHEMA_LIST, .item = &condition};
static const struct schema_field rule_fields[] = {
	FIELD("from", &froms),
	FIELD("to", &tos),
	FIELD("when", &conditions),
	FIELDS_END,
};
static const struct schema rule = {.type = SCHEMA_OBJECT, .fields = rule_fields};
static const struct schema rules = {.type = SCHEMA_LIST, .item = &rule};
static const char *const actions[] = {"ALLOW", "DENY", "AUDIT", "CUSTOM", NULL};
static const struct schema action = {.type = SCHEMA_STRING, .words = actions};
static const struct schema_field policy_spec_fields[] = {
	FIELD("selector", &selector),
	FIELD("targetRef", &map_any),
	FIELD("targetRefs", &list_any),
	FIELD("action", &action),
	FIELD("provider", &map_any),
	FIELD("rules", &rules),
	FIELDS_END,
};
static const struct schema policy_spec = {.type = SCHEMA_OBJECT, .fields = policy_spec_fields};
static const struct schema_field policy_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("spec", &policy_spec),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema authorization_policy = {.type = SCHEMA_OBJECT, .fields = policy_fields};

static void problem_at(struct schema_report *r, const char *key, const char *message)
{
	size_t mark = schema_enter(r, key);

	schema_problem(r, "%s", message);
	schema_leave(r, mark);
}

static void check_peer_authentication(const json_t *body, struct schema_report *r)
{
	const json_t *spec = json_object_get(body, "spec");
	const json_t *labels = json_object_get(json_object_get(spec, "selector"), "matchLabels");
	size_t mark = schema_enter(r, "spec");

	if (json_object_size(json_object_get(spec, "portLevelMtls")) > 0 &&
	    json_object_size(labels) == 0)
		problem_at(r, "portLevelMtls", "needs a selector with matchLabels beside it");
	schema_leave(r, mark);
}

/* "principals:" alone is no value, nor is "principals: []". */
static bool has_value(const json_t *v)
{
	return v && !json_is_null(v) && !(json_is_array(v) && json_array_size(v) == 0);
}

static bool has_any_value(const json_t *object)
{
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)object, key, child)
		if (has_value(child))
			return true;
	return false;
}

static void check_members(const json_t *list, const char *member, struct schema_report *r)
{
	json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		size_t mark = schema_enter_index(r, i);

		if (!has_any_value(json_object_get(one, member)))
			problem_at(r, member, "expected at least one field in it");
		schema_leave(r, mark);
	}
}

static void check_service_accounts(const json_t *froms_json, struct schema_report *r)
{
	json_t *one;
	size_t i;

	json_array_foreach (froms_json, i, one) {
		const json_t *s = json_object_get(one, "source");
		size_t mark;

		if (!has_value(json_object_get(s, "serviceAccounts")) &&
		    !has_value(json_object_get(s, "notServiceAccounts")))
			continue;
		mark = schema_enter_index(r, i);
		if (has_value(json_object_get(s, "principals")) ||
		    has_value(json_object_get(s, "notPrincipals")) ||
		    has_value(json_object_get(s, "namespaces")) ||
		    has_value(json_object_get(s, "notNamespaces")))
			problem_at(r, "source",
				   "serviceAccounts cannot stand beside principals or namespaces");
		schema_leave(r, mark);
	}
}

static bool is_condition_key(const char *key)
{
	static const char *const known[] = {
		"source.ip",          "source.namespace",
		"source.principal",   "source.serviceAccount",
		"source.trustDomain", "destination.ip",
		"destination.port",   "remote.ip",
		"connection.sni",
	};
	static const char *const prefixes[] = {"request.", "experimental."};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(key, known[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_has_prefix(key, prefixes[i]))
			return true;
	return false;
}

static void check_values(const json_t *list, const char *field, const struct schema *s,
			 struct schema_report *r)
{
	size_t mark = schema_enter(r, field);

	if (list)
		schema_walk(s, list, r);
	schema_leave(r, mark);
}

static void check_condition(const json_t *when, struct schema_report *r)
{
	const char *key = json_string_value(json_object_get(when, "key"));
	const json_t *values = json_object_get(when, "values"),
		     *others = json_object_get(when, "notValues");
	const struct schema *s = NULL;

	if (!is_condition_key(key))
		problem_at(r, "key", "unknown attribute");
	if (json_array_size(values) + json_array_size(others) == 0)
		problem_at(r, "values", "required: expected values or notValues");
	if (streq(key, "source.ip") || streq(key, "destination.ip") || streq(key, "remote.ip"))
		s = &blocks;
	else if (streq(key, "destination.port"))
		s = &ports;
	else if (streq(key, "source.serviceAccount"))
		s = &accounts;
	if (!s)
		return;
	check_values(values, "values", s, r);
	check_values(others, "notValues", s, r);
}

static void check_conditions(const json_t *list, struct schema_report *r)
{
	json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		size_t mark = schema_enter_index(r, i);

		check_condition(one, r);
		schema_leave(r, mark);
	}
}

static void check_rule(const json_t *one, struct schema_report *r)
{
	size_t mark = schema_enter(r, "from");

	check_members(json_object_get(one, "from"), "source", r);
	check_service_accounts(json_object_get(one, "from"), r);
	schema_leave(r, mark);
	mark = schema_enter(r, "to");
	check_members(json_object_get(one, "to"), "operation", r);
	schema_leave(r, mark);
	mark = schema_enter(r, "when");
	check_conditions(json_object_get(one, "when"), r);
	schema_leave(r, mark);
}

static void check_policy_spec(const json_t *spec, struct schema_report *r)
{
	const char *what = json_string_value(json_object_get(spec, "action"));
	const json_t *list = json_object_get(spec, "rules");
	size_t mark;

	if (what && streq(what, "DENY") && json_array_size(list) == 0)
		problem_at(r, "rules",
			   "required: DENY without rules would deny nothing; \"rules: [{}]\" "
			   "denies all");
	if (what && streq(what, "CUSTOM") && !json_is_object(json_object_get(spec, "provider")))
		problem_at(r, "provider", "required with action CUSTOM");
	if (json_object_get(spec, "selector") &&
	    (json_object_get(spec, "targetRef") ||
	     json_array_size(json_object_get(spec, "targetRefs")) > 0))
		problem_at(r, "selector", "cannot stand beside targetRefs");
	mark = schema_enter(r, "rules");
	for (size_t i = 0; i < json_array_size(list); i++) {
		size_t inner = schema_enter_index(r, i);

		check_rule(json_array_get(list, i), r);
		schema_leave(r, inner);
	}
	schema_leave(r, mark);
}

static void check_authorization_policy(const json_t *body, struct schema_report *r)
{
	size_t mark = schema_enter(r, "spec");

	check_policy_spec(json_object_get(body, "spec"), r);
	schema_leave(r, mark);
}

/* "a[b]" */
static bool has_member(const char *key)
{
	const char *open = strchr(key, '[');

	return open && open > key && open[1] && open[1] != ']' && key[strlen(key) - 1] == ']';
}

/* Of the attributes of layer 7, of which is_condition_key() takes any. */
static bool is_istio_key(const char *key)
{
	static const char *const known[] = {"request.auth.principal", "request.auth.audiences",
					    "request.auth.presenter"};
	static const char *const members[] = {"request.headers", "request.auth.claims",
					      "request.experimental.inline.headers",
					      "experimental.envoy.filters."};

	if (!str_has_prefix(key, "request.") && !str_has_prefix(key, "experimental."))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(key, known[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (str_has_prefix(key, members[i]))
			return has_member(key);
	return false;
}

static void doubt_conditions(const json_t *list, struct schema_report *r)
{
	const json_t *one;
	size_t i, mark = schema_enter(r, "when");

	json_array_foreach (list, i, one) {
		size_t at = schema_enter_index(r, i);

		if (!is_istio_key(json_text(one, "key", "")))
			problem_at(r, "key", "no attribute of requests");
		schema_leave(r, at);
	}
	schema_leave(r, mark);
}

static void doubt_authorization_policy(const json_t *body, struct schema_report *r)
{
	const json_t *spec = json_object_get(body, "spec");
	const json_t *rules_json = json_object_get(spec, "rules"), *one;
	bool is_custom = streq(json_text(spec, "action", ""), "CUSTOM");
	size_t i, mark = schema_enter(r, "spec"), inner;

	if (json_is_object(json_object_get(spec, "provider")) && !is_custom)
		problem_at(r, "provider", "only with action CUSTOM");
	if (is_custom && json_array_size(rules_json) == 0)
		problem_at(r, "rules", "required: CUSTOM without rules asks about nothing");
	inner = schema_enter(r, "rules");
	json_array_foreach (rules_json, i, one) {
		size_t at = schema_enter_index(r, i);

		doubt_conditions(json_object_get(one, "when"), r);
		schema_leave(r, at);
	}
	schema_leave(r, inner);
	schema_leave(r, mark);
}

static const char *const security_v1[] = {"security.istio.io/v1", "security.istio.io/v1beta1",
					  NULL};

const struct schema_kind schema_kinds_security[] = {
	{
		.kind = "PeerAuthentication",
		.api_versions = security_v1,
		.is_namespaced = true,
		.is_security = true,
		.schema = &peer_authentication,
		.check = check_peer_authentication,
	},
	{
		.kind = "AuthorizationPolicy",
		.api_versions = security_v1,
		.is_namespaced = true,
		.is_security = true,
		.schema = &authorization_policy,
		.check = check_authorization_policy,
		.doubt = doubt_authorization_policy,
	},
	{0},
};
