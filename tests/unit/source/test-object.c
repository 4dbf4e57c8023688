/* SPDX-License-Identifier: Apache-2.0 */
/* object - paths find values and lines, odd paths find nothing, references are counted. */
#include "source/object.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source/json_pool.h"
#include "source/pod_facts.h"

static const char text[] = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\","
			   "\"labels\":{\"app.kubernetes.io/name\":\"x\"},"
			   "\"annotations\":{\"a/"
			   "b\":\"c\"}},\"spec\":{\"ports\":[{\"port\":80},{\"port\":81,\"name\":"
			   "null}],\"flag\":true}}";

static struct object *make(const unsigned int *lines, size_t n)
{
	struct object_init init = {
		.kind = "Pod",
		.namespace_ = "n",
		.name = "p",
		.file = "f.yaml",
		.line = 3,
		.body = json_loads(text, 0, NULL),
		.lines_count = n,
	};
	struct object *o = NULL;

	if (n) {
		init.lines = malloc(n * sizeof(*lines));
		memcpy(init.lines, lines, n * sizeof(*lines));
	}
	assert_int_equal(object_new(&init, &o), 0);
	return o;
}

static void finds_values_by_path(void **state)
{
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);

	assert_string_equal(object_string(o, "metadata.name"), "p");
	assert_string_equal(object_string(o, "metadata.labels[app.kubernetes.io/name]"), "x");
	assert_int_equal(json_integer_value(object_value(o, "spec.ports[1].port")), 81);
	assert_true(json_is_true(object_value(o, "spec.flag")));
	assert_string_equal(object_label(o, "app.kubernetes.io/name"), "x");
	assert_string_equal(object_annotation(o, "a/b"), "c");
	assert_ptr_equal(object_value(o, ""), o->body);
}

static void finds_nothing_where_nothing_is(void **state)
{
	static const char *const paths[] = {
		"spec.ports[2].port",
		"spec.ports[x]",
		"spec.ports.port",
		"spec.ports[1].name",
		"nope",
		"spec.flag.deeper",
		"spec..flag",
		"spec.ports[",
		"spec.ports[]",
		".",
		"metadata.name[0]",
	};
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_null(object_value(o, paths[i]));
	assert_null(object_string(o, "spec.flag"));
	assert_null(object_label(o, "nope"));
	assert_null(object_label(NULL, "nope"));
	assert_null(object_annotation(NULL, "nope"));
}

static void tells_the_line_of_a_field_or_of_what_is_there(void **state)
{
	/* root kind metadata name namespace labels x annotations c spec ports [0] port [1] port
	 * name flag */
	static const unsigned int lines[] = {1,  2,  3,  4,  5,  6,  7,  8, 9,
					     10, 11, 12, 12, 13, 13, 14, 15};
	_cleanup_(object_unrefp) struct object *o = make(lines, ARRAY_SIZE(lines));

	assert_int_equal(object_line(o, ""), 1);
	assert_int_equal(object_line(o, "kind"), 2);
	assert_int_equal(object_line(o, "metadata.labels[app.kubernetes.io/name]"), 7);
	assert_int_equal(object_line(o, "spec.ports[1]"), 13);
	assert_int_equal(object_line(o, "spec.ports[1].name"), 14);
	assert_int_equal(object_line(o, "spec.ports[1].targetPort"), 13);
	assert_int_equal(object_line(o, "spec.flag"), 15);
	assert_int_equal(object_line(o, "spec.selector.matchLabels"), 10);
	assert_int_equal(object_line(o, "status.phase"), 1);
}

static void copies_the_lines_of_a_part(void **state)
{
	static const unsigned int lines[] = {1,  2,  3,  4,  5,  6,  7,  8, 9,
					     10, 11, 12, 12, 13, 13, 14, 15};
	_cleanup_(object_unrefp) struct object *o = make(lines, ARRAY_SIZE(lines));
	unsigned int *part;
	size_t n;

	assert_int_equal(object_lines(o, "spec.ports", &part, &n), 0);
	assert_int_equal(n, 6);
	assert_memory_equal(part, lines + 10, 6 * sizeof(*part));
	free(part);
}

static void falls_back_to_the_line_of_the_object(void **state)
{
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);
	unsigned int *part;
	size_t n;

	assert_int_equal(object_line(o, "spec.flag"), 3);
	assert_int_equal(object_lines(o, "spec", &part, &n), 0);
	assert_null(part);
	assert_int_equal(n, 0);
}

static void refuses_what_is_no_object(void **state)
{
	struct object *o = NULL;

	assert_int_equal(object_new_json(json_array(), &o), -EINVAL);
	assert_int_equal(object_new_json(json_pack("{s:s}", "kind", "Pod"), &o), -EINVAL);
	assert_int_equal(object_new_json(json_pack("{s:{s:s}}", "metadata", "name", "x"), &o),
			 -EINVAL);
	assert_null(o);
	assert_null(object_unref(NULL));
}

