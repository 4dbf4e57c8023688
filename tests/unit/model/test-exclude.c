/* SPDX-License-Identifier: Apache-2.0 */
/* exclude - annotations of pods and namespaces become rules; what is wrong counts as absent. */
#include "model/exclude.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRAFFIC "traffic.sidecar.istio.io/"
#define RANGES  "culvert.io/excludeInboundIPRanges"

/* Lines of exclude_for_each() and notes ("!" or "?", key, message), one per line. */
static char said[8192];

static void say(const char *fmt, ...) _printf_(1, 2);
static void say(const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(said + n, sizeof(said) - n, fmt, ap);
	va_end(ap);
}

static void on_note(void *arg, const struct object *on, const char *annotation, const char *message,
		    bool is_warning)
{
	say("%s %s %s: %s\n", is_warning ? "?" : "!", on->kind, annotation, message);
}

static void on_line(void *arg, const char *line)
{
	say("%s\n", line);
}

/* @annotations: pairs, NULL at the end. */
static struct object *object_of(const char *kind, const char *const *annotations)
{
	json_t *all = json_object();
	struct object *o;

	for (; annotations && *annotations; annotations += 2)
		(void)json_object_set_new(all, annotations[0], json_string(annotations[1]));
	assert_int_equal(
		object_new_json(json_pack("{s:s, s:{s:s, s:s, s:o}}", "kind", kind, "metadata",
					  "name", "demo", "namespace", "demo", "annotations", all),
				&o),
		0);
	return o;
}

static struct exclusions read_both(const char *const *pod_has, const char *const *ns_has)
{
	const struct exclude_notes notes = {.fn = on_note};
	_cleanup_(object_unrefp) struct object *pod = object_of("Pod", pod_has);
	_cleanup_(object_unrefp) struct object *ns = ns_has ? object_of("Namespace", ns_has) : NULL;
	struct exclusions x = {0};

	said[0] = '\0';
	assert_int_equal(exclude_read(pod, ns, &notes, &x), 0);
	exclude_for_each(&x, on_line, NULL);
	return x;
}

static void check(const char *const *pod_has, const char *const *ns_has, const char *wanted)
{
	struct exclusions x = read_both(pod_has, ns_has);

	assert_string_equal(said, wanted);
	exclude_clear(&x);
}

static void without_annotations_nothing_is_excluded(void **state)
{
	struct exclusions x = read_both(NULL, NULL);

	assert_string_equal(said, "");
	assert_int_equal(x.count, 0);
	assert_false(x.is_out_listed || x.is_in_listed || x.is_dns_off);
}

static void each_annotation_has_its_rules(void **state)
{
	check((const char *[]){TRAFFIC "excludeOutboundPorts", "3306, 6379 ,3306", NULL}, NULL,
	      "out: not port 3306\nout: not port 6379\n");
	check((const char *[]){TRAFFIC "excludeOutboundIPRanges", "10.1.2.3/8,fd00::1/64", NULL},
	      NULL, "out: not 10.0.0.0/8\nout: not fd00::/64\n");
	check((const char *[]){TRAFFIC "includeOutboundIPRanges", "10.0.0.0/8",
			       TRAFFIC "includeOutboundPorts", "443", NULL},
	      NULL, "out: port 443\nout: 10.0.0.0/8\nout: nothing else\n");
	check((const char *[]){TRAFFIC "excludeInboundPorts", "9090", NULL}, NULL,
	      "in: not port 9090\n");
	check((const char *[]){TRAFFIC "includeInboundPorts", "80,8080", NULL}, NULL,
	      "in: port 80\nin: port 8080\nin: nothing else but 15008\n");
	check((const char *[]){TRAFFIC "includeInboundPorts", "", NULL}, NULL,
	      "in: nothing else but 15008\n");
	check((const char *[]){RANGES, "10.1.2.3/8, fd00::1/64,192.0.2.7", NULL}, NULL,
	      "in: not from 10.0.0.0/8\nin: not from fd00::/64\nin: not from 192.0.2.7/32\n");
	check((const char *[]){"ambient.istio.io/bypass-inbound-capture", "true", NULL}, NULL,
	      "in: nothing else but 15008\n");
	check((const char *[]){"ambient.istio.io/dns-capture", "false", NULL}, NULL, "dns: no\n");
	check((const char *[]){TRAFFIC "excludeOutboundPorts", "53", NULL}, NULL,
	      "out: not port 53\ndns: no\n");
}

