/* SPDX-License-Identifier: Apache-2.0 */
#include "resource.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fnv1a.h"
#include "base/str.h"
#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/types.h"
#include "xds/unpack.h"

/* Small enough for malloc()'s quickest lists; an address takes one or two. */
#define UNPACK_BLOCK 1000

struct resource *resource_free(struct resource *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->service_count; i++) {
		free(r->services[i].key);
		free(r->services[i].ports);
	}
	free(r->services);
	free(r->addrs);
	free(r->host_addrs);
	free(r->host_ports);
	free(r->ranges);
	free(r->open_ports);
	free(r->node_ports);
	free(r->ports);
	free(r->node);
	free(r);
	return NULL;
}

static void label_set(struct resource *r, const char *namespace_, const char *name)
{
	(void)snprintf(r->label, sizeof(r->label), "%s/%s", namespace_, name);
}

static int addr_add(struct resource *r, const ProtobufCBinaryData *bytes)
{
	int e = cv_addr_from_bytes(bytes->data, bytes->len, &r->addrs[r->addr_count]);

	if (e == 0)
		r->addr_count++;
	return e;
}

static int workload_addrs(const Istio__Workload__Workload *w, struct resource *r)
{
	r->addrs = calloc(w->n_addresses + 1, sizeof(*r->addrs));
	if (!r->addrs)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_addresses; i++)
		if (addr_add(r, &w->addresses[i]) < 0)
			return -EBADMSG;
	if (w->network_mode != ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK)
		return 0;
	r->host_addrs = TAKE_PTR(r->addrs);
	r->host_addr_count = r->addr_count;
	r->addr_count = 0;
	return 0;
}

/* A number that is none of a port is left out. It is no reason to know nothing of a workload or a
 * service: what is not known is dialled in plaintext. */
static int ports_read(size_t n, Istio__Workload__Port *const *list, struct port_map **ret,
		      size_t *ret_n)
{
	_cleanup_(freep) struct port_map *ports = calloc(n + 1, sizeof(*ports));
	size_t count = 0;

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint32_t port = list[i]->service_port, target = list[i]->target_port;

		if (cv_port_is_valid(port))
			ports[count++] = (struct port_map){
				.port = (uint16_t)port,
				.target = cv_port_is_valid(target) ? (uint16_t)target : 0,
			};
	}
	*ret = TAKE_PTR(ports);
	*ret_n = count;
	return 0;
}

static int link_read(const Istio__Workload__WorkloadService *s, struct service_link *ret)
{
	ret->key = strdup(s->key);
	if (!ret->key)
		return -ENOMEM;
	return s->value ? ports_read(s->value->n_ports, s->value->ports, &ret->ports,
				     &ret->port_count)
			: 0;
}

static int workload_services(const Istio__Workload__Workload *w, struct resource *r)
{
	int e;

	r->services = calloc(w->n_services + 1, sizeof(*r->services));
	if (!r->services)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_services; i++) {
		r->service_count++;
		e = link_read(w->services[i], &r->services[i]);
		if (e < 0)
			return e;
	}
	return 0;
}

static int host_ports_read(const Culvert__Node__Workload *x, struct resource *r)
{
	r->host_ports = calloc(x->n_host_ports + 1, sizeof(*r->host_ports));
	if (!r->host_ports)
		return -ENOMEM;
	for (size_t i = 0; i < x->n_host_ports; i++) {
		const Culvert__Node__HostPort *p = x->host_ports[i];
		struct host_port *to = &r->host_ports[r->host_port_count];

		if (cv_addr_from_bytes(p->address.data, p->address.len, &to->addr) < 0)
			return -EBADMSG;
		to->port = (uint16_t)p->host_port;
		r->host_port_count += cv_port_is_valid(p->host_port);
	}
	return 0;
}

static int workload_extension(const Istio__Workload__Workload *w, struct unpack *unpack,
			      struct resource *r)
{
	int error = 0;

