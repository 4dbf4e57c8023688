/* SPDX-License-Identifier: Apache-2.0 */
/* kube - a source that lists and watches an API server: one kube_watch per kind, and what each
 * object was last. A list replaces what is known; within a watch only newer versions count, so that
 * repeated and reordered events do no harm. While a kind is cut off, changes of others are no
 * consistent state; when that lasts, the user hears of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "source/kube_prune.h"
#include "source/kube_resource.h"
#include "source/kube_watch.h"
#include "source/schema.h"
#include "source/source_impl.h"

/* How long others wait for a kind that is cut off. */
#define CUT_US 10000000ULL

/** struct entry - one object. */
struct entry {
	struct object *object;  /* NULL: never had a good state */
	struct object *refused; /* errors of it stand with the user; NULL: none do */
	const char *read_as;    /* group and version of what was heard last */
	uint64_t version;       /* 0: not a number */
	uint64_t round;         /* number of the list that named it last */
	bool is_delivered;      /* the user has @object */
};

/** struct kind - one kind under watch. */
struct kind {
	struct kube *kube;
	const struct kube_resource *resource;
	const struct schema_kind *schema;
	struct kube_watch *watch;
	struct map *entries; /* "namespace/name" -> struct entry */
	char *path;          /* "/api/v1/pods" */
	uint64_t round;
	bool is_listing, is_listed;
	uint64_t cut_us; /* since when its changes are not heard of; 0: they are */
};

struct kube {
	struct source source;
	const struct source_ops *ops;
	void *arg;
	struct loop *loop;
	struct loop_task settle;
	struct loop_timer cut; /* until the first that is cut off has been so for long */
	struct kind *kinds;
	size_t n_kinds;
	bool is_synced;
	bool is_stale, is_refused; /* told */
};

/** struct check - who hears of an object's mistakes. */
struct check {
	struct kind *kind;
	const struct object *object;
};

static void settle_soon(struct kube *k)
{
	if (k->is_synced)
		loop_task_queue(k->loop, &k->settle);
}

static void entry_deliver(struct kube *k, struct entry *e)
{
	if (!k->is_synced || e->is_delivered || !e->object)
		return;
	e->is_delivered = true;
	k->ops->on_put(k->arg, e->object);
}

/* What is wrong and what is no more are news of their own: mostly no object is handed out with
 * them. */
static void error_clear(const struct kind *kind, struct entry *e)
{
	struct kube *k = kind->kube;

	if (!e->refused)
		return;
	k->ops->on_error_cleared(k->arg, e->refused->file);
	e->refused = object_unref(e->refused);
	settle_soon(k);
}

static void entry_drop(struct kind *kind, struct entry *e)
{
	struct kube *k = kind->kube;

	error_clear(kind, e);
	if (e->is_delivered)
		k->ops->on_delete(k->arg, e->object);
	(void)object_unref(e->object);
	free(e);
	settle_soon(k);
}

/* What the API server has the kind as. */
static const char *read_as(const struct kind *kind)
{
	const char *version = kube_watch_version(kind->watch);

	return version ? version : kind->resource->group_version;
}

static char *file_of(const struct kind *kind, const char *namespace_, const char *name)
{
	const char *group_version = read_as(kind);
	const char *prefix = strchr(group_version, '/') ? "/apis" : "/api";
	const char *plural = kind->resource->plural;

	if (!*namespace_)
		return str_format("%s/%s/%s/%s", prefix, group_version, plural, name);
	return str_format("%s/%s/namespaces/%s/%s/%s", prefix, group_version, namespace_, plural,
			  name);
}

