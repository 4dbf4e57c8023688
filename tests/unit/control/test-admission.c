/* SPDX-License-Identifier: Apache-2.0 */
/* admission - the webhook's answer is what the source would say of the object; odd bytes are no
 * review. */
#include "userspace/control/admission.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/source/kinds.h"

#define GVK(g, k) "\"kind\":{\"group\":\"" g "\",\"version\":\"v1\",\"kind\":\"" k "\"}"
#define SECURITY  GVK("security.istio.io", "AuthorizationPolicy")
#define META      "\"metadata\":{\"name\":\"x\",\"namespace\":\"demo\",\"managedFields\":[{\"a\":1}]}"
#define POLICY(sp)                                                                                 \
	"{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"AuthorizationPolicy\"," META          \
	",\"spec\":" sp "}"
#define REVIEW(gvk, rest)                                                                          \
	"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{"       \
	"\"uid\":\"u1\"," gvk ",\"operation\":\"CREATE\"" rest "}}"
#define ENTRY(how, addresses, port)                                                                \
	"{\"apiVersion\":\"networking.istio.io/v1\",\"kind\":\"ServiceEntry\"," META               \
	",\"spec\":{\"hosts\":[\"b.c\"],\"resolution\":\"" how "\",\"addresses\":" addresses       \
	",\"ports\":[{\"number\":1,\"name\":\"" port "\",\"protocol\":\"TLS\"}]}}"

/* What the answer says; NULL: it lets the object in. */
static char *refusal(const char *review, char **ret_warning)
{
	_cleanup_(freep) char *text = NULL;
	struct admission_subject subject;
	json_t *answer;
	const json_t *response;
	char *message = NULL;

	assert_int_equal(admission_review(review, strlen(review), &subject, &text), 0);
	answer = json_loads(text, 0, NULL);
	response = json_object_get(answer, "response");
	assert_string_equal(json_string_value(json_object_get(response, "uid")), "u1");
	assert_string_equal(json_string_value(json_object_get(answer, "kind")), "AdmissionReview");
	if (!json_is_true(json_object_get(response, "allowed")))
		message = strdup(json_string_value(
			json_object_get(json_object_get(response, "status"), "message")));
	if (ret_warning && json_array_size(json_object_get(response, "warnings")) > 0)
		*ret_warning = strdup(json_string_value(
			json_array_get(json_object_get(response, "warnings"), 0)));
	json_decref(answer);
	return message;
}

static void what_is_right_is_let_in(void **state)
{
	static const char *const reviews[] = {
		REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":\"DENY\",\"rules\":[{}]}")),
		REVIEW(GVK("networking.istio.io", "ServiceEntry"),
		       ",\"object\":" ENTRY("STATIC", "[\"10.1.0.0/16\"]", "HTTP")),
		/* a deletion has no object */
		REVIEW(SECURITY, ",\"object\":null,\"oldObject\":" POLICY("{\"action\":7}")),
		/* a kind that nobody here reads */
		REVIEW(GVK("networking.istio.io", "Unheard"), ",\"object\":{\"spec\":{\"x\":1}}"),
		/* of another group: not Istio's Gateway, nor our kind of that name */
		REVIEW(GVK("example.com", "AuthorizationPolicy"), ",\"object\":{\"spec\":7}"),
		/* a NUL where nobody reads is valid JSON */
		REVIEW(GVK("networking.istio.io", "Unheard"),
		       ",\"object\":{\"spec\":{\"\\u0000\":\"\\u0000\"}}"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(reviews); i++)
		assert_null(refusal(reviews[i], NULL));
}

static void what_is_wrong_is_refused_with_its_field(void **state)
{
	static const struct {
		const char *review, *message;
	} table[] = {
		{REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":\"DENY\"}")),
		 "configuration is invalid: spec.rules: required"},
		{REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":\"MAYBE\"}")),
		 "configuration is invalid: spec.action: expected one of"},
		{REVIEW(SECURITY, ",\"object\":" POLICY("{\"rulez\":[]}")),
		 "configuration is invalid: spec.rulez: unknown field"},
		{REVIEW(SECURITY,
			",\"object\":" POLICY("{\"action\":\"DENY\\u0000\",\"rules\":[{}]}")),
		 "configuration is invalid: spec.action: the string has a NUL character"},
		{REVIEW(GVK("networking.istio.io", "ServiceEntry"),
			",\"object\":{\"apiVersion\":\"networking.istio.io/v1beta1\",\"kind\":"
			"\"ServiceEntry\"," META ",\"spec\":{}}"),
		 "spec.hosts: required"},
		/* what could be honoured, and is refused as Istio refuses it */
		{REVIEW(GVK("networking.istio.io", "ServiceEntry"),
			",\"object\":" ENTRY("DNS", "[\"10.1.0.0/16\"]", "a")),
		 "spec.addresses[0]: a CIDR"},
		{REVIEW(GVK("networking.istio.io", "ServiceEntry"),
			",\"object\":" ENTRY("DYNAMIC_DNS", "[\"10.1.0.0/16\"]", "a")),
		 "spec.addresses[0]: a CIDR"},
		{REVIEW(GVK("networking.istio.io", "ServiceEntry"),
			",\"object\":" ENTRY("DNS", "[]", "A_b")),
		 "spec.ports[0].name: expected a DNS label"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(freep) char *message = refusal(table[i].review, NULL);

		assert_non_null(message);
		if (!strstr(message, table[i].message))
			fail_msg("%s", message);
	}
}

