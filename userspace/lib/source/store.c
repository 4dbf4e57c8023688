/* SPDX-License-Identifier: Apache-2.0 */
#include "source/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "source/manifest.h"
#include "source/schema.h"

struct file {
	char *path;
	struct list claims; /* in the file's order */
	struct list errors;
	size_t errors_count;
	bool was_reported; /* its errors stand with the user */
	bool is_gone;
	struct list dirty;  /* in store.dirty_files when its errors are to be told again */
	struct list hiding; /* in store.hiding_files when one of them hides a policy */
};

/** struct claim - one object in one file. */
struct claim {
	struct file *file;
	struct slot *slot;
	struct object *object; /* owned */
	unsigned int position; /* in the file */
	struct list in_file, in_slot;
};

/** struct slot - one name of one kind. */
struct slot {
	const char *key;          /* the map's */
	bool is_early;            /* it decides about other objects */
	bool is_security;         /* not taken away while it may stand in what cannot be read */
	struct list claims;       /* by path and position: the first counts */
	struct object *delivered; /* owned; NULL: the user knows of none */
	struct list dirty;
};

struct error {
	struct source_error public; /* strings owned */
	struct list link;
};

struct store {
	const struct source_ops *ops;
	void *arg;
	struct map *files, *slots;
	struct list dirty_files, dirty_slots;
	struct list hiding_files;
	struct list held_slots; /* dirty ones that are not taken away yet, because of @hiding */
	struct file *hiding;    /* the first of @hiding_files by path; NULL: there is none */
};

/** struct load - one reading of a file. */
struct load {
	struct store *store;
	struct file *file;
	struct list old; /* claims that the new text has not named so far */
	unsigned int position;
};

static struct error *error_free(struct error *e)
{
	if (!e)
		return NULL;
	free((char *)e->public.file);
	free((char *)e->public.kind);
	free((char *)e->public.namespace_);
	free((char *)e->public.name);
	free((char *)e->public.field);
	free((char *)e->public.message);
	free(e);
	return NULL;
}
DEFINE_CLEANUP(struct error *, error_free);

static int error_copy(const struct source_error *err, struct error **ret)
{
	_cleanup_(error_freep) struct error *e = NULL;

	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->public = (struct source_error){
		.file = strdup(err->file),
		.line = err->line,
		.kind = strdup(err->kind),
		.namespace_ = strdup(err->namespace_),
		.name = strdup(err->name),
		.field = strdup(err->field),
		.message = strdup(err->message),
		.is_warning = err->is_warning,
		.hides_policy = err->hides_policy,
	};
	if (!e->public.file || !e->public.kind || !e->public.namespace_ || !e->public.name ||
	    !e->public.field || !e->public.message)
		return -ENOMEM;
	*ret = TAKE_PTR(e);
	return 0;
}

static int file_error_add(struct store *s, struct file *f, const struct source_error *err)
{
	struct error *e;
	int r;

	if (f->errors_count >= MANIFEST_ERRORS_MAX && !err->hides_policy)
		return 0;
	r = error_copy(err, &e);
	if (r < 0)
		return r;
	list_add_tail(&f->errors, &e->link);
	f->errors_count++;
	if (err->hides_policy && list_is_empty(&f->hiding))
		list_add_tail(&s->hiding_files, &f->hiding);
	return 0;
}

static void file_errors_clear(struct file *f)
{
	struct error *e, *tmp;

	list_for_each_entry_safe (e, tmp, &f->errors, link) {
		list_del(&e->link);
		(void)error_free(e);
	}
	f->errors_count = 0;
	list_del(&f->hiding);
}

static void file_mark(struct store *s, struct file *f)
{
	if (list_is_empty(&f->dirty))
		list_add_tail(&s->dirty_files, &f->dirty);
}

static void slot_mark(struct store *s, struct slot *slot)
{
	const struct claim *c;

	if (list_is_empty(&slot->dirty))
		list_add_tail(&s->dirty_slots, &slot->dirty);
	/* Who counts may have changed, and with it the errors of the others. */
	list_for_each_entry (c, &slot->claims, in_slot)
		file_mark(s, c->file);
}