static void lives_until_its_last_reference(void **state)
{
	struct object *o = NULL;

	assert_int_equal(object_new_json(json_loads(text, 0, NULL), &o), 0);
	assert_string_equal(o->namespace_, "n");
	assert_ptr_equal(object_ref(o), o);
	assert_null(object_unref(o));
	assert_string_equal(o->name, "p");
	assert_null(object_unref(o));
}

#define POD                                                                                        \
	"{'kind':'Pod','metadata':{'name':'p','namespace':'n','uid':'u-1','labels':{'app':'a'},"   \
	"'annotations':{'sidecar.istio.io/inject':'true','other':'x'},"                            \
	"'ownerReferences':[{'kind':'X','name':'x'},{'kind':'ReplicaSet','name':'a-7',"            \
	"'controller':true}]},'spec':{'nodeName':'n1','serviceAccount':'old','hostname':'h',"      \
	"'subdomain':'s','initContainers':[{'ports':[{'name':'late','containerPort':9}]}],"        \
	"'containers':[{'ports':[{'name':'web','containerPort':80,'hostPort':8080},"               \
	"{'containerPort':81,'hostPort':8081,'hostIP':'10.1.1.1'},{'containerPort':1,'hostPort':"  \
	"70000},{'containerPort':1,'hostPort':2,'hostIP':'here'},"                                 \
	"{'name':'dns','containerPort':53,'protocol':'UDP'},{'name':'late','containerPort':8},"    \
	"{'name':'bad','containerPort':70000}]}]},'status':{'podIP':'10.0.0.1','podIPs':"          \
	"[{'ip':'10.0.0.1'},{'ip':'fd00::1'},{'ip':'127.0.0.1'},{'ip':'no'}],"                     \
	"'conditions':[{'type':'Ready','status':'True'}]}}"

static struct object *reduced(struct json_pool *pool, const char *quoted)
{
	_cleanup_(freep) char *json = strdup(quoted);
	struct object *o = NULL;

	for (char *c = json; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	assert_int_equal(object_new_json(json_loads(json, 0, NULL), &o), 0);
	assert_int_equal(object_reduce(o, pool), 0);
	return o;
}

static void a_reduced_pod_says_what_the_mesh_reads_of_it(void **state)
{
	_cleanup_(json_pool_freep) struct json_pool *pool = NULL;
	_cleanup_(object_unrefp) struct object *o = NULL;

	assert_int_equal(json_pool_new(&pool), 0);
	o = reduced(pool, POD);
	assert_null(o->body);
	assert_null(object_value(o, "spec"));
	assert_string_equal(object_label(o, "app"), "a");
	assert_string_equal(object_annotation(o, "sidecar.istio.io/inject"), "true");
	assert_null(object_annotation(o, "other"));
	assert_string_equal(o->pod->node, "n1");
	assert_string_equal(o->pod->service_account, "old");
	assert_string_equal(o->pod->uid, "u-1");
	assert_string_equal(o->pod->hostname, "h");
	assert_string_equal(o->pod->subdomain, "s");
	assert_string_equal(o->pod->owner_kind, "ReplicaSet");
	assert_string_equal(o->pod->owner_name, "a-7");
	assert_int_equal(o->pod->addrs_count, 2);
	assert_int_equal(pod_facts_port(o->pod, "web"), 80);
	assert_int_equal(pod_facts_port(o->pod, "late"), 8);
	assert_int_equal(pod_facts_port(o->pod, "dns"), 0);
	assert_int_equal(pod_facts_port(o->pod, "bad"), 0);
	assert_int_equal(o->pod->host_ports_count, 3); /* the first at both families */
	assert_int_equal(o->pod->host_ports[1].host_port, 8080);
	assert_int_equal(o->pod->host_ports[1].port, 80);
	assert_int_equal(o->pod->host_ports[2].host_port, 8081);
	assert_true(o->pod->is_ready);
	assert_false(o->pod->has_ended);
	assert_false(o->pod->is_host_network);
}

static void a_pod_of_any_shape_can_be_reduced(void **state)
{
	static const char *const shapes[] = {
		"{'kind':'Pod','metadata':{'name':'p'}}",
		"{'kind':'Pod','metadata':{'name':'p','labels':[],'annotations':7,"
		"'ownerReferences':{}},'spec':[],'status':''}",
		"{'kind':'Pod','metadata':{'name':'p','ownerReferences':[3],'uid':{}},'spec':"
		"{'containers':[[],{'ports':{}},{'ports':[5,{'name':[],'containerPort':'x'}]}]},"
		"'status':{'podIPs':[[],{'ip':4}],'conditions':[true,{'type':1,'status':2}]}}",
	};
	_cleanup_(json_pool_freep) struct json_pool *pool = NULL;

	assert_int_equal(json_pool_new(&pool), 0);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		_cleanup_(object_unrefp) struct object *o = reduced(pool, shapes[i]);

		assert_string_equal(o->pod->service_account, "default");
		assert_string_equal(o->pod->node, "");
		assert_int_equal(o->pod->addrs_count, 0);
		assert_int_equal(o->pod->ports_count, 0);
		assert_true(o->pod->is_ready);
	}
}

