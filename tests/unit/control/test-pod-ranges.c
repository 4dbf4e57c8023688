/* SPDX-License-Identifier: Apache-2.0 */
/* pod_ranges - what is given goes to nodes as it is; where nobody says what addresses pods have, it
 * stands among the problems. */
#include "userspace/control/pod_ranges.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "userspace/lib/xds/node.pb-c.h"

/* What nodes are told: "NAME RANGE RANGE "; as often as they are. */
static char told[256];

int __wrap_xds_server_set(struct xds_server *s, enum xds_type type, const char *name,
			  const void *packed, size_t len);

int __wrap_xds_server_set(struct xds_server *s, enum xds_type type, const char *name,
			  const void *packed, size_t len)
{
	Culvert__Node__Node *m = culvert__node__node__unpack(NULL, len, packed);

	assert_int_equal(type, XDS_NODE);
	assert_non_null(m);
	assert_string_equal(m->name, name);
	assert_int_equal(m->n_addresses, 0);
	(void)strncat(told, name, sizeof(told) - strlen(told) - 1);
	for (size_t i = 0; i < m->n_pod_ranges; i++) {
		(void)strncat(told, " ", sizeof(told) - strlen(told) - 1);
		(void)strncat(told, m->pod_ranges[i], sizeof(told) - strlen(told) - 1);
	}
	culvert__node__node__free_unpacked(m, NULL);
	return 0;
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *list, *named;
	} table[] = {
		{"10.0.0.0/33", "10.0.0.0/33"},
		{"10.0.0.0/8,what", "what"},
		{"10.0.0.0/8;fd00::/8", "10.0.0.0/8;fd00::/8"},
		{"fd00::/129", "fd00::/129"},
		{"10.0.0.0/", "10.0.0.0/"},
	};
	char err[256];

	assert_int_equal(pod_ranges_check(NULL, err, sizeof(err)), 0);
	assert_int_equal(pod_ranges_check("", err, sizeof(err)), 0);
	assert_int_equal(pod_ranges_check("10.0.0.0/8, fd00::/8,", err, sizeof(err)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		err[0] = '\0';
		assert_int_equal(pod_ranges_check(table[i].list, err, sizeof(err)), -EINVAL);
		assert_true(str_has_prefix(err, "--pod-ranges: "));
		assert_non_null(strstr(err, table[i].named));
	}
}

static void what_is_given_goes_to_nodes(void **state)
{
	static const struct {
		const char *list, *told;
	} table[] = {
		{NULL, ""},
		{" ,", ""},
		{"10.0.0.0/8", "* 10.0.0.0/8"},
		{"10.0.0.0/8, fd00::/8,", "* 10.0.0.0/8 fd00::/8"},
		{"::,::", "* :: ::"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct pod_ranges *p;

		told[0] = '\0';
		assert_int_equal(pod_ranges_new(table[i].list, NULL, &p), 0);
		assert_int_equal(pod_ranges_tell(p, NULL), 0);
		assert_string_equal(told, table[i].told);
		pod_ranges_settle(p);
		pod_ranges_free(p);
	}
}

static struct object *object(const char *kind, const char *name, const char *spec)
{
	const struct object_init init = {
		.kind = kind,
		.namespace_ = "",
		.name = name,
		.file = name,
		.body = json_pack("{s:o}", "spec", json_loads(spec, 0, NULL)),
	};
	struct object *o;

	assert_non_null(init.body);
	assert_int_equal(object_new(&init, &o), 0);
	return o;
}

static void put(struct pod_ranges *p, const char *kind, const char *name, const char *spec)
{
	struct object *o = object(kind, name, spec);

	pod_ranges_put(p, o);
	pod_ranges_settle(p);
	(void)object_unref(o);
}

static void gone(struct pod_ranges *p, const char *name)
{
	struct object *o = object("Node", name, "{}");

	pod_ranges_delete(p, o);
	pod_ranges_settle(p);
	(void)object_unref(o);
}

static void where_nobody_says_it_it_is_a_problem(void **state)
{
	struct problems *problems;
	struct pod_ranges *p;

	log_set_level(LOG_ERROR);
	assert_int_equal(problems_new(&problems), 0);
	assert_int_equal(pod_ranges_new("", problems, &p), 0);
	pod_ranges_settle(p);
	put(p, "Pod", "p", "{}");
	assert_int_equal(problems_count(problems, true), 0);
	put(p, "Node", "n1", "{}");
	put(p, "Node", "n1", "{}");
	assert_int_equal(problems_count(problems, true), 1);
	put(p, "Node", "n2", "{\"podCIDRs\": [\"10.0.0.0/24\"]}");
	put(p, "Node", "n2", "{\"podCIDR\": \"10.0.0.0/24\"}");
	assert_int_equal(problems_count(problems, true), 0);
	gone(p, "n2");
	gone(p, "n2");
	assert_int_equal(problems_count(problems, true), 1);
	gone(p, "n1");
	assert_int_equal(problems_count(problems, true), 0);
	assert_int_equal(problems_count(problems, false), 0);
	pod_ranges_free(p);
	assert_int_equal(pod_ranges_new("10.0.0.0/8", problems, &p), 0);
	put(p, "Node", "n1", "{}");
	assert_int_equal(problems_count(problems, true), 0);
	pod_ranges_free(p);
	problems_free(problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(what_is_given_goes_to_nodes),
		cmocka_unit_test(where_nobody_says_it_it_is_a_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
