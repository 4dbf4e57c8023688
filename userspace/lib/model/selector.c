/* SPDX-License-Identifier: Apache-2.0 */
#include "model/selector.h"

#include <string.h>

#include "base/str.h"
#include "model/impl.h"

static const char *value_text(const json_t *v)
{
	const char *s = json_string_value(v);

	return s ? s : "";
}

size_t label_key(char buf[MODEL_KEY_MAX], const char *ns, const char *key, const char *value)
{
	return str_concat(buf, MODEL_KEY_MAX, ns, "\n", key, "\n", value);
}

static void empty_key(char buf[MODEL_KEY_MAX], const char *ns)
{
	(void)str_concat(buf, MODEL_KEY_MAX, ns, "\n");
}

int selector_file(struct index *ix, const char *ns, const json_t *selector, void *owner,
		  struct index_link *l)
{
	void *first = json_object_iter((json_t *)selector);
	char key[MODEL_KEY_MAX];

	if (first)
		label_key(key, ns, json_object_iter_key(first),
			  value_text(json_object_iter_value(first)));
	else
		empty_key(key, ns);
	return index_add(ix, key, owner, l);
}

static void bucket_call(const struct index_bucket *b, void (*fn)(void *arg, void *owner), void *arg)
{
	const struct index_link *l;

	index_for_each(l, b) fn(arg, l->owner);
}

void selector_candidates_all(const struct index *const *indexes, const char *ns,
			     const json_t *labels, void (*fn)(void *arg, void *owner), void *arg)
{
	char buf[MODEL_KEY_MAX];
	const char *key;
	json_t *value;

	empty_key(buf, ns);
	for (size_t i = 0; indexes[i]; i++)
		bucket_call(index_find(indexes[i], buf), fn, arg);
	json_object_foreach ((json_t *)labels, key, value) {
		size_t len = label_key(buf, ns, key, value_text(value));
		uint64_t hash = map_hash(buf, len);

		for (size_t i = 0; indexes[i]; i++)
			bucket_call(map_get_hashed(indexes[i]->buckets, hash, buf, len), fn, arg);
	}
}

void selector_candidates(const struct index *ix, const char *ns, const json_t *labels,
			 void (*fn)(void *arg, void *owner), void *arg)
{
	const struct index *const indexes[] = {ix, NULL};

	if (map_count(ix->buckets) > 0)
		selector_candidates_all(indexes, ns, labels, fn, arg);
}

/* The smallest set of pods that a selector's pairs leave; NULL: none. */
static struct index_bucket *smallest_bucket(const struct model *m, const char *ns,
					    const json_t *selector)
{
	struct index_bucket *best = NULL;
	char buf[MODEL_KEY_MAX];
	const char *key;
	json_t *value;

	if (json_object_size(selector) == 0)
		return index_find(&m->pods_by_namespace, ns);
	json_object_foreach ((json_t *)selector, key, value) {
		struct index_bucket *b;

		label_key(buf, ns, key, value_text(value));
		b = index_find(&m->pods_by_label, buf);
		if (!b)
			return NULL;
		if (!best || b->count < best->count)
			best = b;
	}
	return best;
}

bool selector_pods(const struct model *m, const char *ns, const json_t *selector,
		   bool (*fn)(void *arg, struct pod *pod), void *arg)
{
	const struct index_bucket *b = smallest_bucket(m, ns, selector);
	const struct index_link *l;

	index_for_each(l, b)
	{
		struct pod *p = l->owner;

		if (labels_match(selector, p->e.object->labels) && fn(arg, p))
			return true;
	}
	return false;
}

bool selector_pods_scope(const struct model *m, const char *ns, const json_t *selector,
			 bool (*fn)(void *arg, struct pod *pod), void *arg)
{
	if (strcmp(ns, m->root_namespace) != 0)
		return selector_pods(m, ns, selector, fn, arg);
	map_for_each (m->pods_by_namespace.buckets, it)
		if (selector_pods(m, it.key, selector, fn, arg))
			return true;
	return false;
}

/* When much comes at once most pods are marked already. */
static void mark_selected(struct model *m, const char *ns, const json_t *selector)
{
	const struct index_bucket *b = smallest_bucket(m, ns, selector);
	const struct index_link *l;

	index_for_each(l, b)
	{
		struct pod *p = l->owner;

		if (list_is_empty(&p->e.dirty) && labels_match(selector, p->e.object->labels))
			entity_mark(m, &p->e);
	}
}

void selector_mark(struct model *m, const char *ns, const json_t *selector, bool is_root_wide)
{
	if (!is_root_wide || strcmp(ns, m->root_namespace) != 0) {
		mark_selected(m, ns, selector);
		return;
	}
	map_for_each (m->pods_by_namespace.buckets, it)
		mark_selected(m, it.key, selector);
}
