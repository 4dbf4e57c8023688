/* SPDX-License-Identifier: Apache-2.0 */
/* A workload: what it shares with others of its deployment and of its node is looked up, or made
 * and shared; the rest is one allocation of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "tls/spiffe.h"
#include "xds/types.h"
#include "xds/unpack.h"
#include "ztunnel/arena.h"
#include "ztunnel/decode_internal.h"
#include "ztunnel/node_port.h"
#include "ztunnel/share.h"
#include "ztunnel/signal_rules.h"
#include "ztunnel/state.h"

#define DEFAULT_TRUST_DOMAIN    "cluster.local"
#define DEFAULT_SERVICE_ACCOUNT "default"
#define DEFAULT_CLUSTER         "Kubernetes"
/* Of rounding up, where arrays of several kinds lie in one arena. */
#define ROUNDING 32

typedef Istio__Workload__Workload workload_message;

static const char *or_default(const char *s, const char *fallback)
{
	return s && *s ? s : fallback;
}

/* Keys of what is shared: everything that it says, unambiguously. */

static void key_bytes(struct decoder *d, const void *p, size_t n)
{
	d->is_full |= buf_append(&d->tables->key, p, n) < 0;
}

static void key_begin(struct decoder *d)
{
	d->tables->key.start = 0;
	d->tables->key.end = 0;
	key_bytes(d, "", 1);
}

static void key_text(struct decoder *d, const char *s)
{
	key_bytes(d, s ? s : "", s ? strlen(s) + 1 : 1);
}

static void key_number(struct decoder *d, uint32_t n)
{
	key_bytes(d, &n, sizeof(n));
}

static void key_services(struct decoder *d, const workload_message *m)
{
	key_number(d, (uint32_t)m->n_services);
	for (size_t i = 0; i < m->n_services; i++) {
		const Istio__Workload__PortList *ports = m->services[i]->value;
		size_t n = ports ? ports->n_ports : 0;

		key_text(d, m->services[i]->key);
		key_number(d, (uint32_t)n);
		for (size_t k = 0; k < n; k++) {
			key_number(d, ports->ports[k]->service_port);
			key_number(d, ports->ports[k]->target_port);
		}
	}
}

static void key_waypoint(struct decoder *d, const Istio__Workload__GatewayAddress *g)
{
	key_number(d, g ? g->hbone_mtls_port : 0);
	key_number(d, g ? (uint32_t)g->destination_case : 0);
	if (g && g->destination_case == ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME) {
		key_text(d, g->hostname->namespace_);
		key_text(d, g->hostname->hostname);
	}
	if (g && g->destination_case == ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS) {
		key_number(d, (uint32_t)g->address->address.len);
		key_bytes(d, g->address->address.data, g->address->address.len);
	}
}

/* Of our own additions all but the pod's name. */
static void key_rules(struct decoder *d)
{
	Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;
	struct buf *key = &d->tables->key;
	size_t len;

	if (!d->own)
		return;
	x.client = d->own->client;
	x.server = d->own->server;
	len = culvert__node__workload__get_packed_size(&x);
	d->is_full |= buf_reserve(key, len) < 0;
	if (d->is_full)
		return;
	(void)culvert__node__workload__pack(&x, buf_tail(key));
	buf_produce(key, len);
}

static void key_of_app(struct decoder *d, const workload_message *m)
{
	key_begin(d);
	key_text(d, m->namespace_);
	key_text(d, m->trust_domain);
	key_text(d, m->service_account);
	key_text(d, m->network);
	key_text(d, m->cluster_id);
	key_text(d, m->canonical_name);
	key_text(d, m->canonical_revision);
	key_services(d, m);
	key_number(d, (uint32_t)m->n_authorization_policies);
	for (size_t i = 0; i < m->n_authorization_policies; i++)
		key_text(d, m->authorization_policies[i]);
	key_waypoint(d, m->waypoint);
	key_rules(d);
}

static void key_of_place(struct decoder *d, const workload_message *m)
{
	key_begin(d);
	key_text(d, m->node);
	key_text(d, m->locality ? m->locality->region : NULL);
	key_text(d, m->locality ? m->locality->zone : NULL);
	key_text(d, m->locality ? m->locality->subzone : NULL);
}

/* What is shared. */

/* @ret: of @size bytes, in an arena that has room for @more besides; one reference. */
static int shared_new(struct decoder *d, size_t size, size_t more, struct shared **ret)
{
	struct shared *s;
	int r = arena_new(size + more, &d->arena);

	if (r < 0)
		return r;
	s = arena_alloc(d->arena, 1, size);
	if (!s) {
		arena_free(d->arena);
		return -ENOMEM;
	}
	atomic_init(&s->refs, 1);
	s->arena = d->arena;
	*ret = s;
	return 0;
}

