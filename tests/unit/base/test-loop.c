/* SPDX-License-Identifier: Apache-2.0 */
/* loop - a removed source is never called, timers keep their order, wake-ups and signals arrive. */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/str.h"

struct pair {
	struct loop_fd watch;
	struct pair *other;
	int calls;
};

static int setup(void **state)
{
	return loop_new((struct loop **)state);
}

static int teardown(void **state)
{
	(void)loop_free(*state);
	return 0;
}

static void on_event_counts(struct loop_fd *w, uint32_t events)
{
	container_of(w, struct pair, watch)->calls++;
}

static void a_closed_source_is_not_called_nor_is_its_successor(void **state)
{
	struct loop *l = *state;
	struct pair a = {0}, b = {0};
	int first[2], second[2], fd;

	assert_int_equal(pipe(first), 0);
	assert_int_equal(write(first[1], "x", 1), 1);
	a.watch = (struct loop_fd){.fd = first[0], .on_event = on_event_counts};
	assert_int_equal(loop_add(l, &a.watch, EPOLLIN), 0);
	fd = first[0];
	loop_close(&a.watch);
	assert_int_equal(a.watch.fd, -EBADF);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	/* The same number, the same slot. */
	assert_int_equal(pipe(second), 0);
	assert_int_equal(second[0], fd);
	b.watch = (struct loop_fd){.fd = second[0], .on_event = on_event_counts};
	assert_int_equal(loop_add(l, &b.watch, EPOLLIN), 0);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(a.calls + b.calls, 0);
	assert_int_equal(write(second[1], "x", 1), 1);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(b.calls, 1);
	loop_close(&b.watch);
	loop_close(&b.watch);
	(void)close(first[1]);
	(void)close(second[1]);
}

static void on_event_removes_the_other(struct loop_fd *w, uint32_t events)
{
	struct pair *p = container_of(w, struct pair, watch);

	loop_del(&p->other->watch);
	(void)close_fd(p->other->watch.fd);
	free(p->other);
	loop_del(w);
	(void)close_fd(w->fd);
	free(p);
}

static void a_source_removed_in_a_callback_is_not_called(void **state)
{
	struct loop *l = *state;
	struct pair *a = calloc(1, sizeof(*a));
	struct pair *b = calloc(1, sizeof(*b));
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	*a = (struct pair){.watch = {.fd = fds[0], .on_event = on_event_removes_the_other},
			   .other = b};
	*b = (struct pair){.watch = {.fd = dup(fds[0]), .on_event = on_event_removes_the_other},
			   .other = a};
	assert_int_equal(loop_add(l, &a->watch, EPOLLIN), 0);
	assert_int_equal(loop_add(l, &b->watch, EPOLLIN), 0);
	assert_int_equal(loop_run_once(l, 1000), 0);
	/* Whichever ran first has freed the other. */
	assert_int_equal(loop_run_once(l, 0), 0);
	(void)close(fds[1]);
}

static void on_event_count(struct loop_fd *w, uint32_t events)
{
	container_of(w, struct pair, watch)->calls++;
}