#define E2  "\xc3\xa9\xc3\xa9"
#define E10 E2 E2 E2 E2 E2
#define E40 E10 E10 E10 E10

/* What is quoted of it is cut inside a character, which no JSON takes. */
static void what_is_wrong_is_told_in_whole_characters(void **state)
{
	static const char *const reviews[] = {
		REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":\"a" E40 "\"}")),
		REVIEW(SECURITY,
		       ",\"object\":" POLICY(
			       "{\"a" E40 E40 E40 E40 E40 E40 E40 E40 E40 E40 E40 E40 E40 "\":1}")),
	};

	for (size_t i = 0; i < ARRAY_SIZE(reviews); i++) {
		_cleanup_(freep) char *message = refusal(reviews[i], NULL);

		assert_non_null(message);
		assert_non_null(strstr(message, i ? "\xc3\xa9?: unknown field" : "\xc3\xa9?\""));
	}
}

#define DRY(kind, value)                                                                           \
	"{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"" kind "\",\"metadata\":{\"name\":"   \
	"\"x\",\"namespace\":\"demo\",\"annotations\":{\"istio.io/dry-run\":\"" value "\"}},"      \
	"\"spec\":"
#define DRY_POLICY(value, action)                                                                  \
	DRY("AuthorizationPolicy", value) "{\"action\":\"" action "\",\"rules\":[{}]}}"