static int file_get(struct store *s, const char *path, struct file **ret)
{
	struct file *f = map_get_str(s->files, path);
	int r;

	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->path = strdup(path);
		list_init(&f->claims);
		list_init(&f->errors);
		list_init(&f->dirty);
		list_init(&f->hiding);
		r = f->path ? map_put_str(s->files, path, f) : -ENOMEM;
		if (r < 0) {
			free(f->path);
			free(f);
			return r;
		}
	}
	*ret = f;
	return 0;
}

static int slot_get(struct store *s, const struct manifest_item *item, struct slot **ret)
{
	_cleanup_(freep) char *key =
		str_format("%s\n%s\n%s", item->kind, item->namespace_, item->name);
	const struct schema_kind *kind;
	struct slot *slot;
	const char *mine;
	void **at;

	at = key ? map_at_str(s->slots, key, &mine) : NULL;
	if (!at)
		return -ENOMEM;
	slot = *at;
	if (!slot) {
		*at = slot = calloc(1, sizeof(*slot));
		if (!slot) {
			(void)map_del_str(s->slots, key);
			return -ENOMEM;
		}
		list_init(&slot->claims);
		list_init(&slot->dirty);
		slot->key = mine;
		slot->is_early = streq(item->kind, "Namespace") || streq(item->kind, "Node");
		kind = schema_kind_find(item->kind);
		slot->is_security = kind && kind->is_security;
	}
	*ret = slot;
	return 0;
}

static bool is_before(const struct claim *a, const struct claim *b)
{
	int order = strcmp(a->file->path, b->file->path);

	return order < 0 || (order == 0 && a->position < b->position);
}

static void slot_insert(struct slot *slot, struct claim *claim)
{
	struct claim *c;

	list_for_each_entry (c, &slot->claims, in_slot)
		if (is_before(claim, c))
			break;
	/* Before @c, or at the end when the loop ran through. */
	list_add_tail(&c->in_slot, &claim->in_slot);
}

static void claim_drop(struct store *s, struct claim *c)
{
	slot_mark(s, c->slot);
	list_del(&c->in_file);
	list_del(&c->in_slot);
	(void)object_unref(c->object);
	free(c);
}

static struct claim *claim_take_old(struct load *l, const struct slot *slot)
{
	struct claim *c;

	list_for_each_entry (c, &l->old, in_file) {
		if (c->slot != slot)
			continue;
		list_del(&c->in_file);
		list_del(&c->in_slot);
		return c;
	}
	return NULL;
}

static void claim_put(struct load *l, struct claim *c, struct object *object)
{
	if (object) {
		(void)object_unref(c->object);
		c->object = object_ref(object);
	}
	c->position = l->position++;
	list_add_tail(&l->file->claims, &c->in_file);
	slot_insert(c->slot, c);
	slot_mark(l->store, c->slot);
}

static int object_read(const struct store *s, struct object *o)
{
	return s->ops->on_read ? s->ops->on_read(s->arg, o) : 0;
}

static int on_item(void *arg, const struct manifest_item *item)
{
	struct load *l = arg;
	struct object *object = item->object;
	struct slot *slot;
	struct claim *c;
	int r;

	r = object ? object_read(l->store, object) : 0;
	if (r < 0)
		return r;
	r = slot_get(l->store, item, &slot);
	if (r < 0)
		return r;
	c = claim_take_old(l, slot);
	/* The last good state stays in force. */
	if (c && !c->object->is_invalid && (!object || object->is_invalid))
		object = NULL;
	if (!c) {
		if (!object) {
			slot_mark(l->store, slot); /* an empty one is swept */
			return 0;
		}
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->file = l->file;
		c->slot = slot;
	}
	claim_put(l, c, object);
	return 0;
}

static int on_error(void *arg, const struct source_error *err)
{
	struct load *l = arg;

	return file_error_add(l->store, l->file, err);
}

