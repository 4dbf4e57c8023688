/* SPDX-License-Identifier: Apache-2.0 */
/* plugin - every verb in every version, with an agent that answers, refuses or is away. */
#include "userspace/cni/plugin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "userspace/cni/config.h"

#define ARGS   "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web;K8S_POD_UID=u-1;=;x"
#define PREV   "{\"cniVersion\": \"1.0.0\",\"ips\":[] }"
#define CONFIG "{\"cniVersion\":\"%s\",\"name\":\"n\",\"type\":\"culvert-cni\"%s}"

/* The agent as a test wants it, and what it heard. */
struct agent {
	int r;
	enum cni_verdict verdict;
	unsigned int asked, logged;
	struct cni_request last;
	bool is_let_go, has_netns;
};

static int ask(void *arg, const char *socket, const struct cni_request *request, const char *netns,
	       struct cni_reply *ret)
{
	struct agent *a = arg;

	if (request->verb == CNI_LOG) {
		a->logged++;
		return 0;
	}
	a->asked++;
	a->last = *request;
	a->has_netns = netns != NULL;
	if (a->r < 0)
		return a->r;
	*ret = (struct cni_reply){.verdict = a->verdict, .message = "because"};
	return 0;
}

static bool is_let_go(void *arg, const char *socket, unsigned int grace_s, const char *namespace_)
{
	const struct agent *a = arg;

	return a->is_let_go;
}

/* Return: the exit code; what was printed in @ret. */
static int run(struct agent *a, const char *command, const char *version, const char *more,
	       struct buf *ret)
{
	const struct plugin_env env = {.command = command,
				       .container = "c1",
				       .netns = "/run/netns/x",
				       .ifname = "eth0",
				       .args = ARGS};
	const struct plugin_world world = {.ask = ask, .is_let_go = is_let_go, .arg = a};
	char text[512];
	int code;

	(void)snprintf(text, sizeof(text), CONFIG, version, more);
	buf_reset(ret);
	code = plugin_run(&env, text, strlen(text), &world, ret);
	assert_int_equal(buf_append(ret, "", 1), 0);
	return code;
}

/* The code in the error that was printed; 0: none was. */
static int error_code(const struct buf *out)
{
	json_t *error = json_loads((const char *)buf_head(out), 0, NULL);
	int code = (int)json_integer_value(json_object_get(error, "code"));

	assert_true(!error || !json_object_get(error, "code") ||
		    (json_is_string(json_object_get(error, "msg")) &&
		     json_is_string(json_object_get(error, "cniVersion"))));
	json_decref(error);
	return code;
}

static void each_verb_in_each_version(void **state)
{
	static const struct {
		const char *command, *version;
		int code; /* 0: success */
		unsigned int asked;
	} rows[] = {
		{"ADD", "0.3.0", 0, 1},    {"ADD", "0.3.1", 0, 1},    {"ADD", "0.4.0", 0, 1},
		{"ADD", "1.0.0", 0, 1},    {"ADD", "1.1.0", 0, 1},    {"ADD", "2.0.0", 1, 0},
		{"DEL", "0.4.0", 0, 1},    {"DEL", "1.0.0", 0, 1},    {"DEL", "1.1.0", 0, 1},
		{"CHECK", "0.3.1", 1, 0},  {"CHECK", "0.4.0", 0, 1},  {"CHECK", "1.1.0", 0, 1},
		{"GC", "0.4.0", 1, 0},     {"GC", "1.0.0", 1, 0},     {"GC", "1.1.0", 0, 0},
		{"STATUS", "1.0.0", 1, 0}, {"STATUS", "1.1.0", 0, 0}, {"STATUS", "0.1.0", 1, 0},
		{"add", "1.0.0", 4, 0},    {"", "1.0.0", 4, 0},       {"NONE", "1.1.0", 4, 0},
	};
	_cleanup_(buf_resetp) struct buf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct agent a = {.verdict = CNI_CAPTURED};
		int code = run(&a, rows[i].command, rows[i].version, ",\"prevResult\":" PREV, &out);

		assert_int_equal(code != 0, rows[i].code != 0);
		assert_int_equal(error_code(&out), rows[i].code);
		assert_int_equal(a.asked, rows[i].asked);
	}
}