	for (size_t i = 0; i < w->n_extensions && error == 0; i++) {
		const Istio__Workload__Extension *e = w->extensions[i];
		const Culvert__Node__Workload *x;

		if (!e->config || !streq(e->name, XDS_EXTENSION_WORKLOAD) || r->host_ports)
			continue;
		x = culvert__node__workload__unpack(&unpack->memory, e->config->value.len,
						    e->config->value.data);
		if (!x)
			return unpack_error(unpack);
		if (x->n_host_ports)
			error = host_ports_read(x, r);
	}
	return error;
}

static int workload_read(const Istio__Workload__Workload *w, struct unpack *unpack,
			 struct resource *r)
{
	int e;

	r->is_hbone = w->tunnel_protocol == ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	r->is_healthy = w->status == ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY;
	r->capacity = w->capacity ? w->capacity->value : 1;
	r->network = fnv1a(FNV1A_START, w->network, strlen(w->network));
	r->has_waypoint = w->waypoint != NULL;
	label_set(r, w->namespace_, w->name);
	r->node = strdup(w->node);
	if (!r->node)
		return -ENOMEM;
	e = workload_addrs(w, r);
	if (e == 0)
		e = workload_extension(w, unpack, r);
	return e < 0 ? e : workload_services(w, r);
}

static void load_balancing_read(const Istio__Workload__LoadBalancing *lb, struct resource *r)
{
	if (!lb)
		return;
	r->is_passthrough = lb->mode == ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	r->is_allow_unhealthy =
		lb->health_policy == ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	if (lb->mode != ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT &&
	    lb->mode != ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER)
		return;
	for (size_t i = 0; i < lb->n_routing_preference; i++)
		r->is_node_first |=
			lb->routing_preference[i] == ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE;
	r->is_zone_first = lb->n_routing_preference > 0 && !r->is_node_first;
}

static int node_ports_read(const Culvert__Node__Service *x, struct resource *r)
{
	r->node_ports = calloc(x->n_node_ports + 1, sizeof(*r->node_ports));
	if (!r->node_ports)
		return -ENOMEM;
	for (size_t i = 0; i < x->n_node_ports; i++) {
		uint32_t port = x->node_ports[i]->node_port;

		if (cv_port_is_valid(port))
			r->node_ports[r->node_port_count++] = (uint16_t)port;
	}
	return 0;
}

static int service_extension(const Istio__Workload__Service *s, struct unpack *unpack,
			     struct resource *r)
{
	for (size_t i = 0; i < s->n_extensions; i++) {
		const Istio__Workload__Extension *e = s->extensions[i];
		const Culvert__Node__Service *x;
		int error;

		if (!e->config || !streq(e->name, XDS_EXTENSION_SERVICE) || r->node_ports)
			continue;
		x = culvert__node__service__unpack(&unpack->memory, e->config->value.len,
						   e->config->value.data);
		if (!x)
			return unpack_error(unpack);
		r->is_sticky = x->affinity_seconds > 0;
		r->is_open = x->is_open;
		r->selects_mesh = x->selects_mesh;
		error = node_ports_read(x, r);
		if (error < 0)
			return error;
	}
	return 0;
}

static enum resource_families families_of(const Istio__Workload__Service *s)
{
	if (s->ip_families == ISTIO__WORKLOAD__IPFAMILIES__IPV4_ONLY)
		return RESOURCE_FAMILIES_V4;
	if (s->ip_families == ISTIO__WORKLOAD__IPFAMILIES__IPV6_ONLY)
		return RESOURCE_FAMILIES_V6;
	return RESOURCE_FAMILIES_ANY;
}

