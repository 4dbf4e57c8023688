/* SPDX-License-Identifier: Apache-2.0 */
/* store - the first of equal names counts, the last good state stays, and only what changed is
 * told. */
#include "source/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/source/heard.h"

#define POD(name) "apiVersion: v1\nkind: Pod\nmetadata: {name: " name "}\n"
#define LABELLED(name, label)                                                                      \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", labels: {a: " label "}}\n"
#define POLICY(spec)                                                                               \
	"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: "           \
	"p}\nspec: " spec "\n"

struct fixture {
	struct store *store;
	struct heard heard;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return store_new(&heard_ops, &f->heard, &f->store);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)store_free(f->store);
	free(f);
	return 0;
}

static void load(struct fixture *f, const char *file, const char *text)
{
	assert_int_equal(store_load(f->store, file, text, strlen(text)), 0);
}

/* What a publish says. */
static const char *told(struct fixture *f)
{
	f->heard.text[0] = '\0';
	assert_int_equal(store_publish(f->store), 0);
	return f->heard.text;
}

static void tells_objects_once_and_then_changes(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "---\n" POD("y"));
	assert_string_equal(told(f), "put Pod default/x\nput Pod default/y\n");
	load(f, "a.yaml", POD("x") "---\n" POD("y"));
	assert_string_equal(told(f), "");
	load(f, "a.yaml", POD("x") "---\n" LABELLED("y", "b"));
	assert_string_equal(told(f), "put Pod default/y\n");
	load(f, "a.yaml", LABELLED("y", "b"));
	/* y moved up four lines: its messages must name the right ones */
	assert_string_equal(told(f), "delete Pod default/x\nput Pod default/y\n");
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	assert_string_equal(told(f), "delete Pod default/y\n");
	assert_int_equal(f->heard.synced, 5);
}

static void the_first_of_equal_names_counts(void **state)
{
	struct fixture *f = *state;

	load(f, "b.yaml", LABELLED("x", "b"));
	assert_string_equal(told(f), "put Pod default/x\n");
	load(f, "c.yaml", LABELLED("x", "c"));
	assert_string_equal(told(f), "error c.yaml:3: Pod default/x: metadata.name: expected a "
				     "name of its own: b.yaml:1 has "
				     "this Pod already, which counts\n");
	load(f, "a.yaml", LABELLED("x", "a"));
	assert_non_null(strstr(told(f), "put Pod default/x\n"));
	assert_non_null(strstr(f->heard.text, "error b.yaml:3"));
	assert_non_null(strstr(f->heard.text, "error c.yaml:3"));
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	assert_non_null(strstr(told(f), "put Pod default/x\n"));
	assert_non_null(strstr(f->heard.text, "cleared b.yaml\n"));
	assert_null(strstr(f->heard.text, "error b.yaml"));
	assert_int_equal(store_remove(f->store, "c.yaml"), 0);
	assert_string_equal(told(f), "cleared c.yaml\n");
}

static void equal_names_in_one_file(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "---\n" LABELLED("x", "b"));
	assert_non_null(strstr(told(f), "error a.yaml:7: Pod default/x: metadata.name"));
	load(f, "a.yaml", LABELLED("x", "b"));
	assert_string_equal(told(f), "put Pod default/x\ncleared a.yaml\n");
}

static void namespaces_are_told_before_what_is_in_them(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x"));
	load(f, "b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n");
	assert_string_equal(told(f), "put Namespace /default\nput Pod default/x\n");
}

static void an_object_that_moves_to_another_file_is_not_deleted(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x"));
	(void)told(f);
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	load(f, "b.yaml", POD("x"));
	assert_string_equal(told(f), "put Pod default/x\n");
}

static void the_last_good_state_stays_in_force(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "spec: {hostNetwork: true}\n---\n" POD("y"));
	(void)told(f);
	load(f, "a.yaml", POD("x") "spec: {hostNetwork: 7}\n---\n" POD("y"));
	assert_string_equal(told(f), "error a.yaml:4: Pod default/x: spec.hostNetwork: expected "
				     "true or false, got the number 7\n");
	load(f, "a.yaml", POD("x") "spec: {hostNetwork: false}\n---\n" POD("y"));
	assert_string_equal(told(f), "put Pod default/x\ncleared a.yaml\n");
}

