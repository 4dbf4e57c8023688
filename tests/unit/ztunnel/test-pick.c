/* SPDX-License-Identifier: Apache-2.0 */
/* pick - among the endpoints that connect(2) has left. */
#include "base/str.h"
#include "tests/unit/ztunnel/resolve.h"

/* The client's node has two that the kernel can choose and one outside the mesh. */
static int setup_mixed(void **state)
{
	static const char *const names[] = {"here-a", "here-b", "other-a", "other-b"},
				 *const addrs[] = {"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"};
	struct fixture *f;

	(void)setup(state);
	f = *state;
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		mesh_put_workload(f->b, &(struct mesh_workload){.name = names[i],
								.node = i < 3 ? "n1" : "n2",
								.is_tcp = i == 2,
								.addrs = {addrs[i]},
								.services = {HTTPD}});
	f->s = mesh_build(f->b);
	return 0;
}

static const char *chosen(const struct fixture *f, const struct resolve_choice *choice)
{
	struct cv_sockaddr orig = mesh_sockaddr("10.96.0.1:80");
	struct upstream up;

	resolve_outbound_again(f->s, state_workload_by_uid(f->s, "Kubernetes//Pod/demo/client"),
			       &orig, choice, &up);
	return up.workload ? up.workload->name : "";
}

static void the_kernels_lots_hold(void **state)
{
	struct resolve_choice choice = {0};
	unsigned int here = 0, here_a = 0, other_a = 0;

	for (uint32_t i = 0; i < 256; i++) {
		choice.random = i << 24;
		choice.among = CV_CHOICE_HERE;
		assert_true(str_has_prefix(chosen(*state, &choice), "here"));
		here_a += streq(chosen(*state, &choice), "here-a");
		choice.among = CV_CHOICE_ELSEWHERE;
		assert_true(str_has_prefix(chosen(*state, &choice), "other"));
		other_a += streq(chosen(*state, &choice), "other-a");
		choice.among = CV_CHOICE_ALL;
		here += str_has_prefix(chosen(*state, &choice), "here");
	}
	assert_int_equal(here, 128);
	assert_in_range(here_a, 120, 136);
	assert_in_range(other_a, 120, 136);
}

/* What one that has failed would have got is the others' alike. */
static void what_is_avoided_is_shared_out(void **state)
{
	struct cv_sockaddr avoid = mesh_sockaddr("10.0.0.2:8080");
	struct resolve_choice choice = {.avoid = &avoid, .avoid_count = 1};
	unsigned int seen[3] = {0};

	for (uint32_t i = 0; i < 255; i++) {
		choice.random = i << 24;
		seen[streq(chosen(*state, &choice), "here-b")    ? 0
		     : streq(chosen(*state, &choice), "other-a") ? 1
								 : 2]++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_in_range(seen[i], 77, 93);
}

static void the_kernels_lot_is_one_endpoint(void **state)
{
	const struct cv_sockaddr drawn = mesh_sockaddr("10.0.0.3:8080");
	struct cv_sockaddr avoid = drawn;
	struct resolve_choice choice = {.avoid = &avoid, .among = cv_choice_here(&drawn)};

	for (uint32_t i = 0; i < 64; i++) {
		choice.random = i << 26;
		assert_string_equal(chosen(*state, &choice), "here-b");
	}
	choice.avoid_count = 1;
	assert_string_equal(chosen(*state, &choice), "here-a");
}

/* They were cast for a service as it was a moment ago. */
static void the_kernels_lots_give_way(void **state)
{
	struct cv_sockaddr avoid[2] = {mesh_sockaddr("10.0.0.2:8080"),
				       mesh_sockaddr("10.0.0.3:8080")};
	struct resolve_choice choice = {.avoid = avoid, .among = CV_CHOICE_HERE};

	choice.avoid_count = 1;
	assert_string_equal(chosen(*state, &choice), "here-b");
	choice.avoid_count = 2;
	assert_true(str_has_prefix(chosen(*state, &choice), "other"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_mixed, teardown)
	const struct CMUnitTest tests[] = {
		T(the_kernels_lots_hold),
		T(the_kernels_lot_is_one_endpoint),
		T(the_kernels_lots_give_way),
		T(what_is_avoided_is_shared_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