static int decode_services(struct decoder *d, const workload_message *m, struct workload_app *app)
{
	struct workload_service *services = decode_array(d, m->n_services, sizeof(*services));
	int r;

	if (!services)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_services; i++) {
		const Istio__Workload__WorkloadService *s = m->services[i];

		if (!strchr(s->key, '/'))
			return decode_fail(d, "services", "expected keys \"namespace/hostname\"");
		services[i].key = decode_text(d, s->key);
		r = decode_ports(d, s->value ? s->value->n_ports : 0,
				 s->value ? s->value->ports : NULL, &services[i].ports,
				 &services[i].ports_count);
		if (r < 0)
			return r;
	}
	app->services = services;
	app->services_count = m->n_services;
	return 0;
}

static int decode_identity(struct decoder *d, struct workload_app *app)
{
	char id[SPIFFE_ID_SIZE];

	if (d->is_full)
		return -ENOMEM;
	if (spiffe_format(app->trust_domain, app->namespace_, app->service_account, id) < 0)
		return decode_fail(d, "service_account",
				   "trust domain, namespace and account make no SPIFFE ID");
	app->identity = decode_text(d, id);
	return 0;
}

static int decode_rules(struct decoder *d, struct workload_app *app)
{
	int r = 0;

	if (d->own)
		r = signal_rules_decode(d->own->client, d->arena, &app->client_rules);
	if (d->own && r == 0)
		r = signal_rules_decode(d->own->server, d->arena, &app->server_rules);
	return r == -EINVAL ? decode_fail(d, "extensions",
					  "expected at most 32 label names of Prometheus")
			    : r;
}

static int app_fill(struct decoder *d, const workload_message *m, struct workload_app *app)
{
	int r;

	app->namespace_ = decode_text(d, m->namespace_);
	app->trust_domain = decode_text(d, or_default(m->trust_domain, DEFAULT_TRUST_DOMAIN));
	app->service_account =
		decode_text(d, or_default(m->service_account, DEFAULT_SERVICE_ACCOUNT));
	app->network = decode_text(d, m->network);
	app->cluster = decode_text(d, or_default(m->cluster_id, DEFAULT_CLUSTER));
	app->canonical_name = decode_text(d, m->canonical_name);
	app->canonical_revision = decode_text(d, m->canonical_revision);
	r = decode_identity(d, app);
	if (r == 0)
		r = decode_services(d, m, app);
	if (r == 0)
		r = decode_gateway(d, m->waypoint, &app->waypoint);
	if (r == 0)
		r = decode_rules(d, app);
	app->policies_count = m->n_authorization_policies;
	if (r == 0)
		r = decode_texts(d, m->n_authorization_policies, m->authorization_policies,
				 &app->policies);
	return r == 0 && d->is_full ? -ENOMEM : r;
}

/* A little more than it takes; rules come on top. */
static size_t app_size(const workload_message *m)
{
	const char *const texts[] = {m->namespace_, m->network, m->canonical_name,
				     m->canonical_revision};
	size_t n = arena_text_size(or_default(m->cluster_id, DEFAULT_CLUSTER)) + ROUNDING;

	/* the parts of the identity, and the identity itself */
	n += 2 * (arena_text_size(or_default(m->trust_domain, DEFAULT_TRUST_DOMAIN)) +
		  arena_text_size(m->namespace_) +
		  arena_text_size(or_default(m->service_account, DEFAULT_SERVICE_ACCOUNT)));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		n += arena_text_size(texts[i]);
	for (size_t i = 0; i < m->n_services; i++) {
		const Istio__Workload__PortList *ports = m->services[i]->value;

		n += sizeof(struct workload_service) + arena_text_size(m->services[i]->key) +
		     (ports ? ports->n_ports : 0) * sizeof(struct service_port);
	}
	for (size_t i = 0; i < m->n_authorization_policies; i++)
		n += sizeof(char *) + arena_text_size(m->authorization_policies[i]);
	return n;
}

