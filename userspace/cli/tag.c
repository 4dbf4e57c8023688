/* SPDX-License-Identifier: Apache-2.0 */
/* tag - names for a revision, which namespaces can be labelled with: istio.io/rev=NAME. Any value
 * of that label enrols, so that a tag is a name that is remembered and told; but "default" decides
 * who is asked whether an object may come in that names no revision. They are in ConfigMap
 * culvert-tags.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "install.h"
#include "install_words.h"
#include "json.h"
#include "kube_kinds.h"
#include "revisions.h"
#include "source/kube_call.h"
#include "source/schema.h"
#include "table.h"

#define PATH "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/configmaps/" INSTALL_TAGS

struct tag_options {
	const char *revision, *output;
	bool is_yes, is_forced;
};

#define AT(f) offsetof(struct tag_options, f)

static const struct option_def defs[] = {
	{.name = "revision",
	 .short_name = 'r',
	 .type = OPTION_STRING,
	 .offset = AT(revision),
	 .value_name = "NAME",
	 .help = "the revision that the tag is to mean"},
	{.name = "overwrite",
	 .type = OPTION_BOOL,
	 .offset = AT(is_forced),
	 .help = "also if the tag means another one"},
	{.name = "skip-confirmation",
	 .short_name = 'y',
	 .type = OPTION_BOOL,
	 .offset = AT(is_yes),
	 .help = "do not ask"},
	CLI_OPTION_OUTPUT(AT(output)),
	{0},
};

/* tags_get() - tag -> revision; {} when there are none. @ret_all: the ConfigMap. */
static int tags_get(struct kube *k, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *map = NULL;
	int r = kube_get(k, PATH, &map);

	if (r < 0 && r != -ENOENT)
		return kube_fail(k, "tags");
	*ret = json_incref(json_object_get(map, "data"));
	if (!*ret)
		*ret = json_object();
	return 0;
}

static json_t *tags_map(const json_t *tags)
{
	return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:O}", "apiVersion", "v1", "kind",
			 "ConfigMap", "metadata", "name", INSTALL_TAGS, "namespace",
			 KUBE_MESH_NAMESPACE, "labels", INSTALL_LABEL, "tags", "data", tags);
}

static int tags_put(struct kube *k, const json_t *tags)
{
	_cleanup_(json_decrefp) json_t *body = tags_map(tags);
	const struct kube_ask ask = {
		.method = "PATCH",
		.path = PATH "?fieldManager=" KUBE_FIELD_MANAGER "&force=true",
		.content_type = KUBE_APPLY,
		.body = body,
	};

	return kube_do(k, &ask, NULL) < 0 ? kube_fail(k, "tags") : 0;
}

/* tag_forget() - whoever has applied it: what `tag generate` printed is kubectl's. */
static int tag_forget(struct kube *k, const char *name)
{
	_cleanup_(json_decrefp) json_t *body = json_pack("{s:{s:n}}", "data", name);
	const struct kube_ask ask = {
		.method = "PATCH",
		.path = PATH "?fieldManager=" KUBE_FIELD_MANAGER,
		.content_type = "application/merge-patch+json",
		.body = body,
	};

	return kube_do(k, &ask, NULL) < 0 ? kube_fail(k, "tags") : 0;
}

/* namespaces_of() - those labelled istio.io/rev=TAG; an array, the caller's to drop. */
static json_t *namespaces_of(const json_t *all, const char *tag)
{
	json_t *found = json_array();
	const json_t *ns;
	size_t i;

	json_array_foreach (all, i, ns) {
		const char *rev = kube_meta(ns, "labels", "istio.io/rev");

		if (rev && streq(rev, tag))
			(void)json_array_append_new(found, json_string(kube_name(ns)));
	}
	return found;
}

