/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* install_words - what install, upgrade and manifest are given, the plan that comes of it, and the
 * objects of the plan. One thread. */
#include <stddef.h>

#include "base/buf.h"
#include "base/option.h"
#include "install_spec.h"

#define INSTALL_WORDS_MAX 64

/** struct install_words - what may be given more than once, in the order of the words. */
struct install_words {
	const char *files[INSTALL_WORDS_MAX];
	const char *sets[INSTALL_WORDS_MAX];
	size_t files_count, sets_count;
	char revision[128];                        /* --revision, as a word of --set */
	bool is_leaving_nodes, is_leaving_objects; /* as install_spec_leave() */
};

/** INSTALL_OPTIONS - rows of an option table for --help; install_words_take() reads them. */
#define INSTALL_OPTIONS                                                                            \
	{.name = "filename",                                                                       \
	 .short_name = 'f',                                                                        \
	 .type = OPTION_STRING,                                                                    \
	 .value_name = "FILE",                                                                     \
	 .help = "an IstioOperator, or values of the chart; - is stdin; may be given again, the "  \
		 "later wins"},                                                                    \
	{                                                                                          \
		.name = "set", .short_name = 's', .type = OPTION_STRING,                           \
		.value_name = "KEY=VALUE",                                                         \
		.help = "profile=demo, hub=..., tag=..., revision=..., meshConfig.X=..., or "      \
			"values.X=... with what \"culvert profile dump\" lists; wins over "        \
			"files; may be given again"                                                \
	}

/** INSTALL_OPTION_REVISION - a row for --revision; install_words_add_revision() takes it. */
#define INSTALL_OPTION_REVISION(at)                                                                \
	{                                                                                          \
		.name = "revision", .short_name = 'r', .type = OPTION_STRING, .offset = (at),      \
		.value_name = "NAME", .help = "as --set revision=NAME"                             \
	}

/** install_words_take() - take -f and --set out of the words. Return: 0; -EINVAL, said on stderr.
 */
_must_check_ int install_words_take(int *argc, char **argv, struct install_words *ret);

/** install_words_add_revision() - @name NULL: nothing was said. Return: 0; -EINVAL, said on stderr.
 */
_must_check_ int install_words_add_revision(struct install_words *w, const char *name);
/** install_words_revision() - which revision they are about, "default" for the one without a name.
 * Return: 1; 0: they do not say; -errno, @err set. */
_must_check_ int install_words_revision(const struct install_words *w, char *ret, size_t size,
					char *err);

/**
 * install_words_plan() - what comes of them
 * @spec: what they are put over, a "spec" of install_spec_json(); NULL: nothing.
 * @ret_spec: what was asked for in the end, the caller's to drop; NULL: not wanted.
 * Return: 0; -errno, @err set.
 */
_must_check_ int install_words_plan(const struct install_words *w, const json_t *spec,
				    struct install_plan *ret, json_t **ret_spec, char *err);

/** install_plan_text() - the manifests, as YAML. Return: 0; -EINVAL, @err set; -ENOMEM. */
_must_check_ int install_plan_text(const struct install_plan *p, struct buf *out, char *err);
/** install_plan_objects() - the same as an array of objects, in the order in which they are to be
 * made; the caller's to drop. Return: 0; -EINVAL also for a kind that is in no table. */
_must_check_ int install_plan_objects(const struct install_plan *p, json_t **ret, char *err);
/** install_words_objects() - the objects of the plan that they make, put over nothing. Return: as
 * both. */
_must_check_ int install_words_objects(const struct install_words *w, json_t **ret, char *err);
