/* SPDX-License-Identifier: Apache-2.0 */
/* adopt - which pods of an earlier agent's maps stay, and how. The maps are the test's. */
#include "userspace/agent/adopt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/addr.h"
#include "userspace/agent/guard.h"
#include "userspace/agent/reroute.h"
#include "userspace/agent/rules.h"

#define SERVED (CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DIRECT | CV_POD_DNS)

/* cv_pods: the cookie is the place, from 1. */
static struct cv_pod pods[3];
static bool is_there[3], is_guarded[3];
static size_t addrs_without_rules;

bool datapath_pod_next(struct datapath *d, uint64_t *cookie)
{
	while (++*cookie < sizeof(pods) / sizeof(*pods))
		if (is_there[*cookie])
			return true;
	return false;
}

int datapath_pod_get(struct datapath *d, uint64_t cookie, struct cv_pod *ret)
{
	if (!is_there[cookie])
		return -ENOENT;
	*ret = pods[cookie];
	return 0;
}

int datapath_pod_set(struct datapath *d, uint64_t cookie, const struct cv_pod *pod)
{
	pods[cookie] = *pod;
	return 0;
}

void datapath_pod_del(struct datapath *d, uint64_t cookie)
{
	is_there[cookie] = false;
}

void rules_keep(struct datapath *d, const struct rules_of *of, const struct exclusions *x)
{
	assert_int_equal(x->count, 0);
	assert_false(x->is_in_listed);
	addrs_without_rules = of->addr_count;
}

void guard_retire(struct datapath *d, uint64_t cookie)
{
	is_guarded[cookie] = false;
}

void reroute_forget(const char *pin_dir, uint64_t cookie)
{
}

const char *datapath_pin_dir(const struct datapath *d)
{
	return "";
}

void datapath_lookup_detach(struct datapath *d, uint64_t cookie)
{
}

void datapath_lookup_sweep(struct datapath *d)
{
}

struct known {
	uint64_t owned, left;
	bool is_awaited;
	struct cv_addr addr; /* an enrolment's */
};

static bool is_owned(void *arg, uint64_t cookie)
{
	return ((const struct known *)arg)->owned == cookie;
}

static bool is_awaited(void *arg, const char *name)
{
	return ((const struct known *)arg)->is_awaited;
}

static bool is_left(void *arg, uint64_t cookie, const char *name)
{
	assert_string_equal(name, "demo/a");
	return ((const struct known *)arg)->left == cookie;
}

static bool has_addr(void *arg, const struct cv_addr *addr)
{
	return cv_addr_equal(&((const struct known *)arg)->addr, addr);
}

static const struct adopt_ops ops = {is_owned, is_awaited, is_left, has_addr};

static int begin(void **state)
{
	log_set_level(LOG_OFF);
	for (size_t i = 1; i < sizeof(pods) / sizeof(*pods); i++) {
		pods[i] = (struct cv_pod){.flags = SERVED, .name = "demo/a"};
		is_there[i] = is_guarded[i] = true;
	}
	return 0;
}

static void one_that_is_left_stays_captured_without_ztunnel(void **state)
{
	struct known k = {.owned = 1, .left = 2};

	assert_true(adopt_sweep(NULL, &ops, &k));
	assert_true(is_there[1] && is_there[2] && is_guarded[2]);
	assert_int_equal(pods[1].flags, SERVED);
	assert_int_equal(pods[2].flags, CV_POD_CAPTURE | CV_POD_DNS);
}

static void until_it_has_ended(void **state)
{
	struct known k = {.owned = 1, .left = 2};

	assert_true(adopt_sweep(NULL, &ops, &k));
	k.left = 0;
	assert_false(adopt_sweep(NULL, &ops, &k));
	assert_true(is_there[1]);
	assert_false(is_there[2] || is_guarded[2]);
}

/* Its label had been taken away, and it was draining when the agent ended. */
static void one_that_was_not_captured_goes(void **state)
{
	struct known k = {.owned = 1, .left = 2};

	pods[2].flags = CV_POD_ALIVE;
	assert_false(adopt_sweep(NULL, &ops, &k));
	assert_false(is_there[2]);
}

/* Another pod may have been given one of its addresses since, and has rules of its own there. */
static void its_rules_go_where_nobody_else_has_the_address(void **state)
{
	struct known k = {.owned = 1};

	assert_int_equal(cv_addr_parse("10.0.0.7", &pods[2].addr4), 0);
	assert_int_equal(cv_addr_parse("fd00::7", &pods[2].addr6), 0);
	k.addr = pods[2].addr4;
	assert_false(adopt_sweep(NULL, &ops, &k));
	assert_int_equal(addrs_without_rules, 1);
}

static void one_that_is_awaited_is_touched_by_nobody(void **state)
{
	struct known k = {.is_awaited = true};

	assert_true(adopt_sweep(NULL, &ops, &k));
	assert_int_equal(pods[1].flags, SERVED);
	assert_int_equal(pods[2].flags, SERVED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_that_is_left_stays_captured_without_ztunnel, begin),
		cmocka_unit_test_setup(until_it_has_ended, begin),
		cmocka_unit_test_setup(one_that_was_not_captured_goes, begin),
		cmocka_unit_test_setup(its_rules_go_where_nobody_else_has_the_address, begin),
		cmocka_unit_test_setup(one_that_is_awaited_is_touched_by_nobody, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
