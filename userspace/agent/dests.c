/* SPDX-License-Identifier: Apache-2.0 */
#include "dests.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "entries.h"
#include "frontends.h"
#include "net/cidr.h"
#include "resource.h"
#include "xds/node.h"

/* The endpoints of a service that are known. */
struct members {
	unsigned int hbone, others;
	/* One speaks HBONE; or none is left, and the last one did: while kube-proxy has not heard
	 * of that, its way would be plaintext, while ztunnel refuses. */
	bool is_mesh;
};

struct node {
	char label[CV_NAME_LEN];
	struct xds_node *is;
};

struct dests {
	bool is_registry;
	struct map *resources; /* name -> struct resource */
	struct map *members;   /* "namespace/hostname" -> struct members */
	struct map *nodes;     /* name -> struct node */
	struct entries *entries;
	struct frontends *frontends;
};

size_t dests_key_len(enum dests_map map)
{
	static const size_t lens[DESTS_MAP_MAX] = {
		[DESTS_WORKLOADS] = sizeof(struct cv_addr),
		[DESTS_SERVICES] = sizeof(struct cv_service_key),
		[DESTS_RANGES] = sizeof(struct cv_range_key),
		[DESTS_REGISTERED] = sizeof(struct cv_service_key),
	};

	return lens[map];
}

enum showing_what {
	SHOW,
	HIDE,
	HOLD, /* memory for it, so that it is shown whole or not at all */
	RELEASE,
};

/** struct holding - how far that got. */
struct holding {
	size_t n; /* entries that are held; RELEASE: still to be released */
	bool is_short;
};

/** struct showing - what one resource gives or takes back. */
struct showing {
	struct dests *d;
	const struct resource *r; /* NULL: a node */
	const char *label;
	bool is_mesh; /* as a mesh destination; else as merely registered, or a node's */
	enum showing_what what;
	struct holding *holding; /* with HOLD and RELEASE */
};

static enum entries_claim claim_of(const struct showing *x)
{
	if (!x->r)
		return ENTRIES_NODE;
	if (!x->is_mesh)
		return ENTRIES_PLAIN;
	return x->r->is_service && x->r->is_ours ? ENTRIES_OURS : ENTRIES_MESH;
}

static void entry_change(const struct showing *x, enum dests_map map, const void *key)
{
	const struct entries_key k = {map, key, x->label};

	switch (x->what) {
	case SHOW:
		entries_add(x->d->entries, &k, claim_of(x));
		break;
	case HIDE:
		entries_drop(x->d->entries, &k, claim_of(x));
		break;
	case HOLD:
		if (!x->holding->is_short)
			x->holding->is_short = entries_hold(x->d->entries, map, key) < 0;
		x->holding->n += !x->holding->is_short;
		break;
	case RELEASE:
		if (x->holding->n > 0)
			entries_release(x->d->entries, map, key);
		x->holding->n -= x->holding->n > 0;
		break;
	}
}

static void change_port(const struct showing *x, enum dests_map map, const struct cv_addr *addr,
			uint16_t port)
{
	struct cv_service_key key = {.addr = *addr, .port = htons(port)};

	entry_change(x, map, &key);
}

static void change_range(const struct showing *x, const struct cidr *c, uint16_t port)
{
	struct cv_range_key key = {
		.prefix_len = CV_RANGE_PREFIX + c->len,
		.port = htons(port),
		.is_v4 = cv_addr_is_v4(&c->addr),
		.addr = cidr_mask(c).addr,
	};

	entry_change(x, DESTS_RANGES, &key);
}

/* Every address of both families. */
static void change_open_port(const struct showing *x, uint16_t port)
{
	struct cidr all4 = {.len = CIDR_V4}, all6 = {0};

	all4.addr.w[2] = htonl(0xffff);
	change_range(x, &all4, port);
	change_range(x, &all6, port);
}

/* CV_DEST_NODE */
static const struct cv_addr any_node;

static void ports_change(const struct showing *x, enum dests_map map)
{
	const struct resource *r = x->r;

	for (size_t j = 0; j < r->port_count; j++)
		for (size_t i = 0; i < r->addr_count; i++)
			change_port(x, map, &r->addrs[i], r->ports[j].port);
}

