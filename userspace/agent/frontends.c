/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"

struct load {
	uint64_t healthy; /* weight */
	uint64_t all;     /* with the unhealthy ones */
};

/* A port of the service that endpoints have ways of their own for. */
struct mapped {
	uint16_t port;
	struct load load;
};

/* What is known of one service: itself, and who serves it. */
struct group {
	const struct resource *service; /* NULL: not there (yet) */
	/* endpoints that only ztunnel can reach: anywhere; on this node */
	struct load others, others_near;
	struct mapped *mapped; /* of the others */
	size_t mapped_count;
	uint64_t others_network;
	bool has_networks;            /* not all of the others are in that one */
	const struct resource **here; /* pods of this node */
	size_t here_count;
	bool is_lost; /* memory did not suffice: nothing is known for sure any more */
};

struct frontends {
	char *node;
	const struct frontends_ops *ops;
	void *arg;
	struct map *groups;     /* "namespace/hostname" -> struct group */
	struct map *addr_users; /* struct cv_addr -> number of services that claim it */
	struct map *shown;      /* struct cv_service_key -> the group's pointer */
	struct map *dirty;      /* names of groups to be looked at */
};

static struct group *group_find(const struct frontends *f, const char *key)
{
	return map_get_str(f->groups, key);
}

static struct group *group_need(struct frontends *f, const char *key)
{
	struct group *g = group_find(f, key);

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (g && map_put_str(f->groups, key, g) < 0) {
		free(g);
		g = NULL;
	}
	return g;
}

static void group_free(struct group *g)
{
	free(g->mapped);
	free(g->here);
	free(g);
}

static void group_drop_if_empty(struct frontends *f, const char *key)
{
	struct group *g = group_find(f, key);

	if (!g || g->service || g->others.all || g->here_count || g->is_lost)
		return;
	(void)map_del_str(f->groups, key);
	group_free(g);
}

/* ---- who serves it ---- */

static bool is_here(const struct frontends *f, const struct resource *w)
{
	return w->is_hbone && !w->has_waypoint && w->addr_count > 0 && streq(w->node, f->node);
}

static void load_add(struct load *l, const struct resource *w, int by)
{
	uint64_t n = (uint64_t)((int64_t)w->capacity * by);

	l->all += n;
	l->healthy += w->is_healthy ? n : 0;
}

static uint64_t load_of(const struct group *g, const struct load *l)
{
	return g->service->is_allow_unhealthy ? l->all : l->healthy;
}

static struct load *mapped_find(const struct group *g, uint16_t port)
{
	for (size_t i = 0; i < g->mapped_count; i++)
		if (g->mapped[i].port == port)
			return &g->mapped[i].load;
	return NULL;
}

static void mapped_add(struct group *g, const struct resource *w, uint16_t port, int by)
{
	struct load *known = mapped_find(g, port);
	struct mapped *more;

	if (known) {
		load_add(known, w, by);
		return;
	}
	more = realloc(g->mapped, (g->mapped_count + 1) * sizeof(*more));
	if (!more) {
		g->is_lost = true;
		return;
	}
	g->mapped = more;
	g->mapped[g->mapped_count] = (struct mapped){.port = port};
	load_add(&g->mapped[g->mapped_count++].load, w, by);
}

/* Where it is, if only there an address of its means it. */
static void network_note(struct group *g, const struct resource *w)
{
	if (g->others.all == 0)
		g->others_network = w->network;
	g->has_networks |= w->network != g->others_network;
}

/* others_weigh() - @by: 1 or -1. */
static void others_weigh(const struct frontends *f, struct group *g, const struct resource *w,
			 const struct service_link *link, int by)
{
	if (w->is_hbone && w->addr_count == 0)
		return; /* nobody can dial it */
	if (by > 0)
		network_note(g, w);
	load_add(&g->others, w, by);
	if (streq(w->node, f->node))
		load_add(&g->others_near, w, by);
	for (size_t i = 0; i < link->port_count; i++)
		mapped_add(g, w, link->ports[i].port, by);
}

