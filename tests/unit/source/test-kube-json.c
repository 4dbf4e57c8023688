/* SPDX-License-Identifier: Apache-2.0 */
/* kube_json - a NUL in what an API server says refuses no document, ends no string early, and is
 * the mistake of the one object that has it. */
#include "source/kube_json.h"

#include "source/object.h"
#include "tests/unit/source/kube-fixture.h"

static const char *const pods[] = {"Pod", NULL};
static const char *const policies[] = {"AuthorizationPolicy", NULL};
static const char *const entries[] = {"WorkloadEntry", NULL};

#define POD(name, version, metadata, args)                                                         \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"resourceVersion\":\"" version  \
	"\"" metadata "},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"args\":[\"" args         \
	"\"]}]}}"
#define NOTE ",\"annotations\":{\"x\":\"\\u0000\"}"
/* Whose bookkeeping names it as a key. */
#define MANAGED ",\"managedFields\":[{\"fieldsV1\":{\"f:x\\u0000\":{}}}]"
#define ISTIO(group, kind, name, version, rest)                                                    \
	"{\"apiVersion\":\"" group ".istio.io/v1\",\"kind\":\"" kind                               \
	"\",\"metadata\":{\"name\":\"" name                                                        \
	"\",\"namespace\":\"d\",\"resourceVersion\":\"" version "\"}," rest "}"

static void nothing_is_lost_of_a_string_with_a_nul(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"[\"\"]", ""},
		{"[\"\\u0000\"]", KUBE_JSON_NUL},
		{"[\"80\\u0000x\\u0000\\u0000\"]",
		 "80" KUBE_JSON_NUL "x" KUBE_JSON_NUL KUBE_JSON_NUL},
		{"[\"\\u00000\"]", KUBE_JSON_NUL "0"},
		/* a backslash, and no escape behind it */
		{"[\"\\\\u0000\"]", "\\u0000"},
		{"[\"\\\\\\u0000\"]", "\\" KUBE_JSON_NUL},
		{"[\"\\\\\\\\u0000\\u0000\"]", "\\\\u0000" KUBE_JSON_NUL},
		{"[\"\\n\\u0000\"]", "\n" KUBE_JSON_NUL},
		{"[\"\\u0001\"]", "\x01"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *list = kube_json_load(rows[i].text, strlen(rows[i].text));

		assert_non_null(list);
		assert_string_equal(json_string_value(json_array_get(list, 0)), rows[i].want);
		assert_int_equal(json_string_length(json_array_get(list, 0)), strlen(rows[i].want));
		json_decref(list);
	}
}

static void a_key_with_a_nul_is_no_other_key(void **state)
{
	static const char text[] = "{\"a\\u0000\":1,\"\\u0000\":2,\"b\":{\"c\":\"\\u0000\"}}";
	json_t *o = kube_json_load(text, strlen(text));

	assert_int_equal(json_object_size(o), 3);
	assert_null(json_object_get(o, "a"));
	assert_null(json_object_get(o, ""));
	assert_int_equal(json_integer_value(json_object_get(o, "a" KUBE_JSON_NUL)), 1);
	json_decref(o);
}

static void an_integer_may_be_larger_than_ours(void **state)
{
	static const char text[] = "{\"a\":100000000000000000000,\"b\":\"\\u0000\"}";
	json_t *o = kube_json_load(text, strlen(text));

	assert_true(json_is_real(json_object_get(o, "a")));
	assert_string_equal(json_string_value(json_object_get(o, "b")), KUBE_JSON_NUL);
	json_decref(o);
}

/* @levels of lists and objects, each beside a string and a number. Return: the caller's. */
static char *nested(size_t levels)
{
	static const char open[] = "{\"]\\\"\":1,\"x\":[", close[] = "]}";
	char *text = malloc(levels * (sizeof(open) + sizeof(close)) + 1), *at = text;

	for (size_t i = 0; i < levels; i++)
		at = stpcpy(at, open);
	for (size_t i = 0; i < levels; i++)
		at = stpcpy(at, close);
	return text;
}

static void an_object_may_be_deeper_than_a_tree(void **state)
{
	char *text = nested(5000);
	json_t *o = kube_json_load(text, strlen(text)), *at = o;
	unsigned int n = 0;

	for (; json_is_object(at); at = json_array_get(json_object_get(at, "x"), 0))
		n++;
	assert_in_range(n, 30, 40);
	json_decref(o);
	free(text);
	/* what can be read is */
	text = nested(500);
	o = kube_json_load(text, strlen(text));
	n = 0;
	for (at = o; json_is_object(at); at = json_array_get(json_object_get(at, "x"), 0))
		n++;
	assert_int_equal(n, 500);
	json_decref(o);
	free(text);
}

