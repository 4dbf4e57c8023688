/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - the manifests of an installation: for kubectl apply, or applied at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli.h"
#include "install.h"
#include "install_words.h"

struct manifest_options {
	const char *revision;
};

static const struct option_def defs[] = {
	INSTALL_OPTIONS,
	INSTALL_OPTION_REVISION(offsetof(struct manifest_options, revision)),
	{0},
};

static int generate(const struct install_words *given)
{
	_cleanup_(buf_resetp) struct buf out = {0};
	char err[CHART_ERROR_MAX] = "out of memory";
	struct install_plan p = {0};
	int r = install_words_plan(given, NULL, &p, NULL, err);

	if (r == 0)
		r = install_plan_text(&p, &out, err);
	if (r == 0)
		install_say_missing(&p, stderr);
	json_decref(p.values);
	if (r < 0)
		return cli_fail("manifest generate: %s", err);
	return fwrite(buf_head(&out), 1, buf_len(&out), stdout) == buf_len(&out) &&
			       fflush(stdout) == 0
		       ? 0
		       : cli_fail("manifest generate: cannot write: %s", strerror(errno));
}

static int cli_generate(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert manifest generate [-f FILE]... [--set KEY=VALUE]... "
			 "[--revision NAME]",
		.help = "Print the manifests of an installation, for kubectl apply -f -. Without "
			"options: those of the profile default.",
	};
	struct install_words given = {0};
	struct manifest_options o = {0};
	int r;

	if (install_words_take(&argc, argv, &given) < 0)
		return 2;
	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (install_words_add_revision(&given, o.revision) < 0)
		return 2;
	return generate(&given);
}

int cli_manifest(int argc, char **argv)
{
	static const struct cli_command table[] = {
		{"generate", NULL, "print them, for kubectl apply -f -", cli_generate},
		{"apply", "install", "the same as culvert install", cli_install},
		{0},
	};

	return cli_sub("manifest", table, argc, argv);
}
