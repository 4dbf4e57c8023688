/* SPDX-License-Identifier: Apache-2.0 */
/* pods, pods_left - in which network namespace a pod is, where its processes are in several or its
 * sandbox was made anew; and what is told of those that stay captured besides. Files stand for
 * network namespaces. */
#include "pods-fixture.h"

#include "base/buf.h"

/* It has made a namespace of its own, and the process that the pod was known by has ended. */
static void a_process_in_a_namespace_inside_leads_nowhere(void **state)
{
	struct fixture *f = *state;
	uint64_t cookie = first(f)->cookie;

	namespace_make(f, "b");
	put(f, "a", "b", "10.0.0.2");
	assert_null(strstr(calls, "uncapture"));
	assert_int_equal(first(f)->cookie, cookie);
	/* of another sandbox it is, where the old one is no more */
	namespace_end(f, "a");
	put(f, "a", "b", "10.0.0.2");
	assert_non_null(strstr(calls, "uncapture:demo/a "));
	assert_true(first(f)->cookie != cookie);
}

/* The pod is captured where it is now, and what holds its namespace of before stays so. */
static void assert_moved(struct fixture *f, uint64_t was)
{
	const struct enrolment *e = list_entry(f->pods->enrolments.prev, struct enrolment, link);

	assert_null(strstr(calls, "uncapture:demo/a "));
	assert_int_equal(first(f)->cookie, was);
	assert_true(first(f)->is_captured);
	assert_int_equal(first(f)->addrs.count, 0);
	assert_true(e->cookie != was);
	assert_string_equal(pods_name(f->pods, e->cookie), "demo/a");
	ack_all(f);
	assert_true(e->is_captured);
}

static void another_sandbox_is_the_runtimes_word(void **state)
{
	struct fixture *f = *state;
	uint64_t cookie = first(f)->cookie;

	namespace_make(f, "b");
	path_of(f, "a", held); /* by its name in /run/netns, say */
	is_unstarted = true;
	put(f, "a", "b", "10.0.0.2");
	assert_moved(f, cookie);
}

/* No plugin told of it, and something holds the namespace of the one before. */
static void another_sandbox_is_where_the_pods_addresses_are(void **state)
{
	struct fixture *f = *state;
	uint64_t cookie = first(f)->cookie;
	char path[80];

	namespace_make(f, "b");
	path_of(f, "b", path);
	fitting = path;
	put(f, "a", "b", "10.0.0.2");
	assert_moved(f, cookie);
	put(f, "a", "b", "10.0.0.2"); /* and it stays there */
	assert_int_equal(map_count(f->pods->by_key), 2);
	namespace_end(f, "a");
	pods_left_check(f->pods);
	assert_non_null(strstr(calls, "close:demo/a "));
	assert_int_equal(map_count(f->pods->by_key), 1);
	assert_true(first(f)->is_captured);
}

/* It is older than all of the later sandbox's. */
static void also_where_a_process_of_the_earlier_one_lives(void **state)
{
	struct fixture *f = *state;
	uint64_t cookie = first(f)->cookie;
	char path[80], old[80];

	namespace_make(f, "b");
	path_of(f, "a", old);
	path_of(f, "b", path);
	processes[0] = old;
	processes[1] = fitting = path;
	put(f, "a", "a", "10.0.0.2"); /* nothing has changed: nobody looks */
	assert_int_equal(map_count(f->pods->by_key), 1);
	put(f, "a", "a", "10.0.0.3");
	assert_null(strstr(calls, "uncapture:demo/a "));
	assert_true(first(f)->is_captured);
	assert_int_equal(first(f)->cookie, cookie);
	assert_int_equal(map_count(f->pods->by_key), 2);
	ack_all(f);
	assert_true(list_entry(f->pods->enrolments.prev, struct enrolment, link)->is_captured);
}

/* Such as makes a namespace of its own first of all. */
static void a_pod_is_not_where_its_oldest_process_went(void **state)
{
	struct fixture *f = *state;
	char inside[80], path[80];

	namespace_make(f, "b");
	path_of(f, "inside", inside);
	path_of(f, "b", path);
	unfit = processes[0] = inside;
	processes[1] = fitting = path;
	put(f, "b", "inside", "10.0.0.3");
	assert_non_null(strstr(calls, "offer:demo/b "));
}

static void what_an_earlier_sandbox_left_goes_by_the_label(void **state)
{
	struct fixture *f = *state;
	char path[80];

	namespace_make(f, "b");
	path_of(f, "b", path);
	fitting = path;
	put(f, "a", "b", "10.0.0.2");
	ack_all(f);
	pods_remove(f->pods, "demo/a");
	assert_int_equal(map_count(f->pods->by_key), 0);
	assert_int_equal(pods_draining(f->pods), 2);
}

#define LEFT "demo/a#1"

/* demo/a is in another sandbox now. */
static void move(struct fixture *f)
{
	char path[80];

	namespace_make(f, "b");
	path_of(f, "b", path);
	fitting = path;
	put(f, "a", "b", "10.0.0.2");
	ack_all(f);
	fitting = "";
	assert_int_equal(map_count(f->pods->by_key), 2);
	calls[0] = '\0';
}