static void version_is_told_whatever_else_is_said(void **state)
{
	static const char *const versions[] = {"0.4.0", "1.0.0", "1.1.0", "9.9.9"};
	_cleanup_(buf_resetp) struct buf out = {0};
	struct agent a = {0};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		json_t *told;

		assert_int_equal(run(&a, "VERSION", versions[i], "", &out), 0);
		told = json_loads((const char *)buf_head(&out), 0, NULL);
		assert_string_equal(json_string_value(json_object_get(told, "cniVersion")),
				    i == 3 ? "1.1.0" : versions[i]);
		assert_int_equal(json_array_size(json_object_get(told, "supportedVersions")), 5);
		json_decref(told);
	}
	assert_int_equal(run(&a, "VERSION", "\"", "", &out), 1);
	assert_int_equal(error_code(&out), CONFIG_ERROR_DECODE);
	assert_int_equal(a.asked, 0);
}

static void add_passes_the_result_on_when_the_agent_agrees(void **state)
{
	static const enum cni_verdict fine[] = {CNI_CAPTURED, CNI_REFUSING, CNI_OUTSIDE};
	_cleanup_(buf_resetp) struct buf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		struct agent a = {.verdict = fine[i]};

		assert_int_equal(run(&a, "ADD", "1.0.0", ",\"prevResult\":" PREV, &out), 0);
		assert_string_equal((const char *)buf_head(&out), PREV);
		assert_int_equal(a.last.protocol, CNI_PROTOCOL);
		assert_int_equal(a.last.verb, CNI_ADD);
		assert_true(a.has_netns);
		assert_string_equal(a.last.namespace_, "demo");
		assert_string_equal(a.last.pod, "web");
		assert_string_equal(a.last.uid, "u-1");
		assert_string_equal(a.last.container, "c1");
	}
}

static void add_makes_the_pod_wait_for_an_agent_that_does_not_agree(void **state)
{
	static const struct agent agents[] = {
		{.verdict = CNI_AGAIN},
		{.r = -ENOTCONN},
		{.r = -ETIMEDOUT},
		{.r = -EPROTO},
		{.r = -EPERM},
		{.r = -ENOENT},
		{.r = -ETIMEDOUT, .is_let_go = true}, /* it is there: it has the word */
	};
	_cleanup_(buf_resetp) struct buf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		struct agent a = agents[i];

		assert_int_equal(run(&a, "ADD", "1.0.0",
				     ",\"agentAwayGraceSeconds\":1,\"prevResult\":" PREV, &out),
				 1);
		assert_int_equal(error_code(&out), CONFIG_ERROR_AGAIN);
	}
}

static void exempt_namespaces_do_not_wait(void **state)
{
	struct agent a = {.r = -ENOTCONN};
	_cleanup_(buf_resetp) struct buf out = {0};

	assert_int_equal(run(&a, "ADD", "1.0.0",
			     ",\"exemptNamespaces\":[\"demo\"],\"prevResult\":" PREV, &out),
			 0);
	assert_string_equal((const char *)buf_head(&out), PREV);
	assert_int_equal(a.asked, 1);
	assert_int_equal(a.logged, 1);
}

static void a_long_absence_lets_go_what_was_outside(void **state)
{
	struct agent a = {.r = -ENOTCONN, .is_let_go = true};
	_cleanup_(buf_resetp) struct buf out = {0};

	assert_int_equal(
		run(&a, "ADD", "1.0.0", ",\"agentAwayGraceSeconds\":1,\"prevResult\":" PREV, &out),
		0);
	assert_int_equal(
		run(&a, "ADD", "1.0.0", ",\"agentAwayGraceSeconds\":0,\"prevResult\":" PREV, &out),
		1);
}

static void del_never_fails_a_pod_that_goes(void **state)
{
	static const struct agent agents[] = {
		{.verdict = CNI_OUTSIDE}, {.verdict = CNI_AGAIN}, {.r = -ENOTCONN}, {.r = -ENOMEM}};
	_cleanup_(buf_resetp) struct buf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		struct agent a = agents[i];

		assert_int_equal(run(&a, "DEL", "1.0.0", "", &out), 0);
		assert_string_equal((const char *)buf_head(&out), "");
		assert_false(a.has_netns);
	}
}

