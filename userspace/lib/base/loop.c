/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/str.h"

#define LOOP_EVENTS_MAX  128
#define LOOP_SIGNALS_MAX 16
/* Polling: a yield that lasts longer means that the processor is wanted; it is left alone for a
 * while then, twice as long when that happens again soon. */
#define YIELD_MAX_US    1000
#define BRISK_TIMES     4
#define HEAP_MIN        3
#define HEAP_PAUSE_US   5000
#define PAUSE_MIN_US    10000
#define PAUSE_MAX_US    1000000
#define PAUSE_FORGET_US 100000
#define RUN_MAX_US      400 /* shorter, 32 connections on a processor for all had a tenth less */
#define SLEPT_US        20  /* an epoll_wait(2) that took longer has let others run */

/* A slot outlives the watch in it: events already fetched for a removed watch carry an old
 * generation and are dropped. */
struct slot {
	struct loop_fd *w;
	uint32_t generation;
	uint32_t next_free; /* 1-based, 0: none */
};

struct signal_handler {
	int signo;
	void (*fn)(int signo, void *arg);
	void *arg;
};

struct loop {
	int epoll_fd;
	int wake_fd;
	int signal_fd;
	struct loop_fd wake_watch;
	struct loop_fd signal_watch;
	void (*on_wake)(void *arg);
	void *wake_arg;
	struct slot *slots;
	uint32_t n_slots;
	uint32_t first_free; /* 1-based, 0: none */
	struct loop_timer **heap;
	uint32_t n_timers;
	uint32_t heap_cap;
	struct list tasks;
	struct signal_handler signals[LOOP_SIGNALS_MAX];
	uint32_t n_signals;
	sigset_t sigset;
	uint64_t now_us;
	uint64_t turn;
	uint64_t poll_us;       /* how long to look before sleeping; 0: sleep at once */
	uint64_t poll_after_us; /* no polling before */
	uint64_t pause_us;      /* how long the last pause was */
	uint64_t waited_us;     /* in all */
	void (*on_turn)(void *arg);
	void *turn_arg;
	bool is_brisk; /* the last event came alone and within poll_us */
	bool is_in_turn;
	uint64_t rested_us; /* when others could last have the processor */
	bool is_stopped;
	int result;
};

static void on_wake_event(struct loop_fd *w, uint32_t events)
{
	struct loop *l = container_of(w, struct loop, wake_watch);
	uint64_t n;

	if (read(w->fd, &n, sizeof(n)) < 0)
		return;
	if (l->on_wake)
		l->on_wake(l->wake_arg);
}

int loop_new(struct loop **ret)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	int r;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	list_init(&l->tasks);
	(void)sigemptyset(&l->sigset);
	l->wake_fd = -EBADF;
	l->signal_fd = -EBADF;
	l->now_us = now_monotonic_us();
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		return -errno;
	l->wake_watch.fd = l->wake_fd;
	l->wake_watch.on_event = on_wake_event;
	r = loop_add(l, &l->wake_watch, EPOLLIN);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	(void)close_fd(l->signal_fd);
	(void)close_fd(l->wake_fd);
	(void)close_fd(l->epoll_fd);
	free(l->slots);
	free(l->heap);
	free(l);
	return NULL;
}

/* slots_grow() - double the table; the new slots go to the free list. */
static int slots_grow(struct loop *l)
{
	uint32_t n = l->n_slots ? l->n_slots * 2 : 16;
	struct slot *slots = realloc(l->slots, n * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = n; i > l->n_slots; i--) {
		slots[i - 1] = (struct slot){.next_free = l->first_free};
		l->first_free = i;
	}
	l->slots = slots;
	l->n_slots = n;
	return 0;
}

static uint64_t slot_data(const struct loop *l, uint32_t i)
{
	return (uint64_t)l->slots[i].generation << 32 | i;
}

static void slot_put(struct loop *l, uint32_t i)
{
	l->slots[i].w = NULL;
	l->slots[i].generation++;
	l->slots[i].next_free = l->first_free;
	l->first_free = i + 1;
}

