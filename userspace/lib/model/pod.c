/* SPDX-License-Identifier: Apache-2.0 */
/* pod - where a Pod is filed, and what a change of it touches. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/impl.h"

const char *pod_service_account(const struct object *pod)
{
	const char *s = object_string(pod, "spec.serviceAccountName");

	if (!s || !*s)
		s = object_string(pod, "spec.serviceAccount");
	return s && *s ? s : "default";
}

bool pod_is_ready(const struct object *pod)
{
	const json_t *one;
	size_t i;

	if (object_value(pod, "metadata.deletionTimestamp"))
		return false;
	json_array_foreach (object_value(pod, "status.conditions"), i, one) {
		const char *type = json_string_value(json_object_get(one, "type"));
		const char *status = json_string_value(json_object_get(one, "status"));

		if (type && status && streq(type, "Ready") && !streq(status, "True"))
			return false;
	}
	return true;
}

static bool pod_has_ended(const struct object *pod)
{
	const char *phase = object_string(pod, "status.phase");

	return phase && (streq(phase, "Succeeded") || streq(phase, "Failed"));
}

static void addr_add(struct pod *p, const char *text)
{
	struct cv_addr a;

	if (!text || p->addrs_count == POD_ADDRESSES_MAX || cv_addr_parse(text, &a) < 0)
		return;
	if (cv_addr_is_any(&a) || cv_addr_is_loopback(&a))
		return;
	for (size_t i = 0; i < p->addrs_count; i++)
		if (cv_addr_equal(&p->addrs[i], &a))
			return;
	p->addrs[p->addrs_count++] = a;
}

static void pod_read(struct pod *p)
{
	const struct object *o = p->e.object;
	const json_t *one;
	size_t i;

	p->is_host_network = json_is_true(object_value(o, "spec.hostNetwork"));
	p->has_ended = pod_has_ended(o);
	p->addrs_count = 0;
	addr_add(p, object_string(o, "status.podIP"));
	json_array_foreach (object_value(o, "status.podIPs"), i, one)
		addr_add(p, json_string_value(json_object_get(one, "ip")));
}

void addr_key(char buf[MODEL_KEY_MAX], const struct cv_addr *a)
{
	char text[2 * sizeof(a->w) + 1];

	str_hex(a->w, sizeof(a->w), text);
	(void)str_concat(buf, MODEL_KEY_MAX, "addr ", text);
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

	selector_candidates(&m->services_by_label, o->namespace_, labels, mark_owner, m);
	selector_candidates(&m->policies_by_label, o->namespace_, labels, mark_owner, m);
	selector_candidates(&m->peers_by_label, o->namespace_, labels, mark_owner, m);
	if (!streq(o->namespace_, m->root_namespace))
		selector_candidates(&m->policies_by_label, m->root_namespace, labels, mark_owner,
				    m);
	pod_key(key, p);
	slices_mark(m, key);
	for (size_t i = 0; i < p->addrs_count; i++) {
		addr_key(key, &p->addrs[i]);
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

	dependents_mark(m, p);
	index_del(&m->pods_by_namespace, &p->in_namespace);
	index_del(&m->pods_by_node, &p->in_node);
	index_del(&m->pods_by_identity, &p->in_identity);
	for (size_t i = 0; i < p->addrs_count; i++)
		index_del(&m->pods_by_addr, &p->in_addr[i]);
	for (size_t i = 0; i < p->labels_count; i++)
		index_del(&m->pods_by_label, &p->in_labels[i]);
	free(p->in_labels);
	p->in_labels = NULL;
	p->labels_count = 0;
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

	p->in_labels = calloc(json_object_size(labels) + 1, sizeof(*p->in_labels));
	if (!p->in_labels)
		return -ENOMEM;
	json_object_foreach ((json_t *)labels, key, value) {
		if (!json_is_string(value))
			continue;
		label_key(buf, p->e.object->namespace_, key, json_string_value(value));
		r = index_add(&m->pods_by_label, buf, p, &p->in_labels[p->labels_count]);
		if (r < 0)
			return r;
		p->labels_count++;
	}
	return 0;
}

static int addrs_link(struct model *m, struct pod *p)
{
	char key[MODEL_KEY_MAX];
	int r;

	/* The addresses of a host-network pod are its node's. */
	if (p->is_host_network || p->has_ended)
		return 0;
	for (size_t i = 0; i < p->addrs_count; i++) {
		addr_key(key, &p->addrs[i]);
		r = index_add(&m->pods_by_addr, key, p, &p->in_addr[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int node_link(struct model *m, struct pod *p)
{
	const struct object *o = p->e.object;
	const char *node = object_string(o, "spec.nodeName");
	char key[MODEL_KEY_MAX];
	int r;

	if (!node)
		return 0;
	r = index_add(&m->pods_by_node, node, p, &p->in_node);
	if (r < 0 || p->has_ended)
		return r;
	(void)str_concat(key, sizeof(key), node, "\n", o->namespace_, "\n", pod_service_account(o));
	return index_add(&m->pods_by_identity, key, p, &p->in_identity);
}

int pod_link(struct model *m, struct pod *p)
{
	int r;

	pod_read(p);
	r = index_add(&m->pods_by_namespace, p->e.object->namespace_, p, &p->in_namespace);
	if (r < 0)
		return r;
	r = node_link(m, p);
	if (r < 0)
		return r;
	r = addrs_link(m, p);
	if (r < 0)
		return r;
	r = labels_link(m, p);
	if (r < 0)
		return r;
	dependents_mark(m, p);
	return 0;
}