static int object_make(const struct kind *kind, json_t *body, struct object **ret)
{
	const json_t *metadata = json_object_get(body, "metadata");
	const char *namespace_ = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));
	_cleanup_(freep) char *file = NULL;
	struct object_init init = {.kind = kind->resource->kind, .name = name};

	if (!name)
		return -EINVAL;
	init.namespace_ = namespace_ ? namespace_ : "";
	file = file_of(kind, init.namespace_, name);
	if (!file)
		return -ENOMEM;
	/* lists of built-in kinds leave these out of their items */
	if (json_object_set_new(body, "kind", json_string(init.kind)) < 0 ||
	    (!json_object_get(body, "apiVersion") &&
	     json_object_set_new(body, "apiVersion", json_string(read_as(kind))) < 0))
		return -ENOMEM;
	kube_prune(init.kind, body);
	init.file = file;
	init.body = json_incref(body);
	return object_new(&init, ret);
}

static void on_problem(void *arg, const char *field, const char *message)
{
	const struct check *c = arg;
	const struct kube *k = c->kind->kube;
	const struct source_error err = {
		.generation = json_integer_value(object_value(c->object, "metadata.generation")),
		.file = c->object->file,
		.kind = c->object->kind,
		.namespace_ = c->object->namespace_,
		.name = c->object->name,
		.field = field,
		.message = message,
	};

	k->ops->on_error(k->arg, &err);
}

/* Return: whether the object may be used, as is_invalid if it says so. */
static bool object_check(struct kind *kind, struct entry *e, struct object *o)
{
	struct check check = {.kind = kind, .object = o};
	struct schema_report report = {.on_problem = on_problem, .arg = &check};

	if (kube_resource_is_builtin(kind->resource))
		return true;
	error_clear(kind, e);
	if (schema_check(kind->schema, o->body, &report) == 0)
		return true;
	e->refused = object_ref(o);
	settle_soon(kind->kube);
	o->is_invalid = true;
	/* what was good before stays; what never was denies, where it is about security */
	return kind->schema->is_security && (!e->object || e->object->is_invalid);
}

static int entry_get(struct kind *kind, const char *key, struct entry **ret)
{
	struct entry *e = map_get_str(kind->entries, key);
	int r;

	if (!e) {
		e = calloc(1, sizeof(*e));
		r = e ? map_put_str(kind->entries, key, e) : -ENOMEM;
		if (r < 0) {
			free(e);
			return r;
		}
	}
	*ret = e;
	return 0;
}

static uint64_t version_of(const json_t *body)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(body, "metadata"), "resourceVersion"));
	uint64_t n;

	return s && str_parse_u64(s, 1, UINT64_MAX, &n) == 0 ? n : 0;
}

static char *key_of(const json_t *body)
{
	const json_t *metadata = json_object_get(body, "metadata");
	const char *namespace_ = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));

	return name ? str_format("%s/%s", namespace_ ? namespace_ : "", name) : NULL;
}

static int entry_set(struct kind *kind, struct entry *e, struct object *o)
{
	const struct kube *k = kind->kube;
	int r;

	if (!object_check(kind, e, o))
		return 0;
	r = k->ops->on_read ? k->ops->on_read(k->arg, o) : 0;
	if (r < 0 || (e->object && object_is_same(e->object, o)))
		return r;
	(void)object_unref(e->object);
	e->object = object_ref(o);
	e->is_delivered = false;
	entry_deliver(kind->kube, e);
	settle_soon(kind->kube);
	return 0;
}

/* The server has the kind in another version now, and with it its objects other names: what was
 * heard by the old ones is taken back right before it comes anew. */
static void entry_rename(const struct kind *kind, struct entry *e)
{
	const struct kube *k = kind->kube;
	const char *before = e->read_as, *now = read_as(kind);

	if (before && !streq(before, now)) {
		error_clear(kind, e);
		if (e->is_delivered)
			k->ops->on_delete(k->arg, e->object);
		e->object = object_unref(e->object);
		e->is_delivered = false;
	}
	e->read_as = now;
}

