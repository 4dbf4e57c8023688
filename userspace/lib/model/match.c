/* SPDX-License-Identifier: Apache-2.0 */
#include "model/match.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "net/cidr.h"

typedef Istio__Security__StringMatch string_match;
typedef Istio__Security__ServiceAccountMatch account_match;

/* "*" anything, "*x" ends so, "x*" begins so, else the whole word. */
static string_match *string_match_new(const char *s, struct scratch *a)
{
	string_match *m = scratch_alloc(a, sizeof(*m));
	size_t n = strlen(s);

	if (!m)
		return NULL;
	istio__security__string_match__init(m);
	if (streq(s, "*")) {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
		m->presence = scratch_alloc(a, sizeof(*m->presence));
		if (m->presence)
			google__protobuf__empty__init(m->presence);
	} else if (s[0] == '*') {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;
		m->suffix = (char *)s + 1;
	} else if (s[n - 1] == '*') {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX;
		m->prefix = scratch_format(a, "%.*s", (int)n - 1, s);
	} else {
		m->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		m->exact = (char *)s;
	}
	return m;
}

/* The texts of a list; the caller has them checked by the schema, what is no text is skipped. */
static size_t strings_set(const json_t *list, string_match ***ret, struct scratch *a)
{
	const json_t *one;
	size_t i, n = 0;

	if (json_array_size(list) == 0)
		return 0;
	*ret = scratch_alloc(a, json_array_size(list) * sizeof(**ret));
	json_array_foreach (list, i, one)
		if (*ret && json_string_length(one) > 0)
			(*ret)[n++] = string_match_new(json_string_value(one), a);
	return n;
}

static Istio__Security__Address *address_new(const char *text, struct scratch *a)
{
	Istio__Security__Address *m = scratch_alloc(a, sizeof(*m));
	uint8_t *bytes = scratch_alloc(a, 16);
	struct cidr c;
	bool is_v4;

	if (!m || !bytes || cidr_parse(text, &c) < 0)
		return NULL;
	istio__security__address__init(m);
	is_v4 = cv_addr_is_v4(&c.addr) && c.len >= 96;
	if (is_v4)
		m->address.len = cv_addr_bytes(&c.addr, bytes);
	else
		memcpy(bytes, &c.addr, m->address.len = 16);
	m->address.data = bytes;
	m->length = is_v4 ? c.len - 96U : c.len;
	return m;
}

static size_t addresses_set(const json_t *list, Istio__Security__Address ***ret, struct scratch *a)
{
	const json_t *one;
	size_t i, n = 0;

	if (json_array_size(list) == 0)
		return 0;
	*ret = scratch_alloc(a, json_array_size(list) * sizeof(**ret));
	json_array_foreach (list, i, one) {
		Istio__Security__Address *m =
			json_is_string(one) ? address_new(json_string_value(one), a) : NULL;

		if (*ret && m)
			(*ret)[n++] = m;
	}
	return n;
}

static size_t ports_set(const json_t *list, uint32_t **ret, struct scratch *a)
{
	const json_t *one;
	size_t i, n = 0;

	if (json_array_size(list) == 0)
		return 0;
	*ret = scratch_alloc(a, json_array_size(list) * sizeof(**ret));
	json_array_foreach (list, i, one) {
		uint64_t port;

		if (*ret && json_is_string(one) &&
		    str_parse_u64(json_string_value(one), 1, 65535, &port) == 0)
			(*ret)[n++] = (uint32_t)port;
	}
	return n;
}

/* "ns/account", or "account" of the policy's own namespace. */
static account_match *account_new(const char *text, const char *ns, struct scratch *a)
{
	account_match *m = scratch_alloc(a, sizeof(*m));
	const char *slash = strchr(text, '/');

	if (!m)
		return NULL;
	istio__security__service_account_match__init(m);
	m->namespace_ = slash ? scratch_format(a, "%.*s", (int)(slash - text), text) : (char *)ns;
	m->serviceaccount = (char *)(slash ? slash + 1 : text);
	return m;
}