static void group_join(const struct frontends *f, struct group *g, const struct resource *w,
		       const struct service_link *link)
{
	const struct resource **here;

	if (w->capacity == 0)
		return;
	if (!is_here(f, w)) {
		others_weigh(f, g, w, link, 1);
		return;
	}
	here = realloc(g->here, (g->here_count + 1) * sizeof(struct resource *));
	if (!here) {
		g->is_lost = true;
		return;
	}
	g->here = here;
	g->here[g->here_count++] = w;
}

static void group_leave(const struct frontends *f, struct group *g, const struct resource *w,
			const struct service_link *link)
{
	if (w->capacity == 0)
		return;
	if (!is_here(f, w)) {
		others_weigh(f, g, w, link, -1);
		return;
	}
	for (size_t i = 0; i < g->here_count; i++) {
		if (g->here[i] != w)
			continue;
		g->here[i] = g->here[--g->here_count];
		return;
	}
}

/* ---- what of it the programs get ---- */

static bool family_fits(const struct resource *s, const struct cv_addr *addr)
{
	return s->families == RESOURCE_FAMILIES_ANY ||
	       (s->families == RESOURCE_FAMILIES_V4) == cv_addr_is_v4(addr);
}

static const struct cv_addr *endpoint_addr(const struct resource *w, bool is_v4)
{
	for (size_t i = 0; i < w->addr_count; i++)
		if (cv_addr_is_v4(&w->addrs[i]) == is_v4)
			return &w->addrs[i];
	return NULL;
}

static uint16_t target_find(const struct port_map *ports, size_t n, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i].port == port)
			return ports[i].target;
	return 0;
}

/* The endpoint's own map first, then the service's; 0: it does not serve this port. */
static uint16_t endpoint_port(const struct resource *s, const char *key, const struct resource *w,
			      uint16_t port)
{
	uint16_t target = 0;

	for (size_t i = 0; i < w->service_count && !target; i++)
		if (streq(w->services[i].key, key))
			target = target_find(w->services[i].ports, w->services[i].port_count, port);
	return target ? target : target_find(s->ports, s->port_count, port);
}

/* Do ztunnel's choice and lots come to the same? */
static bool is_drawn(const struct group *g)
{
	const struct resource *s = g->service;

	return !s->is_sticky && !s->is_zone_first && !s->is_node_first && !g->has_networks &&
	       g->here_count > 0 && g->others_network == g->here[0]->network;
}

/* May the programs choose, or cast lots whether one of this node's pods serves? */
static bool group_is_fit(const struct group *g)
{
	const struct resource *s = g->service;

	if (!s || g->is_lost || s->has_waypoint || s->is_passthrough || s->is_namespace_only)
		return false;
	if (s->is_node_first)
		return g->here_count > 0 && load_of(g, &g->others_near) == 0;
	return load_of(g, &g->others) == 0 || is_drawn(g);
}

/* What of the others serves a port: where the service says itself to which of theirs it leads, all
 * of them. */
static uint64_t weight_elsewhere(const struct group *g, uint16_t port)
{
	const struct load *mapped;

	if (g->service->is_node_first)
		return 0;
	if (target_find(g->service->ports, g->service->port_count, port))
		return load_of(g, &g->others);
	mapped = mapped_find(g, port);
	return mapped ? load_of(g, mapped) : 0;
}

/* Return: false when an endpoint could not be taken in, and so none is. */
static bool frontend_add(struct cv_frontend *f, const struct cv_addr *addr, uint16_t port,
			 uint32_t capacity)
{
	if (!addr || f->count == CV_FRONTEND_ENDS || capacity > UINT32_MAX - f->weight)
		return false;
	f->weight += capacity;
	f->ends[f->count++] = (struct cv_frontend_end){.to = {.addr = *addr, .port = htons(port)},
						       .weight_end = f->weight};
	return true;
}

