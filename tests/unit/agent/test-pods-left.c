/* SPDX-License-Identifier: Apache-2.0 */
/* pods, pods_left - pods that go while their processes live, and such as come back. Enrolments are
 * a record of what was done to them; files stand for network namespaces. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "userspace/agent/adopt.h"
#include "userspace/agent/enrolment_private.h"
#include "userspace/agent/pods_private.h"

struct fixture {
	struct loop *loop;
	struct pods *pods;
	struct enrolment_context context;
	char dir[40];
};

/* "capture:demo/a uncapture:demo/a " */
static char calls[2048];
/* As the maps would: the cookie of a captured namespace. */
static uint64_t captured;
static int refresh_result;

static void note(const char *what, const char *key)
{
	size_t n = strlen(calls);

	(void)snprintf(calls + n, sizeof(calls) - n, "%s:%s ", what, key);
}

/* ---- what the pods stand on ---- */

int enrolment_open(const struct enrolment_context *ctx, const struct podspec *spec,
		   struct enrolment **ret, char *err, size_t err_size)
{
	struct enrolment *e = calloc(1, sizeof(*e));
	struct stat st;

	assert_non_null(e);
	if (stat(spec->netns, &st) < 0) {
		(void)str_copy(err, err_size, "no namespace");
		free(e);
		return -ENOENT;
	}
	e->ctx = ctx;
	e->netns_fd = -EBADF;
	e->file = (struct netns_file){.dev = st.st_dev, .ino = st.st_ino};
	e->cookie = (uint64_t)st.st_ino;
	e->is_captured = e->is_adopted = captured == e->cookie;
	e->addrs.all[0] = spec->ips[0];
	e->addrs.count = e->addrs.own_count = 1;
	list_init(&e->link);
	(void)str_copy(e->key, sizeof(e->key), spec->key);
	*ret = e;
	return 0;
}

struct enrolment *enrolment_forget(struct enrolment *e)
{
	if (!e)
		return NULL;
	loop_timer_del(&e->timer);
	list_del(&e->link);
	free(e);
	return NULL;
}

struct enrolment *enrolment_close(struct enrolment *e)
{
	note("close", e->key);
	return enrolment_forget(e);
}

int enrolment_offer(struct enrolment *e, const struct podspec *spec, struct zds_pod_add *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->h.type = ZDS_POD_ADD;
	note("offer", spec->key);
	return 0;
}

int enrolment_capture(struct enrolment *e, bool has_dns)
{
	note("capture", e->key);
	e->entry.flags = CV_POD_CAPTURE | CV_POD_ALIVE;
	e->is_captured = true;
	captured = e->cookie;
	return 0;
}

int enrolment_recapture(struct enrolment *e, bool has_dns)
{
	note("recapture", e->key);
	e->is_captured = true;
	return 0;
}

void enrolment_uncapture(struct enrolment *e)
{
	note("uncapture", e->key);
	e->is_captured = false;
	if (captured == e->cookie)
		captured = 0;
}

void enrolment_ztunnel_lost(struct enrolment *e)
{
	e->is_offered = e->is_acked = false;
	e->entry.flags &= ~(unsigned int)CV_POD_ALIVE;
}

int enrolment_seal(struct enrolment *e, bool has_dns, bool is_blind)
{
	return 0;
}

void enrolment_see(struct enrolment *e)
{
}

void enrolment_flags_refresh(struct enrolment *e)
{
}

void enrolment_guard(struct enrolment *e)
{
}

void enrolment_reroute(struct enrolment *e, const struct podspec *spec, bool is_whole)
{
}

void enrolment_rules(struct enrolment *e, const struct podspec *spec)
{
	note("rules", e->key);
}

int __wrap_enrolment_refresh(struct enrolment *e, const struct podspec *spec);

int __wrap_enrolment_refresh(struct enrolment *e, const struct podspec *spec)
{
	note("refresh", e->key);
	return refresh_result;
}

void enrolment_rules_forget(const struct enrolment *e)
{
}

void enrolment_entry_init(struct enrolment *e)
{
}

static void addr_note(const char *what, const struct cv_addr *addr)
{
	char text[CV_ADDR_STRLEN];

	note(what, cv_addr_format(addr, text));
}

void datapath_steer_del(struct datapath *d, const struct cv_addr *addr)
{
	addr_note("unsteer", addr);
}

void datapath_local_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
}

void datapath_pod_addr_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
}

int datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	return -1;
}

bool datapath_lookup_is_alone(int netns_fd)
{
	return true;
}

bool adopt_sweep(struct datapath *d, const struct adopt_ops *ops, void *arg)
{
	return false;
}

bool zds_is_connected(const struct zds *z)
{
	return true;
}

int zds_send(struct zds *z, struct zds_header *msg, size_t len, const int *fds, size_t fd_count)
{
	return 0;
}

/* ---- the tests' ---- */

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

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct pods_config config = {0};

	log_set_level(LOG_ERROR);
	captured = 0;
	refresh_result = 0;
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/culvert-left-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	config.loop = f->loop;
	config.enrolment = &f->context;
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
		cmocka_unit_test_setup_teardown(one_that_drains_comes_back_with_the_rules_of_now,
						begin, end),
		cmocka_unit_test_setup_teardown(or_afresh_with_them, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