static void events_are_armed_and_disarmed(void **state)
{
	struct loop *l = *state;
	struct pair p = {.watch = {.on_event = on_event_count}};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p.watch.fd = fds[0];
	assert_int_equal(loop_set(&p.watch, EPOLLIN), -EINVAL);
	assert_int_equal(loop_add(l, &p.watch, EPOLLIN | EPOLLEXCLUSIVE), 0);
	assert_int_equal(loop_add(l, &p.watch, EPOLLIN), -EEXIST);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(loop_set(&p.watch, 0), 0);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(loop_set(&p.watch, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(p.calls, 2);
	loop_del(&p.watch);
	loop_del(&p.watch);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(p.calls, 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void a_bad_descriptor_is_refused(void **state)
{
	struct loop_fd w = {.fd = -1, .on_event = on_event_count};

	assert_int_equal(loop_add(*state, &w, EPOLLIN), -EBADF);
	assert_null(w.loop);
	loop_del(&w);
}

#define TIMERS 300
static struct timer {
	struct loop_timer t;
	uint64_t due_us;
} timers[TIMERS];
static uint64_t last_due_us;
static int fired;

static void on_timer_in_order(struct loop_timer *t)
{
	struct timer *me = container_of(t, struct timer, t);

	assert_true(me->due_us >= last_due_us);
	last_due_us = me->due_us;
	fired++;
}

static void timers_fire_in_order(void **state)
{
	struct loop *l = *state;
	int removed = 0;

	fired = 0;
	last_due_us = 0;
	memset(timers, 0, sizeof(timers));
	for (unsigned int i = 0; i < TIMERS; i++) {
		timers[i].t.on_timer = on_timer_in_order;
		assert_int_equal(loop_timer_set(l, &timers[i].t, (i * 7919) % 30000 + 1), 0);
	}
	/* Some are set again, some removed. */
	for (unsigned int i = 0; i < TIMERS; i += 3)
		assert_int_equal(loop_timer_set(l, &timers[i].t, (i * 104729) % 30000 + 1), 0);
	for (unsigned int i = 0; i < TIMERS; i += 5, removed++)
		loop_timer_del(&timers[i].t);
	for (unsigned int i = 0; i < TIMERS; i++)
		timers[i].due_us = timers[i].t.at_us;
	while (fired < TIMERS - removed)
		assert_int_equal(loop_run_once(l, 100), 0);
	for (unsigned int i = 0; i < TIMERS; i++)
		assert_null(timers[i].t.loop);
}

static int rearmed;

static void on_timer_again(struct loop_timer *t)
{
	rearmed++;
	assert_int_equal(loop_timer_set(timers[1].t.loop, t, 0), 0);
}

static void on_timer_never(struct loop_timer *t)
{
	fail();
}

static void a_timer_set_to_now_waits_for_the_next_turn(void **state)
{
	struct loop *l = *state;

	memset(timers, 0, sizeof(timers));
	timers[0].t.on_timer = on_timer_again;
	timers[1].t.on_timer = on_timer_never;
	assert_int_equal(loop_timer_set(l, &timers[0].t, 0), 0);
	assert_int_equal(loop_timer_set(l, &timers[1].t, 60000000), 0);
	rearmed = 0;
	for (int i = 1; i <= 5; i++) {
		assert_int_equal(loop_run_once(l, 100), 0);
		assert_true(rearmed <= i);
	}
	assert_true(rearmed > 0);
}

static int task_runs;

static void on_task_again(struct loop_task *t)
{
	task_runs++;
}

static void tasks_run_once_per_turn(void **state)
{
	struct loop *l = *state;
	struct loop_task a = {.on_task = on_task_again}, b = a;

	task_runs = 0;
	loop_task_queue(l, &a);
	loop_task_queue(l, &a);
	loop_task_queue(l, &b);
	loop_task_del(&b);
	loop_task_del(&b);
	assert_int_equal(loop_run_once(l, -1), 0);
	assert_int_equal(task_runs, 1);
	loop_task_queue(l, &a);
	assert_int_equal(loop_run_once(l, -1), 0);
	assert_int_equal(task_runs, 2);
}

static int yields;

/* Of the linker's --wrap. */
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
	yields++;
	return 0;
}

/* 0: the clock is the machine's. */
static uint64_t frozen_us;

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	if (frozen_us == 0)
		return __real_clock_gettime(id, ret);
	ret->tv_sec = (time_t)(frozen_us / 1000000);
	ret->tv_nsec = (long)(frozen_us % 1000000) * 1000;
	return 0;
}

struct yielder {
	struct loop_task task;
	struct loop *loop;
};

static void on_task_300_us(struct loop_task *t)
{
	frozen_us += 300;
}

/* clock_freeze() - and the loop has just let others run. */
static void clock_freeze(struct loop *l)
{
	struct loop_task rest = {.on_task = on_task_300_us};

	frozen_us = now_monotonic_us() + 1000000;
	loop_task_queue(l, &rest);
	assert_int_equal(loop_run_once(l, 0), 0);
	yields = 0;
}

static void on_task_yield(struct loop_task *t)
{
	loop_yield(container_of(t, struct yielder, task)->loop);
}

/* Once for each time that it was asked for. */
static void a_loop_yields_when_it_is_asked_to(void **state)
{
	struct yielder y = {.task.on_task = on_task_yield, .loop = *state};

	clock_freeze(y.loop);
	loop_task_queue(y.loop, &y.task);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(y.loop, 0), 0);
	assert_int_equal(yields, 1);
	frozen_us = 0;
}

static void a_busy_loop_lets_others_run_in_the_midst_of_a_turn(void **state)
{
	struct loop_task tasks[5] = {0};
	struct loop *l = *state;

	clock_freeze(l);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		tasks[i].on_task = on_task_300_us;
		loop_task_queue(l, &tasks[i]);
	}
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(yields, 2); /* after the second and the fourth */
	loop_task_queue(l, &tasks[0]);
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_int_equal(yields, 3);
	frozen_us = 0;
}

