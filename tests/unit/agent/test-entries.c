/* SPDX-License-Identifier: Apache-2.0 */
/* entries - a mesh destination that nobody wants any more stays for a while. */
#include "userspace/agent/entries.h"

#include "base/str.h"
#include "tests/unit/agent/dests-fixture.h"

static void end_all(struct dests *d)
{
	dests_end(d, now_monotonic_us() + ENTRIES_LINGER_US, SIZE_MAX);
}

/* kube-proxy, and the node where a pod was, still lead there: in plaintext. */
static void what_is_gone_lingers(void **state)
{
	uint64_t before = now_monotonic_us();
	struct dests *d = *state;
	struct cv_addr addr;

	assert_int_equal(cv_addr_parse("10.0.0.1", &addr), 0);
	assert_int_equal(dests_next_end(d), 0);
	assert_int_equal(put_service_at(d, "demo/web", 30080), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	calls[0] = '\0';
	dests_remove(d, "a");
	dests_remove(d, "demo/web");
	assert_calls("~w10.0.0.1:0 ~s10.96.0.1:80 ~s:::30080 ");
	assert_true(dests_has(d, DESTS_WORKLOADS, &addr));
	assert_in_range(dests_next_end(d), before + ENTRIES_LINGER_US,
			now_monotonic_us() + ENTRIES_LINGER_US);
	dests_end(d, before + ENTRIES_LINGER_US - 1, SIZE_MAX);
	assert_calls("");
	/* in the order in which they went, some at a time */
	dests_end(d, now_monotonic_us() + ENTRIES_LINGER_US, 2);
	assert_calls("-w10.0.0.1:0 -s10.96.0.1:80 ");
	assert_false(dests_has(d, DESTS_WORKLOADS, &addr));
	end_all(d);
	assert_calls("-s:::30080 ");
	assert_int_equal(dests_next_end(d), 0);
}

static void what_comes_back_does_not_end(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, NULL), 0);
	dests_remove(d, "a");
	assert_int_equal(put_workload(d, "b", "10.0.0.1", true, NULL), 0);
	assert_calls("+w10.0.0.1:0=demo/a ~w10.0.0.1:0 +w10.0.0.1:0=demo/b ");
	assert_int_equal(dests_next_end(d), 0);
	end_all(d);
	assert_calls("");
}

/* Whichever of the two is heard of first. */
static void what_is_anothers_outside_the_mesh_is_so_at_once(void **state)
{
	struct dests *d = *state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(put_host_port(d, "a", "10.0.0.1", true, 8080), 0);
		assert_int_equal(put_service_at(d, "demo/web", 30080), 0);
		assert_int_equal(put_workload(d, "b", "10.0.0.2", true, "demo/web"), 0);
		calls[0] = '\0';
		if (i == 0) {
			dests_remove(d, "a");
			dests_remove(d, "demo/web");
			assert_calls("~w10.0.0.1:0 ~s172.18.0.1:8080 ~s10.96.0.1:80 ~s:::30080 ");
		}
		assert_int_equal(put_host_port(d, "c", "10.0.0.1", false, 8080), 0);
		assert_int_equal(put_service_at(d, "demo/other", 30080), 0);
		if (i == 1) {
			assert_calls("");
			dests_remove(d, "a");
			dests_remove(d, "demo/web");
		}
		assert_calls(
			i ? "+o10.0.0.1:0= -s172.18.0.1:8080 -s10.96.0.1:80 -s:::30080 "
			  : "+o10.0.0.1:0=demo/c -s172.18.0.1:8080 -s10.96.0.1:80 -s:::30080 ");
		dests_remove(d, "c");
		dests_remove(d, "demo/other");
		assert_calls("-w10.0.0.1:0 ");
		dests_remove(d, "b");
		end_all(d);
		assert_calls("~w10.0.0.2:0 -w10.0.0.2:0 ");
	}
}

/* Nothing but we lead to a ServiceEntry's address: once it is gone it is the network's. */
static void nothing_of_ours_alone_lingers(void **state)
{
	struct dests *d = *state;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;

	assert_int_equal(put_service_of(d, "demo/api", "198.51.100.1", 443, &s), 0);
	assert_int_equal(put_service_of(d, "demo/all", "192.0.2.0/24", 443, &s), 0);
	calls[0] = '\0';
	dests_remove(d, "demo/api");
	dests_remove(d, "demo/all");
	assert_calls("-s198.51.100.1:443 -r192.0.2.0:443 ");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_gone_lingers),
		T(what_comes_back_does_not_end),
		T(what_is_anothers_outside_the_mesh_is_so_at_once),
		T(nothing_of_ours_alone_lingers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
