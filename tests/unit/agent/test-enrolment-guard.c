/* SPDX-License-Identifier: Apache-2.0 */
/* enrolment_guard - the guard of an enrolment's links, while the kernel takes its time: what is
 * said of it, and who attaches it where nobody else can. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "userspace/agent/enrolment.h"

#define TURNS_MAX 1000

/* The kernel: on the thread it begins when it is asked, and ends when the test says so. */
static sem_t begun, may_end;
static pthread_t loops;
static int attached, result;
static uint64_t order[8]; /* cookies */
static bool is_there;     /* what cv_pod_links has of the one pod */

bool datapath_has_guard(const struct datapath *d)
{
	return true;
}

int guard_attach(struct datapath *d, const struct guard_pod *pod, enum guard_bypass bypass,
		 const char **ret_tunnels)
{
	if (!pthread_equal(pthread_self(), loops)) {
		(void)sem_post(&begun);
		(void)sem_wait(&may_end);
	}
	order[attached++] = pod->cookie;
	is_there = result == 0;
	*ret_tunnels = NULL;
	return result;
}

void guard_retire(struct datapath *d, uint64_t cookie)
{
	is_there = false;
}

int guard_exempt(struct datapath *d, const struct guard_pod *pod)
{
	return 0;
}

void enrolment_flags_refresh(struct enrolment *e)
{
}

struct fixture {
	struct loop *loop;
	struct enrolment_context ctx;
	struct enrolment e;
};

static int setup(void **state)
{
	static struct fixture f;

	log_set_level(LOG_OFF);
	loops = pthread_self();
	attached = result = 0;
	is_there = false;
	assert_int_equal(sem_init(&begun, 0, 0), 0);
	assert_int_equal(sem_init(&may_end, 0, 0), 0);
	f = (struct fixture){.e = {.ctx = &f.ctx, .cookie = 7, .key = "demo/a"}};
	f.ctx.is_direct = true;
	f.e.netns_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(guard_thread_new(f.loop, NULL, &f.ctx.guards), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->ctx.guards = guard_thread_free(f->ctx.guards);
	f->loop = loop_free(f->loop);
	(void)close_fd(f->e.netns_fd);
	return 0;
}

static void end_all(void)
{
	for (int i = 0; i < 8; i++)
		(void)sem_post(&may_end);
}

static void turn_until_done(struct fixture *f)
{
	for (int i = 0; f->e.is_guarding && i < TURNS_MAX; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_false(f->e.is_guarding);
}

/* It has left, and is back, while the thread is at the guard from before; and there is no
 * descriptor for the thread. What the agent attaches itself would be retired with that one. */
static void what_is_attached_here_is_undone_by_nobody(void **state)
{
	struct fixture *f = *state;
	int fd = f->e.netns_fd;

	enrolment_guard(&f->e);
	(void)sem_wait(&begun);
	enrolment_guard_end(&f->e);
	f->e.netns_fd = -EBADF;
	enrolment_guard(&f->e);
	end_all();
	for (int i = 0; guard_thread_is_at(f->ctx.guards, f->e.cookie) && i < TURNS_MAX; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_int_equal(f->e.is_guarded, is_there);
	enrolment_guard(&f->e); /* as the pod's next check does */
	assert_true(f->e.is_guarded);
	assert_true(is_there);
	f->e.netns_fd = fd;
}

static void without_the_thread_it_is_attached_here(void **state)
{
	struct fixture *f = *state;
	int fd = f->e.netns_fd;

	f->e.netns_fd = -EBADF;
	enrolment_guard(&f->e);
	assert_true(f->e.is_guarded);
	assert_false(f->e.is_guarding);
	assert_int_equal(attached, 1);
	f->e.netns_fd = fd;
}

static void with_the_thread_it_is_told_of(void **state)
{
	struct fixture *f = *state;

	enrolment_guard(&f->e);
	assert_true(f->e.is_guarding);
	enrolment_guard(&f->e); /* once is enough */
	end_all();
	turn_until_done(f);
	assert_true(f->e.is_guarded);
	assert_int_equal(attached, 1);
}

static void who_waits_says_so(void **state)
{
	struct fixture *f = *state;

	enrolment_guard(&f->e);
	assert_string_equal(f->e.guard_notice, "its guard waits for its turn");
	end_all();
	turn_until_done(f);
	assert_null(f->e.guard_notice);
	/* To look at it again is nothing to be told of. */
	enrolment_guard(&f->e);
	assert_true(f->e.is_guarding);
	assert_null(f->e.guard_notice);
	turn_until_done(f);
	enrolment_guard_end(&f->e);
	enrolment_guard(&f->e);
	assert_non_null(f->e.guard_notice);
	enrolment_guard_end(&f->e);
	assert_null(f->e.guard_notice);
}

static void what_is_wrong_stays_said_while_it_is_tried_again(void **state)
{
	struct fixture *f = *state;
	const char *said;

	result = -ENODEV;
	end_all();
	enrolment_guard(&f->e);
	turn_until_done(f);
	said = f->e.guard_notice;
	assert_non_null(strstr(said, "which is no veth"));
	enrolment_guard(&f->e);
	assert_true(f->e.is_guarding);
	assert_ptr_equal(f->e.guard_notice, said);
	turn_until_done(f);
	result = 0;
	enrolment_guard(&f->e);
	turn_until_done(f);
	assert_null(f->e.guard_notice);
}

/* Others have come meanwhile that never had one. */
static void who_comes_back_does_not_wait_for_those_that_are_new(void **state)
{
	struct fixture *f = *state;
	struct enrolment others[3];

	end_all();
	enrolment_guard(&f->e);
	turn_until_done(f);
	enrolment_guard_end(&f->e);
	while (sem_trywait(&may_end) == 0)
		;
	(void)sem_wait(&begun);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = (struct enrolment){.ctx = &f->ctx, .cookie = 11 + i};
		others[i].netns_fd = f->e.netns_fd;
		enrolment_guard(&others[i]);
	}
	(void)sem_wait(&begun); /* the first of them */
	enrolment_guard(&f->e);
	end_all();
	turn_until_done(f);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		enrolment_guard_end(&others[i]);
	assert_int_equal(order[1], 11);
	assert_int_equal(order[2], 7);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_attached_here_is_undone_by_nobody),
		TEST(without_the_thread_it_is_attached_here),
		TEST(with_the_thread_it_is_told_of),
		TEST(who_waits_says_so),
		TEST(what_is_wrong_stays_said_while_it_is_tried_again),
		TEST(who_comes_back_does_not_wait_for_those_that_are_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
