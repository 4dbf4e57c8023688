/* SPDX-License-Identifier: Apache-2.0 */
/* cni_conf - our plugin in a node's network configuration: last, once, nothing else touched. */
#include "cni/cni_conf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OURS  "{\"type\":\"culvert-cni\",\"agentSocket\":\"/a\"}"
#define OLD   "{\"type\":\"culvert-cni\",\"agentSocket\":\"/old\"}"
#define HEAD  "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":["
#define FIRST "{\"type\":\"bridge\",\"mtu\":1400}"
#define NEXT  "{\"type\":\"portmap\"}"

static json_t *parse(const char *text)
{
	json_t *root = json_loads(text, 0, NULL);

	assert_non_null(root);
	return root;
}

static void assert_becomes(const struct cni_conf *conf, const char *want)
{
	json_t *a = parse(conf->text), *b = parse(want);

	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
}

static void it_goes_in_last_and_once(void **state)
{
	static const struct {
		const char *before, *after; /* NULL: nothing to change */
		bool was_single;
	} rows[] = {
		{HEAD FIRST "]}", HEAD FIRST "," OURS "]}", false},
		{HEAD FIRST "," NEXT "]}", HEAD FIRST "," NEXT "," OURS "]}", false},
		{HEAD FIRST "," OURS "]}", NULL, false},
		{HEAD FIRST "," OURS "," NEXT "]}", HEAD FIRST "," NEXT "," OURS "]}", false},
		{HEAD FIRST "," OLD "]}", HEAD FIRST "," OURS "]}", false},
		{HEAD OLD "," FIRST "," OLD "," OURS "]}", HEAD FIRST "," OURS "]}", false},
		{"{\"cniVersion\":\"0.3.1\",\"plugins\":[" FIRST "],\"disableCheck\":true}",
		 "{\"cniVersion\":\"0.3.1\",\"plugins\":[" FIRST "," OURS
		 "],\"disableCheck\":true}",
		 false},
		{"{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"type\":\"bridge\",\"mtu\":1400}",
		 "{\"cniVersion\":\"0.4.0\",\"name\":\"n\",\"plugins\":[" FIRST "," OURS "]}",
		 true},
	};
	json_t *entry = parse(OURS);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cni_conf conf;
		int r = cni_conf_insert(rows[i].before, strlen(rows[i].before), entry, &conf);

		assert_int_equal(r, rows[i].after ? 1 : 0);
		assert_int_equal(conf.was_single, rows[i].was_single);
		if (r)
			assert_becomes(&conf, rows[i].after);
		else
			assert_null(conf.text);
		free(conf.text);
	}
	json_decref(entry);
}

static void it_goes_out_again(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		{HEAD FIRST "," OURS "]}", HEAD FIRST "]}"},
		{HEAD OLD "," FIRST "," OURS "," NEXT "]}", HEAD FIRST "," NEXT "]}"},
		{HEAD FIRST "]}", NULL},
		{"{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\"}", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cni_conf conf;
		int r = cni_conf_remove(rows[i].before, strlen(rows[i].before), &conf);

		assert_int_equal(r, rows[i].after ? 1 : 0);
		if (r)
			assert_becomes(&conf, rows[i].after);
		free(conf.text);
	}
}

static void what_is_no_configuration_is_named(void **state)
{
	static const char *const rows[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"plugins\":[]}",
		"{\"plugins\":{}}",
		"{\"cniVersion\":\"1.0.0\",\"plugins\":[1]}",
		"{\"cniVersion\":\"1.0.0\",\"plugins\":[{}]}",
		"{\"cniVersion\":\"1.0.0\",\"type\":3}",
		/* versions that our plugin would refuse, and a list that would have nothing else */
		"{\"plugins\":[" FIRST "]}",
		"{\"cniVersion\":\"0.2.0\",\"plugins\":[" FIRST "]}",
		"{\"cniVersion\":\"1.2.0\",\"plugins\":[" FIRST "]}",
		"{\"cniVersion\":1,\"plugins\":[" FIRST "]}",
		HEAD OLD "]}",
	};
	json_t *entry = parse(OURS);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cni_conf conf;

		assert_int_equal(cni_conf_insert(rows[i], strlen(rows[i]), entry, &conf), -EINVAL);
		assert_non_null(conf.error);
		assert_null(conf.text);
	}
	json_decref(entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_goes_in_last_and_once),
		cmocka_unit_test(it_goes_out_again),
		cmocka_unit_test(what_is_no_configuration_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