static int service_addr(const Istio__Workload__NetworkAddress *a, struct resource *r)
{
	struct cidr *c = &r->ranges[r->range_count];

	if (a->prefix_case != ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH ||
	    a->length == a->address.len * 8)
		return addr_add(r, &a->address);
	if (cv_addr_from_bytes(a->address.data, a->address.len, &c->addr) < 0 ||
	    a->length > a->address.len * 8)
		return -EBADMSG;
	c->len = (uint8_t)(a->length + (a->address.len == 4 ? CIDR_V4 : 0));
	r->range_count++;
	return 0;
}

static int service_addrs(const Istio__Workload__Service *s, struct resource *r)
{
	r->addrs = calloc(s->n_addresses + 1, sizeof(*r->addrs));
	r->ranges = calloc(s->n_addresses + 1, sizeof(*r->ranges));
	if (!r->addrs || !r->ranges)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_addresses; i++)
		if (service_addr(s->addresses[i], r) < 0)
			return -EBADMSG;
	return 0;
}

/* Istio: without addresses, a TCP port of such a service is that port of any host. Where a name
 * decides (HTTP, TLS) nothing is open: layer 4 cannot look at it. With addresses that the control
 * plane gave to the names it says so. */
static int service_open_ports(const Istio__Workload__Service *s, struct resource *r)
{
	bool is_open = r->is_open || (r->is_passthrough && s->n_addresses == 0);

	r->open_ports = calloc(s->n_ports + 1, sizeof(*r->open_ports));
	if (!r->open_ports)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_ports && is_open; i++)
		if (s->ports[i]->app_protocol == ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP &&
		    cv_port_is_valid(s->ports[i]->service_port))
			r->open_ports[r->open_port_count++] = (uint16_t)s->ports[i]->service_port;
	return 0;
}

/* "<name>.<namespace>.svc.<cluster domain>" */
static bool is_service_host(const Istio__Workload__Service *s)
{
	size_t name = strlen(s->name), namespace_ = strlen(s->namespace_);
	const char *rest = s->hostname;

	if (!str_has_prefix(rest, s->name) || rest[name] != '.')
		return false;
	rest += name + 1;
	return str_has_prefix(rest, s->namespace_) && str_has_prefix(rest + namespace_, ".svc.");
}

/* Canonical is a Service of Kubernetes and, from istiod since 1.29, the oldest ServiceEntry of a
 * host. Of a host that is called as a Service's who cannot tell takes it for one: to an address
 * that kube-proxy may know nothing goes in plaintext. */
static bool is_kubernetes(const Istio__Workload__Service *s)
{
	return s->canonical && is_service_host(s);
}

static int service_read(const Istio__Workload__Service *s, struct unpack *unpack,
			struct resource *r)
{
	int e;

	r->is_service = true;
	r->has_waypoint = s->waypoint || s->n_weighted_waypoints > 0;
	r->is_namespace_only = s->visibility != ISTIO__WORKLOAD__VISIBILITY__PUBLIC;
	r->families = families_of(s);
	label_set(r, s->namespace_, s->name);
	load_balancing_read(s->load_balancing, r);
	r->is_ours = !is_kubernetes(s) && !r->is_passthrough;
	e = service_extension(s, unpack, r);
	if (e == 0)
		e = service_addrs(s, r);
	if (e == 0)
		e = service_open_ports(s, r);
	return e == 0 ? ports_read(s->n_ports, s->ports, &r->ports, &r->port_count) : e;
}

int resource_read(const void *packed, size_t len, struct resource **ret)
{
	_cleanup_(resource_freep) struct resource *r = calloc(1, sizeof(*r));
	_cleanup_(unpack_resetp) struct unpack unpack;
	const Istio__Workload__Address *a;
	int e = -EBADMSG;

	unpack_init(&unpack, UNPACK_BLOCK);
	if (!r)
		return -ENOMEM;
	a = istio__workload__address__unpack(&unpack.memory, len, packed);
	if (!a)
		return unpack_error(&unpack);
	if (a->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD)
		e = workload_read(a->workload, &unpack, r);
	else if (a->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE)
		e = service_read(a->service, &unpack, r);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}
