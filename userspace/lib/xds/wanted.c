/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/wanted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

#define NAMES_MAX 200000

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;

/** struct item - one name in the queue. */
struct item {
	struct list link;
	bool is_asked; /* by the client: it is owed an answer, whatever it is */
	char name[];
};

struct wanted {
	struct map *names; /* asked for */
	struct map *sent;  /* resources that the client has; "" is no name */
	struct list queue;
	size_t n_queued;
	struct item *current;
	char *node;
};

static char yes;

static int enqueue(struct wanted *w, const char *name, bool is_asked)
{
	size_t size = strlen(name) + 1;
	struct item *i = malloc(sizeof(*i) + size);

	if (!i)
		return -ENOMEM;
	i->is_asked = is_asked;
	memcpy(i->name, name, size);
	list_add_tail(&w->queue, &i->link);
	w->n_queued++;
	return 0;
}

static int enqueue_bucket(struct wanted *w, const struct index_bucket *b)
{
	const struct index_link *l;
	int r = 0;

	index_for_each(l, b)
	{
		const struct resource_entry *e = l->owner;

		if (r == 0 && !map_get_str(w->sent, e->name))
			r = enqueue(w, e->name, false);
	}
	return r;
}

int wanted_new(const struct address_index *ix, const char *node, struct wanted **ret)
{
	_cleanup_(wanted_freep) struct wanted *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	list_init(&w->queue);
	w->node = strdup(node);
	if (!w->node)
		return -ENOMEM;
	r = map_new(&w->names);
	if (r == 0)
		r = map_new(&w->sent);
	if (r == 0 && *node)
		r = enqueue_bucket(w, address_index_find(ix, ADDRESS_BY_NODE, node));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct wanted *wanted_free(struct wanted *w)
{
	struct item *i, *tmp;

	if (!w)
		return NULL;
	list_for_each_entry_safe (i, tmp, &w->queue, link)
		free(i);
	free(w->current);
	(void)map_free(w->names);
	(void)map_free(w->sent);
	free(w->node);
	free(w);
	return NULL;
}

int wanted_subscribe(struct wanted *w, const char *name)
{
	int r;

	/* of one who asks again and again and takes no answer, too */
	if (map_count(w->names) >= NAMES_MAX || w->n_queued >= NAMES_MAX)
		return -ENOSPC;
	r = map_put_str(w->names, name, &yes);
	return r < 0 ? r : enqueue(w, name, true);
}

int wanted_hold(struct wanted *w, const char *name)
{
	if (map_count(w->sent) >= NAMES_MAX)
		return -ENOSPC;
	return map_put_str(w->sent, name, &yes);
}

int wanted_offer(struct wanted *w, const char *name)
{
	return enqueue(w, name, false);
}

/* By its name, one of its IPs, its node, or a service that the client has. */
static bool is_asked_for(const struct wanted *w, const struct resource_entry *e)
{
	if (map_get_str(w->names, e->name))
		return true;
	for (size_t i = 0; e->keys && i < e->keys->n; i++) {
		const struct index_link *l = &e->keys->links[i];
		const char *ip = address_key_is(l, ADDRESS_BY_IP);
		const char *service = address_key_is(l, ADDRESS_BY_SERVICE);
		const char *node = address_key_is(l, ADDRESS_BY_NODE);

		if ((ip && map_get_str(w->names, ip)) ||
		    (service && map_get_str(w->sent, service)) || (node && streq(node, w->node)))
			return true;
	}
	return false;
}

static void forget_unless_asked(struct wanted *w, const struct resource_entry *e)
{
	if (!is_asked_for(w, e))
		(void)map_del_str(w->sent, e->name);
}

void wanted_unsubscribe(struct wanted *w, const struct address_index *ix,
			const struct resources *store, const char *name)
{
	const struct resource_entry *e = resources_get(store, name);
	const struct index_link *l;

	(void)map_del_str(w->names, name);
	if (e)
		forget_unless_asked(w, e);
	index_for_each(l, address_index_find(ix, ADDRESS_BY_IP, name))
		forget_unless_asked(w, l->owner);
	/* after the service itself */
	index_for_each(l, address_index_find(ix, ADDRESS_BY_SERVICE, name))
		forget_unless_asked(w, l->owner);
}

/* Return: 0; -ENOMEM. */
static int mark_sent(struct wanted *w, const struct address_index *ix,
		     const struct resource_entry *e)
{
	bool is_new = !map_get_str(w->sent, e->name);
	int r = map_put_str(w->sent, e->name, &yes);

	if (r == 0 && is_new && e->keys && e->keys->is_service)
		r = enqueue_bucket(w, address_index_find(ix, ADDRESS_BY_SERVICE, e->name));
	return r;
}

/* Workloads that share an address are sent all. Return: the first, NULL: none. */
static int resolve(struct wanted *w, const struct address_index *ix, const struct resources *store,
		   const struct resource_entry **ret)
{
	const struct resource_entry *e = resources_get(store, w->current->name);
	const struct index_bucket *b;
	const struct index_link *l;
	int r = 0;

	*ret = e && e->packed ? e : NULL;
	if (*ret)
		return 0;
	b = address_index_find(ix, ADDRESS_BY_IP, w->current->name);
	index_for_each(l, b)
	{
		e = l->owner;
		if (!*ret)
			*ret = e;
		else if (r == 0)
			r = enqueue(w, e->name, false);
	}
	return r;
}

static bool has_name(char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], name))
			return true;
	return false;
}

