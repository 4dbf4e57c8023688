/* SPDX-License-Identifier: Apache-2.0 */
/* peer - PeerAuthentication: mesh < namespace < workload, UNSET inherits, ports are exceptions, the
 * oldest counts. */
#include "tests/unit/model/show.h"

#define PODS                                                                                       \
	POD("demo", "p", "{app: a}", "{}", "{podIP: 10.0.0.1}")                                    \
	POD("demo", "q", "{app: b}", "{}", "{podIP: 10.0.0.2}")                                    \
	POD("other", "r", "{app: a}", "{}", "{podIP: 10.0.0.3}")
#define STRICT    "istio-system/istio_converted_static_strict"
#define CONVERTED "demo/converted_peer_authentication_w"

static void the_static_policy_denies_what_has_no_identity(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(show(authorization(f, STRICT)), "DENY selector: !id=*");
}

/* mesh, namespace, workload mode ("": no such policy); what p of the selector and q beside it name
 * then */
static const struct {
	const char *mesh, *ns, *workload, *p, *q;
} modes[] = {
	{"", "", "", "", ""},
	{"STRICT", "", "", STRICT, STRICT},
	{"PERMISSIVE", "", "", "", ""},
	{"DISABLE", "", "", "", ""},
	{"UNSET", "", "", "", ""},
	{"", "STRICT", "", STRICT, STRICT},
	{"STRICT", "PERMISSIVE", "", "", ""},
	{"STRICT", "DISABLE", "", "", ""},
	{"STRICT", "UNSET", "", STRICT, STRICT},
	{"PERMISSIVE", "STRICT", "", STRICT, STRICT},
	{"", "", "STRICT", STRICT, ""},
	{"STRICT", "", "PERMISSIVE", "", STRICT},
	{"STRICT", "PERMISSIVE", "STRICT", STRICT, ""},
	{"STRICT", "PERMISSIVE", "UNSET", "", ""},
	{"", "STRICT", "UNSET", STRICT, STRICT},
	{"", "STRICT", "DISABLE", "", STRICT},
};

static void put_mode(struct fixture *f, const char *ns, const char *name, const char *selector,
		     const char *mode)
{
	char yaml[512];

	if (!*mode) {
		(void)drop(f, "PeerAuthentication", ns, name);
		return;
	}
	/* the format takes its arguments in the order of the text: name, namespace */
	(void)snprintf(yaml, sizeof(yaml), PEER("%s", "%s", "{%s mtls: {mode: %s}}"), name, ns,
		       selector, mode);
	(void)put(f, yaml);
}

static void the_narrowest_scope_that_says_something_counts(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		const char *mesh_only = strcmp(modes[i].mesh, "STRICT") == 0 ? STRICT : "";

		put_mode(f, "istio-system", "m", "", modes[i].mesh);
		put_mode(f, "demo", "n", "", modes[i].ns);
		put_mode(f, "demo", "w", "selector: {matchLabels: {app: a}},", modes[i].workload);
		if (strcmp(names_of(f, "demo/p"), modes[i].p) != 0 ||
		    strcmp(names_of(f, "demo/q"), modes[i].q) != 0)
			fail_msg("case %zu: q names \"%s\"", i, show_text);
		assert_string_equal(names_of(f, "other/r"), mesh_only);
	}
}

#define PORTS(mode, ports)                                                                         \
	"{selector: {matchLabels: {app: a}}, mtls: {mode: " mode "}, portLevelMtls: " ports "}"

