/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/types.h"
#include "xds/unpack.h"
#include "ztunnel/arena.h"
#include "ztunnel/decode_internal.h"
#include "ztunnel/node_port.h"
#include "ztunnel/share.h"
#include "ztunnel/state.h"

#define ROUNDING 32 /* of arrays of several kinds in one arena */
#define KEY_MAX  (64u * 1024 * 1024)
/* Small enough for malloc()'s quickest lists; an address takes one or two. */
#define UNPACK_BLOCK 1000

int decode_fail(struct decoder *d, const char *field, const char *what)
{
	(void)snprintf(d->err, d->err_size, "%s: %s", field, what);
	return -EINVAL;
}

const char *decode_text(struct decoder *d, const char *s)
{
	const char *copy = arena_str(d->arena, s);

	if (!copy)
		d->is_full = true;
	return copy;
}

void *decode_array(struct decoder *d, size_t n, size_t size)
{
	void *p = arena_alloc(d->arena, n, size);

	if (!p)
		d->is_full = true;
	return p;
}

int decode_ports(struct decoder *d, size_t n, Istio__Workload__Port *const *from,
		 const struct service_port **ret, size_t *ret_count)
{
	struct service_port *ports = decode_array(d, n, sizeof(*ports));
	size_t count = 0;

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint32_t port = from[i]->service_port, target = from[i]->target_port;

		if (cv_port_is_valid(port))
			ports[count++] = (struct service_port){
				.service_port = (uint16_t)port,
				.target_port = cv_port_is_valid(target) ? (uint16_t)target : 0,
			};
	}
	*ret = ports;
	*ret_count = count;
	return 0;
}

int decode_gateway(struct decoder *d, const Istio__Workload__GatewayAddress *g,
		   struct gateway_ref *ret)
{
	if (!g)
		return 0;
	if (!cv_port_is_valid(g->hbone_mtls_port))
		return decode_fail(d, "waypoint.hbone_mtls_port", "expected 1..65535");
	ret->hbone_port = (uint16_t)g->hbone_mtls_port;
	switch (g->destination_case) {
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME:
		ret->key = arena_printf(d->arena, "%s/%s", g->hostname->namespace_,
					g->hostname->hostname);
		return ret->key ? 0 : -ENOMEM;
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS:
		if (cv_addr_from_bytes(g->address->address.data, g->address->address.len,
				       &ret->addr) < 0)
			return decode_fail(d, "waypoint.address", "expected 4 or 16 bytes");
		return 0;
	default:
		return decode_fail(d, "waypoint", "expected a hostname or an address");
	}
}

int decode_texts(struct decoder *d, size_t n, char *const *from, const char *const **ret)
{
	const char **list = decode_array(d, n, sizeof(*list));

	for (size_t i = 0; list && i < n; i++)
		list[i] = decode_text(d, from[i]);
	*ret = list;
	return d->is_full ? -ENOMEM : 0;
}

const ProtobufCBinaryData *decode_extension(size_t n, Istio__Workload__Extension *const *list,
					    const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (list[i]->config && streq(list[i]->name, name))
			return &list[i]->config->value;
	return NULL;
}

int decode_unread(struct decoder *d, const char *what)
{
	return d->unpack->is_short ? -ENOMEM : decode_fail(d, "extensions", what);
}

static int decode_node_ports(struct decoder *d, const Culvert__Node__Service *x,
			     struct service_def *s)
{
	struct node_port *ports = decode_array(d, x->n_node_ports, sizeof(*ports));

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < x->n_node_ports; i++) {
		const Culvert__Node__NodePort *p = x->node_ports[i];

		if (cv_port_is_valid(p->node_port) && cv_port_is_valid(p->service_port))
			ports[s->node_ports_count++] = (struct node_port){
				(uint16_t)p->node_port, (uint16_t)p->service_port};
	}
	s->node_ports = ports;
	s->is_external_local = x->is_external_local;
	return 0;
}

