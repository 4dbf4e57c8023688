/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - documents and Lists become named objects; what cannot be named makes the file
 * incomplete. */
#include "source/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct seen {
	char items[2048], errors[4096];
	unsigned int warnings; /* of the errors */
	unsigned int hiding;   /* likewise: that may hide a policy */
	int result;
};

static int on_item(void *arg, const struct manifest_item *item)
{
	struct seen *s = arg;
	size_t n = strlen(s->items);

	(void)snprintf(s->items + n, sizeof(s->items) - n, "%s %s/%s%s%s\n", item->kind,
		       item->namespace_, item->name, item->object ? "" : " none",
		       item->object && item->object->is_invalid ? " invalid" : "");
	return s->result;
}

static int on_error(void *arg, const struct source_error *err)
{
	struct seen *s = arg;
	size_t n = strlen(s->errors);
	char line[1024];

	(void)source_error_format(err, line, sizeof(line));
	(void)snprintf(s->errors + n, sizeof(s->errors) - n, "%s\n", line);
	s->warnings += err->is_warning;
	s->hiding += err->hides_policy;
	return 0;
}

static bool parse(const char *text, struct seen *s)
{
	static const struct manifest_ops ops = {.on_item = on_item, .on_error = on_error};
	const struct manifest_text in = {.file = "f.yaml", .text = text, .len = strlen(text)};
	bool is_complete = false;

	memset(s, 0, sizeof(*s));
	assert_int_equal(manifest_parse(&in, &ops, s, &is_complete), 0);
	return is_complete;
}

static void names_each_object(void **state)
{
	struct seen s;

	assert_true(
		parse("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: ''}\n---\n"
		      "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n"
		      "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\n",
		      &s));
	assert_string_equal(s.items, "Namespace /a\nPod default/p\nPod a/p\n");
}

static void opens_lists_and_keeps_the_lines(void **state)
{
	struct seen s;

	assert_true(parse("apiVersion: v1\nkind: List\nmetadata: {}\nitems:\n"
			  "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: p\n"
			  "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: q\n  spec:\n    "
			  "hostNetwork: 1\n",
			  &s));
	assert_string_equal(s.items, "Pod default/p\nPod default/q none\n");
	assert_string_equal(s.errors, "f.yaml:14: Pod default/q: spec.hostNetwork: expected true "
				      "or false, got the number 1\n");
	assert_false(parse("apiVersion: v1\nkind: List\nitems: 7\n", &s));
	assert_false(parse("apiVersion: v1\nkind: List\nitems: [7]\n", &s));
	assert_non_null(strstr(s.errors, "expected an object"));
}

static void puts_a_duplicate_key_on_the_item_it_is_in(void **state)
{
	struct seen s;

	assert_true(parse(
		"apiVersion: v1\nkind: List\nitems:\n"
		"- apiVersion: v1\n  kind: Pod\n  metadata: {name: p}\n"
		"- apiVersion: v1\n  kind: Pod\n  metadata: {name: q}\n  spec: {}\n  spec: {}\n",
		&s));
	assert_string_equal(s.items, "Pod default/p\nPod default/q none\n");
	assert_string_equal(s.errors, "f.yaml:11: Pod default/q: duplicate key \"spec\"\n");
}

static void a_kind_without_effect_may_be_of_the_wrong_shape(void **state)
{
	struct seen s;

	assert_true(parse("apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
			  "metadata: {name: v, namespace: demo}\nspec:\n  hosts: 5\n---\n"
			  "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
			  &s));
	assert_string_equal(s.items, "Pod default/p\n");
	assert_non_null(strstr(s.errors, "f.yaml:5: VirtualService demo/v: spec.hosts: expected a "
					 "list, got the number 5\n"));
	assert_int_equal(s.warnings, 1);
	/* a kind of that name, of another group */
	assert_true(parse("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n"
			  "metadata: {name: g}\nspec: {listeners: 7}\n",
			  &s));
	assert_null(strstr(s.errors, "spec"));
}

static void a_kind_without_effect_is_worth_a_look_and_no_mistake(void **state)
{
	struct seen s;

	assert_true(parse("apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
			  "metadata: {name: r}\n---\n"
			  "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
			  &s));
	assert_string_equal(s.items, "Pod default/p\n");
	assert_non_null(strstr(s.errors, "f.yaml:2: DestinationRule default/r: kind: "
					 "DestinationRule has no effect yet"));
	assert_int_equal(s.warnings, 1);
	assert_false(parse("apiVersion: example.com/v1\nkind: DestinationRule\n"
			   "metadata: {name: r}\n",
			   &s));
	assert_int_equal(s.warnings, 0);
}

static void what_istio_would_not_let_in_is_honoured_with_a_warning(void **state)
{
	struct seen s;

	assert_true(parse("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
			  "metadata: {name: r}\nspec:\n  hosts: [a.b]\n  resolution: DNS\n"
			  "  addresses: [10.1.0.0/16]\n",
			  &s));
	assert_string_equal(s.items, "ServiceEntry default/r\n");
	assert_non_null(strstr(s.errors, "f.yaml:7: ServiceEntry default/r: spec.addresses[0]: "
					 "a CIDR"));
	assert_int_equal(s.warnings, 1);
}

