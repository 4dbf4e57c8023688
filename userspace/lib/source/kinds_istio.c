/* SPDX-License-Identifier: Apache-2.0 */
/* kinds_istio - ServiceEntry, WorkloadEntry and WorkloadGroup (networking.istio.io), checked as
 * Istio's webhook does. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "net/cidr.h"
#include "source/schema.h"

#define HOST_MAX 253

static const struct schema map_any = {.type = SCHEMA_MAP};
static const struct schema word = {
	.type = SCHEMA_STRING,
	.is_nonempty = true,
	.expected = "a string that is not empty",
};
static const struct schema words = {.type = SCHEMA_LIST, .item = &word};

/* In either case, and a dot may end it. */
static bool is_dns_name(const char *s)
{
	size_t n = strlen(s);
	char name[HOST_MAX + 2];

	if (n == 0 || n >= sizeof(name))
		return false;
	memcpy(name, s, n + 1);
	if (name[n - 1] == '.')
		name[n - 1] = '\0';
	return word_is_in_lower(name, word_is_subdomain);
}

/* A DNS name, its first label perhaps "*", or an asterisk and the end of one; not "*" alone. */
static bool is_host(const char *s)
{
	if (*s != '*')
		return is_dns_name(s);
	while (*++s && *s != '.')
		if (!isalnum((unsigned char)*s) && *s != '-')
			return false;
	return *s == '.' && is_dns_name(s + 1);
}

static const struct schema host = {
	.type = SCHEMA_STRING,
	.is_valid = is_host,
	.expected = "a DNS name, \"*.\" before it at most",
};
static const struct schema hosts = {.type = SCHEMA_LIST, .item = &host, .is_nonempty = true};
static const struct schema block = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_ip_or_cidr,
	.expected = "an IP address or CIDR",
};
static const struct schema blocks = {.type = SCHEMA_LIST, .item = &block};
static const struct schema port_number = {.type = SCHEMA_INT, .min = 1, .max = 65535};
static const char *const protocols[] = {"HTTP",       "HTTPS", "GRPC",  "GRPC-WEB", "HTTP2",
					"HTTP_PROXY", "MONGO", "MYSQL", "REDIS",    "TCP",
					"TLS",        "UDP",   NULL};

/* Istio takes the words in any case, and an empty one for none. */
static bool is_protocol(const char *s)
{
	if (!*s)
		return true;
	for (size_t i = 0; protocols[i]; i++)
		if (strcasecmp(protocols[i], s) == 0)
			return true;
	return false;
}

static const struct schema protocol = {
	.type = SCHEMA_STRING,
	.is_valid = is_protocol,
	.expected = "one of HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, HTTP_PROXY, MONGO, MYSQL, REDIS, "
		    "TCP, TLS, UDP",
};
static const struct schema_field port_fields[] = {
	REQUIRED("number", &port_number),
	REQUIRED("name", &word),
	FIELD("protocol", &protocol),
	FIELD("targetPort", &port_number),
	FIELDS_END,
};
static const struct schema port = {.type = SCHEMA_OBJECT, .fields = port_fields};
static const struct schema ports = {.type = SCHEMA_LIST, .item = &port};
static const char *const location_words[] = {"MESH_EXTERNAL", "MESH_INTERNAL", NULL};
static const struct schema location = {.type = SCHEMA_STRING, .words = location_words};
static const char *const resolution_words[] = {"NONE",        "STATIC", "DNS", "DNS_ROUND_ROBIN",
					       "DYNAMIC_DNS", NULL};
static const struct schema resolution = {.type = SCHEMA_STRING, .words = resolution_words};
static const struct schema weight = {.type = SCHEMA_INT, .min = 0, .max = 4294967295};
static const struct schema entry_ports = {.type = SCHEMA_MAP, .item = &port_number};
static const struct schema_field entry_fields[] = {
	FIELD("address", &word),
	FIELD("ports", &entry_ports),
	FIELD("labels", &schema_labels),
	FIELD("network", &schema_string),
	FIELD("locality", &schema_string),
	FIELD("weight", &weight),
	FIELD("serviceAccount", &schema_string),
	FIELDS_END,
};
static const struct schema entry = {.type = SCHEMA_OBJECT, .fields = entry_fields};
static const struct schema entries = {.type = SCHEMA_LIST, .item = &entry};
static const struct schema_field selector_fields[] = {FIELD("labels", &schema_labels), FIELDS_END};
static const struct schema selector = {.type = SCHEMA_OBJECT, .fields = selector_fields};

static const struct schema_field service_spec_fields[] = {
	REQUIRED("hosts", &hosts),
	FIELD("addresses", &blocks),
	FIELD("ports", &ports),
	FIELD("location", &location),
	FIELD("resolution", &resolution),
	FIELD("endpoints", &entries),
	FIELD("workloadSelector", &selector),
	FIELD("exportTo", &words),
	FIELD("subjectAltNames", &words),
	FIELDS_END,
};
static const struct schema service_spec = {.type = SCHEMA_OBJECT, .fields = service_spec_fields};
static const struct schema_field service_entry_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	REQUIRED("spec", &service_spec),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema service_entry = {.type = SCHEMA_OBJECT, .fields = service_entry_fields};
static const struct schema_field workload_entry_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	REQUIRED("spec", &entry),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema workload_entry = {.type = SCHEMA_OBJECT,
					     .fields = workload_entry_fields};

