/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - the manifests of an installation, for kubectl apply. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli.h"
#include "install_spec.h"
#include "json.h"

#define LIST_MAX 64

static const char usage[] = "culvert manifest generate [-f FILE]... [--set KEY=VALUE]...";

/* What may be given more than once, in the order of the words. */
struct given {
	const char *files[LIST_MAX];
	const char *sets[LIST_MAX];
	size_t files_count, sets_count;
};

static const struct option_def defs[] = {
	{.name = "filename",
	 .short_name = 'f',
	 .type = OPTION_STRING,
	 .value_name = "FILE",
	 .help = "an IstioOperator, or values of the chart; may be given again, the later wins"},
	{.name = "set",
	 .short_name = 's',
	 .type = OPTION_STRING,
	 .value_name = "KEY=VALUE",
	 .help = "profile=demo, hub=..., tag=..., revision=..., meshConfig.X=..., or "
		 "values.X=... with what \"culvert profile dump\" lists; wins over files; may be "
		 "given again"},
	{0},
};

/* value_of() - the value of option @d at argv[*i], which moves on; NULL: it is another. */
static const char *value_of(const struct option_def *d, int argc, char **argv, int *i)
{
	const char *arg = argv[*i];
	size_t n = strlen(d->name);
	bool is_long = arg[0] == '-' && arg[1] == '-' && strncmp(arg + 2, d->name, n) == 0;

	if (is_long && arg[2 + n] == '=')
		return arg + 2 + n + 1;
	if (!(is_long && !arg[2 + n]) && !(arg[0] == '-' && arg[1] == d->short_name && !arg[2]))
		return NULL;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

static int parse(int argc, char **argv, struct given *ret)
{
	for (int i = 2; i < argc; i++) {
		const char *file = value_of(&defs[0], argc, argv, &i);
		const char *set = file ? NULL : value_of(&defs[1], argc, argv, &i);

		if (file && ret->files_count < LIST_MAX)
			ret->files[ret->files_count++] = file;
		else if (set && ret->sets_count < LIST_MAX)
			ret->sets[ret->sets_count++] = set;
		else
			return cli_fail("manifest generate: %s: %s\nUsage: %s", argv[i],
					file || set ? "given too often" : "not understood", usage);
	}
	return 0;
}

static int plan(const struct given *given, struct install_plan *ret, char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *spec = NULL;
	int r = install_spec_new(&spec);

	for (size_t i = 0; i < given->files_count && r == 0; i++)
		r = install_spec_file(spec, given->files[i], err);
	for (size_t i = 0; i < given->sets_count && r == 0; i++)
		r = install_spec_set(spec, given->sets[i], err);
	return r < 0 ? r : install_spec_plan(spec, ret, err);
}

static void say_what_is_missing(const struct install_plan *p)
{
	if (p->has_gateways)
		(void)fputs(
			"culvert: gateways were asked for: they come in a later release and are "
			"NOT among these manifests\n",
			stderr);
}

static int generate(const struct given *given)
{
	_cleanup_(buf_resetp) struct buf out = {0};
	char err[CHART_ERROR_MAX] = "out of memory";
	struct install_plan p = {0};
	int r = plan(given, &p, err);

	if (r == 0 && p.has_crds)
		r = buf_append_str(&out, chart_file("crds/crds.yaml"));
	if (r == 0) /* which begins with "---" */
		r = chart_render("templates/culvert.yaml", chart_file("templates/culvert.yaml"),
				 p.values, &out, err);
	json_decref(p.values);
	if (r < 0)
		return cli_fail("manifest generate: %s", err);
	say_what_is_missing(&p);
	return fwrite(buf_head(&out), 1, buf_len(&out), stdout) == buf_len(&out) &&
			       fflush(stdout) == 0
		       ? 0
		       : cli_fail("manifest generate: cannot write: %s", strerror(errno));
}

int cli_manifest(int argc, char **argv)
{
	struct given given = {0};

	for (int i = 1; i < argc; i++)
		if (streq(argv[i], "--help") || streq(argv[i], "-h")) {
			option_help(
				defs, usage,
				"Print the manifests of an installation, for kubectl apply -f -. "
				"Without options: those of the profile default.");
			return 0;
		}
	if (argc < 2 || !streq(argv[1], "generate")) {
		(void)cli_fail("manifest: generate is the one word there is\nUsage: %s", usage);
		return 2;
	}
	if (parse(argc, argv, &given) != 0)
		return 2;
	return generate(&given);
}