static int epoll_set(struct loop *l, int op, const struct loop_fd *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = slot_data(l, w->_slot)};

	return epoll_ctl(l->epoll_fd, op, w->fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_fd *w, uint32_t events)
{
	uint32_t i;
	int r;

	if (w->loop)
		return -EEXIST;
	if (l->first_free == 0) {
		r = slots_grow(l);
		if (r < 0)
			return r;
	}
	i = l->first_free - 1;
	l->first_free = l->slots[i].next_free;
	l->slots[i].w = w;
	w->_slot = i;
	r = epoll_set(l, EPOLL_CTL_ADD, w, events);
	if (r < 0) {
		slot_put(l, i);
		return r;
	}
	w->loop = l;
	w->events = events;
	return 0;
}

int loop_set(struct loop_fd *w, uint32_t events)
{
	int r;

	if (!w->loop)
		return -EINVAL;
	if (w->events == events)
		return 0;
	/* The kernel refuses EPOLL_CTL_MOD from or to an exclusive watch. */
	if ((w->events | events) & EPOLLEXCLUSIVE) {
		(void)epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
		r = epoll_set(w->loop, EPOLL_CTL_ADD, w, events);
	} else {
		r = epoll_set(w->loop, EPOLL_CTL_MOD, w, events);
	}
	if (r < 0)
		return r;
	w->events = events;
	return 0;
}

void loop_del(struct loop_fd *w)
{
	if (!w->loop)
		return;
	(void)epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	slot_put(w->loop, w->_slot);
	w->loop = NULL;
	w->events = 0;
}

void loop_close(struct loop_fd *w)
{
	/* The kernel drops a watch with the last descriptor of its file. */
	if (w->loop)
		slot_put(w->loop, w->_slot);
	w->loop = NULL;
	w->events = 0;
	w->fd = close_fd(w->fd);
}

/* The timers are a binary heap, earliest first; _index is the place in it, counted from 1. */
static void heap_place(struct loop *l, uint32_t i, struct loop_timer *t)
{
	l->heap[i - 1] = t;
	t->_index = i;
}

static void heap_up(struct loop *l, uint32_t i)
{
	struct loop_timer *t = l->heap[i - 1];

	for (; i > 1 && l->heap[i / 2 - 1]->at_us > t->at_us; i /= 2)
		heap_place(l, i, l->heap[i / 2 - 1]);
	heap_place(l, i, t);
}

static void heap_down(struct loop *l, uint32_t i)
{
	struct loop_timer *t = l->heap[i - 1];

	for (;;) {
		uint32_t c = i * 2;

		if (c > l->n_timers)
			break;
		if (c < l->n_timers && l->heap[c]->at_us < l->heap[c - 1]->at_us)
			c++;
		if (l->heap[c - 1]->at_us >= t->at_us)
			break;
		heap_place(l, i, l->heap[c - 1]);
		i = c;
	}
	heap_place(l, i, t);
}

