/* SPDX-License-Identifier: Apache-2.0 */
/* guard_thread - the loop does not wait for guards; who has left hears of none, and has none. */
#include "userspace/agent/guard_thread.h"

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

#include "base/cleanup.h"

#define TURNS_MAX 1000

/* What the kernel does: it begins when it is asked, and ends when the test says so. */
static sem_t begun, may_end;
static uint64_t attached[8], retired[8];
static unsigned int n_attached, n_retired;
static pthread_t attached_by;

int guard_attach(struct datapath *d, const struct guard_pod *pod, enum guard_bypass bypass,
		 const char **ret_tunnels)
{
	attached_by = pthread_self();
	(void)sem_post(&begun);
	(void)sem_wait(&may_end);
	attached[n_attached++] = pod->cookie;
	if (fcntl(pod->netns_fd, F_GETFD) < 0)
		return -errno;
	*ret_tunnels = "why";
	return bypass == GUARD_BYPASS_FULL ? -ENODEV : 0;
}

void guard_retire(struct datapath *d, uint64_t cookie)
{
	retired[n_retired++] = cookie;
}

struct fixture {
	struct loop *loop;
	struct guard_thread *thread;
};

/* A pod that waits. */
struct waiting {
	unsigned int told;
	int r;
	const char *tunnels;
};

static void on_done(void *arg, int r, const char *tunnels)
{
	*(struct waiting *)arg = (struct waiting){
		.told = ((const struct waiting *)arg)->told + 1, .r = r, .tunnels = tunnels};
}

