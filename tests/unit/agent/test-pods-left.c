/* SPDX-License-Identifier: Apache-2.0 */
/* pods, pods_left - pods that go while their processes live, and such as come back. Enrolments are
 * a record of what was done to them; files stand for network namespaces. */
#include "fake-enrolment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

struct fixture {
	struct loop *loop;
	struct pods *pods;
	struct enrolment_context context;
	char dir[40];
};

static void path_of(const struct fixture *f, const char *name, char ret[80])
{
	(void)snprintf(ret, 80, "%s/%s", f->dir, name);
}

static void namespace_make(const struct fixture *f, const char *name)
{
	char path[80];
	FILE *file;

	path_of(f, name, path);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fclose(file);
}

static void namespace_end(const struct fixture *f, const char *name)
{
	char path[80];

	path_of(f, name, path);
	assert_int_equal(unlink(path), 0);
}

/* Of what is put: no process runs yet. */
static bool is_unstarted;

static void put(struct fixture *f, const char *name, const char *netns, const char *ip)
{
	struct podspec *s = calloc(1, sizeof(*s));
	char path[80];

	assert_non_null(s);
	path_of(f, netns, path);
	s->namespace_ = strdup("demo");
	s->name = strdup(name);
	s->key = str_format("demo/%s", name);
	s->service_account = strdup("default");
	s->netns = strdup(path);
	assert_int_equal(cv_addr_parse(ip, &s->ips[0]), 0);
	s->ip_count = 1;
	s->is_unstarted = is_unstarted;
	assert_int_equal(pods_put(f->pods, s), 0);
}

static void ack_all(struct fixture *f)
{
	struct enrolment *e;

	list_for_each_entry (e, &f->pods->enrolments, link)
		pods_ack(f->pods, e->cookie, 0);
}

static struct enrolment *first(struct fixture *f)
{
	return list_entry(f->pods->enrolments.next, struct enrolment, link);
}

static void assert_calls(const char *want)
{
	assert_string_equal(calls, want);
	calls[0] = '\0';
}

/* One that has its pod's addresses. */
static const char *fitting;

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns);

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns)
{
	return streq(netns, fitting);
}

/* Paths of the namespaces that the pod's processes are in. */
static const char *processes[2];

static bool elsewhere(void *arg, const char *key, bool (*fn)(void *fn_arg, const char *netns),
		      void *fn_arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(processes) && processes[i]; i++)
		if (fn(fn_arg, processes[i]))
			return true;
	return false;
}

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct pods_config config = {0};

	log_set_level(LOG_ERROR);
	captured = stale = 0;
	refresh_result = 0;
	held[0] = '\0';
	is_known_outside = is_unstarted = false;
	fitting = unfit = "";
	processes[0] = processes[1] = NULL;
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/culvert-left-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	config.loop = f->loop;
	config.enrolment = &f->context;
	config.is_outside = is_outside;
	config.elsewhere = elsewhere;
	if (pods_new(&config, &f->pods) < 0)
		return -1;
	f->context.others = &pods_others;
	f->context.others_arg = f->pods;
	pods_dests_synced(f->pods, false);
	pods_synced(f->pods);
	namespace_make(f, "a");
	put(f, "a", "a", "10.0.0.2");
	ack_all(f);
	calls[0] = '\0';
	*state = f;
	return 0;
}

static int end(void **state)
{
	static const char *const names[] = {"a", "b"};
	struct fixture *f = *state;
	char path[80];

	pods_free(f->pods);
	loop_free(f->loop);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		path_of(f, names[i], path);
		(void)unlink(path);
	}
	(void)rmdir(f->dir);
	free(f);
	return 0;
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

/* As its timer does every second. */
static void checks(struct fixture *f, unsigned int n)
{
	while (n-- > 0)
		f->pods->check.on_timer(&f->pods->check);
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

/* The agent that captured it has ended since, and its object has gone. */
static void stale_begin(struct fixture *f)
{
	struct stat st;

	namespace_make(f, "b");
	path_of(f, "b", held);
	assert_int_equal(stat(held, &st), 0);
	stale = (uint64_t)st.st_ino;
	f->pods->has_stale = true;
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
