/* SPDX-License-Identifier: Apache-2.0 */
#include "dests.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "frontends.h"
#include "resource.h"

/* How many resources want an entry. Two workloads may share an address for a while (IP reuse), two
 * services a VIP. */
struct entry {
	unsigned int users;
};

struct dests {
	const struct dests_ops *ops;
	void *arg;
	struct map *resources; /* name -> struct resource */
	struct map
		*hbone_count;  /* "namespace/hostname" -> number of HBONE endpoints, as a pointer */
	struct map *workloads; /* struct cv_addr -> struct entry */
	struct map *services;  /* struct cv_service_key -> struct entry */
	struct frontends *frontends;
};

/* Count one more user of a key. Return: true when it is the first. Lack of memory counts as not the
 * first: the entry then misses until the resource changes, as any daemon out of memory may. */
static bool entry_get(struct map *m, const void *key, size_t len)
{
	struct entry *e = map_get(m, key, len);

	if (e) {
		e->users++;
		return false;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return false;
	e->users = 1;
	if (map_put(m, key, len, e) < 0) {
		free(e);
		return false;
	}
	return true;
}

/* Return: true when that was the last user. */
static bool entry_put(struct map *m, const void *key, size_t len)
{
	struct entry *e = map_get(m, key, len);

	if (!e || --e->users > 0)
		return false;
	(void)map_del(m, key, len);
	free(e);
	return true;
}

static struct cv_dest dest_of(const struct resource *r)
{
	struct cv_dest dest = {.flags = CV_DEST_MESH};

	memcpy(dest.name, r->label, sizeof(dest.name));
	return dest;
}

static void service_key_show(struct dests *d, const struct resource *r,
			     const struct cv_service_key *key, bool is_shown)
{
	struct cv_dest dest = dest_of(r);

	if (is_shown) {
		(void)entry_get(d->services, key, sizeof(*key));
		d->ops->on_service(d->arg, key, &dest);
	} else if (entry_put(d->services, key, sizeof(*key))) {
		d->ops->on_service_gone(d->arg, key);
	}
}

static void service_show(struct dests *d, const struct resource *r, bool is_shown)
{
	for (size_t i = 0; i < r->addr_count; i++)
		for (size_t j = 0; j < r->port_count; j++) {
			struct cv_service_key key = {.addr = r->addrs[i],
						     .port = htons(r->ports[j].port)};

			service_key_show(d, r, &key, is_shown);
		}
}

static uintptr_t hbone_count(const struct dests *d, const char *service)
{
	return (uintptr_t)map_get_str(d->hbone_count, service);
}

/* One endpoint of a service begins or ceases to speak HBONE. */
static void hbone_count_change(struct dests *d, const char *service, int by)
{
	uintptr_t old = hbone_count(d, service), new = old + (uintptr_t)(intptr_t)by;
	struct resource *s = map_get_str(d->resources, service);

	if (new == 0)
		(void)map_del_str(d->hbone_count, service);
	else if (map_put_str(d->hbone_count, service, (void *)new) < 0)
		return;
	if (s && s->is_service && !s->is_ours && (old == 0) != (new == 0))
		service_show(d, s, new > 0);
}

static void workload_show(struct dests *d, const struct resource *r)
{
	struct cv_dest dest = dest_of(r);

	for (size_t i = 0; i < r->addr_count; i++) {
		(void)entry_get(d->workloads, &r->addrs[i], sizeof(r->addrs[i]));
		d->ops->on_workload(d->arg, &r->addrs[i], &dest);
	}
	for (size_t i = 0; i < r->service_count; i++)
		hbone_count_change(d, r->services[i].key, 1);
}

static void workload_hide(struct dests *d, const struct resource *r)
{
	for (size_t i = 0; i < r->addr_count; i++)
		if (entry_put(d->workloads, &r->addrs[i], sizeof(r->addrs[i])))
			d->ops->on_workload_gone(d->arg, &r->addrs[i]);
	for (size_t i = 0; i < r->service_count; i++)
		hbone_count_change(d, r->services[i].key, -1);
}

static void resource_show(struct dests *d, const char *name, const struct resource *r)
{
	if (r->is_service && (r->is_ours || hbone_count(d, name) > 0))
		service_show(d, r, true);
	else if (!r->is_service && r->is_hbone)
		workload_show(d, r);
}

static void resource_hide(struct dests *d, const char *name, const struct resource *r)
{
	if (r->is_service && (r->is_ours || hbone_count(d, name) > 0))
		service_show(d, r, false);
	else if (!r->is_service && r->is_hbone)
		workload_hide(d, r);
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
	e = map_put_str(d->resources, name, r);
	if (e < 0)
		return e;
	resource_show(d, name, r);
	if (old)
		resource_hide(d, name, old);
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
	frontends_replace(d->frontends, name, r, NULL);
	resource_free(r);
}

bool dests_has_workload(const struct dests *d, const struct cv_addr *addr)
{
	return map_get(d->workloads, addr, sizeof(*addr)) != NULL;
}

bool dests_has_service(const struct dests *d, const struct cv_service_key *key)
{
	return map_get(d->services, key, sizeof(*key)) != NULL;
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
	d->ops = config->ops;
	d->arg = config->arg;
	r = map_new(&d->resources);
	if (r == 0)
		r = map_new(&d->hbone_count);
	if (r == 0)
		r = map_new(&d->workloads);
	if (r == 0)
		r = map_new(&d->services);
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
	if (d->workloads)
		map_for_each (d->workloads, it)
			free(it.value);
	if (d->services)
		map_for_each (d->services, it)
			free(it.value);
	map_free(d->resources);
	map_free(d->hbone_count);
	map_free(d->workloads);
	map_free(d->services);
	frontends_free(d->frontends);
	free(d);
	return NULL;
}