static void what_is_no_json_is_none(void **state)
{
	static const char *const rows[] = {"",
					   "[",
					   "\\u0000",
					   "[\\u0000]",
					   "[\"\\u0000]",
					   "[\"\\u000\"]",
					   "\\\\u0000",
					   "[\"\\u0000\"]]"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_null(kube_json_load(rows[i], strlen(rows[i])));
	assert_null(kube_json_load("[\"\\u0000\"]", 8));
}

static void a_nul_in_one_object_keeps_no_list_away(void **state)
{
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", POD("a", "3", "", "") "," POD("b", "4", NOTE, "") "," POD(
					    "c", "5", MANAGED, "\\u0000"));
	start(f, pods);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	assert_true(has(f, "put Pod d/a\n") && has(f, "put Pod d/b\n") && has(f, "put Pod d/c\n"));
	assert_false(has(f, "error"));
}

static void a_nul_in_one_object_cuts_no_watch(void **state)
{
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", POD("a", "3", "", ""));
	start(f, pods);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	fake_push(&f->api, EVENT("ADDED", POD("b", "8", NOTE, "")));
	fake_push(&f->api, EVENT("ADDED", POD("c", "9", MANAGED, "\\u0000")));
	fake_push(&f->api, EVENT("DELETED", POD("b", "10", NOTE, "")));
	UNTIL(f, has(f, "delete Pod d/b"));
	assert_int_equal(f->api.n_watches, 1);
	assert_string_equal(f->heard.text,
			    "put Pod d/a\nput Pod d/b\nput Pod d/c\ndelete Pod d/b\n");
}

static void a_label_with_a_nul_is_not_its_beginning(void **state)
{
	static const char text[] = POD("a", "1",
				       ",\"labels\":{\"istio.io/dataplane-mode\":\"none\\u0000\"},"
				       "\"annotations\":{\"culvert.io/netns\\u0000\":\"1\"}",
				       "");
	json_t *body = kube_json_load(text, strlen(text));
	struct object *o;

	(void)json_object_set_new(body, "kind", json_string("Pod"));
	assert_int_equal(object_new_json(body, &o), 0);
	assert_string_not_equal(object_label(o, "istio.io/dataplane-mode"), "none");
	assert_null(object_annotation(o, "culvert.io/netns"));
	object_unref(o);
}

static void the_field_that_has_it_is_named(void **state)
{
	struct fixture *f = *state;

	f->api.pages[0] = LIST(
		"7", ISTIO("security", "AuthorizationPolicy", "good", "3", "\"spec\":{}") "," ISTIO(
			     "security", "AuthorizationPolicy", "bad", "4",
			     "\"spec\":{\"action\":\"DENY\",\"rules\":[{\"from\":[{\"source\":{"
			     "\"namespaces\":[\"n*\\u0000\"]}}]}]}"));
	start(f, policies);
	UNTIL(f, f->heard.synced == 1);
	assert_true(has(f, "spec.rules[0].from[0].source.namespaces[0]: the string has a NUL "
			   "character"));
	assert_true(has(f, "put AuthorizationPolicy d/good\n"));
	assert_true(has(f, "put AuthorizationPolicy d/bad invalid\n"));
}

static void so_is_a_key(void **state)
{
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", ISTIO("networking", "WorkloadEntry", "e", "3",
					  "\"spec\":{\"address\":\"10.0.0.1\",\"labels\":{"
					  "\"app\\u0000\":\"x\"}}"));
	start(f, entries);
	UNTIL(f, f->heard.synced == 1);
	assert_true(has(f, "the key has a NUL character"));
	assert_false(has(f, "put"));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_of_a_string_with_a_nul),
		cmocka_unit_test(a_key_with_a_nul_is_no_other_key),
		cmocka_unit_test(an_integer_may_be_larger_than_ours),
		cmocka_unit_test(an_object_may_be_deeper_than_a_tree),
		cmocka_unit_test(what_is_no_json_is_none),
		CASE(a_nul_in_one_object_keeps_no_list_away),
		CASE(a_nul_in_one_object_cuts_no_watch),
		cmocka_unit_test(a_label_with_a_nul_is_not_its_beginning),
		CASE(the_field_that_has_it_is_named),
		CASE(so_is_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