/* @vips: those of the service, which has them already. */
static void mark_external(const Culvert__Node__Service *x, struct service_vip *vips, size_t n)
{
	struct cv_addr a;

	for (size_t i = 0; i < x->n_external_addresses; i++) {
		const ProtobufCBinaryData *bytes = &x->external_addresses[i];

		if (cv_addr_from_bytes(bytes->data, bytes->len, &a) < 0)
			continue;
		for (size_t j = 0; j < n; j++)
			vips[j].is_external |= vips[j].len == CIDR_FULL &&
					       memcmp(&vips[j].addr, &a, sizeof(a)) == 0;
	}
}

static int decode_service_extension(struct decoder *d, const Istio__Workload__Service *m,
				    struct service_vip *vips, struct service_def *s)
{
	const ProtobufCBinaryData *bytes =
		decode_extension(m->n_extensions, m->extensions, XDS_EXTENSION_SERVICE);
	Culvert__Node__Service *x;
	int r;

	if (!bytes)
		return 0;
	x = culvert__node__service__unpack(&d->unpack->memory, bytes->len, bytes->data);
	if (!x)
		return decode_unread(d, "not a culvert.node.Service");
	s->is_sticky = x->affinity_seconds > 0;
	s->is_open = x->is_open;
	s->is_canonical |= x->is_first;
	mark_external(x, vips, s->vips_count);
	s->visible_to_count = x->n_visible_to;
	r = decode_texts(d, x->n_visible_to, x->visible_to, &s->visible_to);
	return r == 0 ? decode_node_ports(d, x, s) : r;
}

static int decode_vips(struct decoder *d, const Istio__Workload__Service *m, struct service_def *s,
		       struct service_vip **ret)
{
	struct service_vip *vips = decode_array(d, m->n_addresses, sizeof(*vips));

	if (!vips)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_addresses; i++) {
		const Istio__Workload__NetworkAddress *a = m->addresses[i];
		struct service_vip *v = &vips[s->vips_count];
		uint32_t len = 8 * (uint32_t)a->address.len;

		if (!streq(a->network, d->tables->network))
			continue;
		if (cv_addr_from_bytes(a->address.data, a->address.len, &v->addr) < 0)
			return decode_fail(d, "addresses", "expected 4 or 16 bytes");
		if (a->prefix_case == ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH) {
			if (a->length > len)
				return decode_fail(d, "addresses.length",
						   "longer than the address");
			len = a->length;
		}
		v->len = (uint8_t)(len + (a->address.len == 4 ? CIDR_V4 : 0));
		s->vips_count++;
	}
	s->vips = *ret = vips;
	return 0;
}

static int decode_lb(struct decoder *d, const Istio__Workload__LoadBalancing *lb,
		     struct service_def *s)
{
	uint8_t *scopes;

	if (!lb)
		return 0;
	scopes = decode_array(d, lb->n_routing_preference, sizeof(*scopes));
	if (!scopes)
		return -ENOMEM;
	for (size_t i = 0; i < lb->n_routing_preference; i++) {
		if ((unsigned int)lb->routing_preference[i] > SERVICE_SCOPE_NETWORK)
			return decode_fail(d, "load_balancing.routing_preference", "unknown scope");
		scopes[i] = (uint8_t)lb->routing_preference[i];
	}
	if ((unsigned int)lb->mode > SERVICE_LB_PASSTHROUGH)
		return decode_fail(d, "load_balancing.mode", "unknown mode");
	s->lb_mode = (enum service_lb_mode)lb->mode;
	s->lb_scopes = scopes;
	s->lb_scopes_count = lb->n_routing_preference;
	s->is_allow_unhealthy =
		lb->health_policy == ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	return 0;
}

/* Istio: without addresses, a TCP port of such a service is that port of any host. Where a name
 * decides (HTTP, TLS) nothing is open: layer 4 cannot look at it. With addresses that the control
 * plane gave to the names it says so. */
static int decode_open_ports(struct decoder *d, const Istio__Workload__Service *m,
			     struct service_def *s)
{
	uint16_t *ports;

	if (!s->is_open && (s->lb_mode != SERVICE_LB_PASSTHROUGH || m->n_addresses > 0))
		return 0;
	ports = decode_array(d, m->n_ports, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_ports; i++)
		if (m->ports[i]->app_protocol == ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP &&
		    cv_port_is_valid(m->ports[i]->service_port))
			ports[s->open_ports_count++] = (uint16_t)m->ports[i]->service_port;
	s->open_ports = ports;
	return 0;
}

