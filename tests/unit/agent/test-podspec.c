/* SPDX-License-Identifier: Apache-2.0 */
/* podspec - Pods as the agent reads them; what is wrong is named by its field. */
#include "userspace/agent/podspec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/addr.h"

static int read_pod(const char *annotations, const char *status, struct podspec **ret,
		    char err[300])
{
	json_t *body = json_pack("{s:s, s:{s:s, s:s, s:o}, s:{}, s:o}", "kind", "Pod", "metadata",
				 "namespace", "demo", "name", "web", "annotations",
				 json_loads(annotations, 0, NULL), "spec", "status",
				 json_loads(status, 0, NULL));
	struct object *o = NULL;
	int r;

	assert_int_equal(object_new_json(body, &o), 0);
	err[0] = '\0';
	r = podspec_new(o, 0, ret, err, 300);
	object_unref(o);
	return r;
}

static void reads_a_pod(void **state)
{
	struct podspec *s = NULL;
	char err[300], text[CV_ADDR_STRLEN];

	assert_int_equal(read_pod("{\"culvert.io/pid\": \"42\"}",
				  "{\"podIP\": \"10.0.0.1\", \"podIPs\": [{\"ip\": \"10.0.0.1\"}, "
				  "{\"ip\": \"fd00::1\"}]}",
				  &s, err),
			 0);
	assert_string_equal(s->key, "demo/web");
	assert_string_equal(s->service_account, "default");
	assert_string_equal(s->netns, "/proc/42/ns/net");
	assert_string_equal(s->resolv_conf, "/proc/42/root/etc/resolv.conf");
	assert_true(s->has_dns);
	assert_int_equal(s->ip_count, 2);
	assert_string_equal(cv_addr_format(&s->ips[1], text), "fd00::1");
	podspec_free(s);
}

static void a_netns_path_beats_a_pid(void **state)
{
	struct podspec *s = NULL, *t = NULL;
	char err[300];

	assert_int_equal(
		read_pod("{\"culvert.io/pid\": \"42\", \"culvert.io/netns\": \"/run/netns/x\","
			 "\"culvert.io/resolv-conf\": \"/etc/r\", "
			 "\"example.com/other\": \"false\"}",
			 "{}", &s, err),
		0);
	assert_string_equal(s->netns, "/run/netns/x");
	assert_string_equal(s->resolv_conf, "/etc/r");
	assert_int_equal(read_pod("{\"culvert.io/netns\": \"/run/netns/x\"}", "{}", &t, err), 0);
	assert_null(t->resolv_conf);
	assert_true(podspec_is_same(s, s));
	assert_false(podspec_is_same(s, t));
	podspec_free(s);
	podspec_free(t);
}

static struct podspec *of_uid(json_t *uid)
{
	struct podspec *s = NULL;
	struct object *o = NULL;

	assert_int_equal(
		object_new_json(json_pack("{s:s, s:{s:s, s:s, s:o*}}", "kind", "Pod", "metadata",
					  "namespace", "demo", "name", "web", "uid", uid),
				&o),
		0);
	assert_int_equal(podspec_new_sandbox(o, 3, &s), 0);
	object_unref(o);
	return s;
}

/* As the control plane tells ztunnel of it: by model. */
static void one_made_anew_under_its_name_is_another(void **state)
{
	struct podspec *none = of_uid(NULL), *a = of_uid(json_string("a")),
		       *b = of_uid(json_string("b"));

	assert_int_equal(none->incarnation, 0);
	assert_int_equal(a->incarnation, 0xe40c292c);
	assert_int_not_equal(b->incarnation, a->incarnation);
	assert_true(podspec_is_same(a, a));
	assert_false(podspec_is_same(a, b));
	podspec_free(none);
	podspec_free(a);
	podspec_free(b);
}

static const struct {
	const char *annotations, *status, *field;
} bad[] = {
	{"{}", "{}", "metadata.annotations"},
	{"{\"culvert.io/netns\": \"relative\"}", "{}", "culvert.io/netns"},
	{"{\"culvert.io/pid\": \"0\"}", "{}", "culvert.io/pid"},
	{"{\"culvert.io/pid\": \"1x\"}", "{}", "culvert.io/pid"},
	{"{\"culvert.io/pid\": \"99999999999999999999\"}", "{}", "culvert.io/pid"},
	{"{\"culvert.io/pid\": \"1\", \"culvert.io/resolv-conf\": \"x\"}", "{}",
	 "culvert.io/resolv-conf"},
	{"{\"culvert.io/pid\": \"1\"}", "{\"podIP\": \"10.0.0\"}", "status.podIP"},
	{"{\"culvert.io/pid\": \"1\"}", "{\"podIPs\": [{\"ip\": \"host\"}]}", "status.podIPs"},
};

static void what_is_wrong_is_named(void **state)
{
	struct podspec *s = NULL;
	char err[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(read_pod(bad[i].annotations, bad[i].status, &s, err), -EINVAL);
		assert_non_null(strstr(err, bad[i].field));
		assert_null(s);
	}
}

static void addresses_are_bounded(void **state)
{
	struct podspec *s = NULL;
	struct buf status = {0};
	char err[300];
	int r = buf_printf(&status, "{\"podIPs\": [{\"ip\": \"10.0.0.1\"}");

	for (int i = 0; i < POD_MAX_IPS; i++)
		r |= buf_printf(&status, ", {\"ip\": \"10.0.0.%d\"}", i + 2);
	r |= buf_append(&status, "]}", sizeof("]}"));
	assert_int_equal(r, 0);
	assert_int_equal(
		read_pod("{\"culvert.io/pid\": \"1\"}", (const char *)buf_head(&status), &s, err),
		-EINVAL);
	assert_non_null(strstr(err, "at most 8"));
	buf_reset(&status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_pod),
		cmocka_unit_test(a_netns_path_beats_a_pid),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(addresses_are_bounded),
		cmocka_unit_test(one_made_anew_under_its_name_is_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
