/* SPDX-License-Identifier: Apache-2.0 */
/* baggage - what is known of a workload, in Istio's words and order; what is not known, and what
 * has no room, is left out whole. */
#include "ztunnel/baggage.h"

#include <string.h>

#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/state.h"

#define WHOLE                                                                                      \
	"k8s.cluster.name=c1,k8s.namespace.name=demo,k8s.deployment.name=web,service.name=shop,"   \
	"service.version=v2,cloud.region=r1,cloud.availability_zone=z1"

static const struct workload_app app = {.cluster = "c1",
					.namespace_ = "demo",
					.canonical_name = "shop",
					.canonical_revision = "v2"};
static const struct workload_place place = {.region = "r1", .zone = "z1"};
static const struct workload web = {
	.app = &app, .place = &place, .workload_name = "web", .type = WORKLOAD_DEPLOYMENT};

TEST(it_names_all_that_is_known)
{
	char text[256];

	baggage_format(&web, text, sizeof(text));
	assert_string_equal(text, WHOLE);
}

TEST(a_workload_of_each_kind_is_named_as_such)
{
	static const struct {
		uint8_t type;
		const char *name;
	} kinds[] = {{WORKLOAD_DEPLOYMENT, "k8s.deployment.name=web"},
		     {WORKLOAD_CRONJOB, "k8s.cronjob.name=web"},
		     {WORKLOAD_POD, "k8s.pod.name=web"},
		     {WORKLOAD_JOB, "k8s.job.name=web"}};
	struct workload w = web;
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		w.type = kinds[i].type;
		baggage_format(&w, text, sizeof(text));
		assert_non_null(strstr(text, kinds[i].name));
	}
	w.type = UINT8_MAX;
	baggage_format(&w, text, sizeof(text));
	assert_null(strstr(text, "web"));
}

TEST(what_is_not_known_is_left_out)
{
	static const struct workload_app bare = {.cluster = "",
						 .namespace_ = "demo",
						 .canonical_name = "",
						 .canonical_revision = "v2"};
	static const struct workload_place nowhere = {.region = "", .zone = ""};
	struct workload w = web;
	char text[256];

	w.app = &bare;
	w.place = &nowhere;
	w.workload_name = "";
	baggage_format(&w, text, sizeof(text));
	assert_string_equal(text, "k8s.namespace.name=demo,service.version=v2");
	baggage_format(NULL, text, sizeof(text));
	assert_string_equal(text, "");
}

TEST(what_has_no_room_is_left_out_whole)
{
	char text[sizeof(WHOLE) + 1];

	for (size_t size = 1; size <= sizeof(WHOLE); size++) {
		size_t len;

		memset(text, '#', sizeof(text));
		baggage_format(&web, text, size);
		len = strlen(text);
		assert_true(len < size);
		assert_int_equal(text[size], '#');
		/* every field that is there is one of the whole text */
		for (char *at = strtok(text, ","); at; at = strtok(NULL, ","))
			assert_non_null(strstr("," WHOLE ",", at));
		if (size == sizeof(WHOLE))
			assert_int_equal(len, sizeof(WHOLE) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_names_all_that_is_known),
		cmocka_unit_test(a_workload_of_each_kind_is_named_as_such),
		cmocka_unit_test(what_is_not_known_is_left_out),
		cmocka_unit_test(what_has_no_room_is_left_out_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