static void ranges_change(const struct showing *x)
{
	const struct resource *r = x->r;

	for (size_t j = 0; j < r->port_count; j++)
		for (size_t i = 0; i < r->range_count; i++)
			change_range(x, &r->ranges[i], r->ports[j].port);
}

/* One outside the mesh has no entry there: but nothing that had it lingers. */
static void service_change(const struct showing *x)
{
	const struct resource *r = x->r;

	ports_change(x, DESTS_SERVICES);
	if (x->is_mesh)
		ranges_change(x);
	for (size_t j = 0; j < r->node_port_count; j++)
		change_port(x, DESTS_SERVICES, &any_node, r->node_ports[j]);
}

/* A node's address is known at the ports of the services that it has endpoints of. Two services may
 * have one of them: each link counts for itself. */
static void host_change(const struct showing *x)
{
	const struct resource *r = x->r;

	for (size_t j = 0; j < r->service_count; j++)
		for (size_t k = 0; k < r->services[j].port_count; k++) {
			uint16_t port = r->services[j].ports[k].target;

			for (size_t i = 0; i < r->host_addr_count && port; i++)
				change_port(x, DESTS_REGISTERED, &r->host_addrs[i], port);
		}
}

/* As service_change(). */
static void workload_change(const struct showing *x)
{
	const struct resource *r = x->r;

	for (size_t i = 0; i < r->addr_count; i++)
		entry_change(x, DESTS_WORKLOADS, &r->addrs[i]);
	for (size_t i = 0; i < r->host_port_count; i++)
		change_port(x, DESTS_SERVICES, &r->host_ports[i].addr, r->host_ports[i].port);
}

/* What is outside the mesh, as the registry has it. */
static void known_change(const struct showing *x)
{
	const struct resource *r = x->r;

	if (r->is_service) {
		ports_change(x, DESTS_REGISTERED);
		ranges_change(x);
		return;
	}
	for (size_t i = 0; i < r->addr_count; i++)
		change_port(x, DESTS_REGISTERED, &r->addrs[i], 0);
	host_change(x);
}

/* Known, and nothing of the mesh, also of a service that is. */
static void open_ports_change(struct dests *d, const struct resource *r, enum showing_what what)
{
	const struct showing x = {d, r, r->label, false, what, NULL};

	for (size_t i = 0; i < r->open_port_count; i++)
		change_open_port(&x, r->open_ports[i]);
}

static void registry_change(struct dests *d, const struct resource *r, bool is_mesh,
			    enum showing_what what)
{
	const struct showing x = {d, r, r->label, is_mesh, what, NULL};

	if (!is_mesh)
		known_change(&x);
	open_ports_change(d, r, what);
}

static void entries_change(const struct showing *x)
{
	if (x->r->is_service)
		service_change(x);
	else
		workload_change(x);
}

static void resource_change(struct dests *d, const struct resource *r, bool is_mesh,
			    enum showing_what what)
{
	const struct showing x = {d, r, r->label, is_mesh, what, NULL};

	entries_change(&x);
	if (d->is_registry)
		registry_change(d, r, is_mesh, what);
}

static struct members *members_get(struct dests *d, const char *service)
{
	struct members *m = map_get_str(d->members, service);

	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (m && map_put_str(d->members, service, m) == 0)
		return m;
	free(m);
	return NULL;
}

static void members_forget(struct dests *d, const char *service)
{
	const struct members *m = map_get_str(d->members, service);

	if (m && m->hbone == 0 && m->others == 0)
		free(map_del_str(d->members, service));
}

static bool service_is_mesh(const struct resource *s, const struct members *m)
{
	if (s->is_ours || s->selects_mesh)
		return true;
	return m && (m->hbone > 0 || (m->is_mesh && !s->is_passthrough));
}

static bool resource_is_mesh(const struct dests *d, const char *name, const struct resource *r)
{
	return r->is_service ? service_is_mesh(r, map_get_str(d->members, name)) : r->is_hbone;
}