static int print_tags(const json_t *rows)
{
	static const char *const headers[] = {"TAG", "REVISION", "NAMESPACES", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *row;
	size_t i;

	if (table_new(headers, &t) < 0)
		return cli_fail("out of memory");
	json_array_foreach (rows, i, row) {
		_cleanup_(freep) char *names = json_join(json_object_get(row, "namespaces"), ",");
		const char *cells[] = {json_text(row, "tag", ""), json_text(row, "revision", ""),
				       names ? names : ""};

		if (table_row(t, cells) < 0)
			return cli_fail("out of memory");
	}
	table_show(t);
	return 0;
}

static int list(struct kube *k, const struct tag_options *o, const char *name)
{
	_cleanup_(json_decrefp) json_t *tags = NULL, *namespaces = NULL, *rows = json_array();
	const json_t *revision;
	const char *tag;

	if (tags_get(k, &tags) != 0)
		return 1;
	if (kube_list(k, "/api/v1/namespaces", &namespaces) < 0)
		return kube_fail(k, "namespaces");
	json_object_foreach (tags, tag, revision)
		(void)json_array_append_new(rows, json_pack("{s:s,s:O,s:o}", "tag", tag, "revision",
							    revision, "namespaces",
							    namespaces_of(namespaces, tag)));
	if (!streq(o->output, "short"))
		json_print(rows, o->output);
	else if (json_array_size(rows) == 0)
		puts("No tags; \"culvert tag set NAME --revision REVISION\" makes one.");
	else
		return print_tags(rows);
	return 0;
}

/* check() - may @name mean o->revision? */
static int check(struct kube *k, const struct tag_options *o, const char *name, const json_t *tags)
{
	const char *old = json_text(tags, name, NULL);
	struct revisions revisions = {0};
	bool is_there;
	int r;

	if (!o->revision)
		return cli_fail("tag set %s: --revision NAME says what it is to mean", name);
	if (!word_is_label(name))
		return cli_fail("tag set %s: a name of at most 63 lower-case letters, digits and - "
				"was expected",
				name);
	r = revisions_read(k, &revisions);
	is_there = r == 0 && revisions_has(&revisions, o->revision);
	revisions_clear(&revisions);
	if (r != 0)
		return r;
	/* nobody is asked who is not there */
	if (!is_there && (!o->is_forced || streq(name, REVISION_DEFAULT)))
		return cli_fail("tag set %s: revision %s is not installed", name, o->revision);
	if (old && !streq(old, o->revision) && !o->is_forced)
		return cli_fail("tag set %s: it means revision %s; --overwrite changes that", name,
				old);
	return 0;
}

/* tags_with() - all tags, @name among them as it is to be. Return: 0, else what to exit with. */
static int tags_with(struct kube *k, const struct tag_options *o, const char *name, json_t **ret)
{
	int r = tags_get(k, ret);

	if (r == 0)
		r = check(k, o, name, *ret);
	if (r == 0 && json_object_set_new(*ret, name, json_string(o->revision)) < 0)
		r = cli_fail("out of memory");
	return r;
}

/* validator() - the webhook of objects that name no revision, as it is when @revision answers it;
 * in an array, the caller's to drop. */
static int validator(const char *revision, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *all = NULL, *only = json_array();
	char err[CHART_ERROR_MAX] = "out of memory";
	struct install_words words = {0};
	json_t *one;
	size_t i;
	int r = install_words_add_revision(&words, revision);

	if (r < 0)
		return 1;
	r = install_words_objects(&words, &all, err);
	if (r < 0)
		return cli_fail("tag: %s", err);
	json_array_foreach (all, i, one)
		if (streq(kube_name(one), INSTALL_DEFAULT_VALIDATOR))
			(void)json_array_append(only, one);
	*ret = TAKE_PTR(only);
	return 0;
}

static int validator_put(struct kube *k, const char *revision)
{
	struct install_run run = {.kube = k, .revision = revision, .is_forced = true};
	_cleanup_(json_decrefp) json_t *objects = NULL;
	struct install_count count = {0};
	int r = validator(revision, &objects);

	return r != 0 ? r
		      : install_apply(&run, objects, KUBE_RANK_WEBHOOK, KUBE_RANK_WEBHOOK, &count);
}

static int set(struct kube *k, const struct tag_options *o, const char *name)
{
	_cleanup_(json_decrefp) json_t *tags = NULL;
	int r = tags_with(k, o, name, &tags);

	if (r == 0 && streq(name, REVISION_DEFAULT))
		r = validator_put(k, o->revision);
	if (r == 0)
		r = tags_put(k, tags);
	if (r == 0 && streq(name, REVISION_DEFAULT))
		printf("Revision %s is now the default: it validates objects that name no "
		       "revision.\n",
		       o->revision);
	if (r == 0)
		printf("Revision tag \"%s\" set, referring to revision \"%s\". To enrol a "
		       "namespace "
		       "by this tag:\n  kubectl label namespace NAMESPACE istio.io/rev=%s\n",
		       name, o->revision, name);
	return r;
}

static int generate(struct kube *k, const struct tag_options *o, const char *name)
{
	_cleanup_(json_decrefp) json_t *tags = NULL, *map = NULL, *objects = NULL;
	int r = tags_with(k, o, name, &tags);
	const json_t *one;
	size_t i;

	if (r == 0 && streq(name, REVISION_DEFAULT))
		r = validator(o->revision, &objects);
	if (r != 0)
		return r;
	map = tags_map(tags);
	json_print_yaml(map, stdout);
	json_array_foreach (objects, i, one) {
		puts("---");
		json_print_yaml(one, stdout);
	}
	return 0;
}

static int remove_tag(struct kube *k, const struct tag_options *o, const char *name)
{
	_cleanup_(json_decrefp) json_t *tags = NULL, *namespaces = NULL, *used = NULL;
	_cleanup_(freep) char *names = NULL;
	int r = tags_get(k, &tags);

	if (r != 0)
		return r;
	if (!json_object_get(tags, name))
		return cli_fail("cannot remove tag \"%s\": not found", name);
	if (kube_list(k, "/api/v1/namespaces", &namespaces) < 0)
		return kube_fail(k, "namespaces");
	used = namespaces_of(namespaces, name);
	names = json_join(used, ", ");
	if (json_array_size(used) > 0) {
		printf("Namespaces that have the tag stay in the mesh: %s\n", names ? names : "");
		if (!o->is_yes && !confirm("Remove it?"))
			return 1;
	}
	r = tag_forget(k, name);
	if (r == 0)
		printf("Revision tag %s removed%s\n", name,
		       streq(name, REVISION_DEFAULT)
			       ? "; who validates objects that name no revision stays"
			       : "");
	return r;
}

static const struct verb {
	const char *name;
	int (*run)(struct kube *k, const struct tag_options *o, const char *name);
	bool has_name;
} verbs[] = {{"list", list, false},
	     {"set", set, true},
	     {"generate", generate, true},
	     {"remove", remove_tag, true}};

int cli_tag(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert tag list|set|generate|remove [NAME] [--revision REVISION]",
		.help = "Names for a revision, with which namespaces can be labelled: "
			"istio.io/rev=NAME; any value of that label enrols. The tag \"default\" "
			"decides which revision validates objects that name none.",
		.max_rest = 2,
	};
	_cleanup_(kube_closep) struct kube *k = NULL;
	const struct verb *verb = NULL;
	struct tag_options o = {0};
	int r = cli_parse(&syntax, &o, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("tag", &o.output) > 0)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (r < argc && streq(argv[r], verbs[i].name) &&
		    argc - r == (verbs[i].has_name ? 2 : 1))
			verb = &verbs[i];
	if (!verb) {
		(void)cli_fail("tag: a word is missing or too many\nUsage: %s", syntax.usage);
		return 2;
	}
	r = kube_open(&k);
	return r != 0 ? r : verb->run(k, &o, verb->has_name ? argv[argc - 1] : NULL);
}