/* Return: false when there is more than lots can be cast for. */
static bool frontend_weigh(struct cv_frontend *f, uint64_t elsewhere)
{
	if (elsewhere > UINT32_MAX - f->weight)
		return false;
	f->weight += (uint32_t)elsewhere;
	return true;
}

/* @name: of the service. Return: false when ztunnel must choose. */
static bool frontend_make(const struct group *g, const char *name, const struct cv_addr *addr,
			  uint16_t port, struct cv_frontend *ret)
{
	const struct resource *s = g->service;
	bool is_v4 = cv_addr_is_v4(addr);

	memset(ret, 0, sizeof(*ret));
	if (!group_is_fit(g) || !family_fits(s, addr))
		return false;
	for (size_t i = 0; i < g->here_count; i++) {
		const struct resource *w = g->here[i];
		uint16_t target = endpoint_port(s, name, w, port);

		if ((!w->is_healthy && !s->is_allow_unhealthy) || !target)
			continue;
		if (!frontend_add(ret, endpoint_addr(w, is_v4), target, w->capacity))
			return false;
	}
	return ret->count > 0 && (ret->count == 1 || !s->is_sticky) &&
	       frontend_weigh(ret, weight_elsewhere(g, port));
}

static uintptr_t addr_users(const struct frontends *f, const struct cv_addr *addr)
{
	return (uintptr_t)map_get(f->addr_users, addr, sizeof(*addr));
}

static void frontend_hide(struct frontends *f, const struct cv_service_key *key)
{
	if (map_del(f->shown, key, sizeof(*key)))
		f->ops->on_frontend_gone(f->arg, key);
}

static void frontend_refresh(struct frontends *f, const char *name, struct group *g,
			     const struct cv_service_key *key)
{
	struct cv_frontend frontend;

	/* Whom two services with one address mean depends on who asks. */
	if (addr_users(f, &key->addr) != 1 ||
	    !frontend_make(g, name, &key->addr, ntohs(key->port), &frontend) ||
	    map_put(f->shown, key, sizeof(*key), g) < 0) {
		frontend_hide(f, key);
		return;
	}
	f->ops->on_frontend(f->arg, key, &frontend);
}

typedef void frontend_fn(struct frontends *f, const char *name, struct group *g,
			 const struct cv_service_key *key);

static void frontend_drop(struct frontends *f, const char *name, struct group *g,
			  const struct cv_service_key *key)
{
	frontend_hide(f, key);
}

static void frontends_each(struct frontends *f, const char *name, struct group *g,
			   const struct resource *s, frontend_fn *fn)
{
	for (size_t i = 0; i < s->addr_count; i++)
		for (size_t j = 0; j < s->port_count; j++) {
			struct cv_service_key key = {.addr = s->addrs[i],
						     .port = htons(s->ports[j].port)};

			fn(f, name, g, &key);
		}
}

static void group_refresh(struct frontends *f, const char *name)
{
	struct group *g = group_find(f, name);

	if (g && g->service)
		frontends_each(f, name, g, g->service, frontend_refresh);
	group_drop_if_empty(f, name);
}

/* Once for all that comes together. */
static void group_mark(struct frontends *f, const char *name)
{
	if (map_put_str(f->dirty, name, f) < 0)
		group_refresh(f, name);
}

void frontends_flush(struct frontends *f)
{
	map_for_each (f->dirty, it)
		group_refresh(f, it.key);
	map_clear(f->dirty);
}

/* ---- changes ---- */

static void addrs_claim(struct frontends *f, struct group *g, const struct resource *s, int by)
{
	for (size_t i = 0; i < s->addr_count; i++) {
		uintptr_t users = addr_users(f, &s->addrs[i]) + (uintptr_t)(intptr_t)by;

		if (users == 0)
			(void)map_del(f->addr_users, &s->addrs[i], sizeof(s->addrs[i]));
		else if (map_put(f->addr_users, &s->addrs[i], sizeof(s->addrs[i]), (void *)users) <
			 0)
			g->is_lost = true;
	}
}