static void reduced_pods_differ_where_they_say_something_else(void **state)
{
	static const char *const others[] = {
		"{'kind':'Pod','metadata':{'name':'p','uid':'2'},'spec':{'nodeName':'n'}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1'},'spec':{'nodeName':'m'}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1','labels':{'a':'b'}},'spec':"
		"{'nodeName':'n'}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1'},'spec':{'nodeName':'n',"
		"'hostNetwork':true}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1','deletionTimestamp':'x'},'spec':"
		"{'nodeName':'n'}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1'},'spec':{'nodeName':'n'},"
		"'status':{'phase':'Failed'}}",
		"{'kind':'Pod','metadata':{'name':'p','uid':'1','annotations':"
		"{'sidecar.istio.io/status':''}},'spec':{'nodeName':'n'}}",
	};
	const char *pod =
		"{'kind':'Pod','metadata':{'name':'p','uid':'1'},'spec':{'nodeName':'n'}}";
	_cleanup_(json_pool_freep) struct json_pool *pool = NULL;
	_cleanup_(object_unrefp) struct object *a = NULL, *b = NULL;

	assert_int_equal(json_pool_new(&pool), 0);
	a = reduced(pool, pod);
	b = reduced(pool, pod);
	assert_true(object_is_same(a, b));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_cleanup_(object_unrefp) struct object *o = reduced(pool, others[i]);

		if (object_is_same(a, o))
			fail_msg("%s", others[i]);
	}
}

static void equal_labels_are_one(void **state)
{
	_cleanup_(json_pool_freep) struct json_pool *pool = NULL;
	_cleanup_(object_unrefp) struct object *a = NULL, *b = NULL;

	assert_int_equal(json_pool_new(&pool), 0);
	a = reduced(pool, POD);
	b = reduced(pool, POD);
	assert_ptr_equal(a->labels, b->labels);
	/* what nobody has any more does not stay for ever */
	for (int i = 0; i < 10000; i++) {
		char pod[128];

		(void)snprintf(pod, sizeof(pod),
			       "{'kind':'Pod','metadata':{'name':'p','labels':{'i':'%d'}}}", i);
		(void)object_unref(reduced(pool, pod));
	}
	assert_true(json_pool_count(pool) < 100);
	/* they outlive the table */
	pool = json_pool_free(pool);
	assert_string_equal(object_label(a, "app"), "a");
}

static void other_kinds_stay_as_they_are(void **state)
{
	_cleanup_(json_pool_freep) struct json_pool *pool = NULL;
	_cleanup_(object_unrefp) struct object *o = NULL;

	assert_int_equal(json_pool_new(&pool), 0);
	o = reduced(pool, "{'kind':'Service','metadata':{'name':'s'}}");
	assert_null(o->pod);
	assert_string_equal(object_string(o, "metadata.name"), "s");
}

static void a_selector_matches_labels_that_have_all_its_pairs(void **state)
{
	static const struct {
		const char *wanted, *labels;
		bool is_match;
	} rows[] = {
		{"{}", "{}", true},
		{"{}", "{\"a\":\"x\"}", true},
		{"{\"a\":\"x\"}", "{\"a\":\"x\",\"b\":\"y\"}", true},
		{"{\"a\":\"x\",\"b\":\"y\"}", "{\"a\":\"x\",\"b\":\"y\"}", true},
		{"{\"a\":\"x\",\"b\":\"y\"}", "{\"a\":\"x\"}", false},
		{"{\"a\":\"x\"}", "{\"a\":\"X\"}", false},
		{"{\"a\":\"x\"}", "{}", false},
		{"{\"a\":null}", "{\"a\":\"\"}", true},
		{"{\"a\":\"\"}", "{}", false},
		{"{\"a\":\"1\"}", "{\"a\":1}", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *wanted = json_loads(rows[i].wanted, 0, NULL);
		json_t *labels = json_loads(rows[i].labels, 0, NULL);

		assert_int_equal(labels_match(wanted, labels), rows[i].is_match);
		json_decref(wanted);
		json_decref(labels);
	}
	assert_true(labels_match(NULL, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_values_by_path),
		cmocka_unit_test(finds_nothing_where_nothing_is),
		cmocka_unit_test(tells_the_line_of_a_field_or_of_what_is_there),
		cmocka_unit_test(copies_the_lines_of_a_part),
		cmocka_unit_test(falls_back_to_the_line_of_the_object),
		cmocka_unit_test(refuses_what_is_no_object),
		cmocka_unit_test(lives_until_its_last_reference),
		cmocka_unit_test(a_reduced_pod_says_what_the_mesh_reads_of_it),
		cmocka_unit_test(a_pod_of_any_shape_can_be_reduced),
		cmocka_unit_test(reduced_pods_differ_where_they_say_something_else),
		cmocka_unit_test(equal_labels_are_one),
		cmocka_unit_test(other_kinds_stay_as_they_are),
		cmocka_unit_test(a_selector_matches_labels_that_have_all_its_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
