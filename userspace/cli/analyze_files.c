/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of files, of folders of files and of stdin. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analyze.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "source/manifest.h"

/* What makes Pods is known, also where the mesh does not read its kind. */
static int on_object(void *arg, const struct object *o)
{
	suppress_note(arg, &(struct analysis_name){o->kind, o->namespace_, o->name}, o->body);
	return analysis_add_template(arg, o);
}

static int on_item(void *arg, const struct manifest_item *item)
{
	return item->object ? analysis_add(arg, item->object) : 0;
}

static int on_error(void *arg, const struct source_error *e)
{
	analysis_tell(arg, e);
	return 0;
}

static const struct manifest_ops manifest_ops = {
	.on_object = on_object, .on_item = on_item, .on_error = on_error};

/* take_file() - @name: what it is called in findings. */
static int take_file(struct analysis *a, const char *path, const char *name)
{
	_cleanup_(freep) char *text = NULL;
	struct manifest_text in = {.file = name, .namespace_ = a->file_namespace};
	bool is_complete;
	int r = file_read(path, MANIFEST_SIZE_MAX, &text, &in.len);

	in.text = text;
	if (r == 0)
		r = manifest_parse(&in, &manifest_ops, a, &is_complete);
	return r < 0 ? cli_fail("analyze: %s: %s", name, strerror(-r)) : 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_manifest(const char *name)
{
	return str_has_suffix(name, ".yaml") || str_has_suffix(name, ".yml") ||
	       str_has_suffix(name, ".json");
}

static int take_folder(struct analysis *a, const char *path, bool is_recursive);

/* take_entry() - of the folder @path. */
static int take_entry(struct analysis *a, const char *path, const char *name, bool is_recursive)
{
	_cleanup_(freep) char *file = name[0] != '.' ? str_format("%s/%s", path, name) : NULL;

	if (!file)
		return 0;
	if (is_folder(file))
		return is_recursive ? take_folder(a, file, true) : 0;
	return is_manifest(name) ? take_file(a, file, file) : 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the folders */
static int take_folder(struct analysis *a, const char *path, bool is_recursive)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, alphasort), r = 0;

	if (n < 0)
		return cli_fail("analyze: %s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = take_entry(a, path, names[i]->d_name, is_recursive);
		free(names[i]);
	}
	free(names);
	return r;
}

int analysis_take_path(struct analysis *a, const char *path, bool is_recursive)
{
	if (streq(path, "-"))
		return take_file(a, "/dev/stdin", "stdin");
	return is_folder(path) ? take_folder(a, path, is_recursive) : take_file(a, path, path);
}