static const struct schema_field group_metadata_fields[] = {
	FIELD("labels", &schema_labels),
	FIELD("annotations", &map_any),
	FIELDS_END,
};
static const struct schema group_metadata = {.type = SCHEMA_OBJECT,
					     .fields = group_metadata_fields};
static const struct schema_field group_spec_fields[] = {
	FIELD("metadata", &group_metadata),
	REQUIRED("template", &entry),
	FIELD("probe", &map_any),
	FIELDS_END,
};
static const struct schema group_spec = {.type = SCHEMA_OBJECT, .fields = group_spec_fields};
static const struct schema_field workload_group_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	REQUIRED("spec", &group_spec),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema workload_group = {.type = SCHEMA_OBJECT,
					     .fields = workload_group_fields};

/* A path, or a name of Linux' that begins with "@". */
static bool is_socket(const char *s)
{
	return str_has_prefix(s, "unix:///") || (str_has_prefix(s, "unix://@") && s[8]);
}

/* An endpoint's address: an IP, or a name where names are resolved. */
static void check_entry_address(const json_t *e, bool may_be_name, struct schema_report *r)
{
	const char *address = json_text(e, "address", "");
	size_t mark = schema_enter(r, "address");

	if (!*address)
		schema_problem(r, "required: expected an address");
	else if (str_has_prefix(address, "unix:"))
		schema_problem(r, "expected an address; a UNIX socket is unix:///PATH, with "
				  "resolution STATIC");
	else if (!word_is_ip(address) && !may_be_name)
		schema_problem(r, "expected an IP address with resolution STATIC, got \"%.60s\"",
			       address);
	else if (!word_is_ip(address) && !is_dns_name(address))
		schema_problem(r, "expected an IP address or a DNS name, got \"%.60s\"", address);
	schema_leave(r, mark);
}

/* Of another network its gateway knows the address; a socket is left out, and no mistake. */
static void check_entry_place(const json_t *e, bool may_be_name, struct schema_report *r)
{
	if (!is_socket(json_text(e, "address", "")) &&
	    (json_object_get(e, "address") || !*json_text(e, "network", "")))
		check_entry_address(e, may_be_name, r);
}

/* The names of an endpoint's ports are the service's. */
static void check_entry_ports(const json_t *e, const json_t *list, struct schema_report *r)
{
	size_t mark = schema_enter(r, "ports");
	const char *name;
	json_t *value;

	json_object_foreach (json_object_get((json_t *)e, "ports"), name, value) {
		const json_t *one;
		bool is_known = false;
		size_t i, inner;

		json_array_foreach (list, i, one)
			is_known |= streq(json_text(one, "name", ""), name);
		inner = schema_enter(r, name);
		if (!is_known)
			schema_problem(r, "no port of the ServiceEntry has this name");
		schema_leave(r, inner);
	}
	schema_leave(r, mark);
}

static void check_endpoints(const json_t *spec, struct schema_report *r)
{
	const char *how = json_text(spec, "resolution", "");
	const json_t *one;
	size_t i, mark = schema_enter(r, "endpoints");

	if (json_object_get(spec, "workloadSelector") &&
	    json_array_size(json_object_get(spec, "endpoints")))
		schema_problem(r, "not together with workloadSelector");
	if (json_array_size(json_object_get(spec, "endpoints")) && (!*how || streq(how, "NONE")))
		schema_problem(r, "not with resolution NONE, which goes where the client dials");
	json_array_foreach (json_object_get(spec, "endpoints"), i, one) {
		size_t at = schema_enter_index(r, i);

		if (streq(how, "STATIC"))
			check_entry_place(one, false, r);
		else
			check_entry_address(one, true, r);
		check_entry_ports(one, json_object_get(spec, "ports"), r);
		schema_leave(r, at);
	}
	schema_leave(r, mark);
}

static void check_ports(const json_t *list, struct schema_report *r)
{
	size_t mark = schema_enter(r, "ports");

	if (json_array_size(list) > 1000)
		schema_problem(r, "more than 1000 ports");
	for (size_t i = 0; i < MIN(json_array_size(list), 1000U); i++)
		for (size_t j = 0; j < i; j++) {
			const json_t *a = json_array_get(list, i), *b = json_array_get(list, j);
			size_t at = schema_enter_index(r, i);

			if (streq(json_text(a, "name", ""), json_text(b, "name", "")) ||
			    json_equal(json_object_get(a, "number"), json_object_get(b, "number")))
				schema_problem(r, "the same number or name as ports[%zu]", j);
			schema_leave(r, at);
		}
	schema_leave(r, mark);
}

static bool has_wildcard(const json_t *spec)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(spec, "hosts"), i, one)
		if (json_string_value(one)[0] == '*')
			return true;
	return false;
}