static int heap_reserve(struct loop *l)
{
	uint32_t cap = l->heap_cap ? l->heap_cap * 2 : 16;
	struct loop_timer **heap;

	if (l->n_timers < l->heap_cap)
		return 0;
	heap = realloc(l->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	l->heap = heap;
	l->heap_cap = cap;
	return 0;
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_us)
{
	int r;

	/* Between turns the loop's clock stands still: a long set-up must not make a timer early.
	 */
	if (!l->is_in_turn)
		l->now_us = now_monotonic_us();
	if (!t->loop) {
		r = heap_reserve(l);
		if (r < 0)
			return r;
		t->loop = l;
		l->n_timers++;
		heap_place(l, l->n_timers, t);
	}
	/* At least one: a timer that re-arms itself must not run twice in a turn. */
	t->at_us = l->now_us + MAX(delay_us, (uint64_t)1);
	heap_up(l, t->_index);
	heap_down(l, t->_index);
	return 0;
}

void loop_timer_del(struct loop_timer *t)
{
	struct loop *l = t->loop;
	uint32_t i = t->_index;

	if (!l)
		return;
	t->loop = NULL;
	t->at_us = 0;
	t->_index = 0;
	l->n_timers--;
	if (i > l->n_timers)
		return;
	heap_place(l, i, l->heap[l->n_timers]);
	i = l->heap[i - 1]->_index;
	heap_up(l, i);
	heap_down(l, l->heap[i - 1]->_index);
}

static void run_timers(struct loop *l)
{
	while (l->n_timers > 0 && l->heap[0]->at_us <= l->now_us) {
		struct loop_timer *t = l->heap[0];

		loop_timer_del(t);
		t->on_timer(t);
	}
}

void loop_task_queue(struct loop *l, struct loop_task *t)
{
	if (t->is_queued)
		return;
	t->is_queued = true;
	list_add_tail(&l->tasks, &t->_link);
}

void loop_task_del(struct loop_task *t)
{
	if (!t->is_queued)
		return;
	t->is_queued = false;
	list_del(&t->_link);
}

/* rest() - lets others run after much work: the kernel alone would do so at its next tick. */
static void rest(struct loop *l)
{
	if (now_monotonic_us() - l->rested_us < RUN_MAX_US)
		return;
	(void)sched_yield();
	l->rested_us = now_monotonic_us();
}

/* run_tasks() - those queued so far: one that queues itself again waits for the next turn. */
static void run_tasks(struct loop *l)
{
	struct list batch = LIST_INIT(batch);

	if (list_is_empty(&l->tasks))
		return;
	list_add(&l->tasks, &batch);
	list_del(&l->tasks);
	while (!list_is_empty(&batch)) {
		struct loop_task *t = list_entry(batch.next, struct loop_task, _link);

		loop_task_del(t);
		t->on_task(t);
		rest(l);
	}
}

static void on_signal_event(struct loop_fd *w, uint32_t events)
{
	struct loop *l = container_of(w, struct loop, signal_watch);
	struct signalfd_siginfo si;

	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		for (uint32_t i = 0; i < l->n_signals; i++)
			if (l->signals[i].signo == (int)si.ssi_signo)
				l->signals[i].fn(l->signals[i].signo, l->signals[i].arg);
}

static int signal_watch_start(struct loop *l, int fd)
{
	int r;

	l->signal_watch.fd = fd;
	l->signal_watch.on_event = on_signal_event;
	r = loop_add(l, &l->signal_watch, EPOLLIN);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	l->signal_fd = fd;
	return 0;
}

int loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	sigset_t set = l->sigset;
	int fd, r;

	if (l->n_signals == LOOP_SIGNALS_MAX)
		return -ENOSPC;
	if (sigaddset(&set, signo) < 0)
		return -errno;
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r > 0)
		return -r;
	fd = signalfd(l->signal_fd < 0 ? -1 : l->signal_fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (l->signal_fd < 0) {
		r = signal_watch_start(l, fd);
		if (r < 0)
			return r;
	}
	l->sigset = set;
	l->signals[l->n_signals++] = (struct signal_handler){signo, fn, arg};
	return 0;
}

void loop_set_wake(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->on_wake = fn;
	l->wake_arg = arg;
}