static int on_object(void *arg, json_t *body)
{
	_cleanup_(object_unrefp) struct object *o = NULL;
	_cleanup_(freep) char *key = key_of(body);
	struct kind *kind = arg;
	uint64_t version = version_of(body);
	struct entry *e;
	int r;

	if (!key)
		return json_object_get(json_object_get(body, "metadata"), "name") ? -ENOMEM
										  : -EBADMSG;
	r = entry_get(kind, key, &e);
	if (r < 0)
		return r;
	e->round = kind->round;
	/* what a list says holds, even from a server that was restored from an older state */
	if (!kind->is_listing && version && version <= e->version)
		return 0;
	e->version = version;
	entry_rename(kind, e);
	r = object_make(kind, body, &o);
	if (r == 0)
		r = entry_set(kind, e, o);
	return r == -EINVAL ? -EBADMSG : r;
}

static void on_deleted(void *arg, json_t *body)
{
	_cleanup_(freep) char *key = key_of(body);
	struct kind *kind = arg;
	uint64_t version = version_of(body);
	struct entry *e = key ? map_get_str(kind->entries, key) : NULL;

	/* late news of an object that was made again */
	if (!e || (version && version < e->version))
		return;
	(void)map_del_str(kind->entries, key);
	entry_drop(kind, e);
}

static void on_list_begin(void *arg)
{
	struct kind *kind = arg;

	kind->is_listing = true;
	kind->round++;
}

static void deliver_all(struct kube *k)
{
	for (size_t i = 0; i < k->n_kinds; i++)
		map_for_each (k->kinds[i].entries, it)
			entry_deliver(k, it.value);
}

static void sync_check(struct kube *k)
{
	if (k->is_synced)
		return;
	for (size_t i = 0; i < k->n_kinds; i++)
		if (!k->kinds[i].is_listed)
			return;
	k->is_synced = true;
	deliver_all(k);
	settle_soon(k);
}

static void on_list_end(void *arg)
{
	struct kind *kind = arg;

	kind->is_listing = false;
	kind->is_listed = true;
	map_for_each (kind->entries, it) {
		struct entry *e = it.value;

		if (e->round == kind->round)
			continue;
		(void)map_del_str(kind->entries, it.key);
		entry_drop(kind, e);
	}
	sync_check(kind->kube);
}

static void on_trouble(void *arg, const char *message)
{
	const struct kind *kind = arg;
	const struct kube *k = kind->kube;
	const struct source_error err = {
		.file = kind->path,
		.kind = kind->resource->kind,
		.namespace_ = "",
		.name = "",
		.field = "",
		.message = message ? message : "",
	};

	k->ops->on_error_cleared(k->arg, kind->path);
	if (message)
		k->ops->on_error(k->arg, &err);
	loop_task_queue(k->loop, &((struct kube *)k)->settle);
}

/* Return: the one that has been cut off for longest; NULL: none is. */
static const struct kind *kind_cut(const struct kube *k)
{
	const struct kind *first = NULL;

	for (size_t i = 0; i < k->n_kinds; i++) {
		const struct kind *kind = &k->kinds[i];

		if (kind->cut_us && !kind->resource->is_aside &&
		    (!first || kind->cut_us < first->cut_us))
			first = kind;
	}
	return first;
}

static bool has_lasted(const struct kind *kind)
{
	return loop_now_us(kind->kube->loop) - kind->cut_us >= CUT_US;
}

static void cut_await(struct kube *k)
{
	const struct kind *kind = kind_cut(k);

	loop_timer_del(&k->cut);
	if (kind && !has_lasted(kind))
		(void)loop_timer_set(k->loop, &k->cut,
				     kind->cut_us + CUT_US - loop_now_us(k->loop));
}

static void on_cut(struct loop_timer *t)
{
	struct kube *k = container_of(t, struct kube, cut);

	settle_soon(k);
}

/* Before the first state nothing is held: all kinds are waited for. */
static void on_current(void *arg, bool is_current)
{
	struct kind *kind = arg;
	struct kube *k = kind->kube;

	if (!k->is_synced || is_current == !kind->cut_us)
		return;
	kind->cut_us = is_current ? 0 : loop_now_us(k->loop);
	cut_await(k);
	if (is_current)
		settle_soon(k);
}

