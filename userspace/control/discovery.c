/* SPDX-License-Identifier: Apache-2.0 */
#include "discovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "source/namespace_selector.h"

#define KEY_MAX 1024

struct discovery {
	const struct discovery_ops *ops;
	void *arg;
	char *always, *root;
	json_t *selectors;   /* counted; NULL: all */
	struct map *objects; /* "kind/namespace/name" -> struct object, counted */
};

/* @ns: the Namespace object; NULL: there is none. */
static bool is_selected(const struct discovery *d, const struct object *ns, const char *name)
{
	const json_t *one;
	size_t i;

	if (json_array_size(d->selectors) == 0 || !*name || streq(name, d->always) ||
	    streq(name, d->root))
		return true;
	json_array_foreach (d->selectors, i, one)
		if (namespace_selector_matches(one, ns, name))
			return true;
	return false;
}

static void object_key(char buf[KEY_MAX], const struct object *obj)
{
	(void)str_concat(buf, KEY_MAX, obj->kind, "/", obj->namespace_, "/", obj->name);
}

static struct object *namespace_find(const struct discovery *d, const char *name)
{
	char key[KEY_MAX];

	(void)str_concat(key, sizeof(key), "Namespace//", name);
	return map_get_str(d->objects, key);
}

static bool is_seen(const struct discovery *d, const struct object *obj)
{
	return json_array_size(d->selectors) == 0 ||
	       is_selected(d, namespace_find(d, obj->namespace_), obj->namespace_);
}

static void tell(const struct discovery *d, struct object *obj, bool is_there)
{
	if (is_there)
		d->ops->on_put(d->arg, obj);
	else
		d->ops->on_delete(d->arg, obj);
}

/* A namespace's labels have changed, or it has come or gone. */
static void namespace_change(const struct discovery *d, const char *name, bool was_seen,
			     bool is_seen_now)
{
	if (was_seen == is_seen_now)
		return;
	map_for_each (d->objects, it) {
		struct object *obj = it.value;

		if (streq(obj->namespace_, name))
			tell(d, obj, is_seen_now);
	}
}

static int remember(struct discovery *d, struct object *obj, struct object **ret_old)
{
	char key[KEY_MAX];
	void **at;

	object_key(key, obj);
	at = map_at_str(d->objects, key, NULL);
	if (!at)
		return -ENOMEM;
	*ret_old = *at;
	*at = object_ref(obj);
	return 0;
}

int discovery_put(struct discovery *d, struct object *obj)
{
	_cleanup_(object_unrefp) struct object *old = NULL;
	bool is_namespace = streq(obj->kind, "Namespace");
	int r = remember(d, obj, &old);

	if (is_seen(d, obj))
		d->ops->on_put(d->arg, obj);
	if (is_namespace && r == 0)
		namespace_change(d, obj->name, is_selected(d, old, obj->name),
				 is_selected(d, obj, obj->name));
	return r < 0 ? r : !old;
}

bool discovery_delete(struct discovery *d, const struct object *obj)
{
	_cleanup_(object_unrefp) struct object *old = NULL;
	char key[KEY_MAX];

	object_key(key, obj);
	old = map_del_str(d->objects, key);
	d->ops->on_delete(d->arg, obj);
	if (old && streq(obj->kind, "Namespace"))
		namespace_change(d, obj->name, is_selected(d, old, obj->name),
				 is_selected(d, NULL, obj->name));
	return old;
}

void discovery_again(const struct discovery *d)
{
	map_for_each (d->objects, it)
		if (is_seen(d, it.value))
			d->ops->on_put(d->arg, it.value);
}

bool discovery_has_namespace(const struct discovery *d, const char *name)
{
	return is_selected(d, namespace_find(d, name), name);
}

void discovery_select(struct discovery *d, json_t *selectors)
{
	json_t *old = d->selectors;

	if (old == selectors || (old && selectors && json_equal(old, selectors)))
		return;
	map_for_each (d->objects, it) {
		struct object *obj = it.value;
		bool was_seen;

		d->selectors = old;
		was_seen = is_seen(d, obj);
		d->selectors = selectors;
		if (was_seen != is_seen(d, obj))
			tell(d, obj, !was_seen);
	}
	d->selectors = json_incref(selectors);
	json_decref(old);
}

int discovery_new(const struct discovery_ops *ops, void *arg, const char *always, const char *root,
		  struct discovery **ret)
{
	_cleanup_(discovery_freep) struct discovery *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->ops = ops;
	d->arg = arg;
	d->always = strdup(always);
	d->root = strdup(root);
	if (!d->always || !d->root)
		return -ENOMEM;
	r = map_new(&d->objects);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct discovery *discovery_free(struct discovery *d)
{
	if (!d)
		return NULL;
	if (d->objects)
		map_for_each (d->objects, it)
			(void)object_unref(it.value);
	map_free(d->objects);
	json_decref(d->selectors);
	free(d->always);
	free(d->root);
	free(d);
	return NULL;
}
