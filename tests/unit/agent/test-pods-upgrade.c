/* SPDX-License-Identifier: Apache-2.0 */
/* pods - two ztunnels of one node: the earlier one serves what this agent's own has not taken yet.
 */
#include "pods-fixture.h"

/* demo/b, as an earlier agent and its ztunnel left it. */
static struct enrolment *adopted(struct fixture *f)
{
	struct enrolment *e;
	struct stat st;
	char path[80];

	namespace_make(f, "b");
	path_of(f, "b", path);
	assert_int_equal(stat(path, &st), 0);
	captured = (uint64_t)st.st_ino;
	put(f, "b", "b", "10.0.0.3");
	e = list_entry(f->pods->enrolments.prev, struct enrolment, link);
	assert_true(e->is_captured);
	e->entry.flags = CV_POD_CAPTURE | CV_POD_ALIVE;
	return e;
}

static bool is_alive(const struct enrolment *e)
{
	return e->entry.flags & CV_POD_ALIVE;
}

static void grace_ends(struct fixture *f)
{
	loop_timer_del(&f->pods->grace);
	f->pods->grace.on_timer(&f->pods->grace);
}

/* However long this agent's takes to come. */
static void a_pod_is_not_refused_what_an_earlier_ztunnel_serves(void **state)
{
	struct fixture *f = *state;
	struct enrolment *e = adopted(f);

	is_served = is_ztunnel_away = true;
	for (int i = 0; i < 10; i++) {
		grace_ends(f);
		assert_true(is_alive(e));
		assert_int_not_equal(f->pods->grace.at_us, 0);
	}
	is_served = false;
	grace_ends(f);
	assert_false(is_alive(e));
	assert_int_equal(f->pods->grace.at_us, 0);
}

static void nor_is_it_when_the_new_one_ends_before_it_has_the_pod(void **state)
{
	struct fixture *f = *state;
	struct enrolment *e = adopted(f), *taken = first(f);

	is_served = is_ztunnel_away = true;
	pods_ztunnel_lost(f->pods);
	assert_true(is_alive(e));
	assert_false(is_alive(taken));
	is_served = false;
	grace_ends(f);
	assert_false(is_alive(e));
}

/* What ends the earlier one is that this one is ready. */
static void a_ztunnel_has_all_pods_when_it_hears_that_it_has(void **state)
{
	struct fixture *f = *state;

	(void)adopted(f);
	pods_ztunnel_lost(f->pods);
	synced_sent = 0;
	pods_ztunnel_connected(f->pods);
	pods_ack(f->pods, first(f)->cookie, 0);
	assert_int_equal(synced_sent, 0);
	ack_all(f);
	assert_int_equal(synced_sent, 1);
	checks(f, 1);
	assert_int_equal(synced_sent, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_pod_is_not_refused_what_an_earlier_ztunnel_serves),
		T(nor_is_it_when_the_new_one_ends_before_it_has_the_pod),
		T(a_ztunnel_has_all_pods_when_it_hears_that_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