/* Of a pod that is deleted: its runtime's word comes first. */
static void it_stays_with_a_pod_that_has_ended(void **state)
{
	struct fixture *f = *state;

	move(f);
	pods_end(f->pods, "demo/a");
	assert_true(pods_has(f->pods, "demo/a"));
	pods_leave(f->pods, "demo/a", LEFT);
	assert_false(pods_has(f->pods, "demo/a"));
	assert_true(pods_has(f->pods, LEFT));
	assert_true(first(f)->is_captured);
	pods_remove(f->pods, LEFT);
	assert_false(pods_has(f->pods, LEFT));
	assert_int_equal(map_count(f->pods->by_key), 0);
	assert_int_equal(pods_draining(f->pods), 1);
}

static void or_goes_by_the_label_once_it_has(void **state)
{
	struct fixture *f = *state;

	move(f);
	pods_end(f->pods, "demo/a");
	pods_remove(f->pods, "demo/a");
	assert_int_equal(map_count(f->pods->by_key), 0);
}

static void and_not_with_another_of_its_name(void **state)
{
	struct fixture *f = *state;

	move(f);
	pods_leave(f->pods, "demo/a", LEFT);
	pods_end(f->pods, LEFT);
	assert_true(pods_has(f->pods, LEFT));
	pods_remove(f->pods, "demo/a");
	assert_true(first(f)->is_captured);
	namespace_end(f, "a");
	pods_left_check(f->pods);
	assert_false(pods_has(f->pods, LEFT));
}

static void but_with_its_own_that_comes_back(void **state)
{
	struct fixture *f = *state;

	move(f);
	pods_leave(f->pods, "demo/a", LEFT);
	put(f, "a", "b", "10.0.0.2");
	pods_left_check(f->pods);
	assert_false(pods_has(f->pods, LEFT));
	pods_remove(f->pods, "demo/a");
	assert_int_equal(map_count(f->pods->by_key), 0);
}

static void tell(void *arg, const struct pods_info *info)
{
	struct buf *b = arg;
	char text[CV_ADDR_STRLEN];

	assert_int_equal(info->addr_count, 1);
	assert_int_equal(buf_printf(b, "%s/%s %s %s%s: %s\n", info->namespace_, info->name,
				    pods_state_name(info->state),
				    cv_addr_format(&info->addrs[0], text),
				    info->is_kept ? " kept" : "", info->error),
			 0);
}

static void assert_told(const struct fixture *f, const char *want)
{
	_cleanup_(buf_resetp) struct buf b = {0};

	pods_for_each(f->pods, tell, &b);
	pods_for_each_earlier(f->pods, tell, &b);
	assert_int_equal(buf_append(&b, "", 1), 0);
	assert_string_equal(buf_head(&b), want);
}

static void what_is_kept_is_told_of(void **state)
{
	struct fixture *f = *state;
	char path[80];

	namespace_make(f, "b");
	path_of(f, "b", path);
	fitting = path;
	put(f, "a", "b", "10.0.0.3");
	assert_told(f, "demo/a pending 10.0.0.3: waiting for ztunnel to take it\n"
		       "demo/a pending 10.0.0.2 kept: it has another sandbox now, but something "
		       "holds this one: captured until that ends\n");
}

#define STALE "demo/stale pending 10.0.0.9 kept: captured by an earlier agent; "

static void so_is_what_an_earlier_agent_captured(void **state)
{
	struct fixture *f = *state;

	pods_end(f->pods, "demo/a");
	stale_begin(f);
	f->pods->is_synced = false;
	assert_told(f, STALE "waiting to hear of the pods of this node\n");
	f->pods->is_synced = true;
	assert_told(f, STALE "waiting to be released\n");
	checks(f, 1);
	assert_told(f, STALE "its object is gone, its processes are not: captured until they "
			     "end\n");
	put(f, "stale", "none", "10.0.0.9");
	assert_told(f, "demo/stale error 10.0.0.9: no namespace\n" STALE
		       "waiting for its network namespace to be found\n");
	put(f, "stale", "b", "10.0.0.9");
	assert_told(f, "demo/stale pending 10.0.0.9: waiting for ztunnel to take it\n");
	f->pods->is_retired = true;
	pods_end(f->pods, "demo/stale");
	assert_told(f, ""); /* but the agent's that has come since */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_kept_is_told_of, begin, end),
		cmocka_unit_test_setup_teardown(so_is_what_an_earlier_agent_captured, begin, end),
		cmocka_unit_test_setup_teardown(a_process_in_a_namespace_inside_leads_nowhere,
						begin, end),
		cmocka_unit_test_setup_teardown(another_sandbox_is_the_runtimes_word, begin, end),
		cmocka_unit_test_setup_teardown(another_sandbox_is_where_the_pods_addresses_are,
						begin, end),
		cmocka_unit_test_setup_teardown(also_where_a_process_of_the_earlier_one_lives,
						begin, end),
		cmocka_unit_test_setup_teardown(a_pod_is_not_where_its_oldest_process_went, begin,
						end),
		cmocka_unit_test_setup_teardown(what_an_earlier_sandbox_left_goes_by_the_label,
						begin, end),
		cmocka_unit_test_setup_teardown(it_stays_with_a_pod_that_has_ended, begin, end),
		cmocka_unit_test_setup_teardown(or_goes_by_the_label_once_it_has, begin, end),
		cmocka_unit_test_setup_teardown(and_not_with_another_of_its_name, begin, end),
		cmocka_unit_test_setup_teardown(but_with_its_own_that_comes_back, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
