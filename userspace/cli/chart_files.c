/* SPDX-License-Identifier: Apache-2.0 */
/* chart_files - tools/deploy/chart inside this program, so that it and the files cannot differ. */
#include <string.h>

#include "chart.h"

/* build.mk makes this depend on the files: the compiler does not see that it does. */
#define EMBED(name, path)                                                                          \
	extern const char chart_text_##name[];                                                     \
	__asm__(".pushsection .rodata\n"                                                           \
		".global chart_text_" #name "\n"                                                   \
		"chart_text_" #name ":\n"                                                          \
		".incbin \"tools/deploy/chart/" path "\"\n"                                        \
		".byte 0\n"                                                                        \
		".popsection\n")

#define CHART_FILES(X)                                                                             \
	X(values, "values.yaml")                                                                   \
	X(schema, "values.schema.json")                                                            \
	X(crds, "crds/crds.yaml")                                                                  \
	X(gateway_api, "crds/gateway-api.yaml")                                                    \
	X(culvert, "templates/culvert.yaml")                                                       \
	X(minimal, "profiles/minimal.yaml")                                                        \
	X(default, "profiles/default.yaml")                                                        \
	X(demo, "profiles/demo.yaml")                                                              \
	X(production, "profiles/production.yaml")

#define DECLARE(name, path) EMBED(name, path);
CHART_FILES(DECLARE)

#define ENTRY(name, file_path) {.path = (file_path), .text = chart_text_##name},
static const struct chart_file files[] = {CHART_FILES(ENTRY)};

const struct chart_file *chart_files(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(files);
	return files;
}

const char *chart_file(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (streq(files[i].path, path))
			return files[i].text;
	return NULL;
}