/* An endpoint of a service has come or gone. */
static void members_change(struct dests *d, const char *service, bool is_hbone, int by)
{
	const struct resource *s = map_get_str(d->resources, service);
	struct members *m = members_get(d, service);
	bool was_mesh, is_mesh;

	/* without memory it was not counted when it came */
	if (!m || (by < 0 && (is_hbone ? m->hbone : m->others) == 0))
		return;
	was_mesh = s && s->is_service && service_is_mesh(s, m);
	if (is_hbone)
		m->hbone += (unsigned int)by;
	else
		m->others += (unsigned int)by;
	m->is_mesh = m->hbone > 0 || (m->is_mesh && m->others == 0);
	is_mesh = s && s->is_service && service_is_mesh(s, m);
	if (is_mesh != was_mesh) {
		/* shown as one before it is hidden as the other: no moment without an entry */
		resource_change(d, s, is_mesh, SHOW);
		resource_change(d, s, was_mesh, HIDE);
	}
	if (!s || !m->is_mesh)
		members_forget(d, service);
}

static void services_count(struct dests *d, const struct resource *r, int by)
{
	for (size_t i = 0; i < r->service_count; i++)
		members_change(d, r->services[i].key, r->is_hbone, by);
}

static void resource_show(struct dests *d, const char *name, const struct resource *r)
{
	resource_change(d, r, resource_is_mesh(d, name, r), SHOW);
	services_count(d, r, 1);
}

static void resource_hide(struct dests *d, const char *name, const struct resource *r)
{
	resource_change(d, r, resource_is_mesh(d, name, r), HIDE);
	services_count(d, r, -1);
}

static void release(struct dests *d, const struct resource *r, size_t n)
{
	struct holding holding = {.n = n};
	const struct showing x = {d, r, r->label, true, RELEASE, &holding};

	entries_change(&x);
}

/* Memory for all that the mesh may come to have of it, and of its services. */
static int hold(struct dests *d, const struct resource *r)
{
	struct holding holding = {0};
	const struct showing x = {d, r, r->label, true, HOLD, &holding};

	entries_change(&x);
	for (size_t i = 0; i < r->service_count && !holding.is_short; i++)
		holding.is_short = !members_get(d, r->services[i].key);
	if (!holding.is_short)
		return 0;
	release(d, r, holding.n);
	for (size_t i = 0; i < r->service_count; i++)
		members_forget(d, r->services[i].key);
	return -ENOMEM;
}

int dests_put(struct dests *d, const char *name, const void *packed, size_t len)
{
	_cleanup_(resource_freep) struct resource *r = NULL;
	struct resource *old = map_get_str(d->resources, name);
	int e;

	e = resource_read(packed, len, &r);
	if (e < 0)
		return e;
	/* The new one is shown before the old one is hidden, so that an entry that both want is
	 * never missing: a gap would let a connection pass in plaintext. */
	e = hold(d, r);
	if (e < 0)
		return e;
	e = map_put_str(d->resources, name, r);
	if (e < 0) {
		release(d, r, SIZE_MAX);
		return e;
	}
	resource_show(d, name, r);
	if (old) {
		resource_hide(d, name, old);
		release(d, old, SIZE_MAX);
	}
	frontends_replace(d->frontends, name, old, r);
	resource_free(old);
	(void)TAKE_PTR(r);
	return 0;
}

void dests_remove(struct dests *d, const char *name)
{
	struct resource *r = map_del_str(d->resources, name);

	if (!r)
		return;
	resource_hide(d, name, r);
	release(d, r, SIZE_MAX);
	if (r->is_service)
		members_forget(d, name);
	frontends_replace(d->frontends, name, r, NULL);
	resource_free(r);
}

static void node_change(struct dests *d, const struct node *n, enum showing_what what,
			struct holding *holding)
{
	const struct showing x = {d, NULL, n->label, false, what, holding};

	for (size_t i = 0; i < n->is->addrs_count; i++)
		entry_change(&x, DESTS_WORKLOADS, &n->is->addrs[i]);
	for (size_t i = 0; i < n->is->ranges_count; i++)
		change_range(&x, &n->is->ranges[i], 0);
}