/* What another service shows at an address that has become one of two. */
static void clashes_hide(struct frontends *f, const struct resource *s)
{
	map_for_each (f->shown, it) {
		struct cv_service_key key;

		memcpy(&key, it.key, sizeof(key));
		for (size_t i = 0; i < s->addr_count; i++)
			if (cv_addr_equal(&key.addr, &s->addrs[i]) &&
			    addr_users(f, &key.addr) > 1) {
				frontend_hide(f, &key);
				break;
			}
	}
}

static bool has_clash(const struct frontends *f, const struct resource *s)
{
	for (size_t i = 0; i < s->addr_count; i++)
		if (addr_users(f, &s->addrs[i]) > 1)
			return true;
	return false;
}

static void service_replace(struct frontends *f, const char *name, const struct resource *old,
			    const struct resource *new)
{
	struct group *g = group_need(f, name);

	if (!g)
		return;
	if (old && g->service) {
		frontends_each(f, name, g, old, frontend_drop);
		addrs_claim(f, g, old, -1);
	}
	g->service = new;
	if (new) {
		addrs_claim(f, g, new, 1);
		if (has_clash(f, new))
			clashes_hide(f, new);
	}
	group_mark(f, name);
}

static void workload_join(struct frontends *f, const struct resource *w)
{
	for (size_t i = 0; i < w->service_count; i++) {
		struct group *g = group_need(f, w->services[i].key);

		if (g)
			group_join(f, g, w, &w->services[i]);
	}
}

static void workload_leave(struct frontends *f, const struct resource *w)
{
	for (size_t i = 0; i < w->service_count; i++) {
		struct group *g = group_find(f, w->services[i].key);

		if (g)
			group_leave(f, g, w, &w->services[i]);
	}
}

static void workload_mark(struct frontends *f, const struct resource *w)
{
	for (size_t i = 0; i < w->service_count; i++)
		group_mark(f, w->services[i].key);
}

static void workload_replace(struct frontends *f, const struct resource *old,
			     const struct resource *new)
{
	if (old)
		workload_leave(f, old);
	if (new)
		workload_join(f, new);
	if (old)
		workload_mark(f, old);
	if (new)
		workload_mark(f, new);
}

void frontends_replace(struct frontends *f, const char *name, const struct resource *old,
		       const struct resource *new)
{
	const struct resource *old_service = old && old->is_service ? old : NULL;
	const struct resource *new_service = new &&new->is_service ? new : NULL;
	const struct resource *old_workload = old_service ? NULL : old;
	const struct resource *new_workload = new_service ? NULL : new;

	if (old_service || new_service)
		service_replace(f, name, old_service, new_service);
	if (old_workload || new_workload)
		workload_replace(f, old_workload, new_workload);
}

bool frontends_has(const struct frontends *f, const struct cv_service_key *key)
{
	return map_get(f->shown, key, sizeof(*key)) != NULL;
}

/* ---- life ---- */

int frontends_new(const char *node, const struct frontends_ops *ops, void *arg,
		  struct frontends **ret)
{
	_cleanup_(frontends_freep) struct frontends *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->ops = ops;
	f->arg = arg;
	f->node = strdup(node);
	if (!f->node)
		return -ENOMEM;
	r = map_new(&f->groups);
	if (r == 0)
		r = map_new(&f->addr_users);
	if (r == 0)
		r = map_new(&f->shown);
	if (r == 0)
		r = map_new(&f->dirty);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f);
	return 0;
}

struct frontends *frontends_free(struct frontends *f)
{
	if (!f)
		return NULL;
	if (f->groups)
		map_for_each (f->groups, it)
			group_free(it.value);
	map_free(f->groups);
	map_free(f->addr_users);
	map_free(f->shown);
	map_free(f->dirty);
	free(f->node);
	free(f);
	return NULL;
}