static const struct {
	const char *ns, *spec, *name, *policy;
} ports[] = {
	{"UNSET", PORTS("STRICT", "{80: {mode: PERMISSIVE}}"), CONVERTED,
	 "DENY selector: !id=* & !port=80"},
	{"UNSET", PORTS("STRICT", "{81: {mode: DISABLE}, 80: {mode: PERMISSIVE}}"), CONVERTED,
	 "DENY selector: !id=* & !port=80 !port=81"},
	{"UNSET", PORTS("STRICT", "{80: {mode: STRICT}}"), STRICT, "none"},
	{"UNSET", PORTS("STRICT", "{80: {mode: UNSET}}"), STRICT, "none"},
	{"UNSET", PORTS("PERMISSIVE", "{80: {mode: STRICT}}"), CONVERTED,
	 "DENY selector: !id=* port=80"},
	{"UNSET",
	 PORTS("PERMISSIVE", "{80: {mode: STRICT}, 443: {mode: STRICT}, 81: {mode: DISABLE}}"),
	 CONVERTED, "DENY selector: !id=* port=80 port=443"},
	{"UNSET", PORTS("PERMISSIVE", "{80: {mode: DISABLE}}"), "", "none"},
	{"UNSET", PORTS("UNSET", "{80: {mode: STRICT}}"), CONVERTED,
	 "DENY selector: !id=* port=80"},
	{"STRICT", PORTS("UNSET", "{80: {mode: PERMISSIVE}}"), CONVERTED,
	 "DENY selector: !id=* & !port=80"},
	{"STRICT", PORTS("UNSET", "{80: {mode: STRICT}}"), STRICT, "none"},
	/* without a mode it inherits, too */
	{"STRICT", "{selector: {matchLabels: {app: a}}}", STRICT, "none"},
	{"STRICT", "{selector: {matchLabels: {app: a}}, mtls: {}}", STRICT, "none"},
	{"STRICT",
	 "{selector: {matchLabels: {app: a}}, mtls: {}, portLevelMtls: {80: {mode: PERMISSIVE}, "
	 "81: "
	 "{}}}",
	 CONVERTED, "DENY selector: !id=* & !port=80"},
	{"STRICT", PORTS("PERMISSIVE", "{80: {mode: STRICT}}"), CONVERTED,
	 "DENY selector: !id=* port=80"},
};

static void ports_are_exceptions(void **state)
{
	struct fixture *f = *state;
	char yaml[512];

	(void)put(f, PODS);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		put_mode(f, "demo", "n", "", ports[i].ns);
		(void)snprintf(yaml, sizeof(yaml), PEER("demo", "w", "%s"), ports[i].spec);
		(void)put(f, yaml);
		if (strcmp(names_of(f, "demo/p"), ports[i].name) != 0)
			fail_msg("case %zu: names \"%s\"", i, show_text);
		if (strcmp(show(authorization(f, CONVERTED)), ports[i].policy) != 0)
			fail_msg("case %zu: \"%s\"", i, show_text);
	}
}

static void an_inherited_mode_changes_the_converted_policy(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS PEER("demo", "w",
			       PORTS("UNSET", "{80: {mode: PERMISSIVE}, 81: {mode: STRICT}}")));
	assert_string_equal(show(authorization(f, CONVERTED)), "DENY selector: !id=* port=81");
	(void)put(f, PEER("istio-system", "m", "{mtls: {mode: STRICT}}"));
	assert_string_equal(show(authorization(f, CONVERTED)), "DENY selector: !id=* & !port=80");
	(void)put(f, PEER("demo", "n", "{mtls: {mode: PERMISSIVE}}"));
	assert_string_equal(show(authorization(f, CONVERTED)), "DENY selector: !id=* port=81");
	(void)drop(f, "PeerAuthentication", "demo", "w");
	assert_string_equal(show(authorization(f, CONVERTED)), "none");
	assert_string_equal(names_of(f, "demo/p"), "");
}

#define AT(ns, name, time, spec)                                                                   \
	"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " name       \
	", namespace: " ns ", creationTimestamp: '" time "'}\nspec: " spec "\n---\n"

static void the_oldest_of_a_scope_counts(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS AT("demo", "young", "2026-02-01T00:00:00Z", "{mtls: {mode: PERMISSIVE}}")
			     AT("demo", "old", "2026-01-01T00:00:00Z", "{mtls: {mode: STRICT}}"));
	assert_string_equal(names_of(f, "demo/q"), STRICT);
	(void)put(f, AT("demo", "young", "2026-02-01T00:00:00Z", "{mtls: {mode: PERMISSIVE}}"));
	assert_non_null(
		strstr(f->text, "PeerAuthentication demo/young: metadata.name: demo/old is older"));
	(void)drop(f, "PeerAuthentication", "demo", "old");
	assert_string_equal(names_of(f, "demo/q"), "");
	assert_non_null(strstr(f->text, "cleared PeerAuthentication demo/young"));
	/* one that comes later, and is older */
	(void)put(f, AT("demo", "old", "2026-01-01T00:00:00Z", "{mtls: {mode: STRICT}}"));
	assert_non_null(
		strstr(f->text, "PeerAuthentication demo/young: metadata.name: demo/old is older"));
	(void)drop(f, "PeerAuthentication", "demo", "old");
	/* without a time: the first in the folder; those with a time come before */
	(void)put(f, PEER("demo", "none1", "{mtls: {mode: STRICT}}"));
	assert_string_equal(names_of(f, "demo/q"), "");
	(void)drop(f, "PeerAuthentication", "demo", "young");
	assert_string_equal(names_of(f, "demo/q"), STRICT);
}

