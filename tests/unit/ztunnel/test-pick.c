/* SPDX-License-Identifier: Apache-2.0 */
/* pick - which endpoint a connection gets. */
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
		T(what_is_avoided_is_shared_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
