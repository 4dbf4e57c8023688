/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "tls/spiffe.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/types.h"
#include "ztunnel/arena.h"
#include "ztunnel/signal_rules.h"
#include "ztunnel/state.h"

#define DEFAULT_TRUST_DOMAIN    "cluster.local"
#define DEFAULT_SERVICE_ACCOUNT "default"
#define DEFAULT_CLUSTER         "Kubernetes"
#define V4_MAPPED_BITS          96

/* What the steps of one decoding share. `is_full` sticks when the arena had no memory. */
struct decoder {
	struct arena *arena;
	const char *network;
	char *err;
	size_t err_size;
	bool is_full;
};

static int fail(struct decoder *d, const char *field, const char *what)
{
	(void)snprintf(d->err, d->err_size, "%s: %s", field, what);
	return -EINVAL;
}

static const char *text(struct decoder *d, const char *s)
{
	const char *copy = arena_str(d->arena, s);

	if (!copy)
		d->is_full = true;
	return copy;
}

static const char *text_or(struct decoder *d, const char *s, const char *fallback)
{
	return text(d, s && *s ? s : fallback);
}

static void *array(struct decoder *d, size_t n, size_t size)
{
	void *p = arena_alloc(d->arena, n, size);

	if (!p)
		d->is_full = true;
	return p;
}

static int decode_addrs(struct decoder *d, const Istio__Workload__Workload *m, struct workload *w)
{
	struct cv_addr *addrs = array(d, m->n_addresses, sizeof(*addrs));

	if (!addrs)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_addresses; i++)
		if (cv_addr_from_bytes(m->addresses[i].data, m->addresses[i].len, &addrs[i]) < 0)
			return fail(d, "addresses", "expected 4 or 16 bytes");
	w->addrs = addrs;
	/* another network may use the same addresses: reached through its gateway only */
	w->addrs_count = streq(m->network, d->network) ? m->n_addresses : 0;
	return 0;
}

static int decode_ports(struct decoder *d, size_t n, Istio__Workload__Port *const *from,
			const struct service_port **ret)
{
	struct service_port *ports = array(d, n, sizeof(*ports));

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (from[i]->service_port > UINT16_MAX || from[i]->target_port > UINT16_MAX)
			return fail(d, "ports", "expected 0..65535");
		ports[i].service_port = (uint16_t)from[i]->service_port;
		ports[i].target_port = (uint16_t)from[i]->target_port;
	}
	*ret = ports;
	return 0;
}

static int decode_services(struct decoder *d, const Istio__Workload__Workload *m,
			   struct workload *w)
{
	struct workload_service *services = array(d, m->n_services, sizeof(*services));
	int r;

	if (!services)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_services; i++) {
		const Istio__Workload__WorkloadService *s = m->services[i];

		if (!strchr(s->key, '/'))
			return fail(d, "services", "expected keys \"namespace/hostname\"");
		services[i].key = text(d, s->key);
		services[i].ports_count = s->value ? s->value->n_ports : 0;
		r = decode_ports(d, services[i].ports_count, s->value ? s->value->ports : NULL,
				 &services[i].ports);
		if (r < 0)
			return r;
	}
	w->services = services;
	w->services_count = m->n_services;
	return 0;
}

static int decode_gateway(struct decoder *d, const Istio__Workload__GatewayAddress *g,
			  struct gateway_ref *ret)
{
	if (!g)
		return 0;
	if (g->hbone_mtls_port == 0 || g->hbone_mtls_port > UINT16_MAX)
		return fail(d, "waypoint.hbone_mtls_port", "expected 1..65535");
	ret->hbone_port = (uint16_t)g->hbone_mtls_port;
	switch (g->destination_case) {
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME:
		ret->key = arena_printf(d->arena, "%s/%s", g->hostname->namespace_,
					g->hostname->hostname);
		return ret->key ? 0 : -ENOMEM;
	case ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS:
		if (cv_addr_from_bytes(g->address->address.data, g->address->address.len,
				       &ret->addr) < 0)
			return fail(d, "waypoint.address", "expected 4 or 16 bytes");
		return 0;
	default:
		return fail(d, "waypoint", "expected a hostname or an address");
	}
}

static int decode_texts(struct decoder *d, size_t n, char *const *from, const char *const **ret)
{
	const char **list = array(d, n, sizeof(*list));

	for (size_t i = 0; list && i < n; i++)
		list[i] = text(d, from[i]);
	*ret = list;
	return d->is_full ? -ENOMEM : 0;
}

static int decode_identity(struct decoder *d, struct workload *w)
{
	char id[SPIFFE_ID_SIZE];

	if (d->is_full)
		return -ENOMEM;
	if (spiffe_format(w->trust_domain, w->namespace_, w->service_account, id) < 0)
		return fail(d, "service_account",
			    "trust domain, namespace and account make no SPIFFE ID");
	w->identity = text(d, id);
	return 0;
}