static void list_move_all(struct list *from, struct list *to)
{
	while (!list_is_empty(from)) {
		struct list *n = from->next;

		list_del(n);
		list_add_tail(to, n);
	}
}

static int text_load(struct store *s, const char *file, const char *text, size_t len)
{
	static const struct manifest_ops ops = {.on_item = on_item, .on_error = on_error};
	struct manifest_text in = {.text = text, .len = len};
	struct load l = {.store = s};
	struct claim *c, *tmp;
	bool is_complete = false;
	int r;

	r = file_get(s, file, &l.file);
	if (r < 0)
		return r;
	l.file->is_gone = false;
	list_init(&l.old);
	list_move_all(&l.file->claims, &l.old);
	file_errors_clear(l.file);
	file_mark(s, l.file);
	in.file = l.file->path;
	r = manifest_parse(&in, &ops, &l, &is_complete);
	list_for_each_entry_safe (c, tmp, &l.old, in_file) {
		if (r == 0 && is_complete) {
			claim_drop(s, c);
			continue;
		}
		/* What could not be read may have been this object. */
		list_del(&c->in_file);
		list_del(&c->in_slot);
		claim_put(&l, c, NULL);
	}
	return r;
}

int store_remove(struct store *s, const char *file)
{
	struct file *f = map_get_str(s->files, file);
	struct claim *c, *tmp;

	if (!f)
		return 0;
	list_for_each_entry_safe (c, tmp, &f->claims, in_file)
		claim_drop(s, c);
	file_errors_clear(f);
	f->is_gone = true;
	file_mark(s, f);
	return 0;
}

int store_load(struct store *s, const char *file, const char *text, size_t len)
{
	if (s->ops->may_hold && !s->ops->may_hold(s->arg, text, len))
		return store_remove(s, file);
	return text_load(s, file, text, len);
}

int store_fail(struct store *s, const char *file, const char *message)
{
	struct source_error err = {
		.file = file,
		.kind = "",
		.namespace_ = "",
		.name = "",
		.field = "",
		.message = message,
		.hides_policy = true,
	};
	struct file *f;
	int r;

	r = file_get(s, file, &f);
	if (r < 0)
		return r;
	file_errors_clear(f);
	file_mark(s, f);
	return file_error_add(s, f, &err);
}

static struct claim *slot_first(const struct slot *slot)
{
	return list_is_empty(&slot->claims) ? NULL
					    : list_entry(slot->claims.next, struct claim, in_slot);
}

static struct file *file_free(struct file *f)
{
	if (!f)
		return NULL;
	file_errors_clear(f);
	list_del(&f->dirty);
	free(f->path);
	free(f);
	return NULL;
}

static struct slot *slot_free(struct slot *slot)
{
	list_del(&slot->dirty);
	(void)object_unref(slot->delivered);
	free(slot);
	return NULL;
}

/* A policy that has moved into a file with a mistake, or whose file was given another name while it
 * had one, would be gone until that is mended. */
static bool slot_is_held(const struct store *s, const struct slot *slot)
{
	return s->hiding && slot->is_security && slot->delivered && !slot_first(slot);
}

static void slot_publish(struct store *s, struct slot *slot)
{
	const struct claim *first = slot_first(slot);
	struct object *old = slot->delivered;

	list_del(&slot->dirty);
	if (slot_is_held(s, slot)) {
		list_add_tail(&s->held_slots, &slot->dirty);
		file_mark(s, s->hiding);
	} else if (first && (!old || !object_is_same(old, first->object))) {
		slot->delivered = object_ref(first->object);
		s->ops->on_put(s->arg, first->object);
		(void)object_unref(old);
	} else if (!first) {
		if (old)
			s->ops->on_delete(s->arg, old);
		(void)map_del_str(s->slots, slot->key);
		(void)slot_free(slot);
	}
}

