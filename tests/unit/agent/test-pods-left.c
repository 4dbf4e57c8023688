/* SPDX-License-Identifier: Apache-2.0 */
/* pods, pods_left - pods that go while their processes live, and such as come back. Enrolments are
 * a record of what was done to them; files stand for network namespaces. */
#include "pods-fixture.h"

static void assert_calls(const char *want)
{
	assert_string_equal(calls, want);
	calls[0] = '\0';
}

#define LEFT "demo/a#1"

static void stays_captured_until_its_namespace_has_gone(void **state)
{
	struct fixture *f = *state;

	pods_leave(f->pods, "demo/a", LEFT);
	pods_left_check(f->pods);
	assert_calls("");
	assert_true(first(f)->is_captured);
	assert_false(pods_has(f->pods, "demo/a"));
	assert_true(pods_has(f->pods, LEFT));
	namespace_end(f, "a");
	pods_left_check(f->pods);
	assert_calls("uncapture:demo/a unsteer:10.0.0.2 close:demo/a ");
	assert_false(pods_has(f->pods, LEFT));
}

static void goes_at_once_where_nothing_is_left(void **state)
{
	struct fixture *f = *state;

	namespace_end(f, "a");
	pods_leave(f->pods, "demo/a", LEFT);
	assert_calls("uncapture:demo/a unsteer:10.0.0.2 close:demo/a ");
	assert_false(pods_has(f->pods, LEFT));
	pods_leave(f->pods, "demo/unknown", "demo/unknown#1");
	assert_calls("");
}

static void goes_when_the_runtime_or_a_label_says_so(void **state)
{
	struct fixture *f = *state;

	pods_leave(f->pods, "demo/a", LEFT);
	pods_remove(f->pods, LEFT);
	assert_calls("uncapture:demo/a ");
	assert_int_equal(pods_draining(f->pods), 1);
	namespace_make(f, "b");
	put(f, "b", "b", "10.0.0.3");
	ack_all(f);
	pods_leave(f->pods, "demo/b", "demo/b#2");
	calls[0] = '\0';
	pods_end(f->pods, "demo/b#2");
	assert_calls("uncapture:demo/b unsteer:10.0.0.3 close:demo/b ");
}

/* Of a StatefulSet: the same name, and here the same address. */
static void lets_another_of_its_name_and_address_in(void **state)
{
	struct fixture *f = *state;
	struct enrolment *old = first(f);

	pods_leave(f->pods, "demo/a", LEFT);
	namespace_make(f, "b");
	put(f, "a", "b", "10.0.0.2");
	assert_calls("unsteer:10.0.0.2 offer:demo/a ");
	assert_int_equal(old->addrs.count, 0);
	ack_all(f);
	assert_calls("capture:demo/a ");
	assert_true(old->is_captured);
	namespace_end(f, "a");
	pods_left_check(f->pods);
	/* the address is steered to the other one */
	assert_calls("uncapture:demo/a close:demo/a ");
	assert_true(pods_has(f->pods, "demo/a"));
}

static void is_offered_to_no_other_ztunnel(void **state)
{
	struct fixture *f = *state;

	pods_leave(f->pods, "demo/a", LEFT);
	pods_ztunnel_lost(f->pods);
	pods_ztunnel_connected(f->pods);
	assert_calls("");
	assert_true(first(f)->is_captured);
}

static void comes_back_with_its_object(void **state)
{
	struct fixture *f = *state;

	pods_leave(f->pods, "demo/a", LEFT);
	put(f, "a", "a", "10.0.0.2");
	assert_calls("offer:demo/a ");
	ack_all(f);
	pods_left_check(f->pods);
	assert_calls("capture:demo/a ");
	assert_false(pods_has(f->pods, LEFT));
	assert_true(first(f)->is_captured);
	assert_string_equal(pods_name(f->pods, first(f)->cookie), "demo/a");
}

/* Of a pod whose processes go by and by: the oldest one is what it was known by. */
static void another_process(struct fixture *f, const char *was, const char *is)
{
	char from[80];

	path_of(f, was, from);
	path_of(f, is, held);
	assert_int_equal(link(from, held), 0);
	assert_int_equal(unlink(from), 0);
}

static void is_no_longer(struct fixture *f)
{
	assert_int_equal(unlink(held), 0);
	held[0] = '\0';
}

