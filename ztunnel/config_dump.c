/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/config_dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "ztunnel/node_port.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"

#define KEY_MAX 512

static void set_text(json_t *o, const char *key, const char *value)
{
	(void)json_object_set_new(o, key, json_string(value));
}

/* Left out when empty, as Istio does. */
static void set_text_if(json_t *o, const char *key, const char *value)
{
	if (*value)
		set_text(o, key, value);
}

static void set_list_if(json_t *o, const char *key, json_t *list)
{
	if (json_array_size(list))
		(void)json_object_set_new(o, key, list);
	else
		json_decref(list);
}

static json_t *ports_to_json(const struct service_port *ports, size_t count)
{
	json_t *o = json_object();
	char key[8];

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(key, sizeof(key), "%u", ports[i].service_port);
		(void)json_object_set_new(o, key, json_integer(ports[i].target_port));
	}
	return o;
}

static json_t *texts_to_json(const char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list, json_string(texts[i]));
	return list;
}

static void set_waypoint(json_t *o, const struct gateway_ref *ref)
{
	char addr[CV_ADDR_STRLEN];
	char key[KEY_MAX];

	if (!ref->hbone_port)
		return;
	if (ref->key)
		(void)snprintf(key, sizeof(key), "%s", ref->key);
	else
		(void)snprintf(key, sizeof(key), "/%s", cv_addr_format(&ref->addr, addr));
	(void)json_object_set_new(
		o, "waypoint",
		json_pack("{s:s, s:i}", "destination", key, "hboneMtlsPort", (int)ref->hbone_port));
}

/* Istio has no word for these. */
static void set_host_ports(json_t *o, const struct host_ports *ports)
{
	json_t *list = ports ? json_object() : NULL;
	char at[CV_SOCKADDR_STRLEN];

	for (size_t i = 0; ports && i < ports->count; i++)
		(void)json_object_set_new(list, cv_sockaddr_format(&ports->items[i].at, at),
					  json_integer(ports->items[i].target_port));
	if (list)
		(void)json_object_set_new(o, "hostPorts", list);
}

json_t *workload_to_json(const struct workload *w)
{
	static const char *const types[] = {"deployment", "cronjob", "pod", "job"};
	json_t *o = json_object();
	json_t *ips = json_array();
	json_t *services = json_array();
	char addr[CV_ADDR_STRLEN];

	for (size_t i = 0; i < w->addrs_count; i++)
		(void)json_array_append_new(ips, json_string(cv_addr_format(&w->addrs[i], addr)));
	for (size_t i = 0; i < w->app->services_count; i++)
		(void)json_array_append_new(services, json_string(w->app->services[i].key));
	(void)json_object_set_new(o, "workloadIps", ips);
	set_waypoint(o, &w->app->waypoint);
	set_text(o, "protocol", w->protocol == WORKLOAD_HBONE ? "HBONE" : "TCP");
	set_text(o, "uid", w->uid);
	set_text(o, "name", w->name);
	set_text(o, "namespace", w->app->namespace_);
	set_text(o, "trustDomain", w->app->trust_domain);
	set_text(o, "serviceAccount", w->app->service_account);
	set_text(o, "workloadName", w->workload_name);
	set_text(o, "workloadType", types[w->type]);
	set_text(o, "canonicalName", w->app->canonical_name);
	set_text(o, "canonicalRevision", w->app->canonical_revision);
	set_text(o, "clusterId", w->app->cluster);
	set_text(o, "network", w->app->network);
	set_text(o, "node", w->place->node);
	set_text_if(o, "hostname", w->rare->hostname);
	set_text(o, "status", w->is_healthy ? "Healthy" : "Unhealthy");
	set_text(o, "networkMode", w->is_host_network ? "HostNetwork" : "Standard");
	(void)json_object_set_new(o, "nativeTunnel", json_boolean(w->is_native_tunnel));
	(void)json_object_set_new(o, "capacity", json_integer(w->capacity));
	(void)json_object_set_new(o, "locality",
				  json_pack("{s:s, s:s, s:s}", "region", w->place->region, "zone",
					    w->place->zone, "subzone", w->place->subzone));
	set_host_ports(o, w->rare->host_ports);
	set_list_if(o, "services", services);
	set_list_if(o, "authorizationPolicies",
		    texts_to_json(w->app->policies, w->app->policies_count));
	return o;
}

