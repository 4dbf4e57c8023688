/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-manifest - YAML text to checked Kubernetes objects. */
#include "source/manifest.h"
#include "tests/fuzz/fuzz.h"

static int on_item(void *arg, const struct manifest_item *item)
{
	return 0;
}

static int on_error(void *arg, const struct source_error *err)
{
	char line[512];

	(void)source_error_format(err, line, sizeof(line));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct manifest_ops ops = {.on_item = on_item, .on_error = on_error};
	const struct manifest_text in = {
		.file = "fuzz.yaml", .text = (const char *)data, .len = size};
	bool is_complete;

	(void)!manifest_parse(&in, &ops, NULL, &is_complete);
	return 0;
}