static int setup(void **state)
{
	static struct fixture f;

	n_attached = n_retired = 0;
	assert_int_equal(sem_init(&begun, 0, 0), 0);
	assert_int_equal(sem_init(&may_end, 0, 0), 0);
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(guard_thread_new(f.loop, NULL, &f.thread), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->thread = guard_thread_free(f->thread);
	f->loop = loop_free(f->loop);
	return 0;
}

static void ask_with(const struct fixture *f, struct guard_thread_want *want)
{
	_cleanup_(close_fdp) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	want->pod.netns_fd = fd;
	want->on_done = on_done;
	assert_int_equal(guard_thread_attach(f->thread, want), 0);
}

static void ask(const struct fixture *f, uint64_t cookie, struct waiting *w)
{
	struct guard_thread_want want = {.pod.cookie = cookie, .arg = w};

	ask_with(f, &want);
}

static void turn_until_told(const struct fixture *f, const struct waiting *w)
{
	for (int i = 0; !w->told && i < TURNS_MAX; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_int_equal(w->told, 1);
}

static void the_loop_goes_on_while_the_kernel_is_at_it(void **state)
{
	const struct fixture *f = *state;
	struct waiting w = {0};

	ask(f, 7, &w);
	(void)sem_wait(&begun);
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(w.told, 0);
	(void)sem_post(&may_end);
	turn_until_told(f, &w);
	assert_int_equal(w.r, 0);
	assert_string_equal(w.tunnels, "why");
	assert_int_equal(attached[0], 7);
	assert_false(pthread_equal(attached_by, pthread_self()));
	assert_int_equal(n_retired, 0);
}

static void what_went_wrong_is_told(void **state)
{
	const struct fixture *f = *state;
	struct waiting w = {0};
	struct guard_thread_want want = {
		.pod.netns_fd = -EBADF, .bypass = GUARD_BYPASS_FULL, .arg = &w};

	assert_int_equal(guard_thread_attach(f->thread, &want), -EBADF);
	(void)sem_post(&may_end);
	ask_with(f, &want);
	turn_until_told(f, &w);
	assert_int_equal(w.r, -ENODEV);
}

static void pods_come_one_after_the_other(void **state)
{
	const struct fixture *f = *state;
	struct waiting all[5] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		ask(f, i + 1, &all[i]);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		(void)sem_post(&may_end);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		turn_until_told(f, &all[i]);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(attached[i], i + 1);
}

static void who_had_one_comes_before_who_is_new(void **state)
{
	const struct fixture *f = *state;
	static const struct {
		uint64_t cookie;
		bool is_first;
	} asked[] = {{1, false}, {2, false}, {3, true}, {4, false}, {5, true}};
	static const uint64_t order[] = {1, 3, 5, 2, 4};
	struct waiting all[ARRAY_SIZE(asked)] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct guard_thread_want want = {.pod.cookie = asked[i].cookie,
						 .arg = &all[i],
						 .is_first = asked[i].is_first};

		ask_with(f, &want);
		if (i == 0)
			(void)sem_wait(&begun);
	}
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		(void)sem_post(&may_end);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		turn_until_told(f, &all[i]);
	assert_memory_equal(attached, order, sizeof(order));
}

static void who_leaves_before_its_turn_gets_none(void **state)
{
	const struct fixture *f = *state;
	struct waiting first = {0}, gone = {0}, last = {0};

	ask(f, 1, &first);
	ask(f, 2, &gone);
	ask(f, 3, &last);
	(void)sem_wait(&begun);
	guard_thread_cancel(f->thread, &gone);
	(void)sem_post(&may_end);
	(void)sem_post(&may_end);
	turn_until_told(f, &last);
	assert_int_equal(gone.told, 0);
	assert_int_equal(n_attached, 2);
	assert_int_equal(attached[1], 3);
	assert_int_equal(n_retired, 0);
}

/* And comes back: what is retired is the guard from before, not the one of now. */
static void who_leaves_meanwhile_has_none(void **state)
{
	const struct fixture *f = *state;
	struct waiting gone = {0}, back = {0};

	ask(f, 4, &gone);
	(void)sem_wait(&begun);
	guard_thread_cancel(f->thread, &gone);
	ask(f, 4, &back);
	(void)sem_post(&may_end);
	(void)sem_wait(&begun);
	assert_int_equal(n_retired, 1);
	assert_int_equal(retired[0], 4);
	(void)sem_post(&may_end);
	turn_until_told(f, &back);
	assert_int_equal(gone.told, 0);
	assert_int_equal(n_attached, 2);
	assert_int_equal(n_retired, 1);
}

/* As at the end of an agent, whose pods stay as they are. */
static void what_is_left_alone_keeps_its_guard(void **state)
{
	const struct fixture *f = *state;
	struct waiting gone = {0}, last = {0};

	ask(f, 7, &gone);
	(void)sem_wait(&begun);
	guard_thread_mute(f->thread, &gone);
	ask(f, 6, &last);
	(void)sem_post(&may_end);
	(void)sem_post(&may_end);
	turn_until_told(f, &last);
	assert_int_equal(gone.told, 0);
	assert_int_equal(n_attached, 2);
	assert_int_equal(n_retired, 0);
}

static void who_leaves_before_it_is_told_is_not(void **state)
{
	const struct fixture *f = *state;
	struct waiting gone = {0}, last = {0};

	ask(f, 5, &gone);
	ask(f, 6, &last);
	(void)sem_wait(&begun);
	(void)sem_post(&may_end);
	(void)sem_wait(&begun);
	guard_thread_cancel(f->thread, &gone);
	(void)sem_post(&may_end);
	turn_until_told(f, &last);
	assert_int_equal(gone.told, 0);
}

static void the_end_waits_for_what_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct waiting w = {0}, never = {0};

	ask(f, 8, &w);
	ask(f, 9, &never);
	(void)sem_wait(&begun);
	(void)sem_post(&may_end);
	(void)sem_post(&may_end); /* the other's turn may have come */
	f->thread = guard_thread_free(f->thread);
	assert_true(n_attached >= 1);
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(w.told + never.told, 0);
	guard_thread_cancel(NULL, &w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_loop_goes_on_while_the_kernel_is_at_it),
		TEST(what_went_wrong_is_told),
		TEST(pods_come_one_after_the_other),
		TEST(who_had_one_comes_before_who_is_new),
		TEST(who_leaves_before_its_turn_gets_none),
		TEST(who_leaves_meanwhile_has_none),
		TEST(what_is_left_alone_keeps_its_guard),
		TEST(who_leaves_before_it_is_told_is_not),
		TEST(the_end_waits_for_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
