/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-text - small texts from outside: the kernel's cgroup lines, log levels, queries of the admin
 * port, MeshConfig. All of them for all bytes. */
#include <string.h>

#include <jansson.h>

#include "base/log_filter.h"
#include "http/server.h"
#include "source/mesh_config.h"
#include "source/object.h"
#include "tests/fuzz/fuzz.h"
#include "userspace/agent/procs.h"

#define TEXT_MAX_LEN 8192

static void on_error(void *arg, const struct source_error *err)
{
}

static void fuzz_mesh_config(const char *text)
{
	struct mesh_config config = {0};
	struct object *map = NULL;
	json_t *body;

	body = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind",
			 "ConfigMap", "metadata", "name", "istio", "namespace", "istio-system",
			 "data", "mesh", text);
	/* not UTF-8: no manifest holds it */
	if (!body || object_new_json(body, &map) < 0)
		return;
	if (mesh_config_read(map, on_error, NULL, &config) == 0)
		mesh_config_clear(&config);
	object_unref(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX_LEN], uid[PROCS_UID_MAX], value[64], err[256];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)!procs_uid_of_cgroup(text, uid);
	(void)!http_query_get(text, "level", value, sizeof(value));
	(void)!log_filter_set(text, err, sizeof(err));
	(void)!log_filter_set("error", err, sizeof(err));
	fuzz_mesh_config(text);
	return 0;
}
