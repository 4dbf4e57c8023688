/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of `ztunnel-config`. A dump may come from a file: fields of the wrong type show as
 * empty. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "table.h"
#include "ztunnel_config.h"

#define CELL_MAX 256

static bool is_wanted(const json_t *v, const struct zc_options *o)
{
	return !o->namespace_ || streq(json_text(v, "namespace", ""), o->namespace_);
}

/* without_network() - "network/ip" and "/ip" both read as ip. */
static const char *without_network(const char *s)
{
	const char *slash = strchr(s, '/');

	return slash ? slash + 1 : s;
}

static bool is_at(const json_t *workload, const char *address)
{
	const json_t *ip;
	size_t i;

	json_array_foreach (json_object_get(workload, "workloadIps"), i, ip) {
		const char *s = json_string_value(ip);

		if (s && streq(without_network(s), address))
			return true;
	}
	return false;
}

static bool is_wanted_workload(const json_t *w, const struct zc_options *o)
{
	return is_wanted(w, o) &&
	       (!o->workload_node || streq(json_text(w, "node", ""), o->workload_node)) &&
	       (!o->address || is_at(w, o->address));
}

static void narrow_list(json_t *list, const struct zc_options *o,
			bool (*fits)(const json_t *, const struct zc_options *))
{
	for (size_t i = json_array_size(list); i-- > 0;)
		if (!fits(json_array_get(list, i), o))
			(void)json_array_remove(list, i);
}

void zc_narrow(json_t *dump, const struct zc_options *o)
{
	json_t *states = json_object_get(dump, "workloadState"), *state;
	const char *uid;
	void *next;

	narrow_list(json_object_get(dump, "workloads"), o, is_wanted_workload);
	narrow_list(json_object_get(dump, "services"), o, is_wanted);
	narrow_list(json_object_get(dump, "policies"), o, is_wanted);
	json_object_foreach_safe (states, next, uid, state)
		if (!is_wanted(json_object_get(state, "info"), o))
			(void)json_object_del(states, uid);
}

static const char *first_text(const json_t *array)
{
	const char *s = json_string_value(json_array_get(array, 0));

	return s ? s : "";
}

/* waypoint_of() - destination of a waypoint, or "None", as istioctl shows it. */
static const char *waypoint_of(const json_t *v)
{
	const json_t *w = json_object_get(v, "waypoint");
	const char *destination = json_text(w, "destination", NULL);

	return destination ? without_network(destination) : "None";
}

