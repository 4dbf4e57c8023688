/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/rounds.h"

#include "base/macros.h"
#include "base/str.h"

/* A push and its acknowledgement take 20 us for each client, and no less for all of them together:
 * nearer to that a processor has no time left, and the queue is what a change waits for. */
#define EACH_US  60
#define ROUND_US 60000 /* at most */
#define STEP_US  2000

static uint64_t round_us(size_t n)
{
	return MIN((uint64_t)n * EACH_US, (uint64_t)ROUND_US);
}

static void serve(struct rounds *r, size_t n, uint64_t now)
{
	r->served_us = now;
	r->owed -= n;
	r->serve(r->arg, n);
}

/* As many as the time that has passed is worth. */
static size_t due(const struct rounds *r, uint64_t now)
{
	uint64_t round = MAX(round_us(r->n), (uint64_t)1);
	uint64_t passed = MIN(now - r->served_us, round);

	return MIN((size_t)((r->n * passed + round - 1) / round), r->owed);
}

static void go_on(struct rounds *r)
{
	uint64_t step = MIN(round_us(r->n), (uint64_t)STEP_US);

	if (r->owed > 0 && loop_timer_set(r->loop, &r->timer, step) < 0)
		serve(r, r->owed, now_monotonic_us());
}

static void on_timer(struct loop_timer *t)
{
	struct rounds *r = container_of(t, struct rounds, timer);
	uint64_t now = now_monotonic_us();

	serve(r, due(r, now), now);
	go_on(r);
}

void rounds_init(struct rounds *r, struct loop *loop, void (*fn)(void *arg, size_t n), void *arg)
{
	*r = (struct rounds){.loop = loop, .timer.on_timer = on_timer, .serve = fn, .arg = arg};
}

void rounds_ask(struct rounds *r, size_t n)
{
	uint64_t now = now_monotonic_us();

	r->n = r->owed = n;
	if (r->timer.loop)
		return;
	if (now - r->served_us >= round_us(n)) {
		serve(r, n, now);
		return;
	}
	r->served_us = now;
	go_on(r);
}

void rounds_stop(struct rounds *r)
{
	loop_timer_del(&r->timer);
	r->owed = 0;
}
