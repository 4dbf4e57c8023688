/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-kubeconfig - the text of a kubeconfig: current context, and one that is asked for. */
#include <stdlib.h>
#include <string.h>

#include "source/kube_config.h"
#include "tests/fuzz/fuzz.h"

static void read_one(const char *text, const char *context)
{
	_cleanup_(kube_config_clear) struct kube_config config = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	if (kube_config_parse("dir/config", text, context, &config, err) == 0 &&
	    (!config.server || !config.context))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	read_one(text, NULL);
	read_one(text, "b");
	return 0;
}