int zc_print_workloads(const json_t *dump, const struct zc_options *o)
{
	static const char *const headers[] = {"NAMESPACE", "POD NAME", "ADDRESS", "NODE",
					      "WAYPOINT",  "PROTOCOL", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *w;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (json_object_get(dump, "workloads"), i, w) {
		const char *cells[] = {json_text(w, "namespace", ""),
				       json_text(w, "name", ""),
				       first_text(json_object_get(w, "workloadIps")),
				       json_text(w, "node", ""),
				       waypoint_of(w),
				       json_text(w, "protocol", "TCP")};

		if (is_wanted_workload(w, o) && table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

static void count_endpoints(const json_t *service, char *ret, size_t size)
{
	const json_t *endpoints = json_object_get(service, "endpoints");
	unsigned int healthy = 0;
	const char *uid;
	const json_t *e;

	json_object_foreach ((json_t *)endpoints, uid, e) {
		if (streq(json_text(e, "status", "Healthy"), "Healthy"))
			healthy++;
	}
	(void)snprintf(ret, size, "%u/%zu", healthy, json_object_size(endpoints));
}

static int append_vips(json_t *ips, const json_t *vips)
{
	const json_t *v;
	size_t i;

	json_array_foreach (vips, i, v) {
		const char *s = json_string_value(v);

		if (s && json_array_append_new(ips, json_string(without_network(s))) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* join_vips() - "10.96.0.1,fd00::1,192.0.2.0/24"; caller frees. */
static char *join_vips(const json_t *service)
{
	_cleanup_(json_decrefp) json_t *ips = json_array();

	if (append_vips(ips, json_object_get(service, "vips")) < 0 ||
	    append_vips(ips, json_object_get(service, "cidrVips")) < 0)
		return NULL;
	return json_join(ips, ",");
}

int zc_print_services(const json_t *dump, const struct zc_options *o)
{
	static const char *const headers[] = {"NAMESPACE", "SERVICE NAME", "SERVICE VIP",
					      "WAYPOINT",  "ENDPOINTS",    NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *s;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (json_object_get(dump, "services"), i, s) {
		_cleanup_(freep) char *vips = join_vips(s);
		char endpoints[32];
		const char *cells[] = {json_text(s, "namespace", ""), json_text(s, "name", ""),
				       vips, waypoint_of(s), endpoints};

		count_endpoints(s, endpoints, sizeof(endpoints));
		if (is_wanted(s, o) && table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

int zc_print_policies(const json_t *dump, const struct zc_options *o)
{
	static const char *const headers[] = {"NAMESPACE", "POLICY NAME", "ACTION", "SCOPE", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *p;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (json_object_get(dump, "policies"), i, p) {
		const char *cells[] = {json_text(p, "namespace", ""), json_text(p, "name", ""),
				       json_text(p, "action", ""), json_text(p, "scope", "")};

		if (is_wanted(p, o) && table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

/* parse_time() - RFC 3339 in UTC, what daemons write. Return: 0 when it is none. */
static time_t parse_time(const char *s)
{
	struct tm tm = {0};

	return strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

static int add_certificate(struct table *t, const json_t *identity, const json_t *cert,
			   const char *type)
{
	const char *from = json_text(cert, "validFrom", "");
	const char *until = json_text(cert, "expirationTime", "");
	time_t now = time(NULL);
	bool is_valid = parse_time(from) <= now && now < parse_time(until);
	const char *cells[] = {json_text(identity, "identity", ""),
			       type,
			       json_text(identity, "state", ""),
			       is_valid ? "true" : "false",
			       json_text(cert, "serialNumber", ""),
			       until,
			       from};

	return table_row(t, cells);
}

static int add_identity(struct table *t, const json_t *identity)
{
	const json_t *chain = json_object_get(identity, "certChain");
	const json_t *roots = json_object_get(identity, "rootCerts");
	const json_t *cert;
	size_t i;

	if (json_array_size(chain) == 0) {
		const char *cells[] = {json_text(identity, "identity", ""),
				       "Leaf",
				       json_text(identity, "state", ""),
				       "false",
				       "",
				       "",
				       ""};

		return table_row(t, cells);
	}
	json_array_foreach (chain, i, cert) {
		if (add_certificate(t, identity, cert, i == 0 ? "Leaf" : "Intermediate") < 0)
			return -ENOMEM;
	}
	json_array_foreach (roots, i, cert) {
		if (add_certificate(t, identity, cert, "Root") < 0)
			return -ENOMEM;
	}
	return 0;
}

int zc_print_certificates(const json_t *dump, const struct zc_options *o)
{
	static const char *const headers[] = {
		"CERTIFICATE NAME", "TYPE",      "STATUS",     "VALID CERT",
		"SERIAL NUMBER",    "NOT AFTER", "NOT BEFORE", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *identity;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (json_object_get(dump, "certificates"), i, identity) {
		if (add_identity(t, identity) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

/* Names for addresses: a JSON object "10.1.2.3" -> "pod.namespace". */
static json_t *address_names(const json_t *dump)
{
	json_t *names = json_object();
	const json_t *w, *ip;
	size_t i, j;

	json_array_foreach (json_object_get(dump, "workloads"), i, w) {
		json_array_foreach (json_object_get(w, "workloadIps"), j, ip) {
			const char *s = json_string_value(ip);

			if (s)
				(void)json_object_set_new(
					names, without_network(s),
					json_sprintf("%s.%s", json_text(w, "name", ""),
						     json_text(w, "namespace", "")));
		}
	}
	json_array_foreach (json_object_get(dump, "services"), i, w) {
		json_array_foreach (json_object_get(w, "vips"), j, ip) {
			const char *s = json_string_value(ip);

			if (s)
				(void)json_object_set_new(
					names, without_network(s),
					json_string(json_text(w, "hostname", "")));
		}
	}
	return names;
}

/* name_address() - "10.1.2.3:80" as "pod.namespace:80" when the address is known. Return: @buf. */
static const char *name_address(const json_t *names, const char *address, char buf[CELL_MAX])
{
	const char *colon = strrchr(address, ':');
	char ip[CELL_MAX];
	const char *name;
	size_t n;

	(void)snprintf(buf, CELL_MAX, "%s", address);
	if (!names || !colon)
		return buf;
	n = (size_t)(colon - address);
	if (*address == '[') {
		address++;
		n -= 2;
	}
	(void)snprintf(ip, sizeof(ip), "%.*s", (int)n, address);
	name = json_text(names, ip, NULL);
	if (name && *name)
		(void)snprintf(buf, CELL_MAX, "%s%s", name, colon);
	return buf;
}

/* What a row of the table of connections is made from. */
struct connection_row {
	struct table *table;
	const json_t *names; /* NULL: addresses are shown as they are */
	const char *workload;
	bool is_inbound;
};

static int add_connection(const struct connection_row *row, const json_t *c)
{
	const char *local_key = row->is_inbound ? "actualDst" : "src";
	const char *remote_key = row->is_inbound ? "src" : "actualDst";
	char local[CELL_MAX], remote[CELL_MAX], target[CELL_MAX];
	const char *cells[] = {row->workload,
			       row->is_inbound ? "Inbound" : "Outbound",
			       name_address(row->names, json_text(c, local_key, ""), local),
			       name_address(row->names, json_text(c, remote_key, ""), remote),
			       name_address(row->names, json_text(c, "originalDst", ""), target),
			       json_text(c, "protocol", "")};

	return table_row(row->table, cells);
}

static int add_connections(struct connection_row *row, const json_t *state,
			   const struct zc_options *o)
{
	static const char *const keys[] = {"outbound", "inbound"};
	const json_t *connections = json_object_get(state, "connections");
	const json_t *c;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		row->is_inbound = streq(keys[k], "inbound");
		if (o->direction && !streq(o->direction, keys[k]))
			continue;
		json_array_foreach (json_object_get(connections, keys[k]), i, c) {
			if (add_connection(row, c) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

int zc_print_connections(const json_t *dump, const struct zc_options *o)
{
	static const char *const headers[] = {"WORKLOAD",      "DIRECTION", "LOCAL", "REMOTE",
					      "REMOTE TARGET", "PROTOCOL",  NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	_cleanup_(json_decrefp) json_t *names = NULL;
	const char *uid;
	const json_t *state;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	names = o->is_raw ? NULL : address_names(dump);
	json_object_foreach ((json_t *)json_object_get(dump, "workloadState"), uid, state) {
		const json_t *info = json_object_get(state, "info");
		char workload[CELL_MAX];
		struct connection_row row = {.table = t, .names = names, .workload = workload};

		(void)snprintf(workload, sizeof(workload), "%s.%s", json_text(info, "name", uid),
			       json_text(info, "namespace", ""));
		if (is_wanted(info, o) && add_connections(&row, state, o) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}
