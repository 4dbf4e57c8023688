/* SPDX-License-Identifier: Apache-2.0 */
/* config - what a runtime gives to a plugin; what is wrong has the specification's code. */
#include "userspace/cni/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void the_previous_result_stays_as_it_was_written(void **state)
{
	static const struct {
		const char *text, *prev;
	} rows[] = {
		{"{\"cniVersion\":\"1.0.0\",\"prevResult\":{\"a\":1.50e1}}", "{\"a\":1.50e1}"},
		{" { \"x\" : [ 1, {\"prevResult\": 2}, \"}\\\"]\" ] ,\n"
		 "\"prevResult\"\t:\n{ \"b\" : \"\\u00e9\\\\\" , \"c\":[ ] } , "
		 "\"cniVersion\":\"1.1.0\"}",
		 "{ \"b\" : \"\\u00e9\\\\\" , \"c\":[ ] }"},
		{"{\"cniVersion\":\"0.3.1\",\"n\":-1.5,\"t\":true,\"z\":null,\"prevResult\":{}}",
		 "{}"},
		{"{\"cniVersion\":\"0.4.0\"}", NULL},
		{"{\"cniVersion\":\"0.4.0\",\"prevResult\":null}", NULL},
		{"{\"cniVersion\":\"0.4.0\",\"a\":{\"prevResult\":{}}}", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c;

		assert_int_equal(config_read(rows[i].text, strlen(rows[i].text), &c), 0);
		assert_int_equal(c.prev == NULL, rows[i].prev == NULL);
		if (rows[i].prev) {
			assert_int_equal(c.prev_len, strlen(rows[i].prev));
			assert_memory_equal(c.prev, rows[i].prev, c.prev_len);
		}
		config_clear(&c);
	}
}

#define E5  "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
#define E10 E5 E5

static void what_is_wrong_has_its_code(void **state)
{
	static const struct {
		const char *text;
		enum config_error code;
	} rows[] = {
		{"", CONFIG_ERROR_DECODE},
		{"{", CONFIG_ERROR_DECODE},
		{"[]", CONFIG_ERROR_DECODE},
		{"{\"cniVersion\":1}", CONFIG_ERROR_DECODE},
		{"{\"cniVersion\":\"1.0.0\",\"cniVersion\":\"1.0.0\"}", CONFIG_ERROR_DECODE},
		{"{\"cniVersion\":\"1.0.0\",\"prevResult\":[]}", CONFIG_ERROR_DECODE},
		{"{\"cniVersion\":\"1.0.0\",\"prev\\u0052esult\":{}}", CONFIG_ERROR_DECODE},
		{"{}", CONFIG_ERROR_VERSION},
		{"{\"cniVersion\":\"0.2.0\"}", CONFIG_ERROR_VERSION},
		{"{\"cniVersion\":\"1.2.0\"}", CONFIG_ERROR_VERSION},
		{"{\"cniVersion\":\"a" E10 E10 E10 E10 E10 E10 "\"}", CONFIG_ERROR_VERSION},
		{"{\"cniVersion\":\"1.0.0\",\"agentSocket\":\"a\"}", CONFIG_ERROR_INVALID},
		{"{\"cniVersion\":\"1.0.0\",\"agentSocket\":1}", CONFIG_ERROR_INVALID},
		{"{\"cniVersion\":\"1.0.0\",\"exemptNamespaces\":\"a\"}", CONFIG_ERROR_INVALID},
		{"{\"cniVersion\":\"1.0.0\",\"agentAwayGraceSeconds\":-1}", CONFIG_ERROR_INVALID},
		{"{\"cniVersion\":\"1.0.0\",\"agentAwayGraceSeconds\":\"1\"}",
		 CONFIG_ERROR_INVALID},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c;
		json_t *text;

		assert_int_equal(config_read(rows[i].text, strlen(rows[i].text), &c), -EINVAL);
		assert_int_equal(c.code, rows[i].code);
		assert_true(c.error[0]);
		/* no JSON takes a character that is cut: there would be no error, but "out of
		 * memory" */
		text = json_string(c.error);
		assert_non_null(text);
		json_decref(text);
		config_clear(&c);
	}
}

static void our_own_words_are_read(void **state)
{
	static const char text[] =
		"{\"cniVersion\":\"1.0.0\",\"agentSocket\":\"/a/b\",\"exemptNamespaces\":[\"x\",3,"
		"\"y\"],\"agentAwayGraceSeconds\":7}";
	struct config c;

	assert_int_equal(config_read(text, strlen(text), &c), 0);
	assert_string_equal(c.socket, "/a/b");
	assert_int_equal(c.grace_s, 7);
	assert_true(config_is_exempt(&c, "x") && config_is_exempt(&c, "y"));
	assert_false(config_is_exempt(&c, "z") || config_is_exempt(&c, ""));
	/* a list without them would keep the agent's own pod from its start, and all others */
	assert_true(config_is_exempt(&c, "istio-system") && config_is_exempt(&c, "kube-system"));
	assert_true(config_version_reaches(&c, "0.4.0") && config_version_reaches(&c, "1.0.0"));
	assert_false(config_version_reaches(&c, "1.1.0"));
	config_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_previous_result_stays_as_it_was_written),
		cmocka_unit_test(what_is_wrong_has_its_code),
		cmocka_unit_test(our_own_words_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