bool wanted_is_meant(const delta_request *req)
{
	return req->n_resource_names_subscribe > 0 &&
	       (!has_name(req->resource_names_subscribe, req->n_resource_names_subscribe, "*") ||
		has_name(req->resource_names_unsubscribe, req->n_resource_names_unsubscribe, "*"));
}

int wanted_read(struct wanted *w, const struct address_index *ix, const struct resources *store,
		const delta_request *req)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < req->n_resource_names_subscribe; i++)
		if (!streq(req->resource_names_subscribe[i], "*"))
			r = wanted_subscribe(w, req->resource_names_subscribe[i]);
	for (size_t i = 0; i < req->n_resource_names_unsubscribe; i++)
		wanted_unsubscribe(w, ix, store, req->resource_names_unsubscribe[i]);
	return r;
}

int wanted_compare(struct wanted *w, const struct map *held, const struct resources *store,
		   bool is_same)
{
	int r = 0;

	map_for_each (held, it) {
		const struct resource_entry *e = resources_get(store, it.key);

		if (r < 0 || !e || !e->packed || streq(e->version, it.value) != is_same)
			continue;
		r = is_same ? wanted_hold(w, it.key) : wanted_offer(w, it.key);
	}
	return r;
}

int wanted_next(struct wanted *w, const struct address_index *ix, const struct resources *store,
		struct wanted_answer *ret)
{
	while (!list_is_empty(&w->queue)) {
		const struct resource_entry *e;
		int r;

		free(w->current);
		w->current = list_entry(w->queue.next, struct item, link);
		list_del(&w->current->link);
		w->n_queued--;
		r = resolve(w, ix, store, &e);
		if (r < 0)
			return r;
		if (!w->current->is_asked && (!e || map_get_str(w->sent, e->name)))
			continue;
		*ret = (struct wanted_answer){e, e ? NULL : w->current->name};
		r = e ? mark_sent(w, ix, e) : 0;
		return r < 0 ? r : 1;
	}
	return 0;
}

bool wanted_is_pending(const struct wanted *w)
{
	return !list_is_empty(&w->queue);
}

int wanted_take(struct wanted *w, const struct address_index *ix, const struct resource_entry *e)
{
	int r;

	if (!e->packed)
		return map_del_str(w->sent, e->name) ? 1 : 0;
	if (!map_get_str(w->sent, e->name) && !is_asked_for(w, e))
		return 0;
	r = mark_sent(w, ix, e);
	return r < 0 ? r : 1;
}
