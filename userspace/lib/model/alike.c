/* SPDX-License-Identifier: Apache-2.0 */
#include "model/alike.h"

#include <errno.h>

#include "base/str.h"

#define ALIKE_MAX 16384 /* memory is bounded, also where no two pods are alike */

/** struct list_of - a list of entities in the making. */
struct list_of {
	const struct model *m;
	struct scratch *a;
	const json_t *labels;
	const void **items;
	size_t count, cap;
};

static void list_of_add(struct list_of *l, const void *item)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 2;
		const void **grown = scratch_alloc(l->a, cap * sizeof(*grown));

		if (!grown)
			return;
		for (size_t i = 0; i < l->count; i++)
			grown[i] = l->items[i];
		l->items = grown;
		l->cap = cap;
	}
	l->items[l->count++] = item;
}

static void on_service(void *arg, void *owner)
{
	struct list_of *l = arg;
	const struct service *s = owner;

	if (labels_match(s->selector, l->labels) && !index_find(&l->m->slices_by_service, s->e.key))
		list_of_add(l, s->e.object);
}

static void on_entry(void *arg, void *owner)
{
	struct list_of *l = arg;

	if (labels_match(service_entry_selector(owner), l->labels))
		list_of_add(l, owner);
}

/* As if it had no annotations, which are not what makes pods alike. */
static bool labels_enrol(const struct model *m, const struct pod *p)
{
	const struct object *o = p->e.object;
	const struct object plain = {
		.kind = o->kind, .namespace_ = o->namespace_, .name = o->name, .labels = o->labels};

	return pod_is_enrolled(m, &plain);
}

static int service_fill(struct model *m, const struct pod *p, const struct object *o,
			struct alike_service *ret)
{
	struct scratch *a = &m->alike_memory;

	ret->object = o;
	ret->key = pack_service_key(m, o, a);
	ret->is_by_pod = service_has_named_targets(o);
	return ret->is_by_pod ? 0 : pack_pod_ports(o, p->facts, a, &ret->ports);
}

static int services_fill(struct model *m, const struct pod *p, const struct list_of *objects,
			 struct alike *ret)
{
	struct alike_service *list =
		scratch_alloc(&m->alike_memory, objects->count * sizeof(*list) + 1);

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < objects->count; i++) {
		int r = service_fill(m, p, objects->items[i], &list[i]);

		if (r < 0)
			return r;
	}
	ret->services = list;
	ret->services_count = objects->count;
	return 0;
}

static int alike_fill(struct model *m, const struct pod *p, struct alike *ret)
{
	const char *ns = p->e.object->namespace_;
	const json_t *labels = p->e.object->labels;
	struct list_of services = {.m = m, .a = &m->alike_memory, .labels = labels};
	struct list_of entries = services;
	int r;

	selector_candidates(&m->services_by_label, ns, labels, on_service, &services);
	selector_candidates(&m->entries_by_label, ns, labels, on_entry, &entries);
	r = services_fill(m, p, &services, ret);
	if (r < 0)
		return r;
	ret->entries = (const struct service_entry **)entries.items;
	ret->entries_count = entries.count;
	ret->canonical_name = pack_canonical_name(labels);
	ret->canonical_revision = pack_canonical_revision(labels);
	ret->is_enrolled = labels_enrol(m, p);
	return pod_policies(m, p, &m->alike_memory, &ret->policies, &ret->policies_count);
}

const struct alike *alike_get(struct model *m, const struct pod *p)
{
	/* pooled: pods with the same labels mostly share them */
	const void *key[2] = {p->in_namespace.bucket, p->e.object->labels};
	struct alike *found;
	void **at;

	if (map_count(m->alikes) >= ALIKE_MAX)
		alike_end(m);
	at = map_at(m->alikes, key, sizeof(key), NULL);
	if (!at)
		return NULL;
	found = *at;
	if (found)
		return found;
	found = scratch_alloc(&m->alike_memory, sizeof(*found));
	if (!found || alike_fill(m, p, found) < 0 || m->alike_memory.error) {
		(void)map_del(m->alikes, key, sizeof(key));
		return NULL;
	}
	*at = found;
	return found;
}

void alike_end(struct model *m)
{
	map_clear(m->alikes);
	scratch_reset(&m->alike_memory);
}
