/* SPDX-License-Identifier: Apache-2.0 */
/* lab_config - what is written reads back as the same values; file names tell objects apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "userspace/cli/lab.h"

static void expect_yaml(const char *json, const char *yaml)
{
	json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
	struct buf b = {0};

	assert_non_null(j);
	assert_int_equal(lab_yaml_write(&b, j), 0);
	assert_int_equal(buf_append_str(&b, ""), 0);
	assert_int_equal(buf_len(&b), strlen(yaml));
	assert_memory_equal(buf_head(&b), yaml, strlen(yaml));
	buf_reset(&b);
	json_decref(j);
}

static void writes_nested_blocks(void **state)
{
	expect_yaml("{\"a\":{\"b\":[{\"c\":1,\"d\":[\"x\",\"y\"]},{\"e\":true}]},\"f\":[]}",
		    "a:\n  b:\n  - c: 1\n    d:\n    - x\n    - \"y\"\n  - e: true\nf: []\n");
}

static void writes_lists_of_lists(void **state)
{
	expect_yaml("[[1,2],[]]", "- \n  - 1\n  - 2\n- []\n");
}

static void quotes_what_yaml_would_read_as_another_type(void **state)
{
	static const char *const strings[] = {"true", "No", "null", "1.5", "0x10", "10.0.0.1",
					      "a: b", "",   "#c",   "*a",  "-",    "a\nb"};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		json_t *j = json_string(strings[i]);
		struct buf b = {0};

		assert_int_equal(lab_yaml_write(&b, j), 0);
		assert_int_equal(buf_head(&b)[0], '"');
		buf_reset(&b);
		json_decref(j);
	}
	expect_yaml("\"istio-system\"", "istio-system\n");
	expect_yaml("\"/etc/hosts\"", "/etc/hosts\n");
}

static void names_files_after_objects(void **state)
{
	json_t *pod = json_loads(
		"{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"a\",\"name\":\"b\"}}", 0, NULL);
	json_t *ns = json_loads("{\"kind\":\"Namespace\",\"metadata\":{\"name\":\"b\"}}", 0, NULL);
	char path[LAB_PATH_MAX];

	assert_string_equal(lab_config_path(pod, path, sizeof(path)),
			    LAB_CONFIG_DIR "/pod-a-b.yaml");
	assert_string_equal(lab_config_path(ns, path, sizeof(path)),
			    LAB_CONFIG_DIR "/namespace-b.yaml");
	json_decref(pod);
	json_decref(ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_nested_blocks),
		cmocka_unit_test(writes_lists_of_lists),
		cmocka_unit_test(quotes_what_yaml_would_read_as_another_type),
		cmocka_unit_test(names_files_after_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