static void check_wants_a_result_and_the_agents_word(void **state)
{
	struct agent fine = {.verdict = CNI_CAPTURED}, bad = {.verdict = CNI_AGAIN},
		     away = {.r = -ENOTCONN};
	_cleanup_(buf_resetp) struct buf out = {0};

	assert_int_equal(run(&fine, "CHECK", "1.0.0", ",\"prevResult\":" PREV, &out), 0);
	assert_string_equal((const char *)buf_head(&out), "");
	assert_int_equal(run(&fine, "CHECK", "1.0.0", "", &out), 1);
	assert_int_equal(error_code(&out), CONFIG_ERROR_INVALID);
	assert_int_equal(run(&bad, "CHECK", "1.0.0", ",\"prevResult\":" PREV, &out), 1);
	assert_int_equal(error_code(&out), CONFIG_ERROR_AGAIN);
	assert_int_equal(run(&away, "CHECK", "1.0.0", ",\"prevResult\":" PREV, &out), 1);
	assert_int_equal(error_code(&out), CONFIG_ERROR_AGAIN);
}

static void add_alone_in_the_list_is_an_error(void **state)
{
	struct agent a = {.verdict = CNI_CAPTURED};
	_cleanup_(buf_resetp) struct buf out = {0};

	assert_int_equal(run(&a, "ADD", "1.0.0", "", &out), 1);
	assert_int_equal(error_code(&out), CONFIG_ERROR_INVALID);
	assert_int_equal(a.asked, 0);
}

static void the_environment_is_checked(void **state)
{
	static const struct plugin_env rows[] = {
		{.command = NULL},
		{.command = "ADD", .netns = "/x", .ifname = "e"},
		{.command = "ADD", .container = "", .netns = "/x", .ifname = "e"},
		{.command = "ADD", .container = "c", .ifname = "e"},
		{.command = "ADD", .container = "c", .netns = "x", .ifname = "e"},
		{.command = "ADD", .container = "c", .netns = "/x"},
		{.command = "DEL", .ifname = "e"},
		{.command = "CHECK", .container = "c", .ifname = "e"},
	};
	static const char text[] = "{\"cniVersion\":\"1.0.0\",\"prevResult\":" PREV "}";
	struct agent a = {.verdict = CNI_CAPTURED};
	const struct plugin_world world = {.ask = ask, .is_let_go = is_let_go, .arg = &a};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_resetp) struct buf out = {0};

		assert_int_equal(plugin_run(&rows[i], text, strlen(text), &world, &out), 1);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_int_equal(error_code(&out), CONFIG_ERROR_ENVIRONMENT);
	}
	assert_int_equal(a.asked, 0);
}

static void what_is_no_pod_of_kubernetes_is_left_alone(void **state)
{
	static const char *const args[] = {NULL, "", ";;", "K8S_POD_NAME=a", "K8S_POD_NAMESPACE=b"};
	static const char text[] = "{\"cniVersion\":\"1.0.0\",\"prevResult\":" PREV "}";
	struct agent a = {.r = -ENOTCONN};
	const struct plugin_world world = {.ask = ask, .is_let_go = is_let_go, .arg = &a};

	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		_cleanup_(buf_resetp) struct buf out = {0};
		const struct plugin_env env = {.command = "ADD",
					       .container = "c",
					       .netns = "/x",
					       .ifname = "e",
					       .args = args[i]};

		assert_int_equal(plugin_run(&env, text, strlen(text), &world, &out), 0);
		assert_int_equal(buf_len(&out), strlen(PREV));
	}
	assert_int_equal(a.asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_verb_in_each_version),
		cmocka_unit_test(version_is_told_whatever_else_is_said),
		cmocka_unit_test(add_passes_the_result_on_when_the_agent_agrees),
		cmocka_unit_test(add_makes_the_pod_wait_for_an_agent_that_does_not_agree),
		cmocka_unit_test(exempt_namespaces_do_not_wait),
		cmocka_unit_test(a_long_absence_lets_go_what_was_outside),
		cmocka_unit_test(del_never_fails_a_pod_that_goes),
		cmocka_unit_test(check_wants_a_result_and_the_agents_word),
		cmocka_unit_test(add_alone_in_the_list_is_an_error),
		cmocka_unit_test(the_environment_is_checked),
		cmocka_unit_test(what_is_no_pod_of_kubernetes_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