static void set_vips(json_t *o, const struct service_def *d)
{
	json_t *vips = json_array();
	json_t *cidrs = json_array();
	char addr[CIDR_STRLEN];
	char text[CIDR_STRLEN + 1];

	for (size_t i = 0; i < d->vips_count; i++) {
		struct cidr c = {.addr = d->vips[i].addr, .len = d->vips[i].len};
		bool is_host = c.len == CIDR_FULL;

		(void)snprintf(text, sizeof(text), "/%s",
			       is_host ? cv_addr_format(&c.addr, addr) : cidr_format(&c, addr));
		(void)json_array_append_new(is_host ? vips : cidrs, json_string(text));
	}
	(void)json_object_set_new(o, "vips", vips);
	set_list_if(o, "cidrVips", cidrs);
}

static void set_load_balancer(json_t *o, const struct service_def *d)
{
	static const char *const modes[] = {"Standard", "Strict", "Failover", "Passthrough"};
	static const char *const scopes[] = {"Unspecified", "Region",  "Zone",   "Subzone",
					     "Node",        "Cluster", "Network"};
	json_t *list = json_array();

	for (size_t i = 0; i < d->lb_scopes_count; i++)
		(void)json_array_append_new(list, json_string(scopes[d->lb_scopes[i]]));
	if (d->lb_mode == SERVICE_LB_ANY && !d->is_allow_unhealthy) {
		json_decref(list);
		return;
	}
	(void)json_object_set_new(o, "loadBalancer",
				  json_pack("{s:o, s:s, s:s}", "routingPreferences", list, "mode",
					    modes[d->lb_mode], "healthPolicy",
					    d->is_allow_unhealthy ? "AllowAll" : "OnlyHealthy"));
}

/* Istio has no word for these. */
static void set_node_ports(json_t *o, const struct service_def *d)
{
	json_t *ports = d->node_ports_count ? json_object() : NULL;
	char key[8];

	for (size_t i = 0; i < d->node_ports_count; i++) {
		(void)snprintf(key, sizeof(key), "%u", d->node_ports[i].node_port);
		(void)json_object_set_new(ports, key, json_integer(d->node_ports[i].service_port));
	}
	if (ports)
		(void)json_object_set_new(o, "nodePorts", ports);
	if (d->is_external_local)
		set_text(o, "externalTrafficPolicy", "Local");
}

json_t *service_to_json(const struct service *v)
{
	static const char *const families[] = {"Automatic", "IPv4", "IPv6", "Dual"};
	const struct service_def *d = v->def;
	json_t *o = json_object();
	json_t *endpoints = json_object();

	for (size_t i = 0; i < v->endpoints_count; i++) {
		const struct endpoint *e = &v->endpoints[i];
		json_t *ports = e->link ? ports_to_json(e->link->ports, e->link->ports_count)
					: json_object();

		(void)json_object_set_new(
			endpoints, e->workload->uid,
			json_pack("{s:s, s:o, s:s}", "workloadUid", e->workload->uid, "port", ports,
				  "status", e->workload->is_healthy ? "Healthy" : "Unhealthy"));
	}
	set_text(o, "name", d->name);
	set_text(o, "namespace", d->namespace_);
	set_text(o, "hostname", d->hostname);
	set_vips(o, d);
	(void)json_object_set_new(o, "ports", ports_to_json(d->ports, d->ports_count));
	set_node_ports(o, d);
	(void)json_object_set_new(o, "endpoints", endpoints);
	(void)json_object_set_new(o, "subjectAltNames", texts_to_json(d->sans, d->sans_count));
	set_waypoint(o, &d->waypoint);
	set_load_balancer(o, d);
	if (d->families != SERVICE_FAMILIES_ANY)
		set_text(o, "ipFamilies", families[d->families]);
	(void)json_object_set_new(o, "canonical", json_boolean(d->is_canonical));
	set_text(o, "visibility", d->is_namespace_only ? "Namespace" : "Public");
	return o;
}

