/* SPDX-License-Identifier: Apache-2.0 */
/* version - which build this is. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "cli.h"

#ifndef CULVERT_VERSION
#define CULVERT_VERSION "unknown"
#endif

struct version_options {
	bool is_short;
};

static const struct option_def version_defs[] = {
	{.name = "short",
	 .short_name = 's',
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct version_options, is_short),
	 .help = "the version alone"},
	{0},
};

int cli_version(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = version_defs,
		.usage = "culvert version [--short]",
		.help = "Print which build of Culvert this is, and the kernel that it runs on.",
	};
	struct version_options o;
	struct utsname u;
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (o.is_short) {
		puts(CULVERT_VERSION);
		return 0;
	}
	printf("culvert version: %s\n", CULVERT_VERSION);
	if (uname(&u) == 0)
		printf("kernel: %s %s %s\n", u.sysname, u.release, u.machine);
	return 0;
}