static void a_star_lists_nothing(void **state)
{
	check((const char *[]){TRAFFIC "includeOutboundIPRanges", "*",
			       TRAFFIC "includeInboundPorts", "*", NULL},
	      NULL, "");
}

static void a_pods_own_annotation_counts_before_its_namespaces(void **state)
{
	static const char out[] = TRAFFIC "excludeOutboundPorts";
	static const char in[] = TRAFFIC "excludeInboundPorts";
	const char *const ns[] = {out, "3306", in, "9090", RANGES, "10.0.0.0/8", NULL};

	check(NULL, ns, "out: not port 3306\nin: not port 9090\nin: not from 10.0.0.0/8\n");
	check((const char *[]){out, "", RANGES, "", NULL}, ns, "in: not port 9090\n");
	check((const char *[]){out, "6379", RANGES, "fd00::/8", NULL}, ns,
	      "out: not port 6379\nin: not port 9090\nin: not from fd00::/8\n");
}

static void a_wrong_value_is_named_and_counts_as_absent(void **state)
{
	static const char *const bad[][2] = {
		{TRAFFIC "excludeOutboundPorts", "3306,none"},
		{TRAFFIC "excludeOutboundPorts", "0"},
		{TRAFFIC "excludeOutboundPorts", "65536"},
		{TRAFFIC "excludeOutboundPorts", "*"},
		{TRAFFIC "excludeOutboundPorts", "80-90"},
		{TRAFFIC "excludeOutboundIPRanges", "10.0.0.0/33"},
		{TRAFFIC "excludeOutboundIPRanges", "example.com"},
		{TRAFFIC "includeOutboundIPRanges", "10.0.0.0/8,*"},
		{TRAFFIC "includeInboundPorts", "80,http"},
		{RANGES, "*"},
		{RANGES, "10.0.0.0/8,fd00::/129"},
		{RANGES, "8080"},
		{"ambient.istio.io/bypass-inbound-capture", "yes"},
		{"ambient.istio.io/dns-capture", "no"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *const has[] = {bad[i][0], bad[i][1], NULL};
		struct exclusions x = read_both(has, NULL);

		assert_int_equal(x.count, 0);
		assert_false(x.is_out_listed || x.is_in_listed || x.is_dns_off);
		assert_int_equal(said[0], '!');
		assert_non_null(strstr(said, bad[i][0]));
		assert_non_null(strstr(said, "it is not in force"));
		assert_null(strchr(strchr(said, '\n') + 1, '\n'));
		exclude_clear(&x);
	}
}

static void a_namespaces_wrong_value_names_the_namespace(void **state)
{
	check(NULL, (const char *[]){TRAFFIC "excludeInboundPorts", "x", NULL},
	      "! Namespace " TRAFFIC
	      "excludeInboundPorts: expected ports from 1 to 65535 separated "
	      "by commas, found \"x\"; it is not in force\n");
}

static struct exclusions rerouted(const char *value)
{
	return read_both((const char *[]){"istio.io/reroute-virtual-interfaces", value, NULL},
			 NULL);
}

static void interfaces_are_names_of_interfaces(void **state)
{
	static const char *const bad[] = {"a/b", "k6t-eth0,.", "..", "eth0:1", "sixteen-letters-"};
	struct exclusions x = rerouted(" k6t-eth0,fifteen-letters,,k6t-eth0 "), y;

	assert_string_equal(said, "");
	assert_int_equal(x.reroute_count, 2);
	assert_string_equal(x.reroute[0], "k6t-eth0");
	assert_string_equal(x.reroute[1], "fifteen-letters");
	y = rerouted("fifteen-letters,k6t-eth0");
	assert_true(exclude_is_same(&x, &y));
	y = rerouted("fifteen-letters,k6t-eth1");
	assert_false(exclude_is_same(&x, &y));
	y = rerouted("k6t-eth0");
	assert_false(exclude_is_same(&x, &y));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		x = rerouted(bad[i]);
		assert_int_equal(x.reroute_count, 0);
		assert_int_equal(said[0], '!');
		assert_non_null(strstr(said, "expected names of interfaces"));
	}
	x = rerouted("1,2,3,4,5,6,7,8");
	assert_int_equal(x.reroute_count, EXCLUDE_REROUTE_MAX);
	x = rerouted("1,2,3,4,5,6,7,8,9");
	assert_int_equal(x.reroute_count, 0);
	assert_non_null(strstr(said, "more than 8 interfaces"));
}