static void stays_captured_when_the_process_it_was_known_by_ends(void **state)
{
	struct fixture *f = *state;

	another_process(f, "a", "b");
	pods_leave(f->pods, "demo/a", LEFT);
	pods_left_check(f->pods);
	assert_calls("");
	assert_true(pods_has(f->pods, LEFT));
	another_process(f, "b", "a");
	pods_left_check(f->pods);
	assert_calls("");
	is_no_longer(f);
	pods_left_check(f->pods);
	assert_calls("uncapture:demo/a unsteer:10.0.0.2 close:demo/a ");
}

/* Nobody has deleted it. */
static void one_that_stays_does_so_too(void **state)
{
	struct fixture *f = *state;

	another_process(f, "a", "b");
	checks(f, 1);
	assert_null(strstr(calls, "uncapture"));
	assert_true(first(f)->is_captured);
}

/* A sandbox without a process is known by a descriptor of our own. */
static void one_that_never_had_a_process_ends_with_its_sandbox(void **state)
{
	struct fixture *f = *state;

	map_for_each (f->pods->by_key, it)
		((struct pod *)it.value)->spec->is_unstarted = true;
	another_process(f, "a", "b");
	pods_leave(f->pods, "demo/a", LEFT);
	assert_true(pods_has(f->pods, LEFT));
	is_no_longer(f);
	pods_left_check(f->pods);
	assert_false(pods_has(f->pods, LEFT));
}

static void what_an_earlier_agent_captured_stays_while_it_lives(void **state)
{
	struct fixture *f = *state;

	stale_begin(f);
	checks(f, 2);
	assert_null(strstr(calls, "release"));
	is_no_longer(f);
	checks(f, 1);
	assert_non_null(strstr(calls, "release:demo/stale "));
	assert_int_equal(map_count(f->pods->earlier), 0);
}

/* When a node comes back after a reboot of its pods, say: the agent's start is not to take as long
 * as it takes to look for each. */
static void what_nothing_is_left_of_is_looked_for_at_once(void **state)
{
	struct fixture *f = *state;

	stale_begin(f);
	stale_dead = 100;
	walks = 0;
	checks(f, 1);
	assert_int_equal(walks, 1);
	assert_int_equal(stale_dead, 0);
	assert_int_equal(map_count(f->pods->earlier), 1);
	/* the one that lives is where it was */
	checks(f, 1);
	assert_int_equal(walks, 1);
}

/* What was asked for, in order; memory ends for one of them. */
static size_t asked[8];
static unsigned int asked_count, asked_in_vain;

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	asked[asked_count++ % ARRAY_SIZE(asked)] = n;
	return asked_count == asked_in_vain ? NULL : __real_reallocarray(p, n, size);
}

static void and_without_memory_they_are_kept(void **state)
{
	struct fixture *f = *state;

	stale_begin(f);
	stale_dead = 100;
	asked_count = 0;
	asked_in_vain = 2;
	checks(f, 1);
	assert_int_equal(stale_dead, 100);
	/* the next one asks for the same again */
	assert_int_equal(asked_count, 3);
	assert_int_equal(asked[2], asked[1]);
	asked_in_vain = 0;
	checks(f, 1);
	assert_int_equal(stale_dead, 0);
}

static void unless_its_object_is_there_and_not_of_the_mesh(void **state)
{
	struct fixture *f = *state;

	stale_begin(f);
	is_known_outside = true;
	checks(f, 1);
	assert_non_null(strstr(calls, "release:demo/stale "));
}

static void its_object_may_come_back_too(void **state)
{
	struct fixture *f = *state;

	stale_begin(f);
	checks(f, 1);
	assert_int_equal(map_count(f->pods->earlier), 1);
	put(f, "stale", "b", "10.0.0.3");
	assert_int_equal(map_count(f->pods->earlier), 0);
	checks(f, 1);
	assert_null(strstr(calls, "release"));
}

/* Unlabelled and labelled again, with another annotation in between. */
static void one_that_drains_comes_back_with_the_rules_of_now(void **state)
{
	struct fixture *f = *state;

	pods_remove(f->pods, "demo/a");
	assert_calls("uncapture:demo/a ");
	put(f, "a", "a", "10.0.0.2");
	assert_calls("refresh:demo/a rules:demo/a recapture:demo/a offer:demo/a ");
	assert_int_equal(pods_draining(f->pods), 0);
}

/* What ends takes the rules of its namespace along. */
static void or_afresh_with_them(void **state)
{
	struct fixture *f = *state;

	pods_remove(f->pods, "demo/a");
	calls[0] = '\0';
	refresh_result = -EIO;
	put(f, "a", "a", "10.0.0.2");
	assert_calls("refresh:demo/a unsteer:10.0.0.2 close:demo/a rules:demo/a offer:demo/a ");
	assert_int_equal(pods_draining(f->pods), 0);
}

