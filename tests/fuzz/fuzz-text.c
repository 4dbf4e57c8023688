/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-text - small texts from outside: the kernel's cgroup lines, log levels, queries of the admin
 * port, MeshConfig, expressions of Telemetry, values of an installation, templates. All of them for
 * all bytes. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/log_filter.h"
#include "http/server.h"
#include "source/mesh_config.h"
#include "source/object.h"
#include "tests/fuzz/fuzz.h"
#include "userspace/agent/procs.h"
#include "userspace/cli/chart.h"
#include "xds/signal_attributes.h"

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

static bool no_value(void *arg, size_t attribute, struct cel_value *ret)
{
	ret->text = "a";
	ret->number = (int64_t)attribute;
	return attribute % 2;
}

static void fuzz_expression(const char *text)
{
	const struct cel_env env = {.get = no_value};
	struct cel_problem problem;
	struct cel_value value;
	struct cel *c = NULL;

	if (signal_expression(text, SIGNAL_OF_END, &c, &problem) < 0)
		return;
	(void)!cel_eval(c, &env, &value);
	free(c);
}

/* What `culvert manifest generate` reads: a file of values, a word of --set, a template. */
static void fuzz_chart(const char *text)
{
	static json_t *schema, *values; /* made once: dear */
	_cleanup_(json_decrefp) json_t *read = NULL, *set = json_object();
	_cleanup_(buf_resetp) struct buf out = {0};
	char err[CHART_ERROR_MAX];

	if (!schema)
		schema = chart_schema();
	if (!values && chart_values("default", &values, err) < 0)
		abort();
	(void)!chart_yaml("values", text, schema, &read, err);
	(void)!chart_set(set, schema, text, err);
	(void)!chart_check(schema, set, NULL, err);
	(void)!chart_render("template", text, values, &out, err);
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
	fuzz_expression(text);
	fuzz_mesh_config(text);
	fuzz_chart(text);
	return 0;
}
