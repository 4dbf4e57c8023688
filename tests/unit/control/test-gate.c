/* SPDX-License-Identifier: Apache-2.0 */
/* gate - who a TokenReview says the caller is; all that is not plainly a service account of our
 * audience is refused. */
#include "userspace/control/gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REVIEW(authenticated, audience, user, extra)                                               \
	"{\"status\":{\"authenticated\":" authenticated ",\"audiences\":[" audience                \
	"],\"user\":{\"username\":\"" user "\"" extra "}}}"
#define POD                                                                                        \
	",\"extra\":{\"authentication.kubernetes.io/pod-name\":[\"ztunnel-x\"],"                   \
	"\"authentication.kubernetes.io/pod-uid\":[\"u-1\"]}"
#define OURS "\"istio-ca\""

static int review(const char *text, struct caller *ret)
{
	return gate_caller_read(text, strlen(text), ret);
}

static void reads_a_pod_bound_token(void **state)
{
	struct caller c = {0};

	assert_int_equal(
		review(REVIEW("true", OURS, "system:serviceaccount:istio-system:ztunnel", POD), &c),
		0);
	assert_string_equal(c.namespace_, "istio-system");
	assert_string_equal(c.account, "ztunnel");
	assert_string_equal(c.pod, "ztunnel-x");
	assert_string_equal(c.pod_uid, "u-1");
}

static void a_token_without_a_pod_has_none(void **state)
{
	struct caller c = {0};

	assert_int_equal(
		review(REVIEW("true", "\"other\"," OURS, "system:serviceaccount:a:b", ""), &c), 0);
	assert_string_equal(c.pod, "");
	assert_string_equal(c.pod_uid, "");
	/* nor has one with half of it */
	assert_int_equal(review(REVIEW("true", OURS, "system:serviceaccount:a:b",
				       ",\"extra\":{\"authentication.kubernetes.io/pod-name\":["
				       "\"x\"]}"),
				&c),
			 0);
	assert_string_equal(c.pod, "");
}

static void refuses_everybody_else(void **state)
{
	static const char *const bad[] = {
		REVIEW("false", OURS, "system:serviceaccount:a:b", POD),
		REVIEW("\"true\"", OURS, "system:serviceaccount:a:b", POD),
		REVIEW("true", "", "system:serviceaccount:a:b", POD),
		REVIEW("true", "\"istio\"", "system:serviceaccount:a:b", POD),
		REVIEW("true", OURS, "admin", POD),
		REVIEW("true", OURS, "system:serviceaccount:", POD),
		REVIEW("true", OURS, "system:serviceaccount:a", POD),
		REVIEW("true", OURS, "system:serviceaccount::b", POD),
		REVIEW("true", OURS, "system:serviceaccount:a:", POD),
		"{}",
		"",
		"nonsense",
	};
	struct caller c = {.account = "untouched"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(review(bad[i], &c), -EACCES);
		assert_string_equal(c.account, "untouched");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_pod_bound_token),
		cmocka_unit_test(a_token_without_a_pod_has_none),
		cmocka_unit_test(refuses_everybody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
