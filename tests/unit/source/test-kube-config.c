/* SPDX-License-Identifier: Apache-2.0 */
/* kube_config - contexts, several files as one, relative paths, programs, and every mistake named.
 */
#include "source/kube_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

#define TWO                                                                                        \
	"current-context: a\n"                                                                     \
	"contexts:\n"                                                                              \
	"- {name: a, context: {cluster: c, user: u, namespace: n}}\n"                              \
	"- {name: b, context: {cluster: d, user: x}}\n"                                            \
	"clusters:\n"                                                                              \
	"- {name: c, cluster: {server: 'https://h:1/', certificate-authority: ca.crt}}\n"          \
	"- {name: d, cluster: {server: 'https://g:2', certificate-authority-data: YWJj}}\n"        \
	"users:\n"                                                                                 \
	"- {name: u, user: {token: t}}\n"                                                          \
	"- {name: x, user: {exec: {command: aws, args: [get]}}}\n"

static int parse(const char *text, const char *context, struct kube_config *c, char *err)
{
	*err = '\0';
	return kube_config_parse("/d/config", text, context, c, err);
}

static void the_current_context_is_read(void **state)
{
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	assert_int_equal(parse(TWO, NULL, &c, err), 0);
	assert_string_equal(c.server, "https://h:1");
	assert_string_equal(c.ca_file, "/d/ca.crt");
	assert_string_equal(c.token, "t");
	assert_string_equal(c.namespace_, "n");
	assert_string_equal(c.context, "a");
	assert_null(c.exec);
}

static void another_context_is_read_when_asked_for(void **state)
{
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	assert_int_equal(parse(TWO, "b", &c, err), 0);
	assert_string_equal(c.server, "https://g:2");
	assert_string_equal(c.ca_pem, "abc");
	assert_null(c.namespace_);
	assert_string_equal(json_string_value(json_object_get(c.exec, "command")), "aws");
}

/* `kubectl config` leaves such behind. */
static void an_empty_field_is_not_set(void **state)
{
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	assert_int_equal(parse("current-context: a\n"
			       "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
			       "clusters: [{name: c, cluster: {server: 'https://h:1', "
			       "proxy-url: ''}}]\n"
			       "users: [{name: u, user: {username: '', password: '', "
			       "auth-provider: null, exec: null, token: t}}]\n",
			       NULL, &c, err),
			 0);
	assert_string_equal(c.token, "t");
}

