/* SPDX-License-Identifier: Apache-2.0 */
/* discovery - namespaces come and go with labels and selectors, in whatever order. */
#include "userspace/control/discovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "+Pod/demo/a -Service/demo/b " */
static char calls[1024];

static void note(char sign, const struct object *o)
{
	size_t n = strlen(calls);

	(void)snprintf(calls + n, sizeof(calls) - n, "%c%s/%s/%s ", sign, o->kind, o->namespace_,
		       o->name);
}

static void on_put(void *arg, struct object *obj)
{
	note('+', obj);
}

static void on_delete(void *arg, const struct object *obj)
{
	note('-', obj);
}

static const struct discovery_ops ops = {on_put, on_delete};

static struct object *object_of(const char *kind, const char *ns, const char *name,
				const char *label)
{
	json_t *labels = label ? json_pack("{s:s}", "mesh", label) : json_object();
	struct object *o;

	assert_int_equal(
		object_new_json(json_pack("{s:s, s:{s:s, s:s, s:o}}", "kind", kind, "metadata",
					  "name", name, "namespace", ns, "labels", labels),
				&o),
		0);
	return o;
}

static void put(struct discovery *d, const char *kind, const char *ns, const char *name,
		const char *label)
{
	_cleanup_(object_unrefp) struct object *o = object_of(kind, ns, name, label);

	(void)discovery_put(d, o);
}

static void drop(struct discovery *d, const char *kind, const char *ns, const char *name)
{
	_cleanup_(object_unrefp) struct object *o = object_of(kind, ns, name, NULL);

	(void)discovery_delete(d, o);
}

static void choose(struct discovery *d, const char *text)
{
	json_t *list = text ? json_loads(text, 0, NULL) : NULL;

	discovery_select(d, list);
	json_decref(list);
}

#define assert_calls(expected)                                                                     \
	do {                                                                                       \
		assert_string_equal(calls, (expected));                                            \
		calls[0] = '\0';                                                                   \
	} while (0)

static int setup(void **state)
{
	calls[0] = '\0';
	return discovery_new(&ops, NULL, "istio-system", "root", (struct discovery **)state);
}

static int teardown(void **state)
{
	(void)discovery_free(*state);
	return 0;
}

static void without_selectors_all_is_seen(void **state)
{
	struct discovery *d = *state;

	put(d, "Pod", "demo", "a", NULL);
	put(d, "Pod", "demo", "a", NULL);
	drop(d, "Pod", "demo", "a");
	assert_calls("+Pod/demo/a +Pod/demo/a -Pod/demo/a ");
}

static void selectors_choose_by_labels_of_namespaces(void **state)
{
	struct discovery *d = *state;

	choose(d, "[{\"matchLabels\": {\"mesh\": \"on\"}}]");
	put(d, "Pod", "demo", "a", NULL);
	put(d, "ConfigMap", "istio-system", "istio", NULL);
	put(d, "AuthorizationPolicy", "root", "b", NULL);
	put(d, "Node", "", "n1", NULL);
	assert_calls("+ConfigMap/istio-system/istio +AuthorizationPolicy/root/b +Node//n1 ");
	put(d, "Namespace", "", "demo", "on");
	assert_calls("+Namespace//demo +Pod/demo/a ");
	put(d, "Service", "demo", "b", NULL);
	assert_calls("+Service/demo/b ");
	drop(d, "Service", "demo", "b");
	calls[0] = '\0';
	put(d, "Namespace", "", "demo", "off");
	assert_calls("+Namespace//demo -Pod/demo/a ");
	put(d, "Namespace", "", "demo", "on");
	calls[0] = '\0';
	drop(d, "Namespace", "", "demo");
	assert_calls("-Namespace//demo -Pod/demo/a ");
}

static void selectors_change_while_it_runs(void **state)
{
	struct discovery *d = *state;

	put(d, "Namespace", "", "demo", "on");
	put(d, "Pod", "demo", "a", NULL);
	put(d, "Pod", "other", "b", NULL);
	calls[0] = '\0';
	choose(d, "[{\"matchLabels\": {\"mesh\": \"on\"}}]");
	assert_calls("-Pod/other/b ");
	choose(d, "[{\"matchLabels\": {\"mesh\": \"on\"}}]");
	assert_calls("");
	/* any of them will do; the namespace's name is a label */
	choose(d, "[{\"matchLabels\": {\"mesh\": \"on\"}}, {\"matchLabels\": "
		  "{\"kubernetes.io/metadata.name\": \"other\"}}]");
	assert_calls("+Pod/other/b ");
	choose(d, NULL);
	assert_calls("");
}

static void expressions_are_kubernetes_own(void **state)
{
	static const struct {
		const char *selector;
		bool on, off, none;
	} cases[] = {
		{"{\"key\": \"mesh\", \"operator\": \"In\", \"values\": [\"x\", \"on\"]}", true,
		 false, false},
		{"{\"key\": \"mesh\", \"operator\": \"NotIn\", \"values\": [\"on\"]}", false, true,
		 true},
		{"{\"key\": \"mesh\", \"operator\": \"Exists\"}", true, true, false},
		{"{\"key\": \"mesh\", \"operator\": \"DoesNotExist\"}", false, false, true},
	};
	struct discovery *d = *state;

	put(d, "Namespace", "", "on", "on");
	put(d, "Namespace", "", "off", "off");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "[{\"matchExpressions\": [%s]}]",
			       cases[i].selector);
		choose(d, text);
		calls[0] = '\0';
		put(d, "Pod", "on", "a", NULL);
		put(d, "Pod", "off", "a", NULL);
		put(d, "Pod", "none", "a", NULL);
		assert_int_equal(strstr(calls, "+Pod/on/") != NULL, cases[i].on);
		assert_int_equal(strstr(calls, "+Pod/off/") != NULL, cases[i].off);
		assert_int_equal(strstr(calls, "+Pod/none/") != NULL, cases[i].none);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(without_selectors_all_is_seen),
		T(selectors_choose_by_labels_of_namespaces),
		T(selectors_change_while_it_runs),
		T(expressions_are_kubernetes_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
