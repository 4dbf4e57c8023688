/* SPDX-License-Identifier: Apache-2.0 */
/* pod - where a Pod is filed, and what a change of it touches. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/impl.h"

void addr_key(char buf[MODEL_KEY_MAX], const struct cv_addr *a)
{
	size_t n = 0;

	/* 6 bits in a character; the numbers of IPv4 begin with zeros */
	for (size_t i = 0; i < ARRAY_SIZE(a->w); i += 2) {
		uint64_t w = (uint64_t)be32toh(a->w[i]) << 32 | be32toh(a->w[i + 1]);

		for (int shift = 60; shift >= 0; shift -= 6)
			if (n > 0 || w >> shift)
				buf[n++] = (char)('0' + (w >> shift & 63));
	}
	buf[n] = '\0';
}

void pod_key(char buf[MODEL_KEY_MAX], const struct pod *p)
{
	(void)str_concat(buf, MODEL_KEY_MAX, "pod ", p->e.key);
}

void pods_mark_bucket(struct model *m, const struct index_bucket *b)
{
	const struct index_link *l;

	index_for_each(l, b) entity_mark(m, &((struct pod *)l->owner)->e);
}

static void mark_owner(void *arg, void *owner)
{
	entity_mark(arg, owner);
}

/* What of its own namespace may select it; root_policies are apart. */
static void selectors_mark(struct model *m, const char *ns, const json_t *labels)
{
	const struct index *all[] = {&m->services_by_label, &m->peers_by_label,
				     &m->policies_by_label};
	const struct index *used[ARRAY_SIZE(all) + 1] = {0};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (map_count(all[i]->buckets) > 0)
			used[n++] = all[i];
	selector_candidates_all(used, ns, labels, mark_owner, m);
}

static void slices_mark(struct model *m, const char *target)
{
	const struct index_link *l;

	index_for_each(l, index_find(&m->endpoints_by_target, target))
		entity_mark(m, &((struct slice *)l->owner)->e);
}

/* Those whose messages or workloads say whether this pod is there: everything that selects it or
 * names it. */
static void dependents_mark(struct model *m, const struct pod *p)
{
	const struct object *o = p->e.object;
	const json_t *labels = o->labels;
	char key[MODEL_KEY_MAX];

	selectors_mark(m, o->namespace_, labels);
	selector_candidates(&m->root_policies, m->root_namespace, labels, mark_owner, m);
	if (map_count(m->endpoints_by_target.buckets) == 0 &&
	    map_count(m->entries_by_addr.buckets) == 0)
		return;
	pod_key(key, p);
	slices_mark(m, key);
	for (size_t i = 0; i < p->facts->addrs_count; i++) {
		addr_key(key, &p->facts->addrs[i]);
		slices_mark(m, key);
		service_entries_mark_addr(m, key);
	}
}

static void uid_format(const struct model *m, const struct object *o, char *buf, size_t size)
{
	(void)str_concat(buf, size, m->cluster_id, "//Pod/", o->namespace_, "/", o->name);
}

void pod_unlink(struct model *m, struct pod *p)
{
	char uid[MODEL_KEY_MAX];

	if (!p->facts)
		return;
	dependents_mark(m, p);
	index_del(&m->pods_by_namespace, &p->in_namespace);
	index_del(&m->pods_by_node, &p->in_node);
	for (size_t i = 0; i < p->links_count; i++)
		index_del(i < p->addr_links_count ? &m->pods_by_addr : &m->pods_by_label,
			  &p->links[i]);
	free(p->links);
	p->links = NULL;
	p->links_count = p->addr_links_count = 0;
	p->facts = NULL;
	uid_format(m, p->e.object, uid, sizeof(uid));
	output_unset(m, XDS_ADDRESS, uid);
}

static int labels_link(struct model *m, struct pod *p)
{
	const json_t *labels = p->e.object->labels;
	char buf[MODEL_KEY_MAX];
	const char *key;
	json_t *value;
	int r;

	json_object_foreach ((json_t *)labels, key, value) {
		if (!json_is_string(value))
			continue;
		label_key(buf, p->e.object->namespace_, key, json_string_value(value));
		r = index_add(&m->pods_by_label, buf, p, &p->links[p->links_count]);
		if (r < 0)
			return r;
		p->links_count++;
	}
	return 0;
}

static int addrs_link(struct model *m, struct pod *p)
{
	char key[MODEL_KEY_MAX];
	int r;

	/* The addresses of a host-network pod are its node's. */
	if (p->facts->is_host_network || p->facts->has_ended)
		return 0;
	for (size_t i = 0; i < p->facts->addrs_count; i++) {
		addr_key(key, &p->facts->addrs[i]);
		r = index_add(&m->pods_by_addr, key, p, &p->links[p->links_count]);
		if (r < 0)
			return r;
		p->addr_links_count = ++p->links_count;
	}
	return 0;
}

static int links_make(struct model *m, struct pod *p)
{
	size_t n = p->facts->addrs_count + json_object_size(p->e.object->labels);
	int r;

	p->links = calloc(MAX(n, (size_t)1), sizeof(*p->links));
	if (!p->links)
		return -ENOMEM;
	r = addrs_link(m, p);
	return r < 0 ? r : labels_link(m, p);
}

static int node_link(struct model *m, struct pod *p)
{
	const char *node = p->facts->node;

	return *node ? index_add(&m->pods_by_node, node, p, &p->in_node) : 0;
}

int pod_link(struct model *m, struct pod *p)
{
	int r;

	p->facts = p->e.object->pod;
	if (!p->facts)
		return -EINVAL;
	r = index_add(&m->pods_by_namespace, p->e.object->namespace_, p, &p->in_namespace);
	if (r < 0)
		return r;
	r = node_link(m, p);
	if (r < 0)
		return r;
	r = links_make(m, p);
	if (r < 0)
		return r;
	dependents_mark(m, p);
	return 0;
}