/* In its runtime's hands all the while, and no ztunnel: what drains cannot go on. */
static void one_that_is_not_started_is_sealed_again(void **state)
{
	struct fixture *f = *state;

	is_unstarted = true;
	namespace_make(f, "b");
	put(f, "b", "b", "10.0.0.3");
	assert_calls("seal:demo/b offer:demo/b ");
	pods_remove(f->pods, "demo/b");
	calls[0] = '\0';
	put(f, "b", "b", "10.0.0.3");
	assert_calls("unsteer:10.0.0.3 close:demo/b rules:demo/b seal:demo/b offer:demo/b ");
	assert_int_equal(captured,
			 list_entry(f->pods->enrolments.prev, struct enrolment, link)->cookie);
}

/* Another pod's: nothing of that one is touched. */
static void a_namespace_that_is_taken_is_not_sealed(void **state)
{
	struct fixture *f = *state;

	is_unstarted = true;
	captured = 0;
	put(f, "b", "a", "10.0.0.3");
	assert_calls("");
	assert_true(first(f)->is_captured);
}

/* Where each takes a while, and there are hundreds, others have to come in between. */
static void a_few_are_looked_at_at_a_time(void **state)
{
	enum { N = 300, TURN = 8, ROUND = 5 };
	struct fixture *f = *state;
	struct pods *p = f->pods;
	unsigned int most = 0;
	char name[16];

	for (int i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "p%d", i);
		namespace_make(f, name);
		put(f, name, name, "10.0.0.9");
	}
	refreshes = 0;
	for (int i = 0; i < ROUND; i++) {
		unsigned int before = refreshes;

		p->check.on_timer(&p->check);
		most = MAX(most, refreshes - before);
		while (p->slice.at_us) {
			before = refreshes;
			loop_timer_del(&p->slice);
			p->slice.on_timer(&p->slice);
			most = MAX(most, refreshes - before);
		}
	}
	assert_int_equal(refreshes, N + 1);
	assert_in_range(most, 1, TURN);
	/* one whose turn has not come yet is looked at in this second all the same */
	p->check.on_timer(&p->check);
	namespace_end(f, "p299");
	checks(f, 1);
	assert_int_equal(map_count(p->by_cookie), N);
	for (int i = 0; i < N - 1; i++) {
		(void)snprintf(name, sizeof(name), "p%d", i);
		namespace_end(f, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stays_captured_until_its_namespace_has_gone, begin,
						end),
		cmocka_unit_test_setup_teardown(goes_at_once_where_nothing_is_left, begin, end),
		cmocka_unit_test_setup_teardown(goes_when_the_runtime_or_a_label_says_so, begin,
						end),
		cmocka_unit_test_setup_teardown(lets_another_of_its_name_and_address_in, begin,
						end),
		cmocka_unit_test_setup_teardown(is_offered_to_no_other_ztunnel, begin, end),
		cmocka_unit_test_setup_teardown(comes_back_with_its_object, begin, end),
		cmocka_unit_test_setup_teardown(
			stays_captured_when_the_process_it_was_known_by_ends, begin, end),
		cmocka_unit_test_setup_teardown(one_that_stays_does_so_too, begin, end),
		cmocka_unit_test_setup_teardown(one_that_never_had_a_process_ends_with_its_sandbox,
						begin, end),
		cmocka_unit_test_setup_teardown(what_an_earlier_agent_captured_stays_while_it_lives,
						begin, end),
		cmocka_unit_test_setup_teardown(what_nothing_is_left_of_is_looked_for_at_once,
						begin, end),
		cmocka_unit_test_setup_teardown(and_without_memory_they_are_kept, begin, end),
		cmocka_unit_test_setup_teardown(unless_its_object_is_there_and_not_of_the_mesh,
						begin, end),
		cmocka_unit_test_setup_teardown(its_object_may_come_back_too, begin, end),
		cmocka_unit_test_setup_teardown(one_that_drains_comes_back_with_the_rules_of_now,
						begin, end),
		cmocka_unit_test_setup_teardown(or_afresh_with_them, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_not_started_is_sealed_again, begin,
						end),
		cmocka_unit_test_setup_teardown(a_namespace_that_is_taken_is_not_sealed, begin,
						end),
		cmocka_unit_test_setup_teardown(a_few_are_looked_at_at_a_time, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