static json_t *text_matches_to_json(const struct text_matches *l)
{
	static const char *const kinds[] = {"Exact", "Prefix", "Suffix", "Presence"};
	json_t *list = json_array();

	for (size_t i = 0; i < l->count; i++) {
		const struct text_match *m = &l->items[i];
		json_t *value = m->kind == TEXT_PRESENT ? json_null() : json_string(m->text);

		(void)json_array_append_new(list, json_pack("{s:o}", kinds[m->kind], value));
	}
	return list;
}

static json_t *cidr_matches_to_json(const struct cidr_matches *l)
{
	json_t *list = json_array();
	char text[CIDR_STRLEN];

	for (size_t i = 0; i < l->count; i++)
		(void)json_array_append_new(list, json_string(cidr_format(&l->items[i], text)));
	return list;
}

static json_t *port_matches_to_json(const struct port_matches *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->count; i++)
		(void)json_array_append_new(list, json_integer(l->items[i]));
	return list;
}

static json_t *account_matches_to_json(const struct account_matches *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->count; i++)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s}", "namespace", l->items[i].namespace_,
					"serviceAccount", l->items[i].service_account));
	return list;
}

static json_t *match_to_json(const struct policy_match *m)
{
	json_t *o = json_object();

	set_list_if(o, "namespaces", text_matches_to_json(&m->namespaces));
	set_list_if(o, "notNamespaces", text_matches_to_json(&m->not_namespaces));
	set_list_if(o, "principals", text_matches_to_json(&m->principals));
	set_list_if(o, "notPrincipals", text_matches_to_json(&m->not_principals));
	set_list_if(o, "sourceIps", cidr_matches_to_json(&m->src_ips));
	set_list_if(o, "notSourceIps", cidr_matches_to_json(&m->not_src_ips));
	set_list_if(o, "destinationIps", cidr_matches_to_json(&m->dst_ips));
	set_list_if(o, "notDestinationIps", cidr_matches_to_json(&m->not_dst_ips));
	set_list_if(o, "destinationPorts", port_matches_to_json(&m->dst_ports));
	set_list_if(o, "notDestinationPorts", port_matches_to_json(&m->not_dst_ports));
	set_list_if(o, "serviceAccounts", account_matches_to_json(&m->accounts));
	set_list_if(o, "notServiceAccounts", account_matches_to_json(&m->not_accounts));
	return o;
}

static json_t *rule_to_json(const struct policy_rule *rule)
{
	json_t *clauses = json_array();

	for (size_t i = 0; i < rule->count; i++) {
		json_t *matches = json_array();

		for (size_t k = 0; k < rule->clauses[i].count; k++)
			(void)json_array_append_new(matches,
						    match_to_json(&rule->clauses[i].matches[k]));
		(void)json_array_append_new(clauses, matches);
	}
	return clauses;
}

json_t *policy_to_json(const struct policy *p)
{
	static const char *const scopes[] = {"Global", "Namespace", "WorkloadSelector"};
	json_t *o = json_object();
	json_t *rules = json_array();

	for (size_t i = 0; i < p->count; i++)
		(void)json_array_append_new(rules, rule_to_json(&p->rules[i]));
	set_text(o, "name", p->name);
	set_text(o, "namespace", p->namespace_);
	set_text(o, "scope", scopes[p->scope]);
	set_text(o, "action",
		 p->action == POLICY_AUDIT  ? "Audit"
		 : p->action == POLICY_DENY ? "Deny"
					    : "Allow");
	(void)json_object_set_new(o, "rules", rules);
	(void)json_object_set_new(o, "dryRun", json_boolean(p->is_dry_run));
	if (p->is_broken)
		set_text(o, "error", "not understood: everything that it covers is denied");
	return o;
}