static struct node *node_free(struct node *n)
{
	if (n)
		xds_node_free(n->is);
	free(n);
	return NULL;
}
DEFINE_CLEANUP(struct node *, node_free);

int dests_put_node(struct dests *d, const char *name, const void *packed, size_t len)
{
	_cleanup_(node_freep) struct node *n = calloc(1, sizeof(*n));
	struct node *old = map_get_str(d->nodes, name);
	struct holding holding = {0}, all = {.n = SIZE_MAX};
	int r = n ? xds_node_read(packed, len, &n->is) : -ENOMEM;

	if (r < 0)
		return r;
	(void)snprintf(n->label, sizeof(n->label), "node/%s", name);
	node_change(d, n, HOLD, &holding);
	r = holding.is_short ? -ENOMEM : map_put_str(d->nodes, name, n);
	if (r < 0) {
		node_change(d, n, RELEASE, &holding);
		return r;
	}
	node_change(d, n, SHOW, NULL);
	if (old) {
		node_change(d, old, HIDE, NULL);
		node_change(d, old, RELEASE, &all);
	}
	node_free(old);
	(void)TAKE_PTR(n);
	return 0;
}

void dests_remove_node(struct dests *d, const char *name)
{
	_cleanup_(node_freep) struct node *n = map_del_str(d->nodes, name);
	struct holding all = {.n = SIZE_MAX};

	if (!n)
		return;
	node_change(d, n, HIDE, NULL);
	node_change(d, n, RELEASE, &all);
}

static int names_each(const struct map *m, int (*fn)(void *arg, const char *name), void *arg)
{
	int r = 0;

	map_for_each (m, it) {
		r = fn(arg, it.key);
		if (r != 0)
			break;
	}
	return r;
}

int dests_for_each_name(const struct dests *d, int (*fn)(void *arg, const char *name), void *arg)
{
	return names_each(d->resources, fn, arg);
}

int dests_for_each_node(const struct dests *d, int (*fn)(void *arg, const char *name), void *arg)
{
	return names_each(d->nodes, fn, arg);
}

void dests_registry(struct dests *d, bool is_wanted)
{
	if (d->is_registry == is_wanted)
		return;
	map_for_each (d->resources, it)
		registry_change(d, it.value, resource_is_mesh(d, it.key, it.value),
				is_wanted ? SHOW : HIDE);
	d->is_registry = is_wanted;
}

bool dests_has(const struct dests *d, enum dests_map map, const void *key)
{
	return entries_has(d->entries, map, key);
}

uint64_t dests_next_end(const struct dests *d)
{
	return entries_next_end(d->entries);
}

void dests_end(struct dests *d, uint64_t now_us, size_t limit)
{
	entries_end(d->entries, now_us, limit);
}

bool dests_is_mesh(const struct dests *d, const struct cv_addr *addr)
{
	return entries_is_mesh(d->entries, DESTS_WORKLOADS, addr);
}

void dests_flush(struct dests *d)
{
	frontends_flush(d->frontends);
}

bool dests_has_frontend(const struct dests *d, const struct cv_service_key *key)
{
	return frontends_has(d->frontends, key);
}

int dests_new(const struct dests_config *config, struct dests **ret)
{
	_cleanup_(dests_freep) struct dests *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = map_new(&d->resources);
	if (r == 0)
		r = map_new(&d->members);
	if (r == 0)
		r = map_new(&d->nodes);
	if (r == 0)
		r = entries_new(config->ops, config->arg, &d->entries);
	if (r == 0)
		r = frontends_new(config->node, config->frontends_ops, config->arg, &d->frontends);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct dests *dests_free(struct dests *d)
{
	if (!d)
		return NULL;
	if (d->resources)
		map_for_each (d->resources, it)
			resource_free(it.value);
	entries_free(d->entries);
	map_free(d->resources);
	if (d->members)
		map_for_each (d->members, it)
			free(it.value);
	map_free(d->members);
	if (d->nodes)
		map_for_each (d->nodes, it)
			node_free(it.value);
	map_free(d->nodes);
	frontends_free(d->frontends);
	free(d);
	return NULL;
}
