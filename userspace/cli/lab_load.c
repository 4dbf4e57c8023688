/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/loop.h"
#include "source/source.h"

#define LOAD_TURN_MS 1000
#define LOAD_TURNS   10

struct load {
	struct lab *lab;
	unsigned int errors;
	bool is_strict;
	bool is_synced;
	int r;
};

static void on_put(void *arg, struct object *obj)
{
	struct load *ld = arg;
	_cleanup_(json_decrefp) json_t *body = json_deep_copy(obj->body);
	json_t *meta = lab_get(body, "metadata");

	/* The manifest may leave the namespace out; what the lab writes never does. */
	if (!meta || (*obj->namespace_ &&
		      json_object_set_new(meta, "namespace", json_string(obj->namespace_)) < 0)) {
		ld->r = -ENOMEM;
		return;
	}
	if (ld->r == 0)
		ld->r = lab_add_object(ld->lab, body);
}

static void on_delete(void *arg, struct object *obj)
{
	(void)arg;
	(void)obj;
}

static void on_error(void *arg, const struct source_error *err)
{
	struct load *ld = arg;
	char text[1024];

	if (!ld->is_strict)
		return;
	(void)source_error_format(err, text, sizeof(text));
	(void)fprintf(stderr, "%s%s\n", text, err->is_warning ? " (warning)" : "");
	ld->errors += !err->is_warning;
}

static void on_error_cleared(void *arg, const char *file)
{
	(void)arg;
	(void)file;
}

static void on_synced(void *arg)
{
	struct load *ld = arg;

	ld->is_synced = true;
}

int lab_load(struct lab *l, const char *dir, bool is_strict)
{
	static const struct source_ops ops = {on_put, on_delete, on_error, on_error_cleared,
					      on_synced};
	_cleanup_(source_freep) struct source *source = NULL;
	_cleanup_(loop_freep) struct loop *loop = NULL;
	struct load ld = {.lab = l, .is_strict = is_strict};
	int r;

	r = loop_new(&loop);
	if (r < 0)
		return lab_fail(r, "cannot make an event loop: %s", strerror(-r));
	r = source_folder_new(loop, dir, &ops, &ld, &source);
	if (r < 0)
		return lab_fail(r, "cannot read %s: %s", dir, strerror(-r));
	for (int i = 0; i < LOAD_TURNS && !ld.is_synced && r >= 0; i++)
		r = loop_run_once(loop, LOAD_TURN_MS);
	source = source_free(source);
	if (r < 0 || !ld.is_synced)
		return lab_fail(r < 0 ? r : -ETIMEDOUT, "reading %s did not end", dir);
	if (ld.errors)
		return lab_fail(-EINVAL, "%u error(s) in %s; nothing changed", ld.errors, dir);
	return ld.r;
}