/* In their order in the text. */
enum kind {
	KIND_WORKLOADS,
	KIND_SERVICES,
	KIND_POLICIES,
	KINDS,
};

struct config_dump {
	struct state *state;
	json_t *rest;
	struct buf objects[KINDS]; /* pointers into the snapshot */
	size_t kind, next;         /* what is written next */
};

static int add_workload(void *list, const struct workload *w)
{
	return buf_append(list, &w, sizeof(w));
}

static int add_service(void *list, const struct service *v)
{
	return buf_append(list, &v, sizeof(v));
}

static int add_policy(void *list, const struct policy *p)
{
	return buf_append(list, &p, sizeof(p));
}

int config_dump_new(struct state *s, json_t *rest, struct config_dump **ret)
{
	_cleanup_(config_dump_freep) struct config_dump *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->state = state_ref(s);
	d->rest = json_incref(rest);
	r = state_visit_workloads(s, add_workload, &d->objects[KIND_WORKLOADS]);
	if (r == 0)
		r = state_visit_services(s, add_service, &d->objects[KIND_SERVICES]);
	if (r == 0)
		r = state_visit_policies(s, add_policy, &d->objects[KIND_POLICIES]);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct config_dump *config_dump_free(struct config_dump *d)
{
	if (!d)
		return NULL;
	state_unref(d->state);
	json_decref(d->rest);
	for (size_t i = 0; i < KINDS; i++)
		buf_reset(&d->objects[i]);
	free(d);
	return NULL;
}

static int value_write(const json_t *value, struct buf *into)
{
	char *text =
		value ? json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY)
		      : NULL;
	int r = text ? buf_append_str(into, text) : -ENOMEM;

	free(text);
	return r;
}

static json_t *object_to_json(const struct config_dump *d)
{
	const void *o;

	memcpy(&o, buf_head(&d->objects[d->kind]) + d->next * sizeof(o), sizeof(o));
	switch ((enum kind)d->kind) {
	case KIND_WORKLOADS:
		return workload_to_json(o);
	case KIND_SERVICES:
		return service_to_json(o);
	default:
		return policy_to_json(o);
	}
}

/* The next object, with what stands before and behind it in the text. */
static int object_write(struct config_dump *d, struct buf *into)
{
	static const char *const names[KINDS] = {"workloads", "services", "policies"};
	size_t count = buf_len(&d->objects[d->kind]) / sizeof(void *);
	int r = 0;

	if (d->next == 0)
		r = buf_printf(into, "%s\"%s\": [", d->kind ? ",\n" : "{\n", names[d->kind]);
	if (r == 0 && d->next < count) {
		json_t *o = object_to_json(d);

		r = buf_append_str(into, d->next ? ",\n" : "\n");
		if (r == 0)
			r = value_write(o, into);
		json_decref(o);
	}
	if (++d->next < count || r < 0)
		return r;
	d->next = 0;
	d->kind++;
	return buf_append_str(into, "]");
}

static int rest_write(const struct config_dump *d, struct buf *into)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach (d->rest, key, value) {
		if (r == 0)
			r = buf_printf(into, ",\n\"%s\": ", key);
		if (r == 0)
			r = value_write(value, into);
	}
	return r == 0 ? buf_append_str(into, "\n}\n") : r;
}

int config_dump_step(struct config_dump *d, uint64_t for_us, struct buf *into)
{
	uint64_t until_us = now_monotonic_us() + for_us;
	int r = 0;

	while (r == 0 && d->kind < KINDS) {
		r = object_write(d, into);
		if (r == 0 && now_monotonic_us() >= until_us)
			return 1;
	}
	return r == 0 ? rest_write(d, into) : r;
}