static void a_proxy_and_a_certificate_that_is_not_looked_at_are_read(void **state)
{
#define CLUSTER(more)                                                                              \
	"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"                       \
	"clusters: [{name: c, cluster: {server: 'https://h', " more "}}]\n"
	static const struct {
		const char *text, *proxy;
		bool is_insecure;
	} cases[] = {
		{CLUSTER(""), NULL, false},
		{CLUSTER("insecure-skip-tls-verify: true"), NULL, true},
		{CLUSTER("insecure-skip-tls-verify: false, certificate-authority: x"), NULL, false},
		{CLUSTER("proxy-url: 'http://u:p@proxy:3128'"), "http://u:p@proxy:3128", false},
		{CLUSTER("proxy-url: 'https://proxy'"), "https://proxy", false},
		/* it is the proxy that knows the server's name */
		{CLUSTER("proxy-url: 'socks5://[::1]:1080'"), "socks5h://[::1]:1080", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(kube_config_clear) struct kube_config c = {0};
		char err[KUBE_CONFIG_ERROR_MAX];

		assert_int_equal(parse(cases[i].text, NULL, &c, err), 0);
		assert_int_equal(c.is_insecure, cases[i].is_insecure);
		if (cases[i].proxy)
			assert_string_equal(c.proxy_url, cases[i].proxy);
		else
			assert_null(c.proxy_url);
	}
}

static void data_may_be_of_several_lines(void **state)
{
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	assert_int_equal(parse("current-context: a\n"
			       "contexts: [{name: a, context: {cluster: c}}]\n"
			       "clusters:\n- name: c\n  cluster:\n    server: https://h\n"
			       "    certificate-authority-data: |\n      YWJj\n      ZGVm\n",
			       NULL, &c, err),
			 0);
	assert_string_equal(c.ca_pem, "abcdef");
}

/* Who is to have the rights of another one does not act with his own. */
static void whom_to_act_as_is_read(void **state)
{
#define USER(more)                                                                                 \
	"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"              \
	"clusters: [{name: c, cluster: {server: 'https://h'}}]\n"                                  \
	"users: [{name: u, user: {token: t" more "}}]\n"
	static const struct {
		const char *text, *lines; /* NULL: a mistake */
	} cases[] = {
		{USER(""), "[]"},
		{USER(", as: '', as-groups: []"), "[]"},
		{USER(", as: viewer"), "[\"Impersonate-User: viewer\"]"},
		{USER(", as: v, as-uid: '7', as-groups: [a, b], as-user-extra: {k: [x, y]}"),
		 "[\"Impersonate-User: v\",\"Impersonate-Uid: 7\",\"Impersonate-Group: a\","
		 "\"Impersonate-Group: b\",\"Impersonate-Extra-k: x\",\"Impersonate-Extra-k: y\"]"},
		{USER(", as: 7"), NULL},
		{USER(", as: \"v\\r\\nAuthorization: x\""), NULL},
		{USER(", as: v, as-groups: [1]"), NULL},
		{USER(", as-groups: [a]"), NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(kube_config_clear) struct kube_config c = {0};
		_cleanup_(freep) char *lines = NULL;
		char err[KUBE_CONFIG_ERROR_MAX];
		int r = parse(cases[i].text, NULL, &c, err);

		assert_int_equal(r, cases[i].lines ? 0 : -EINVAL);
		if (r < 0) {
			assert_non_null(strstr(err, "as"));
			continue;
		}
		lines = c.act_as ? json_dumps(c.act_as, JSON_COMPACT) : strdup("[]");
		assert_string_equal(lines, cases[i].lines);
	}
}

/* One without a slash is looked for in PATH. */
static void a_plugin_with_a_relative_path_is_beside_the_file(void **state)
{
#define PLUGIN(command)                                                                            \
	"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"              \
	"clusters: [{name: c, cluster: {server: 'https://h'}}]\n"                                  \
	"users: [{name: u, user: {exec: {command: " command ", args: [get]}}}]\n"
	static const struct {
		const char *text, *command;
	} cases[] = {
		{PLUGIN("./bin/login"), "/d/./bin/login"},
		{PLUGIN("../login"), "/d/../login"},
		{PLUGIN("/usr/bin/login"), "/usr/bin/login"},
		{PLUGIN("login"), "login"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(kube_config_clear) struct kube_config c = {0};
		char err[KUBE_CONFIG_ERROR_MAX];

		assert_int_equal(parse(cases[i].text, NULL, &c, err), 0);
		assert_string_equal(json_string_value(json_object_get(c.exec, "command")),
				    cases[i].command);
		assert_int_equal(json_array_size(json_object_get(c.exec, "args")), 1);
	}
}

static void a_context_that_is_not_there_is_named(void **state)
{
	struct kube_config c = {0};
	char err[KUBE_CONFIG_ERROR_MAX];

	assert_int_equal(parse(TWO, "nope", &c, err), -EINVAL);
	assert_string_equal(err, "/d/config: there is no context nope");
	assert_null(c.server);
}

/* What is written, and what the message must have in it. */
static const struct {
	const char *text, *message;
} mistakes[] = {
	{"", "expected a kubeconfig"},
	{"a: [", "expected YAML"},
	{"[1, 2]", "expected a kubeconfig"},
	{"contexts: [{name: a, context: {cluster: c}}]", "current-context: expected"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]",
	 "context.cluster: expected the name of a cluster"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
	 "clusters: [{name: c, cluster: {server: ftp://x}}]",
	 "cluster.server: expected the URL"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
	 "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '%'}}]",
	 "certificate-authority-data: expected base64"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
	 "clusters: [{name: c, cluster: {server: 'https://x', insecure-skip-tls-verify: true, "
	 "certificate-authority: ca.crt}}]",
	 "insecure-skip-tls-verify: expected no certificate-authority beside it"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
	 "clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
	 "users: [{name: u, user: {auth-provider: {name: gcp}}}]",
	 "auth-provider: expected a token"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
	 "clusters: [{name: c, cluster: {server: 'https://x', proxy-url: 'socks4://y'}}]",
	 "cluster.proxy-url: expected http://, https:// or socks5://"},
	{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
	 "clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
	 "users: [{name: u, user: {exec: {args: [x]}}}]",
	 "exec.command: expected a program"},
};

static void every_mistake_is_named(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct kube_config c = {0};
		char err[KUBE_CONFIG_ERROR_MAX];

		assert_int_equal(parse(mistakes[i].text, NULL, &c, err), -EINVAL);
		if (!strstr(err, mistakes[i].message) || !str_has_prefix(err, "/d/config: "))
			fail_msg("\"%s\" gave \"%s\"", mistakes[i].text, err);
		assert_null(c.server);
	}
}

static void write_file(const char *dir, const char *name, const char *text)
{
	_cleanup_(freep) char *path = str_format("%s/%s", dir, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void remove_file(const char *dir, const char *name)
{
	_cleanup_(freep) char *path = str_format("%s/%s", dir, name);

	assert_int_equal(unlink(path), 0);
}

/* kubectl's rules: what two files have is the first's, relative paths are each file's own. */
static void several_files_are_one(void **state)
{
	char dir[] = "/tmp/culvert-test-XXXXXX";
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	_cleanup_(freep) char *paths = NULL, *ca = NULL;
	char err[KUBE_CONFIG_ERROR_MAX] = "";

	assert_non_null(mkdtemp(dir));
	write_file(dir, "one",
		   "current-context: ''\n"
		   "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
		   "users: [{name: u, user: {token: first}}]\n");
	write_file(dir, "two", TWO);
	paths = str_format("%s/none:%s/one:%s/two", dir, dir, dir);
	ca = str_format("%s/ca.crt", dir);
	assert_int_equal(kube_config_load(paths, NULL, &c, err, sizeof(err)), 0);
	assert_string_equal(c.token, "first");
	assert_string_equal(c.ca_file, ca);
	assert_null(c.namespace_);
	kube_config_clear(&c);
	free(paths);
	paths = str_format("%s/none", dir);
	assert_int_equal(kube_config_load(paths, NULL, &c, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "No such file"));
	remove_file(dir, "one");
	remove_file(dir, "two");
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_current_context_is_read),
		cmocka_unit_test(another_context_is_read_when_asked_for),
		cmocka_unit_test(an_empty_field_is_not_set),
		cmocka_unit_test(a_proxy_and_a_certificate_that_is_not_looked_at_are_read),
		cmocka_unit_test(data_may_be_of_several_lines),
		cmocka_unit_test(whom_to_act_as_is_read),
		cmocka_unit_test(a_plugin_with_a_relative_path_is_beside_the_file),
		cmocka_unit_test(a_context_that_is_not_there_is_named),
		cmocka_unit_test(every_mistake_is_named),
		cmocka_unit_test(several_files_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