static void report_duplicate(struct store *s, const struct claim *c)
{
	const struct object *first = slot_first(c->slot)->object, *o = c->object;
	char message[512];
	struct source_error err = {
		.file = c->file->path,
		.line = object_line(o, "metadata.name"),
		.kind = o->kind,
		.namespace_ = o->namespace_,
		.name = o->name,
		.field = "metadata.name",
		.message = message,
	};

	(void)snprintf(message, sizeof(message),
		       "expected a name of its own: %s:%u has this %s already, which counts",
		       first->file, first->line, o->kind);
	s->ops->on_error(s->arg, &err);
}

static void report_held(const struct store *s, const struct file *f)
{
	const struct slot *slot;
	struct source_error err = {
		.file = f->path,
		.field = "",
		.message = "stays in force, though its own file has it no more: it may be meant to "
			   "be in this one",
		.is_warning = true,
	};

	list_for_each_entry (slot, &s->held_slots, dirty) {
		const struct object *o = slot->delivered;

		err.kind = o->kind;
		err.namespace_ = o->namespace_;
		err.name = o->name;
		s->ops->on_error(s->arg, &err);
	}
}

static void file_publish(struct store *s, struct file *f)
{
	const struct error *e;
	const struct claim *c;
	bool has_errors = f->errors_count > 0;

	list_del(&f->dirty);
	if (f->was_reported)
		s->ops->on_error_cleared(s->arg, f->path);
	list_for_each_entry (e, &f->errors, link)
		s->ops->on_error(s->arg, &e->public);
	list_for_each_entry (c, &f->claims, in_file) {
		if (c == slot_first(c->slot))
			continue;
		report_duplicate(s, c);
		has_errors = true;
	}
	if (f == s->hiding)
		report_held(s, f);
	f->was_reported = has_errors;
	if (f->is_gone) {
		(void)map_del_str(s->files, f->path);
		(void)file_free(f);
	}
}

static struct file *file_hiding(const struct store *s)
{
	struct file *first = NULL, *f;

	list_for_each_entry (f, &s->hiding_files, hiding)
		if (!first || strcmp(f->path, first->path) < 0)
			first = f;
	return first;
}

int store_publish(struct store *s)
{
	/* Removals first: an address or name that moves to a new object is then free. */
	struct slot *slot, *tmp;

	s->hiding = file_hiding(s);
	list_move_all(&s->held_slots, &s->dirty_slots);
	list_for_each_entry_safe (slot, tmp, &s->dirty_slots, dirty)
		if (!slot_first(slot))
			slot_publish(s, slot);
	/* What decides about other objects before those: a pod must not be seen without its
	 * namespace. */
	list_for_each_entry_safe (slot, tmp, &s->dirty_slots, dirty)
		if (slot->is_early)
			slot_publish(s, slot);
	while (!list_is_empty(&s->dirty_slots))
		slot_publish(s, list_entry(s->dirty_slots.next, struct slot, dirty));
	while (!list_is_empty(&s->dirty_files))
		file_publish(s, list_entry(s->dirty_files.next, struct file, dirty));
	s->ops->on_synced(s->arg);
	return 0;
}

int store_new(const struct source_ops *ops, void *arg, struct store **ret)
{
	_cleanup_(store_freep) struct store *s = NULL;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->ops = ops;
	s->arg = arg;
	list_init(&s->dirty_files);
	list_init(&s->dirty_slots);
	list_init(&s->hiding_files);
	list_init(&s->held_slots);
	r = map_new(&s->files);
	if (r < 0)
		return r;
	r = map_new(&s->slots);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	if (s->files && s->slots) {
		map_for_each (s->files, it) {
			struct file *f = it.value;
			struct claim *c, *tmp;

			list_for_each_entry_safe (c, tmp, &f->claims, in_file) {
				list_del(&c->in_file);
				list_del(&c->in_slot);
				(void)object_unref(c->object);
				free(c);
			}
			(void)file_free(f);
		}
		map_for_each (s->slots, it)
			(void)slot_free(it.value);
	}
	(void)map_free(s->files);
	(void)map_free(s->slots);
	free(s);
	return NULL;
}