static void broken_text_deletes_nothing(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "---\n" POD("y"));
	(void)told(f);
	load(f, "a.yaml", POD("x") "---\n" POD("y") "spec: {\n");
	assert_non_null(strstr(told(f), "error a.yaml:"));
	assert_null(strstr(f->heard.text, "delete"));
	/* an object whose kind is misspelt may be the one that is missing */
	load(f, "a.yaml", POD("x") "---\napiVersion: v1\nkind: Pd\nmetadata: {name: y}\n");
	assert_null(strstr(told(f), "delete"));
	load(f, "a.yaml", POD("x"));
	assert_string_equal(told(f), "delete Pod default/y\ncleared a.yaml\n");
	assert_int_equal(store_fail(f->store, "a.yaml", "cannot be read"), 0);
	assert_string_equal(told(f), "error a.yaml: cannot be read\n");
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	assert_string_equal(told(f), "delete Pod default/x\ncleared a.yaml\n");
}

static void broken_text_leaves_the_documents_before_it_usable(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "---\n a: [\n");
	assert_non_null(strstr(told(f), "put Pod default/x\n"));
}

static void a_security_object_that_was_never_good_is_told_as_invalid(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POLICY("{rulez: []}"));
	assert_non_null(strstr(told(f), "put AuthorizationPolicy default/p invalid\n"));
	load(f, "a.yaml", POLICY("{rules: []}"));
	assert_non_null(strstr(told(f), "put AuthorizationPolicy default/p\n"));
	load(f, "a.yaml", POLICY("{rulez: []}"));
	assert_null(strstr(told(f), "put"));
	assert_null(strstr(f->heard.text, "delete"));
	load(f, "a.yaml", "");
	assert_string_equal(told(f), "delete AuthorizationPolicy default/p\ncleared a.yaml\n");
}

/* Its file was given another name, or it moved into another file, while that had a mistake. */
static void a_policy_stays_while_it_may_stand_in_what_cannot_be_read(void **state)
{
	static const char stays[] = "error b.yaml: AuthorizationPolicy default/p: stays in force";
	struct fixture *f = *state;

	load(f, "a.yaml", POLICY("{rules: []}") "---\n" POD("x"));
	(void)told(f);
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	load(f, "b.yaml", POLICY("{rules: [}"));
	assert_non_null(strstr(told(f), stays));
	assert_non_null(strstr(f->heard.text, "delete Pod default/x\n"));
	assert_null(strstr(f->heard.text, "delete AuthorizationPolicy"));
	/* whatever else happens */
	load(f, "c.yaml", POD("y"));
	assert_non_null(strstr(told(f), stays));
	assert_null(strstr(f->heard.text, "delete"));
	load(f, "b.yaml", POLICY("{rules: [{}]}"));
	assert_string_equal(told(f), "put AuthorizationPolicy default/p\ncleared b.yaml\n");
	/* another takes it over, or none does */
	load(f, "d.yaml", POLICY("{rules: [}"));
	assert_int_equal(store_remove(f->store, "b.yaml"), 0);
	assert_null(strstr(told(f), "delete"));
	assert_int_equal(store_fail(f->store, "e.yaml", "cannot be read"), 0);
	load(f, "d.yaml", POD("z"));
	assert_null(strstr(told(f), "delete"));
	assert_int_equal(store_remove(f->store, "e.yaml"), 0);
	assert_string_equal(told(f), "delete AuthorizationPolicy default/p\ncleared e.yaml\n");
}

static void an_object_that_was_never_good_is_not_told(void **state)
{
	struct fixture *f = *state;

	load(f, "a.yaml", POD("x") "spec: []\n");
	assert_null(strstr(told(f), "put"));
	assert_int_equal(store_remove(f->store, "a.yaml"), 0);
	assert_string_equal(told(f), "cleared a.yaml\n");
	assert_int_equal(store_remove(f->store, "never.yaml"), 0);
	assert_string_equal(told(f), "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tells_objects_once_and_then_changes),
		T(the_first_of_equal_names_counts),
		T(equal_names_in_one_file),
		T(namespaces_are_told_before_what_is_in_them),
		T(an_object_that_moves_to_another_file_is_not_deleted),
		T(the_last_good_state_stays_in_force),
		T(broken_text_deletes_nothing),
		T(broken_text_leaves_the_documents_before_it_usable),
		T(a_security_object_that_was_never_good_is_told_as_invalid),
		T(a_policy_stays_while_it_may_stand_in_what_cannot_be_read),
		T(an_object_that_was_never_good_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