#define OF_A "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}"

static void a_selector_that_an_older_one_has_is_told(void **state)
{
	static const char told[] =
		"PeerAuthentication demo/young: metadata.name: demo/old is older "
		"and counts instead for pod p";
	struct fixture *f = *state;

	(void)put(f, PODS AT("demo", "young", "2026-02-01T00:00:00Z", OF_A));
	assert_null(strstr(f->text, "is older"));
	(void)put(f, AT("demo", "old", "2026-01-01T00:00:00Z", OF_A));
	assert_non_null(strstr(f->text, told));
	(void)drop(f, "PeerAuthentication", "demo", "old");
	assert_non_null(strstr(f->text, "cleared PeerAuthentication demo/young"));
	(void)put(f, AT("demo", "old", "2026-01-01T00:00:00Z",
			"{selector: {matchLabels: {v: one}}, mtls: {mode: STRICT}}"));
	assert_null(strstr(f->text, told));
	/* the pod comes under both */
	(void)put(f, POD("demo", "p", "{app: a, v: one}", "{}", "{podIP: 10.0.0.1}"));
	assert_non_null(strstr(f->text, told));
}

static void the_oldest_of_two_selectors_counts(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS AT("demo", "b", "2026-01-01T00:00:00Z",
			     "{selector: {matchLabels: {app: a}}, mtls: {mode: PERMISSIVE}}")
			     AT("demo", "a", "2026-02-01T00:00:00Z",
				"{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}"));
	assert_string_equal(names_of(f, "demo/p"), "");
	(void)drop(f, "PeerAuthentication", "demo", "b");
	assert_string_equal(names_of(f, "demo/p"), STRICT);
}

static void a_selector_in_the_root_namespace_has_no_effect(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS PEER("istio-system", "m",
			       "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}"));
	assert_non_null(strstr(
		f->text,
		"PeerAuthentication istio-system/m: spec.selector: a policy with a selector"));
	assert_string_equal(names_of(f, "demo/p"), "");
}

static void an_empty_selector_is_the_namespace(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS PEER("demo", "n", "{selector: {matchLabels: {}}, mtls: {mode: STRICT}}"));
	assert_string_equal(names_of(f, "demo/q"), STRICT);
}

static void disable_is_told_to_be_permissive(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS);
	(void)put(f, PEER("demo", "n", "{mtls: {mode: DISABLE}}"));
	assert_non_null(strstr(f->text, "warning f.yaml:4: PeerAuthentication demo/n: "
					"spec.mtls.mode: DISABLE is taken as PERMISSIVE"));
	(void)put(f, PEER("demo", "n", "{mtls: {mode: PERMISSIVE}}"));
	assert_null(strstr(f->text, "warning"));
	(void)put(f, PEER("demo", "w", PORTS("STRICT", "{\"81\": {mode: DISABLE}}")));
	assert_non_null(strstr(f->text, "spec.portLevelMtls.81.mode: DISABLE is taken as"));
	assert_null(strstr(f->text, "spec.mtls.mode"));
}

static void what_cannot_be_understood_is_strict(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS);
	(void)put_broken(f, PEER("demo", "n", "{mtls: {mode: permissive}}"));
	assert_string_equal(names_of(f, "demo/p"), STRICT);
	assert_non_null(
		strstr(f->text, "error f.yaml:4: PeerAuthentication demo/n: spec: not understood"));
	(void)drop(f, "PeerAuthentication", "demo", "n");
	(void)put_broken(f, PEER("demo", "w",
				 "{selector: {matchLabels: {app: a}}, mtls: {mode: PERMISSIVE}, "
				 "portLevelMtls: {x: {}}}"));
	assert_string_equal(names_of(f, "demo/p"), STRICT);
	assert_string_equal(names_of(f, "demo/q"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_static_policy_denies_what_has_no_identity),
		T(the_narrowest_scope_that_says_something_counts),
		T(ports_are_exceptions),
		T(an_inherited_mode_changes_the_converted_policy),
		T(the_oldest_of_a_scope_counts),
		T(a_selector_that_an_older_one_has_is_told),
		T(the_oldest_of_two_selectors_counts),
		T(a_selector_in_the_root_namespace_has_no_effect),
		T(an_empty_selector_is_the_namespace),
		T(disable_is_told_to_be_permissive),
		T(what_cannot_be_understood_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
