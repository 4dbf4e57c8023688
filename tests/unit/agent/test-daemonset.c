/* SPDX-License-Identifier: Apache-2.0 */
/* daemonset - which nodes it wants; in doubt all. */
#include "userspace/agent/daemonset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/macros.h"

#define NODE                                                                                       \
	"{'metadata': {'name': 'n1', 'labels': {'zone': 'a', 'cpus': '8'}}, 'spec': {'taints': "   \
	"[{'key': 'node.kubernetes.io/unreachable', 'effect': 'NoExecute'}, "                      \
	"{'key': 'full', 'effect': 'NoSchedule'}%s]}}"
#define DEDICATED ", {'key': 'dedicated', 'value': 'gpu', 'effect': 'NoExecute'}"
#define TERMS(terms)                                                                               \
	"'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': "         \
	"{'nodeSelectorTerms': [" terms "]}}}"
#define LABEL(key, op, values)                                                                     \
	"{'matchExpressions': [{'key': '" key "', 'operator': '" op "', 'values': [" values "]}]}"

struct wish {
	const char *spec; /* of the DaemonSet's pods */
	bool is_wanted;
};

static bool wants(const char *spec, const char *taints)
{
	json_t *daemonset, *node;
	char text[1024], of_node[1024];
	bool is_wanted;

	(void)snprintf(text, sizeof(text), "{'spec': {'template': {'spec': {%s}}}}", spec);
	(void)snprintf(of_node, sizeof(of_node), NODE, taints);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	for (char *c = of_node; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	daemonset = json_loads(text, 0, NULL);
	node = json_loads(of_node, 0, NULL);
	assert_non_null(daemonset);
	assert_non_null(node);
	is_wanted = daemonset_wants(daemonset, node);
	json_decref(daemonset);
	json_decref(node);
	return is_wanted;
}

static void assert_wishes(const struct wish *all, size_t n, const char *taints)
{
	for (size_t i = 0; i < n; i++)
		if (wants(all[i].spec, taints) != all[i].is_wanted)
			fail_msg("{%s}: expected %d", all[i].spec, all[i].is_wanted);
}

static void by_labels_and_name(void **state)
{
	static const struct wish wishes[] = {
		{"", true},
		{"'nodeSelector': {}", true},
		{"'nodeSelector': {'zone': 'a'}", true},
		{"'nodeSelector': {'zone': 'b'}", false},
		{"'nodeSelector': {'zone': 'a', 'mesh': 'yes'}", false},
		{TERMS(LABEL("zone", "In", "'b', 'a'")), true},
		{TERMS(LABEL("zone", "In", "'b'")), false},
		{TERMS(LABEL("none", "In", "'b'")), false},
		{TERMS(LABEL("zone", "NotIn", "'a'")), false},
		{TERMS(LABEL("none", "NotIn", "'a'")), true},
		{TERMS(LABEL("zone", "Exists", "")), true},
		{TERMS(LABEL("none", "Exists", "")), false},
		{TERMS(LABEL("zone", "DoesNotExist", "")), false},
		{TERMS(LABEL("none", "DoesNotExist", "")), true},
		{TERMS(LABEL("cpus", "Gt", "'7'")), true},
		{TERMS(LABEL("cpus", "Gt", "'8'")), false},
		{TERMS(LABEL("cpus", "Lt", "'9'")), true},
		{TERMS(LABEL("zone", "Lt", "'9'")), false},
		{TERMS(LABEL("zone", "In", "'b'") "," LABEL("zone", "Exists", "")), true},
		{TERMS("{}"), false},
		{TERMS("{'matchFields': [{'key': 'metadata.name', 'operator': 'In', 'values': "
		       "['n1']}]}"),
		 true},
		{TERMS("{'matchFields': [{'key': 'metadata.name', 'operator': 'In', 'values': "
		       "['n2']}]}"),
		 false},
	};

	assert_wishes(wishes, ARRAY_SIZE(wishes), "");
}

/* Pods would be released by mistake. */
static void what_is_not_understood_is_no_reason(void **state)
{
	static const struct wish wishes[] = {
		{TERMS(LABEL("zone", "Near", "'b'")), true},
		{TERMS(LABEL("cpus", "Gt", "'many'")), true},
		{TERMS("{'matchFields': [{'key': 'spec.other', 'operator': 'In', 'values': []}]}"),
		 true},
	};

	assert_wishes(wishes, ARRAY_SIZE(wishes), "");
}

/* Kubernetes' own taints, and those that end no pod, are no wish at all. */
static void by_taints_that_put_pods_out(void **state)
{
	static const struct wish wishes[] = {
		{"", false},
		{"'tolerations': []", false},
		{"'tolerations': [{'operator': 'Exists'}]", true},
		{"'tolerations': [{'key': 'dedicated', 'operator': 'Exists'}]", true},
		{"'tolerations': [{'key': 'dedicated', 'value': 'gpu'}]", true},
		{"'tolerations': [{'key': 'dedicated', 'value': 'cpu'}]", false},
		{"'tolerations': [{'key': 'other', 'operator': 'Exists'}]", false},
		{"'tolerations': [{'key': 'dedicated', 'operator': 'Exists', 'effect': "
		 "'NoSchedule'}]",
		 false},
	};

	assert_true(wants("", ""));
	assert_wishes(wishes, ARRAY_SIZE(wishes), DEDICATED);
}

static void its_end_is_that_of_its_pods_unless_it_leaves_them(void **state)
{
	static const struct {
		const char *meta;
		enum daemonset_fate fate;
	} rows[] = {
		{"", DAEMONSET_STAYS},
		{"\"finalizers\":[\"orphan\"]", DAEMONSET_STAYS},
		{"\"deletionTimestamp\":\"t\"", DAEMONSET_GOES},
		{"\"deletionTimestamp\":\"t\",\"finalizers\":[\"foregroundDeletion\"]",
		 DAEMONSET_GOES},
		{"\"deletionTimestamp\":\"t\",\"finalizers\":[1,\"orphan\"]", DAEMONSET_ORPHANS},
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *daemonset;

		(void)snprintf(text, sizeof(text), "{\"metadata\":{%s}}", rows[i].meta);
		daemonset = json_loads(text, 0, NULL);
		assert_non_null(daemonset);
		assert_int_equal(daemonset_fate(daemonset), rows[i].fate);
		json_decref(daemonset);
	}
	assert_int_equal(daemonset_fate(NULL), DAEMONSET_STAYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_labels_and_name),
		cmocka_unit_test(what_is_not_understood_is_no_reason),
		cmocka_unit_test(by_taints_that_put_pods_out),
		cmocka_unit_test(its_end_is_that_of_its_pods_unless_it_leaves_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