static int app_get(struct decoder *d, const workload_message *m, struct shared **ret)
{
	struct shared *s;
	int r;

	key_of_app(d, m);
	if (d->is_full)
		return -ENOMEM;
	s = share_find(d->tables->apps, &d->tables->key);
	if (s) {
		*ret = shared_ref(s);
		return 0;
	}
	r = shared_new(d, sizeof(struct workload_app), app_size(m), &s);
	if (r < 0)
		return r;
	r = app_fill(d, m, container_of(s, struct workload_app, shared));
	if (r == 0)
		r = share_add(d->tables->apps, &d->tables->key, s);
	if (r < 0) {
		shared_unref(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int place_get(struct decoder *d, const workload_message *m, struct shared **ret)
{
	struct workload_place *place;
	struct shared *s;
	int r;

	key_of_place(d, m);
	if (d->is_full)
		return -ENOMEM;
	s = share_find(d->tables->places, &d->tables->key);
	if (s) {
		*ret = shared_ref(s);
		return 0;
	}
	r = shared_new(d, sizeof(*place), buf_len(&d->tables->key), &s);
	if (r < 0)
		return r;
	place = container_of(s, struct workload_place, shared);
	place->node = decode_text(d, m->node);
	place->region = decode_text(d, m->locality ? m->locality->region : NULL);
	place->zone = decode_text(d, m->locality ? m->locality->zone : NULL);
	place->subzone = decode_text(d, m->locality ? m->locality->subzone : NULL);
	r = d->is_full ? -ENOMEM : share_add(d->tables->places, &d->tables->key, s);
	if (r < 0) {
		shared_unref(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* Its own. */

static int decode_addrs(struct decoder *d, const workload_message *m, struct workload *w)
{
	struct cv_addr *addrs;

	if (m->n_addresses > UINT16_MAX)
		return decode_fail(d, "addresses", "expected at most 65535");
	addrs = decode_array(d, m->n_addresses, sizeof(*addrs));
	if (!addrs)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_addresses; i++)
		if (cv_addr_from_bytes(m->addresses[i].data, m->addresses[i].len, &addrs[i]) < 0)
			return decode_fail(d, "addresses", "expected 4 or 16 bytes");
	w->addrs = addrs;
	/* another network may use the same addresses: reached through its gateway only */
	w->addrs_count = streq(m->network, d->tables->network) ? (uint16_t)m->n_addresses : 0;
	return 0;
}

static size_t host_ports_size(const struct decoder *d)
{
	size_t n = d->own ? d->own->n_host_ports : 0;

	return n ? sizeof(struct host_ports) + n * sizeof(struct host_port) + ROUNDING : 0;
}

static int decode_host_port(struct decoder *d, const Culvert__Node__HostPort *p,
			    struct host_port *ret)
{
	if (!cv_port_is_valid(p->host_port) || !cv_port_is_valid(p->target_port))
		return decode_fail(d, "host_ports", "expected ports 1..65535");
	if (cv_addr_from_bytes(p->address.data, p->address.len, &ret->at.addr) < 0)
		return decode_fail(d, "host_ports.address", "expected 4 or 16 bytes");
	ret->at.port = htons((uint16_t)p->host_port);
	ret->target_port = (uint16_t)p->target_port;
	return 0;
}

static int decode_host_ports(struct decoder *d, struct workload_rare *ret)
{
	size_t n = d->own ? d->own->n_host_ports : 0;
	struct host_ports *ports;
	int r = 0;

	if (!n)
		return 0;
	ports = decode_array(d, 1, sizeof(*ports) + n * sizeof(ports->items[0]));
	if (!ports)
		return -ENOMEM;
	for (; ports->count < n && r == 0; ports->count++)
		r = decode_host_port(d, d->own->host_ports[ports->count],
				     &ports->items[ports->count]);
	ret->host_ports = ports;
	return r;
}

static int decode_enums(struct decoder *d, const workload_message *m, struct workload *w)
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
		return decode_fail(d, "tunnel_protocol", "expected NONE or HBONE");
	}
	if ((unsigned int)m->workload_type > WORKLOAD_JOB)
		return decode_fail(d, "workload_type", "expected DEPLOYMENT, CRONJOB, POD or JOB");
	w->type = (uint8_t)m->workload_type;
	w->is_healthy = m->status == ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY;
	w->is_host_network = m->network_mode == ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	w->is_native_tunnel = m->native_tunnel;
	w->incarnation = d->own ? d->own->incarnation : 0;
	w->is_first_address = d->own && d->own->first_address;
	w->capacity = m->capacity ? m->capacity->value : 1;
	return 0;
}

static bool has_dns_name(const struct decoder *d)
{
	return d->own && *d->own->hostname && *d->own->subdomain;
}

static size_t dns_name_size(const struct decoder *d)
{
	return has_dns_name(d) ? strlen(d->own->hostname) + strlen(d->own->subdomain) + 2 : 0;
}

static int decode_dns_name(struct decoder *d, struct workload_rare *ret)
{
	ret->dns_name = has_dns_name(d) ? arena_printf(d->arena, "%s.%s", d->own->hostname,
						       d->own->subdomain)
					: "";
	return ret->dns_name ? 0 : -ENOMEM;
}

static bool has_rare(const struct decoder *d, const workload_message *m)
{
	return *m->hostname || has_dns_name(d) || (d->own && d->own->n_host_ports);
}

static size_t rare_size(const struct decoder *d, const workload_message *m)
{
	return has_rare(d, m) ? sizeof(struct workload_rare) + arena_text_size(m->hostname) +
					dns_name_size(d) + host_ports_size(d)
			      : 0;
}

static int decode_rare(struct decoder *d, const workload_message *m, struct workload *w)
{
	static const struct workload_rare nothing = {.hostname = "", .dns_name = ""};
	struct workload_rare *rare;
	int r;

	w->rare = &nothing;
	if (!has_rare(d, m))
		return 0;
	rare = decode_array(d, 1, sizeof(*rare));
	if (!rare)
		return -ENOMEM;
	w->rare = rare;
	rare->hostname = decode_text(d, m->hostname);
	r = decode_dns_name(d, rare);
	return r == 0 ? decode_host_ports(d, rare) : r;
}

/* The end of "<cluster>//Pod/<ns>/<name>" as a rule; NULL: not so. */
static const char *name_in_uid(const char *uid, const char *name)
{
	size_t n = strlen(uid), k = strlen(name);

	return k > 0 && n > k && uid[n - k - 1] == '/' && streq(uid + n - k, name) ? uid + n - k
										   : NULL;
}

static bool is_own_name(const workload_message *m)
{
	return streq(m->workload_name, m->name);
}

static size_t own_size(const struct decoder *d, const workload_message *m)
{
	return sizeof(struct workload) + m->n_addresses * sizeof(struct cv_addr) +
	       arena_text_size(m->uid) +
	       (name_in_uid(m->uid, m->name) ? 0 : arena_text_size(m->name)) +
	       (is_own_name(m) ? 0 : arena_text_size(m->workload_name)) + rare_size(d, m);
}

static int workload_new(struct decoder *d, const workload_message *m, struct workload **ret)
{
	struct workload *w;
	struct arena *arena;
	int r = arena_new(own_size(d, m), &arena);

	if (r < 0)
		return r;
	w = arena_alloc(arena, 1, sizeof(*w));
	if (!w) {
		arena_free(arena);
		return -ENOMEM;
	}
	atomic_init(&w->refs, 1);
	*ret = w;
	return 0;
}

static int own_fill(struct decoder *d, const workload_message *m, struct workload *w)
{
	const char *name;
	int r;

	d->arena = arena_of(w);
	w->uid = decode_text(d, m->uid);
	name = w->uid ? name_in_uid(w->uid, m->name) : NULL;
	w->name = name ? name : decode_text(d, m->name);
	w->workload_name = is_own_name(m) ? w->name : decode_text(d, m->workload_name);
	r = decode_enums(d, m, w);
	if (r == 0)
		r = decode_addrs(d, m, w);
	if (r == 0)
		r = decode_rare(d, m, w);
	return r == 0 && d->is_full ? -ENOMEM : r;
}

static int parts_get(struct decoder *d, const workload_message *m, struct workload *w)
{
	struct shared *part = NULL;
	int r = app_get(d, m, &part);

	if (r < 0)
		return r;
	w->app = container_of(part, struct workload_app, shared);
	r = place_get(d, m, &part);
	if (r < 0)
		return r;
	w->place = container_of(part, struct workload_place, shared);
	return 0;
}

static int own_read(struct decoder *d, const workload_message *m)
{
	const ProtobufCBinaryData *bytes =
		decode_extension(m->n_extensions, m->extensions, XDS_EXTENSION_WORKLOAD);

	if (!bytes)
		return 0;
	d->own = culvert__node__workload__unpack(&d->unpack->memory, bytes->len, bytes->data);
	return d->own ? 0 : decode_unread(d, "not a culvert.node.Workload");
}

int decode_workload(struct decoder *d, const workload_message *m, struct workload **ret)
{
	_cleanup_(workload_unrefp) struct workload *w = NULL;
	int r;

	if (!m->uid[0])
		return decode_fail(d, "uid", "expected a value");
	r = own_read(d, m);
	if (r == 0)
		r = workload_new(d, m, &w);
	if (r == 0)
		r = own_fill(d, m, w);
	if (r == 0)
		r = parts_get(d, m, w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}