static int decode_service(struct decoder *d, const Istio__Workload__Service *m,
			  struct service_def *s)
{
	struct service_vip *vips = NULL;
	int r;

	if (!m->namespace_[0] || !m->hostname[0])
		return decode_fail(d, "hostname", "expected namespace and hostname");
	if ((unsigned int)m->ip_families > SERVICE_FAMILIES_DUAL)
		return decode_fail(d, "ip_families", "unknown value");
	s->key = arena_printf(d->arena, "%s/%s", m->namespace_, m->hostname);
	if (!s->key)
		return -ENOMEM;
	s->name = decode_text(d, m->name);
	s->namespace_ = decode_text(d, m->namespace_);
	s->hostname = decode_text(d, m->hostname);
	s->is_canonical = m->canonical;
	/* a value that we do not know hides more, not less */
	s->is_namespace_only = m->visibility != ISTIO__WORKLOAD__VISIBILITY__PUBLIC;
	s->families = (enum service_families)m->ip_families;
	r = decode_vips(d, m, s, &vips);
	if (r == 0)
		r = decode_ports(d, m->n_ports, m->ports, &s->ports, &s->ports_count);
	if (r == 0)
		r = decode_gateway(d, m->waypoint, &s->waypoint);
	if (r == 0)
		r = decode_lb(d, m->load_balancing, s);
	if (r == 0)
		r = decode_service_extension(d, m, vips, s);
	if (r == 0)
		r = decode_open_ports(d, m, s);
	s->sans_count = m->n_subject_alt_names;
	if (r == 0)
		r = decode_texts(d, m->n_subject_alt_names, m->subject_alt_names, &s->sans);
	return r;
}

/* What a service without much about it takes. */
static size_t service_size(const Istio__Workload__Service *m)
{
	return arena_text_size(m->name) + 2 * arena_text_size(m->namespace_) +
	       2 * arena_text_size(m->hostname) + m->n_addresses * sizeof(struct service_vip) +
	       m->n_ports * sizeof(struct service_port) + ROUNDING;
}

static int decode_to_service(struct decoder *d, const Istio__Workload__Service *m,
			     struct service_def **ret)
{
	_cleanup_(service_def_unrefp) struct service_def *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	r = arena_new(service_size(m), &s->arena);
	if (r < 0)
		return r;
	d->arena = s->arena;
	r = decode_service(d, m, s);
	if (r < 0 || d->is_full)
		return r < 0 ? r : -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

int decode_tables_new(const char *network, struct decode_tables **ret)
{
	_cleanup_(decode_tables_freep) struct decode_tables *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->key.limit = KEY_MAX;
	t->network = strdup(network);
	r = t->network ? share_new(&t->apps) : -ENOMEM;
	if (r == 0)
		r = share_new(&t->places);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct decode_tables *decode_tables_free(struct decode_tables *t)
{
	if (!t)
		return NULL;
	share_free(t->apps);
	share_free(t->places);
	buf_reset(&t->key);
	free(t->network);
	free(t);
	return NULL;
}

/* NOLINTNEXTLINE(readability-function-size) */
int decode_address(struct decode_tables *t, const void *packed, size_t len,
		   struct decoded_address *ret, char *err, size_t err_size)
{
	_cleanup_(unpack_resetp) struct unpack unpack;
	struct decoder d = {.tables = t, .unpack = &unpack, .err = err, .err_size = err_size};
	struct decoded_address out = {0};
	Istio__Workload__Address *m;
	int r;

	unpack_init(&unpack, UNPACK_BLOCK);
	m = istio__workload__address__unpack(&unpack.memory, len, packed);
	if (!m && unpack.is_short)
		return -ENOMEM;
	if (!m) {
		(void)snprintf(err, err_size, "not an istio.workload.Address");
		return -EBADMSG;
	}
	switch (m->type_case) {
	case ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD:
		r = decode_workload(&d, m->workload, &out.workload);
		break;
	case ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE:
		r = decode_to_service(&d, m->service, &out.service);
		break;
	default:
		r = decode_fail(&d, "type", "expected a workload or a service");
		break;
	}
	if (r < 0)
		return r;
	*ret = out;
	return 0;
}