void loop_wake(struct loop *l)
{
	uint64_t one = 1;

	/* A full counter means that a wake-up is pending anyway. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_yield(struct loop *l)
{
	l->rested_us = 0;
}

void loop_set_turn(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->on_turn = fn;
	l->turn_arg = arg;
}

uint64_t loop_waited_us(const struct loop *l)
{
	return l->waited_us;
}

uint64_t loop_now_us(const struct loop *l)
{
	return l->now_us;
}

uint64_t loop_turn(const struct loop *l)
{
	return l->turn;
}

/* wait_ms() - how long this turn may sleep; rounded up: no timer is found not yet due. */
static int wait_ms(const struct loop *l, uint64_t now, int timeout_ms)
{
	uint64_t ms;

	if (!list_is_empty(&l->tasks))
		return 0;
	if (l->n_timers == 0)
		return timeout_ms;
	if (l->heap[0]->at_us <= now)
		return 0;
	ms = MIN((l->heap[0]->at_us - now + 999) / 1000, (uint64_t)3600 * 1000);
	return timeout_ms < 0 ? (int)ms : MIN((int)ms, timeout_ms);
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
	uint32_t i = (uint32_t)ev->data.u64;
	uint32_t generation = (uint32_t)(ev->data.u64 >> 32);
	struct loop_fd *w;

	if (l->slots[i].generation != generation)
		return;
	w = l->slots[i].w;
	if (w)
		w->on_event(w, ev->events);
	rest(l);
}

void loop_set_poll(struct loop *l, uint64_t poll_us)
{
	l->poll_us = poll_us;
}

/* poll_pause() - somebody else had much to do here: to stay awake would be in the way, and late. */
static void poll_pause(struct loop *l, uint64_t now)
{
	bool is_again = now < l->poll_after_us + PAUSE_FORGET_US;

	l->pause_us = is_again ? MIN(l->pause_us * 2, (uint64_t)PAUSE_MAX_US) : PAUSE_MIN_US;
	l->poll_after_us = now + l->pause_us;
}

/* poll_awake() - look for events until poll_us have passed. Return: as epoll_wait(2). */
static int poll_awake(struct loop *l, struct epoll_event *events, uint64_t now)
{
	uint64_t before, end = now + l->poll_us;
	int n = 0;

	while (n == 0 && now < end) {
		before = now;
		(void)sched_yield();
		n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS_MAX, 0);
		now = now_monotonic_us();
		if (now - before > YIELD_MAX_US) {
			poll_pause(l, now);
			return n;
		}
	}
	return n;
}

/* wait_polling() - events that come one after the other in a few microseconds are waited for awake:
 * to sleep and to be woken costs more than that, above all when the wake-up must cross processors.
 * Whoever else wants this one gets it (sched_yield). Once nothing came for some times that long, it
 * sleeps at once until events come fast again: where two loops wait for each other, both asleep,
 * they need longer than one of them looks, and the first to look finds the way back. Return: as
 * epoll_wait(2). */
static int wait_polling(struct loop *l, struct epoll_event *events, uint64_t begin, int timeout_ms)
{
	int n = 0;

	if (l->is_brisk && begin >= l->poll_after_us)
		n = poll_awake(l, events, begin);
	if (n == 0) {
		n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS_MAX, timeout_ms);
		l->is_brisk = now_monotonic_us() - begin < l->poll_us * BRISK_TIMES;
	}
	/* Where events come in heaps there is enough to do, for a while. */
	if (n >= HEAP_MIN)
		l->poll_after_us = MAX(l->poll_after_us, begin + HEAP_PAUSE_US);
	if (n > 1)
		l->is_brisk = false;
	return n;
}

int loop_run_once(struct loop *l, int timeout_ms)
{
	struct epoll_event events[LOOP_EVENTS_MAX];
	uint64_t begin = now_monotonic_us();
	int n, wait = wait_ms(l, begin, timeout_ms);

	if (l->poll_us > 0 && wait != 0)
		n = wait_polling(l, events, begin, wait);
	else
		n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS_MAX, wait);
	if (n < 0 && errno != EINTR)
		return -errno;
	l->now_us = now_monotonic_us();
	l->waited_us += l->now_us - begin;
	if (l->now_us - begin > SLEPT_US)
		l->rested_us = l->now_us;
	l->turn++;
	l->is_in_turn = true;
	for (int i = 0; i < n; i++)
		dispatch(l, &events[i]);
	run_timers(l);
	run_tasks(l);
	l->is_in_turn = false;
	if (l->on_turn)
		l->on_turn(l->turn_arg);
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!l->is_stopped && r == 0)
		r = loop_run_once(l, -1);
	if (l->is_stopped)
		r = l->result;
	l->is_stopped = false;
	return r;
}

void loop_stop(struct loop *l, int result)
{
	l->is_stopped = true;
	l->result = result;
}