static void decode_texts_of_workload(struct decoder *d, const Istio__Workload__Workload *m,
				     struct workload *w)
{
	w->uid = text(d, m->uid);
	w->name = text(d, m->name);
	w->namespace_ = text(d, m->namespace_);
	w->trust_domain = text_or(d, m->trust_domain, DEFAULT_TRUST_DOMAIN);
	w->service_account = text_or(d, m->service_account, DEFAULT_SERVICE_ACCOUNT);
	w->node = text(d, m->node);
	w->network = text(d, m->network);
	w->cluster = text_or(d, m->cluster_id, DEFAULT_CLUSTER);
	w->hostname = text(d, m->hostname);
	w->canonical_name = text(d, m->canonical_name);
	w->canonical_revision = text(d, m->canonical_revision);
	w->workload_name = text(d, m->workload_name);
	w->region = text(d, m->locality ? m->locality->region : NULL);
	w->zone = text(d, m->locality ? m->locality->zone : NULL);
	w->subzone = text(d, m->locality ? m->locality->subzone : NULL);
}

static int decode_enums_of_workload(struct decoder *d, const Istio__Workload__Workload *m,
				    struct workload *w)
{
	switch (m->tunnel_protocol) {
	case ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE:
		w->protocol = WORKLOAD_TCP;
		break;
	case ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE:
		w->protocol = WORKLOAD_HBONE;
		break;
	default:
		/* sent in plaintext because we do not know better? never */
		return fail(d, "tunnel_protocol", "expected NONE or HBONE");
	}
	if ((unsigned int)m->workload_type > WORKLOAD_JOB)
		return fail(d, "workload_type", "expected DEPLOYMENT, CRONJOB, POD or JOB");
	w->type = (enum workload_type)m->workload_type;
	w->is_healthy = m->status == ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY;
	w->is_host_network = m->network_mode == ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	w->is_native_tunnel = m->native_tunnel;
	w->capacity = m->capacity ? m->capacity->value : 1;
	return 0;
}

/* Our own additions; what is another's is not ours to read. */
static const ProtobufCBinaryData *extension_find(size_t n, Istio__Workload__Extension *const *list,
						 const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (list[i]->config && streq(list[i]->name, name))
			return &list[i]->config->value;
	return NULL;
}

static int decode_rules(struct decoder *d, const Culvert__Node__Workload *x, struct workload *w)
{
	int r = signal_rules_decode(x->client, d->arena, &w->client_rules);

	if (r == 0)
		r = signal_rules_decode(x->server, d->arena, &w->server_rules);
	return r == -EINVAL ? fail(d, "extensions", "expected at most 32 label names of Prometheus")
			    : r;
}

static int decode_workload_extension(struct decoder *d, const Istio__Workload__Workload *m,
				     struct workload *w)
{
	const ProtobufCBinaryData *bytes =
		extension_find(m->n_extensions, m->extensions, XDS_EXTENSION_WORKLOAD);
	Culvert__Node__Workload *x;
	int r;

	w->dns_name = "";
	if (!bytes)
		return 0;
	x = culvert__node__workload__unpack(NULL, bytes->len, bytes->data);
	if (!x)
		return fail(d, "extensions", "not a culvert.node.Workload");
	w->is_first_address = x->first_address;
	if (*x->hostname && *x->subdomain)
		w->dns_name = arena_printf(d->arena, "%s.%s", x->hostname, x->subdomain);
	r = decode_rules(d, x, w);
	culvert__node__workload__free_unpacked(x, NULL);
	return w->dns_name ? r : -ENOMEM;
}

static int decode_service_extension(struct decoder *d, const Istio__Workload__Service *m,
				    struct service_def *s)
{
	const ProtobufCBinaryData *bytes =
		extension_find(m->n_extensions, m->extensions, XDS_EXTENSION_SERVICE);
	Culvert__Node__Service *x;
	int r;

	if (!bytes)
		return 0;
	x = culvert__node__service__unpack(NULL, bytes->len, bytes->data);
	if (!x)
		return fail(d, "extensions", "not a culvert.node.Service");
	s->is_sticky = x->affinity_seconds > 0;
	s->visible_to_count = x->n_visible_to;
	r = decode_texts(d, x->n_visible_to, x->visible_to, &s->visible_to);
	culvert__node__service__free_unpacked(x, NULL);
	return r;
}

static int decode_workload(struct decoder *d, const Istio__Workload__Workload *m,
			   struct workload *w)
{
	int r;

	if (!m->uid[0])
		return fail(d, "uid", "expected a value");
	decode_texts_of_workload(d, m, w);
	r = decode_enums_of_workload(d, m, w);
	if (r == 0)
		r = decode_identity(d, w);
	if (r == 0)
		r = decode_addrs(d, m, w);
	if (r == 0)
		r = decode_services(d, m, w);
	if (r == 0)
		r = decode_gateway(d, m->waypoint, &w->waypoint);
	if (r == 0)
		r = decode_workload_extension(d, m, w);
	w->policies_count = m->n_authorization_policies;
	if (r == 0)
		r = decode_texts(d, m->n_authorization_policies, m->authorization_policies,
				 &w->policies);
	return r;
}

