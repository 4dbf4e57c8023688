/* SPDX-License-Identifier: Apache-2.0 */
/* mesh_config_find - MeshConfig of a folder of manifests, waited for until it has no mistake. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"
#include "source/mesh_config.h"

#define DONE 1 /* for loop_run() */

/** struct mistake - the first one of a file in which MeshConfig may stand. */
struct mistake {
	unsigned int line;
	char field[128], message[256];
	bool is_told;
};

struct finding {
	const struct mesh_config_search *search;
	struct mesh_config *ret;
	struct object *map;   /* NULL: none so far */
	bool is_new;          /* @map has not been read */
	struct map *mistakes; /* file -> struct mistake, where there is one */
	int r;                /* of the last look; -ENOMEM stays */
};

static void map_set(struct finding *f, struct object *obj)
{
	(void)object_unref(f->map);
	f->map = obj ? object_ref(obj) : NULL;
	f->is_new = true;
}

static bool is_mesh_config(const struct finding *f, const struct object *obj)
{
	return streq(obj->kind, "ConfigMap") && streq(obj->name, MESH_CONFIG_NAME) &&
	       streq(obj->namespace_, f->search->namespace_);
}

static void on_put(void *arg, struct object *obj)
{
	if (is_mesh_config(arg, obj))
		map_set(arg, obj);
}

static void on_delete(void *arg, struct object *obj)
{
	if (is_mesh_config(arg, obj))
		map_set(arg, NULL);
}

/* Folders can be large, and this one is read again by whoever follows it. */
static bool may_hold(void *arg, const char *text, size_t len)
{
	static const char *const words[] = {"ConfigMap", MESH_CONFIG_NAME, "mesh"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!memmem(text, len, words[i], strlen(words[i])))
			return false;
	return true;
}

/* What could not even be named may be it. */
static bool is_about_it(const struct finding *f, const struct source_error *err)
{
	if (err->is_warning || (*err->kind && !streq(err->kind, "ConfigMap")))
		return false;
	if (!*err->kind || !*err->name)
		return true;
	return streq(err->name, MESH_CONFIG_NAME) &&
	       (streq(err->namespace_, f->search->namespace_) ||
		streq(err->field, "metadata.namespace"));
}

static void on_source_error(void *arg, const struct source_error *err)
{
	struct finding *f = arg;
	struct mistake *m;

	if (!is_about_it(f, err) || map_get_str(f->mistakes, err->file))
		return;
	m = calloc(1, sizeof(*m));
	if (!m || map_put_str(f->mistakes, err->file, m) < 0) {
		free(m);
		f->r = -ENOMEM;
		return;
	}
	m->line = err->line;
	(void)str_copy(m->field, sizeof(m->field), err->field);
	(void)str_copy(m->message, sizeof(m->message), err->message);
}

static void on_cleared(void *arg, const char *file)
{
	free(map_del_str(((struct finding *)arg)->mistakes, file));
}

static void mistakes_tell(struct finding *f)
{
	map_for_each (f->mistakes, it) {
		struct mistake *m = it.value;
		const struct source_error err = {.file = it.key,
						 .line = m->line,
						 .kind = "",
						 .namespace_ = "",
						 .name = "",
						 .field = m->field,
						 .message = m->message};

		if (!m->is_told)
			f->search->on_error(f->search->arg, &err);
		m->is_told = true;
	}
}

/* One that may stand in what cannot be read is not known to be missing. */
static void on_synced(void *arg)
{
	struct finding *f = arg;

	if (f->r == -ENOMEM) {
		loop_stop(f->search->loop, DONE);
		return;
	}
	if (!f->map)
		f->r = map_count(f->mistakes) > 0 ? -EINVAL : 0;
	else if (f->is_new)
		f->r = mesh_config_read(f->map, f->search->on_error, f->search->arg, f->ret);
	f->is_new = false;
	if (f->r == -EINVAL)
		mistakes_tell(f);
	else
		loop_stop(f->search->loop, DONE);
}

static int wait_for_it(struct finding *f)
{
	static const struct source_ops ops = {
		.on_put = on_put,
		.on_delete = on_delete,
		.on_error = on_source_error,
		.on_error_cleared = on_cleared,
		.on_synced = on_synced,
		.may_hold = may_hold,
	};
	struct source *source = NULL;
	int r = source_folder_new(f->search->loop, f->search->folder, &ops, f, &source);

	if (r < 0)
		return r;
	r = loop_run(f->search->loop);
	(void)source_free(source);
	if (r == DONE)
		return f->r;
	return r < 0 ? r : -EINTR;
}

int mesh_config_find(const struct mesh_config_search *search, struct mesh_config *ret)
{
	struct finding f = {.search = search, .ret = ret};
	int r = map_new(&f.mistakes);

	if (r < 0)
		return r;
	r = wait_for_it(&f);
	map_for_each (f.mistakes, it)
		free(it.value);
	(void)map_free(f.mistakes);
	(void)object_unref(f.map);
	return r;
}