static void a_dry_run_is_one_where_istio_says_so(void **state)
{
	static const struct {
		const char *review, *message; /* NULL: it is let in */
	} table[] = {
		{REVIEW(SECURITY, ",\"object\":" DRY_POLICY("true", "DENY")), NULL},
		{REVIEW(SECURITY, ",\"object\":" DRY_POLICY("F", "ALLOW")), NULL},
		{REVIEW(SECURITY, ",\"object\":" DRY_POLICY("yes", "DENY")),
		 "metadata.annotations[istio.io/dry-run]: expected \"true\""},
		{REVIEW(SECURITY, ",\"object\":" DRY_POLICY("true", "AUDIT")), "of action ALLOW"},
		{REVIEW(GVK("security.istio.io", "PeerAuthentication"),
			",\"object\":" DRY("PeerAuthentication", "true") "{}}"),
		 "only for an AuthorizationPolicy"},
		/* it alone changes; it stands there already */
		{REVIEW(SECURITY,
			",\"object\":" DRY_POLICY("yes", "DENY") ",\"oldObject\":" DRY_POLICY(
				"true", "DENY")),
		 "expected \"true\""},
		{REVIEW(SECURITY,
			",\"object\":" DRY_POLICY("yes", "DENY") ",\"oldObject\":" DRY_POLICY(
				"yes", "DENY")),
		 NULL},
		/* it stays, on what it cannot stand on */
		{REVIEW(SECURITY,
			",\"object\":" DRY_POLICY("true", "AUDIT") ",\"oldObject\":" DRY_POLICY(
				"true", "DENY")),
		 "of action ALLOW"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_(freep) char *message = refusal(table[i].review, NULL);

		if (!table[i].message ? message != NULL
				      : !message || !strstr(message, table[i].message))
			fail_msg("case %zu: %s", i, message ? message : "let in");
	}
}

static char *refusal_of(const struct schema_kind *kind, const json_t *object)
{
	_cleanup_(freep) char *group = strdup(kind->api_versions[0]), *review = NULL;
	json_t *root;

	*strchr(group, '/') = '\0';
	root = json_pack("{s:{s:s, s:{s:s, s:s, s:s}, s:s, s:O}}", "request", "uid", "u1", "kind",
			 "group", group, "version", "v1", "kind", kind->kind, "operation", "CREATE",
			 "object", object);
	review = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return refusal(review, NULL);
}

static void sample_is_judged(void *arg, const struct kind_sample *s)
{
	_cleanup_(freep) char *good = refusal_of(s->kind, s->good);
	_cleanup_(freep) char *bad = refusal_of(s->kind, s->bad);

	if (good)
		fail_msg("%s: %s", s->kind->kind, good);
	if (!bad || !str_has_prefix(bad, "configuration is invalid: spec."))
		fail_msg("%s: %s", s->kind->kind, bad ? bad : "let in");
	++*(unsigned int *)arg;
}

static void each_kind_is_looked_at(void **state)
{
	unsigned int n = 0;

	kinds_for_each(kinds_read, sample_is_judged, &n);
	assert_int_equal(n, 6);
	kinds_for_each(kinds_unread, sample_is_judged, &n);
	assert_int_equal(n, 15);
}

/* Whoever has installed newer definitions than ours may use what they have. */
static void of_what_does_nothing_newer_fields_and_versions_are_let_in(void **state)
{
	assert_null(refusal(REVIEW(GVK("networking.istio.io", "VirtualService"),
				   ",\"object\":{\"apiVersion\":\"networking.istio.io/v2\","
				   "\"spec\":{\"hosts\":[\"a\"],\"news\":{\"x\":7}}}"),
			    NULL));
	/* what Istio's own definitions take and ours do not */
	assert_null(refusal(REVIEW(GVK("networking.istio.io", "VirtualService"),
				   ",\"object\":{\"spec\":{\"tcp\":[{\"match\":[{\"port\":0}]}]}}"),
			    NULL));
}

static void what_was_stored_before_may_change_around_its_spec(void **state)
{
	_cleanup_(freep) char *message = NULL;

	assert_null(refusal(
		REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":7}") ",\"oldObject\":" POLICY(
					 "{\"action\":7}")),
		NULL));
	message = refusal(
		REVIEW(SECURITY, ",\"object\":" POLICY("{\"action\":7}") ",\"oldObject\":" POLICY(
					 "{\"action\":8}")),
		NULL);
	assert_non_null(message);
	/* on its way out: a finalizer is taken off */
	assert_null(refusal(
		REVIEW(SECURITY,
		       ",\"object\":{\"metadata\":{\"deletionTimestamp\":\"x\"},\"spec\":7}"),
		NULL));
}

static void what_does_nothing_yet_is_let_in_with_a_warning(void **state)
{
	_cleanup_(freep) char *warning = NULL, *other = NULL;

	assert_null(refusal(REVIEW(GVK("networking.istio.io", "VirtualService"),
				   ",\"object\":{\"spec\":{\"hosts\":[\"a\"]}}"),
			    &warning));
	assert_non_null(warning);
	assert_non_null(strstr(warning, "VirtualService has no effect yet"));
	assert_null(
		refusal(REVIEW(GVK("networking.istio.io", "Gateway"), ",\"object\":{\"spec\":{}}"),
			&other));
	assert_non_null(other);
}

static void odd_bytes_are_no_review(void **state)
{
	static const char *const bytes[] = {
		"",
		"{",
		"null",
		"[]",
		"7",
		"{}",
		"\xff\xfe",
		"{\"request\":7}",
		"{\"request\":{\"uid\":7}}",
		"{\"request\":[]}",
		"\0{}",
	};
	char *text = NULL, *deep = calloc(1, 100001);
	struct admission_subject subject;

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		assert_int_equal(admission_review(bytes[i], strlen(bytes[i]), &subject, &text),
				 -EBADMSG);
	memset(deep, '[', 100000);
	assert_int_equal(admission_review(deep, 100000, &subject, &text), -EBADMSG);
	assert_int_equal(admission_review(deep, (size_t)ADMISSION_BODY_MAX + 1, &subject, &text),
			 -EBADMSG);
	assert_null(text);
	free(deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_is_let_in),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_field),
		cmocka_unit_test(what_is_wrong_is_told_in_whole_characters),
		cmocka_unit_test(a_dry_run_is_one_where_istio_says_so),
		cmocka_unit_test(each_kind_is_looked_at),
		cmocka_unit_test(of_what_does_nothing_newer_fields_and_versions_are_let_in),
		cmocka_unit_test(what_was_stored_before_may_change_around_its_spec),
		cmocka_unit_test(what_does_nothing_yet_is_let_in_with_a_warning),
		cmocka_unit_test(odd_bytes_are_no_review),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