static int decode_vips(struct decoder *d, const Istio__Workload__Service *m, struct service_def *s)
{
	struct service_vip *vips = array(d, m->n_addresses, sizeof(*vips));

	if (!vips)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_addresses; i++) {
		const Istio__Workload__NetworkAddress *a = m->addresses[i];
		struct service_vip *v = &vips[s->vips_count];
		uint32_t len = 8 * (uint32_t)a->address.len;

		if (!streq(a->network, d->network))
			continue;
		if (cv_addr_from_bytes(a->address.data, a->address.len, &v->addr) < 0)
			return fail(d, "addresses", "expected 4 or 16 bytes");
		if (a->prefix_case == ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH) {
			if (a->length > len)
				return fail(d, "addresses.length", "longer than the address");
			len = a->length;
		}
		v->len = (uint8_t)(len + (a->address.len == 4 ? V4_MAPPED_BITS : 0));
		s->vips_count++;
	}
	s->vips = vips;
	return 0;
}

static int decode_lb(struct decoder *d, const Istio__Workload__LoadBalancing *lb,
		     struct service_def *s)
{
	uint8_t *scopes;

	if (!lb)
		return 0;
	scopes = array(d, lb->n_routing_preference, sizeof(*scopes));
	if (!scopes)
		return -ENOMEM;
	for (size_t i = 0; i < lb->n_routing_preference; i++) {
		if ((unsigned int)lb->routing_preference[i] > SERVICE_SCOPE_NETWORK)
			return fail(d, "load_balancing.routing_preference", "unknown scope");
		scopes[i] = (uint8_t)lb->routing_preference[i];
	}
	if ((unsigned int)lb->mode > SERVICE_LB_PASSTHROUGH)
		return fail(d, "load_balancing.mode", "unknown mode");
	s->lb_mode = (enum service_lb_mode)lb->mode;
	s->lb_scopes = scopes;
	s->lb_scopes_count = lb->n_routing_preference;
	s->is_allow_unhealthy =
		lb->health_policy == ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	return 0;
}

static int decode_service(struct decoder *d, const Istio__Workload__Service *m,
			  struct service_def *s)
{
	int r;

	if (!m->namespace_[0] || !m->hostname[0])
		return fail(d, "hostname", "expected namespace and hostname");
	if ((unsigned int)m->ip_families > SERVICE_FAMILIES_DUAL)
		return fail(d, "ip_families", "unknown value");
	s->key = arena_printf(d->arena, "%s/%s", m->namespace_, m->hostname);
	if (!s->key)
		return -ENOMEM;
	s->name = text(d, m->name);
	s->namespace_ = text(d, m->namespace_);
	s->hostname = text(d, m->hostname);
	s->is_canonical = m->canonical;
	/* a value that we do not know hides more, not less */
	s->is_namespace_only = m->visibility != ISTIO__WORKLOAD__VISIBILITY__PUBLIC;
	s->families = (enum service_families)m->ip_families;
	s->ports_count = m->n_ports;
	r = decode_vips(d, m, s);
	if (r == 0)
		r = decode_ports(d, m->n_ports, m->ports, &s->ports);
	if (r == 0)
		r = decode_gateway(d, m->waypoint, &s->waypoint);
	if (r == 0)
		r = decode_lb(d, m->load_balancing, s);
	if (r == 0)
		r = decode_service_extension(d, m, s);
	s->sans_count = m->n_subject_alt_names;
	if (r == 0)
		r = decode_texts(d, m->n_subject_alt_names, m->subject_alt_names, &s->sans);
	return r;
}

static int decode_to_workload(struct decoder *d, const Istio__Workload__Workload *m,
			      struct workload **ret)
{
	_cleanup_(workload_unrefp) struct workload *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	atomic_init(&w->refs, 1);
	r = arena_new(&w->arena);
	if (r < 0)
		return r;
	d->arena = w->arena;
	r = decode_workload(d, m, w);
	if (r < 0 || d->is_full)
		return r < 0 ? r : -ENOMEM;
	*ret = TAKE_PTR(w);
	return 0;
}

static int decode_to_service(struct decoder *d, const Istio__Workload__Service *m,
			     struct service_def **ret)
{
	_cleanup_(service_def_unrefp) struct service_def *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	r = arena_new(&s->arena);
	if (r < 0)
		return r;
	d->arena = s->arena;
	r = decode_service(d, m, s);
	if (r < 0 || d->is_full)
		return r < 0 ? r : -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size) */
int decode_address(const void *packed, size_t len, const char *network, struct decoded_address *ret,
		   char *err, size_t err_size)
{
	struct decoder d = {.network = network, .err = err, .err_size = err_size};
	struct decoded_address out = {0};
	Istio__Workload__Address *m = istio__workload__address__unpack(NULL, len, packed);
	int r;

	if (!m) {
		(void)snprintf(err, err_size, "not an istio.workload.Address");
		return -EBADMSG;
	}
	switch (m->type_case) {
	case ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD:
		r = decode_to_workload(&d, m->workload, &out.workload);
		break;
	case ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE:
		r = decode_to_service(&d, m->service, &out.service);
		break;
	default:
		r = fail(&d, "type", "expected a workload or a service");
		break;
	}
	istio__workload__address__free_unpacked(m, NULL);
	if (r < 0)
		return r;
	*ret = out;
	return 0;
}