static size_t accounts_set(const json_t *list, const char *ns, account_match ***ret,
			   struct scratch *a)
{
	const json_t *one;
	size_t i, n = 0;

	if (json_array_size(list) == 0)
		return 0;
	*ret = scratch_alloc(a, json_array_size(list) * sizeof(**ret));
	json_array_foreach (list, i, one)
		if (*ret && json_is_string(one))
			(*ret)[n++] = account_new(json_string_value(one), ns, a);
	return n;
}

Istio__Security__Match *match_new(struct scratch *a)
{
	Istio__Security__Match *m = scratch_alloc(a, sizeof(*m));

	if (m)
		istio__security__match__init(m);
	return m;
}

bool match_has_any(const Istio__Security__Match *m)
{
	return m->n_namespaces || m->n_not_namespaces || m->n_principals || m->n_not_principals ||
	       m->n_source_ips || m->n_not_source_ips || m->n_destination_ips ||
	       m->n_not_destination_ips || m->n_destination_ports || m->n_not_destination_ports ||
	       m->n_service_accounts || m->n_not_service_accounts;
}

static const json_t *get(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

Istio__Security__Match *match_from_source(const json_t *source, const char *ns, struct scratch *a)
{
	Istio__Security__Match *m = match_new(a);

	if (!m)
		return NULL;
	m->n_principals = strings_set(get(source, "principals"), &m->principals, a);
	m->n_not_principals = strings_set(get(source, "notPrincipals"), &m->not_principals, a);
	m->n_namespaces = strings_set(get(source, "namespaces"), &m->namespaces, a);
	m->n_not_namespaces = strings_set(get(source, "notNamespaces"), &m->not_namespaces, a);
	m->n_source_ips = addresses_set(get(source, "ipBlocks"), &m->source_ips, a);
	m->n_not_source_ips = addresses_set(get(source, "notIpBlocks"), &m->not_source_ips, a);
	m->n_service_accounts =
		accounts_set(get(source, "serviceAccounts"), ns, &m->service_accounts, a);
	m->n_not_service_accounts =
		accounts_set(get(source, "notServiceAccounts"), ns, &m->not_service_accounts, a);
	return m;
}

Istio__Security__Match *match_from_operation(const json_t *operation, struct scratch *a)
{
	Istio__Security__Match *m = match_new(a);

	if (!m)
		return NULL;
	m->n_destination_ports = ports_set(get(operation, "ports"), &m->destination_ports, a);
	m->n_not_destination_ports =
		ports_set(get(operation, "notPorts"), &m->not_destination_ports, a);
	return m;
}

#define LAYER_7 "layer 7 is seen by waypoints only: without one"
/* Whose trust domain it is could be said as a principal's beginning, but not beside `principals`,
 * and the suffixes that Istio allows cannot. */
#define TRUST_DOMAIN "ztunnels match principals (\"<trust domain>/*\"), not trustDomains:"

static const char *const l4_keys[] = {
	"source.ip",      "source.namespace", "source.principal", "source.serviceAccount",
	"destination.ip", "destination.port",
};

const char *match_condition_unseen(const json_t *when)
{
	const char *key = json_text(when, "key", "");

	for (size_t i = 0; i < ARRAY_SIZE(l4_keys); i++)
		if (streq(l4_keys[i], key))
			return NULL;
	return streq(key, "source.trustDomain") ? TRUST_DOMAIN : LAYER_7;
}

Istio__Security__Match *match_from_condition(const json_t *when, const char *ns, struct scratch *a)
{
	const json_t *yes = get(when, "values"), *no = get(when, "notValues");
	const char *key = json_string_value(get(when, "key"));
	Istio__Security__Match *m;

	if (match_condition_unseen(when))
		return NULL;
	m = match_new(a);
	if (!m)
		return NULL;
	if (streq(key, "source.ip")) {
		m->n_source_ips = addresses_set(yes, &m->source_ips, a);
		m->n_not_source_ips = addresses_set(no, &m->not_source_ips, a);
	} else if (streq(key, "source.namespace")) {
		m->n_namespaces = strings_set(yes, &m->namespaces, a);
		m->n_not_namespaces = strings_set(no, &m->not_namespaces, a);
	} else if (streq(key, "source.principal")) {
		m->n_principals = strings_set(yes, &m->principals, a);
		m->n_not_principals = strings_set(no, &m->not_principals, a);
	} else if (streq(key, "source.serviceAccount")) {
		m->n_service_accounts = accounts_set(yes, ns, &m->service_accounts, a);
		m->n_not_service_accounts = accounts_set(no, ns, &m->not_service_accounts, a);
	} else if (streq(key, "destination.ip")) {
		m->n_destination_ips = addresses_set(yes, &m->destination_ips, a);
		m->n_not_destination_ips = addresses_set(no, &m->not_destination_ips, a);
	} else {
		m->n_destination_ports = ports_set(yes, &m->destination_ports, a);
		m->n_not_destination_ports = ports_set(no, &m->not_destination_ports, a);
	}
	return m;
}

const struct match_unseen *match_unseen(const json_t *o, size_t *at)
{
	static const struct match_unseen fields[] = {
		{"hosts", LAYER_7},
		{"notHosts", LAYER_7},
		{"methods", LAYER_7},
		{"notMethods", LAYER_7},
		{"paths", LAYER_7},
		{"notPaths", LAYER_7},
		{"requestPrincipals", LAYER_7},
		{"notRequestPrincipals", LAYER_7},
		{"remoteIpBlocks", LAYER_7},
		{"notRemoteIpBlocks", LAYER_7},
		{"trustDomains", TRUST_DOMAIN},
		{"notTrustDomains", TRUST_DOMAIN},
	};

	while (*at < ARRAY_SIZE(fields)) {
		const struct match_unseen *u = &fields[(*at)++];

		if (json_array_size(get(o, u->field)) > 0)
			return u;
	}
	return NULL;
}

Istio__Security__Match *match_no_identity(struct scratch *a)
{
	Istio__Security__Match *m = match_new(a);

	if (!m)
		return NULL;
	m->not_principals = scratch_alloc(a, sizeof(*m->not_principals));
	if (!m->not_principals)
		return NULL;
	m->not_principals[0] = string_match_new("*", a);
	m->n_not_principals = 1;
	return m;
}

Istio__Security__Clause *clause_new(Istio__Security__Match **matches, size_t n, struct scratch *a)
{
	Istio__Security__Clause *c = scratch_alloc(a, sizeof(*c));

	if (!c)
		return NULL;
	istio__security__clause__init(c);
	c->matches = matches;
	c->n_matches = n;
	return c;
}

Istio__Security__Clause *clause_new_single(Istio__Security__Match *match, struct scratch *a)
{
	Istio__Security__Match **one = scratch_alloc(a, sizeof(*one));

	if (!one || !match)
		return NULL;
	one[0] = match;
	return clause_new(one, 1, a);
}

Istio__Security__Rule *rule_new(size_t max, struct scratch *a)
{
	Istio__Security__Rule *r = scratch_alloc(a, sizeof(*r));

	if (!r)
		return NULL;
	istio__security__rule__init(r);
	r->clauses = scratch_alloc(a, (max + 1) * sizeof(*r->clauses));
	return r->clauses ? r : NULL;
}

Istio__Security__Authorization *authorization_new(const char *ns, const char *name, size_t max,
						  struct scratch *a)
{
	Istio__Security__Authorization *z = scratch_alloc(a, sizeof(*z));

	if (!z)
		return NULL;
	istio__security__authorization__init(z);
	z->namespace_ = (char *)ns;
	z->name = (char *)name;
	z->rules = scratch_alloc(a, (max + 1) * sizeof(*z->rules));
	return z->rules ? z : NULL;
}
