/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-cni - what a container runtime gives to the plugin, what a node's network configuration may
 * be when the agent changes it, and what the agent may be asked. The previous result must be a part
 * of what was given; what was changed once is not to be changed again. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/fuzz/fuzz.h"
#include "cni/cni_conf.h"
#include "userspace/agent/cni_server.h"
#include "userspace/cni/config.h"
#include "userspace/cni/plugin.h"

static int ask(void *arg, const char *socket, const struct cni_request *request, const char *netns,
	       struct cni_reply *ret)
{
	if (ret)
		*ret = (struct cni_reply){.verdict = CNI_CAPTURED};
	return 0;
}

static void plugin(const char *text, size_t len)
{
	static const char *const commands[] = {"ADD", "DEL", "CHECK", "VERSION", "GC", "STATUS"};
	const struct plugin_world world = {.ask = ask};
	struct config c;

	if (config_read(text, len, &c) == 0 && c.prev &&
	    (c.prev < text || c.prev[0] != '{' || c.prev[c.prev_len - 1] != '}' ||
	     c.prev + c.prev_len > text + len))
		abort();
	config_clear(&c);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct plugin_env env = {.command = commands[i],
					       .container = "c",
					       .netns = "/n",
					       .ifname = "e",
					       .args = text};
		struct buf out = {0};

		(void)!plugin_run(&env, text, len, &world, &out);
		buf_reset(&out);
	}
}

static void configuration(const char *text, size_t len)
{
	json_t *entry = json_pack("{s:s}", "type", CNI_PLUGIN_TYPE);
	struct cni_conf once = {0}, twice = {0};

	if (cni_conf_insert(text, len, entry, &once) == 1) {
		if (cni_conf_insert(once.text, strlen(once.text), entry, &twice) != 0)
			abort();
		if (cni_conf_remove(once.text, strlen(once.text), &twice) != 1)
			abort();
	}
	free(once.text);
	free(twice.text);
	json_decref(entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cni_request request = {0};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	plugin(text, size);
	configuration(text, size);
	memcpy(&request, data, MIN(size, sizeof(request)));
	(void)!cni_request_check(&request, size, size % 3);
	free(text);
	return 0;
}