static bool is_resolved(const char *how)
{
	return streq(how, "DNS") || streq(how, "DNS_ROUND_ROBIN");
}

static void check_service_entry(const json_t *body, struct schema_report *r)
{
	const json_t *spec = json_object_get(body, "spec");
	const char *how = json_text(spec, "resolution", "");
	size_t mark = schema_enter(r, "spec"), inner = schema_enter(r, "hosts");

	if (has_wildcard(spec) && is_resolved(how) &&
	    json_array_size(json_object_get(spec, "endpoints")) == 0)
		schema_problem(r,
			       "a wildcard cannot be resolved: expected endpoints, or resolution "
			       "NONE, STATIC or DYNAMIC_DNS");
	schema_leave(r, inner);
	check_ports(json_object_get(spec, "ports"), r);
	check_endpoints(spec, r);
	schema_leave(r, mark);
}
/* Is it told by each connection which of several hosts is meant? */
static bool has_host_name(const char *protocol_word)
{
	static const char *const bare[] = {"TCP", "UDP", "MONGO", "MYSQL", "REDIS", NULL};

	for (size_t i = 0; bare[i]; i++)
		if (strcasecmp(bare[i], protocol_word) == 0)
			return false;
	return *protocol_word != '\0';
}

static void doubt_port_names(const json_t *spec, struct schema_report *r)
{
	const json_t *one;
	size_t i, mark = schema_enter(r, "ports");

	json_array_foreach (json_object_get(spec, "ports"), i, one) {
		size_t at = schema_enter_index(r, i), inner = schema_enter(r, "name");

		if (!word_is_in_lower(json_text(one, "name", ""), word_is_label))
			schema_problem(r,
				       "expected a DNS label: letters, digits and -, 63 at most");
		schema_leave(r, inner);
		schema_leave(r, at);
	}
	schema_leave(r, mark);
}

static void doubt_addresses(const json_t *spec, struct schema_report *r)
{
	const char *how = json_text(spec, "resolution", "");
	const json_t *one;
	size_t i, mark = schema_enter(r, "addresses");

	json_array_foreach (json_object_get(spec, "addresses"), i, one) {
		size_t at = schema_enter_index(r, i);

		if (*how && !streq(how, "NONE") && !streq(how, "STATIC") &&
		    strchr(json_string_value(one), '/'))
			schema_problem(r, "a CIDR, which is for resolution NONE and STATIC only");
		schema_leave(r, at);
	}
	schema_leave(r, mark);
}

/* Of several hosts the client's bytes must tell which, unless it is dialled where the client dials.
 */
static void doubt_several_hosts(const json_t *spec, struct schema_report *r)
{
	const char *how = json_text(spec, "resolution", "");
	const json_t *one;
	size_t i, mark = schema_enter(r, "ports");

	if (json_array_size(json_object_get(spec, "hosts")) > 1 && *how && !streq(how, "NONE"))
		json_array_foreach (json_object_get(spec, "ports"), i, one) {
			size_t at = schema_enter_index(r, i);

			if (!has_host_name(json_text(one, "protocol", "")))
				schema_problem(r, "several hosts need ports of HTTP or TLS");
			schema_leave(r, at);
		}
	schema_leave(r, mark);
}

static void doubt_endpoints(const json_t *spec, struct schema_report *r)
{
	size_t mark = schema_enter(r, "endpoints");

	if (json_array_size(json_object_get(spec, "endpoints")) > 1 &&
	    streq(json_text(spec, "resolution", ""), "DNS_ROUND_ROBIN"))
		schema_problem(r, "more than one with resolution DNS_ROUND_ROBIN");
	schema_leave(r, mark);
}

static void doubt_service_entry(const json_t *body, struct schema_report *r)
{
	const json_t *spec = json_object_get(body, "spec");
	size_t mark = schema_enter(r, "spec");

	doubt_port_names(spec, r);
	doubt_addresses(spec, r);
	doubt_several_hosts(spec, r);
	doubt_endpoints(spec, r);
	schema_leave(r, mark);
}

static void check_workload_entry(const json_t *body, struct schema_report *r)
{
	size_t mark = schema_enter(r, "spec");

	check_entry_place(json_object_get(body, "spec"), true, r);
	schema_leave(r, mark);
}

static const char *const networking[] = {"networking.istio.io/v1", "networking.istio.io/v1beta1",
					 "networking.istio.io/v1alpha3", NULL};

const struct schema_kind schema_kinds_istio[] = {
	{
		.kind = "ServiceEntry",
		.api_versions = networking,
		.is_namespaced = true,
		.schema = &service_entry,
		.check = check_service_entry,
		.doubt = doubt_service_entry,
	},
	{
		.kind = "WorkloadEntry",
		.api_versions = networking,
		.is_namespaced = true,
		.schema = &workload_entry,
		.check = check_workload_entry,
	},
	{
		.kind = "WorkloadGroup",
		.api_versions = networking,
		.is_namespaced = true,
		.schema = &workload_group,
	},
	{0},
};