static void *wake(void *arg)
{
	loop_wake(arg);
	loop_wake(arg);
	return NULL;
}

static void on_wake(void *arg)
{
	loop_stop(arg, 42);
}

static void another_thread_wakes_the_loop(void **state)
{
	pthread_t thread;

	loop_set_wake(*state, on_wake, *state);
	assert_int_equal(pthread_create(&thread, NULL, wake, *state), 0);
	assert_int_equal(loop_run(*state), 42);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

#define ECHOES 200

static void *echo(void *arg)
{
	char byte;

	while (read(*(int *)arg, &byte, 1) == 1)
		if (write(*(int *)arg, &byte, 1) != 1)
			break;
	return NULL;
}

static void on_echo(struct loop_fd *w, uint32_t events)
{
	struct pair *p = container_of(w, struct pair, watch);
	char byte;

	assert_int_equal(read(w->fd, &byte, 1), 1);
	if (++p->calls == ECHOES)
		loop_stop(w->loop, 0);
	else
		assert_int_equal(write(w->fd, &byte, 1), 1);
}

static void a_polling_loop_misses_nothing_and_sleeps_when_idle(void **state)
{
	struct pair p = {.watch.on_event = on_echo};
	struct rusage before, after;
	pthread_t thread;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p.watch.fd = fds[0];
	loop_set_poll(*state, 1000);
	assert_int_equal(loop_add(*state, &p.watch, EPOLLIN), 0);
	assert_int_equal(pthread_create(&thread, NULL, echo, &fds[1]), 0);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(p.calls, ECHOES);
	/* it looks a little, then it sleeps: a switch of its own will */
	assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
	assert_int_equal(loop_run_once(*state, 20), 0);
	assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
	assert_true(after.ru_nvcsw > before.ru_nvcsw);
	loop_del(&p.watch);
	close(fds[0]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(fds[1]);
}

static void on_signal(int signo, void *arg)
{
	loop_stop(arg, signo);
}

static void signals_come_through_the_loop(void **state)
{
	assert_int_equal(loop_signal(*state, SIGUSR1, on_signal, *state), 0);
	assert_int_equal(loop_signal(*state, SIGUSR2, on_signal, *state), 0);
	assert_int_equal(loop_signal(*state, 999, on_signal, *state), -EINVAL);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(loop_run(*state), SIGUSR1);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(loop_run(*state), SIGUSR2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_source_removed_in_a_callback_is_not_called, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_closed_source_is_not_called_nor_is_its_successor,
						setup, teardown),
		cmocka_unit_test_setup_teardown(events_are_armed_and_disarmed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_descriptor_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_fire_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_set_to_now_waits_for_the_next_turn, setup,
						teardown),
		cmocka_unit_test_setup_teardown(tasks_run_once_per_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(a_busy_loop_lets_others_run_in_the_midst_of_a_turn,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_busy_loop_lets_others_run_in_the_midst_of_a_turn,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_loop_yields_when_it_is_asked_to, setup, teardown),
		cmocka_unit_test_setup_teardown(a_polling_loop_misses_nothing_and_sleeps_when_idle,
						setup, teardown),
		cmocka_unit_test_setup_teardown(another_thread_wakes_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_come_through_the_loop, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