/* Of those that are cut off: may we have none of them? */
static bool is_refused(const struct kube *k)
{
	for (size_t i = 0; i < k->n_kinds; i++) {
		const struct kind *kind = &k->kinds[i];

		if (kind->cut_us && !kind->resource->is_aside &&
		    !kube_watch_is_refused(kind->watch))
			return false;
	}
	return true;
}

static void stale_tell(struct kube *k, const struct kind *kind)
{
	bool refused = kind && is_refused(k);

	if (k->is_stale == !!kind && k->is_refused == refused)
		return;
	k->is_stale = !!kind;
	k->is_refused = refused;
	if (k->ops->on_stale)
		k->ops->on_stale(k->arg, kind ? kind->resource->kind : NULL,
				 kind ? kind->cut_us : 0, refused);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
	.on_current = on_current,
};

static void on_settle(struct loop_task *t)
{
	struct kube *k = container_of(t, struct kube, settle);
	const struct kind *kind = kind_cut(k);

	if (!k->is_synced || (kind && !has_lasted(kind)))
		return;
	/* a user that nobody hears any more may know half of a change; before it is heard again it
	 * knows all */
	if (kind)
		stale_tell(k, kind);
	k->ops->on_synced(k->arg);
	if (!kind)
		stale_tell(k, NULL);
}

static struct source *kube_free(struct source *s)
{
	struct kube *k = container_of(s, struct kube, source);

	loop_task_del(&k->settle);
	loop_timer_del(&k->cut);
	for (size_t i = 0; k->kinds && i < k->n_kinds; i++) {
		struct kind *kind = &k->kinds[i];

		(void)kube_watch_free(kind->watch);
		if (kind->entries)
			map_for_each (kind->entries, it) {
				struct entry *e = it.value;

				(void)object_unref(e->object);
				(void)object_unref(e->refused);
				free(e);
			}
		(void)map_free(kind->entries);
		free(kind->path);
	}
	free(k->kinds);
	free(k);
	return NULL;
}

static const struct source_impl_ops kube_ops = {.free = kube_free};

static int kind_start(struct kube *k, const struct source_kube_config *config, const char *name)
{
	struct kind *kind = &k->kinds[k->n_kinds];
	_cleanup_(freep) char *selector = NULL;
	struct kube_watch_config watch = {
		.loop = config->loop,
		.client = config->client,
		.ops = &watch_ops,
		.arg = kind,
	};
	int r;

	kind->resource = kube_resource_find(name);
	kind->schema = schema_kind_find(name);
	if (!kind->resource || !kind->schema)
		return -EINVAL;
	k->n_kinds++;
	kind->kube = k;
	kind->path = kube_resource_path(config, kind->resource);
	selector = kube_resource_selector(config, kind->resource);
	r = kind->path && selector ? map_new(&kind->entries) : -ENOMEM;
	if (r < 0)
		return r;
	watch.kind = kind->resource->kind;
	watch.path = kind->path;
	watch.selector = selector;
	watch.versions =
		kube_resource_is_builtin(kind->resource) ? NULL : kind->schema->api_versions;
	return kube_watch_new(&watch, &kind->watch);
}

int source_kube_new(const struct source_kube_config *config, const struct source_ops *ops,
		    void *arg, struct source **ret)
{
	_cleanup_(source_freep) struct source *s = NULL;
	struct kube *k = calloc(1, sizeof(*k));
	size_t n = 0;
	int r = 0;

	if (!k)
		return -ENOMEM;
	k->source.ops = &kube_ops;
	s = &k->source;
	k->loop = config->loop;
	k->ops = ops;
	k->arg = arg;
	k->settle.on_task = on_settle;
	k->cut.on_timer = on_cut;
	while (config->kinds[n])
		n++;
	k->kinds = calloc(n + 1, sizeof(*k->kinds));
	if (!k->kinds)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = kind_start(k, config, config->kinds[i]);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}