#define OF_POLICY "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
#define OF_PEER   "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"

static void says_where_a_policy_may_stand_that_nobody_can_read(void **state)
{
	static const char *const hiding[] = {
		OF_POLICY "metadata: {name: p\n",
		OF_PEER "metadata: {name: p}\nspec: {mtls: {mode: STRICT}}\n---\na: [\n",
		"- " OF_POLICY,
		"apiVersion: v1\nkind: List\nitems: {a: {kind: AuthorizationPolicy}}\n",
		"metadata: {name: p}\nspec: {}\n# AuthorizationPolicy\n",
		OF_POLICY "spec: {}\n",
		OF_POLICY "metadata: p\n",
		OF_PEER "metadata: {name: p, namespace: [a]}\n",
		OF_PEER "metadata: {name: p, namespace: a}\nmetadata: {name: p, namespace: b}\n",
		OF_POLICY
		"metadata: {name: p, namespace: a}\nspec: {selector: {matchLabels: {a: b},"
		" matchLabels: {a: c}}}\n",
		"apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\n"
		"metadata: {name: p}\n",
		"\xff\xfe"
		"[",
	};
	static const char *const harmless[] = {
		OF_POLICY "metadata: {name: p}\nspec: {action: NEVER}\n",
		OF_POLICY "metadata: {name: p}\n---\nkind: Pod\n",
		OF_POLICY "metadata: {name: p}\n---\nkind: Secret\n",
		"kind: Pod\nmetadata: {name: [\n",
		"metadata: {name: p}\n",
	};
	struct seen s;

	for (size_t i = 0; i < ARRAY_SIZE(hiding); i++) {
		(void)parse(hiding[i], &s);
		if (s.hiding != 1)
			fail_msg("%s: %s", hiding[i], s.errors);
	}
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		(void)parse(harmless[i], &s);
		if (!*s.errors)
			fail_msg("%s", harmless[i]);
		assert_int_equal(s.hiding, 0);
	}
}

static void says_so_behind_however_many_errors(void **state)
{
	char text[2048] = "";
	struct seen s;

	for (unsigned int i = 0; i < MANIFEST_ERRORS_MAX + 1; i++)
		(void)strcat(text, "kind: Pod\n---\n");
	(void)strcat(text, "- " OF_POLICY "---\n- " OF_POLICY "---\n[");
	(void)parse(text, &s);
	assert_int_equal(s.hiding, 1);
}

static void cannot_be_complete_when_an_object_has_no_name(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"kind: Pod\n", "f.yaml:1: Pod default/: metadata.name: required"},
		{"apiVersion: v1\nkind: Deploymnet\nmetadata: {name: x}\n",
		 "f.yaml:2: Deploymnet x: kind: unknown kind"},
		{"apiVersion: v1\nmetadata: {name: x}\n", "kind: required"},
		{"apiVersion: v1\nkind: [Pod]\nmetadata: {name: x}\n", "kind: required"},
		{"apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: b}\n",
		 "does not belong"},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: 7}\n",
		 "metadata.namespace: expected a namespace"},
		{"just a text\n", "expected an object"},
		{"- a\n- b\n", "expected an object"},
		{"a: [\n", "f.yaml:2: not YAML"},
	};
	struct seen s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_false(parse(cases[i].text, &s));
		assert_string_equal(s.items, "");
		if (!strstr(s.errors, cases[i].error))
			fail_msg("case %zu: %s", i, s.errors);
	}
}

static void hands_out_broken_security_objects_as_invalid(void **state)
{
	struct seen s;

	assert_true(parse(
		"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n"
		"spec: {rule: []}\n---\n"
		"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {port: 80}\n",
		&s));
	assert_string_equal(s.items,
			    "AuthorizationPolicy default/a invalid\nService default/s none\n");
	assert_non_null(strstr(
		s.errors, "f.yaml:4: AuthorizationPolicy default/a: spec.rule: unknown field"));
}

static void stops_when_told_to(void **state)
{
	static const struct manifest_ops ops = {.on_item = on_item, .on_error = on_error};
	static const char text[] = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\na: [";
	struct seen s = {.result = -ENOMEM};
	const struct manifest_text in = {.file = "f", .text = text, .len = sizeof(text) - 1};
	bool is_complete = true;

	assert_int_equal(manifest_parse(&in, &ops, &s, &is_complete), -ENOMEM);
	assert_true(is_complete); /* outputs untouched on failure */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_each_object),
		cmocka_unit_test(opens_lists_and_keeps_the_lines),
		cmocka_unit_test(puts_a_duplicate_key_on_the_item_it_is_in),
		cmocka_unit_test(a_kind_without_effect_may_be_of_the_wrong_shape),
		cmocka_unit_test(a_kind_without_effect_is_worth_a_look_and_no_mistake),
		cmocka_unit_test(what_istio_would_not_let_in_is_honoured_with_a_warning),
		cmocka_unit_test(says_where_a_policy_may_stand_that_nobody_can_read),
		cmocka_unit_test(says_so_behind_however_many_errors),
		cmocka_unit_test(cannot_be_complete_when_an_object_has_no_name),
		cmocka_unit_test(hands_out_broken_security_objects_as_invalid),
		cmocka_unit_test(stops_when_told_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