static void what_is_about_the_way_in_is_known_as_that(void **state)
{
	static const struct {
		const char *key, *value;
		bool is_inbound;
	} cases[] = {
		{TRAFFIC "excludeInboundPorts", "80", true},
		{TRAFFIC "includeInboundPorts", "80", true},
		{"ambient.istio.io/bypass-inbound-capture", "true", true},
		{RANGES, "10.0.0.0/8", true},
		{TRAFFIC "excludeOutboundPorts", "80", false},
		{TRAFFIC "includeOutboundPorts", "80", false},
		{TRAFFIC "excludeOutboundIPRanges", "10.0.0.0/8", false},
		{TRAFFIC "includeOutboundIPRanges", "10.0.0.0/8", false},
		{"ambient.istio.io/dns-capture", "false", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct exclusions x =
			read_both((const char *[]){cases[i].key, cases[i].value, NULL}, NULL);

		assert_int_equal(exclude_has_inbound(&x), cases[i].is_inbound);
		exclude_clear(&x);
	}
}

static void what_is_not_honoured_says_so(void **state)
{
	struct exclusions x;

	x = read_both((const char *[]){TRAFFIC "excludeInboundPorts", "15008", NULL}, NULL);
	assert_non_null(strstr(said, "as of Culvert "));
	assert_non_null(strstr(said, "15008 is where the mesh comes in and stays captured"));
	exclude_clear(&x);
}

static void a_list_has_a_limit(void **state)
{
	char many[8 * (EXCLUDE_RULES_MAX + 1)] = "";
	struct exclusions x;

	for (int i = 0; i <= EXCLUDE_RULES_MAX; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many), "%d,", i + 1);
	x = read_both((const char *[]){TRAFFIC "excludeOutboundPorts", many, NULL}, NULL);
	assert_int_equal(x.count, 0);
	assert_non_null(strstr(said, "more than 512"));
	exclude_clear(&x);
}

static void the_same_in_another_order_is_the_same(void **state)
{
	struct exclusions a =
		read_both((const char *[]){TRAFFIC "excludeOutboundPorts", "1,2", NULL}, NULL);
	struct exclusions b =
		read_both((const char *[]){TRAFFIC "excludeOutboundPorts", "2,1", NULL}, NULL);
	struct exclusions c =
		read_both((const char *[]){TRAFFIC "excludeInboundPorts", "2,1", NULL}, NULL);
	struct exclusions d = read_both((const char *[]){RANGES, "10.0.0.0/8", NULL}, NULL);
	struct exclusions e = read_both(
		(const char *[]){TRAFFIC "excludeOutboundIPRanges", "10.0.0.0/8", NULL}, NULL);

	assert_true(exclude_is_same(&a, &b));
	assert_false(exclude_is_same(&a, &c));
	assert_true(exclude_is_same(&d, &d));
	assert_false(exclude_is_same(&d, &e));
	exclude_clear(&a);
	exclude_clear(&b);
	exclude_clear(&c);
	exclude_clear(&d);
	exclude_clear(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_annotations_nothing_is_excluded),
		cmocka_unit_test(each_annotation_has_its_rules),
		cmocka_unit_test(a_star_lists_nothing),
		cmocka_unit_test(a_pods_own_annotation_counts_before_its_namespaces),
		cmocka_unit_test(a_wrong_value_is_named_and_counts_as_absent),
		cmocka_unit_test(a_namespaces_wrong_value_names_the_namespace),
		cmocka_unit_test(interfaces_are_names_of_interfaces),
		cmocka_unit_test(what_is_about_the_way_in_is_known_as_that),
		cmocka_unit_test(what_is_not_honoured_says_so),
		cmocka_unit_test(a_list_has_a_limit),
		cmocka_unit_test(the_same_in_another_order_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
