/* SPDX-License-Identifier: Apache-2.0 */
/* stock - sockets are handed out, asked for in growing batches, and never leak. */
#include "ztunnel/stock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/ztunnel/mesh.h"

struct asked {
	uint32_t times, last;
	int error;
};

static struct turns turns;

struct waiter {
	struct dial_wait wait;
	int got;
};

static int on_need(void *arg, struct stock *s, uint32_t count)
{
	struct asked *a = arg;

	a->times++;
	a->last = count;
	return a->error;
}

static void on_socket(struct dial_wait *w, int fd)
{
	((struct waiter *)w)->got = fd;
}

static void make_fds(int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Turns that have room for all, but where a test says so. */
static int setup(void **state)
{
	struct loop *l;
	int r = loop_new(&l);

	if (r == 0)
		turns_init(&turns, l, 1000);
	return r;
}

static int teardown(void **state)
{
	turns_free(&turns);
	(void)loop_free(turns.loop);
	return 0;
}

static void turn(void)
{
	assert_int_equal(loop_run_once(turns.loop, 0), 0);
}

/* A heap of dials is nobody else's delay: who comes first is served first, from the stock and from
 * what the agent gives alike. */
TEST(in_one_turn_there_are_a_few)
{
	struct waiter w[6] = {0};
	struct asked asked = {0};
	int fds[6], got;
	struct stock s;

	turns.max = 2;
	stock_init(&s, on_need, &asked, &turns);
	make_fds(fds, 6);
	stock_give(&s, fds, 3, 0);
	for (size_t i = 0; i < 6; i++) {
		w[i].wait.on_socket = on_socket;
		got = stock_take(&s, &w[i].wait);
		if (i < 2)
			w[i].got = got;
		else
			assert_int_equal(got, -EAGAIN);
	}
	stock_give(&s, fds + 3, 3, 0);
	assert_int_equal(w[2].got, 0);
	turn();
	assert_true(w[2].got > 0 && w[3].got > 0);
	assert_int_equal(w[4].got, 0);
	/* one that is gone before its turn leaves no socket behind, and has no turn */
	got = w[4].wait.fd;
	dial_wait_cancel(&w[4].wait);
	dial_wait_cancel(&w[4].wait);
	assert_false(is_open(got));
	turn();
	assert_int_equal(w[4].got, 0);
	assert_true(w[5].got > 0);
	for (size_t i = 0; i < 6; i++)
		if (w[i].got > 0)
			assert_int_equal(close(w[i].got), 0);
	stock_close(&s, -ENETDOWN);
}

/* one_heap() - @n wait for a turn of @s, each with a socket, one of them has had it. */
static void one_heap(struct stock *s, struct waiter *w, size_t n)
{
	int fds[STOCK_BATCH_MAX];

	for (size_t i = 0; i < n; i++) {
		w[i] = (struct waiter){.wait.on_socket = on_socket};
		assert_int_equal(stock_take(s, &w[i].wait), -EAGAIN);
	}
	for (size_t i = 0; i < n; i += ARRAY_SIZE(fds)) {
		make_fds(fds, ARRAY_SIZE(fds));
		stock_give(s, fds, ARRAY_SIZE(fds), 0);
	}
	assert_true(w[0].got > 0 && w[1].got == 0);
}

/* close_all() - of what they got. Return: how many had something. */
static size_t close_all(const struct waiter *w, size_t n)
{
	size_t served = 0;

	for (size_t i = 0; i < n; i++)
		if (w[i].got > 0) {
			assert_int_equal(close(w[i].got), 0);
			served++;
		}
	return served;
}

static size_t count_served(const struct waiter *w, size_t n)
{
	size_t served = 0;

	for (size_t i = 0; i < n; i++)
		served += w[i].got > 0;
	return served;
}

/* Each pod has a stock of its own. */
TEST(the_heap_of_one_pod_is_not_the_delay_of_another)
{
	struct waiter heap[STOCK_BATCH_MAX], other = {.wait.on_socket = on_socket};
	struct asked asked = {0};
	struct stock s, others;
	int fd, turned = 0;

	turns.max = 1;
	stock_init(&s, on_need, &asked, &turns);
	stock_init(&others, on_need, &asked, &turns);
	one_heap(&s, heap, ARRAY_SIZE(heap));
	assert_int_equal(stock_take(&others, &other.wait), -EAGAIN);
	make_fds(&fd, 1);
	stock_give(&others, &fd, 1, 0);
	for (; other.got == 0 && turned < 100; turned++)
		turn();
	assert_in_range(turned, 1, 2);
	assert_true(count_served(heap, ARRAY_SIZE(heap)) < 5);
	stock_close(&s, -ENETDOWN);
	assert_int_equal(close_all(heap, ARRAY_SIZE(heap)), ARRAY_SIZE(heap));
	assert_int_equal(close(other.got), 0);
	stock_close(&others, -ENETDOWN);
}

/* So that turns that are long keep nobody waiting for ever. */
TEST(of_many_more_have_their_turn)
{
	static struct waiter w[4 * STOCK_TURN_SHARE];
	struct asked asked = {0};
	struct stock s;

	turns.max = 1;
	stock_init(&s, on_need, &asked, &turns);
	one_heap(&s, w, ARRAY_SIZE(w));
	turn();
	assert_in_range(count_served(w, ARRAY_SIZE(w)), 4, 5);
	stock_close(&s, -ENETDOWN);
	assert_int_equal(close_all(w, ARRAY_SIZE(w)), ARRAY_SIZE(w));
}

/* A ztunnel that ends serves whom it has accepted: its agent listens to the next one by then. */
TEST(who_waits_for_a_turn_needs_nothing_of_the_agent)
{
	static struct waiter w[2 * STOCK_BATCH_MAX];
	struct asked asked = {0};
	struct stock s;

	turns.max = 1;
	stock_init(&s, on_need, &asked, &turns);
	one_heap(&s, w, ARRAY_SIZE(w));
	asked.error = -ENETDOWN;
	stock_give(&s, NULL, 0, ENETDOWN);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		turn();
	assert_int_equal(close_all(w, ARRAY_SIZE(w)), ARRAY_SIZE(w));
	stock_close(&s, -ENETDOWN);
}

/* The agent has made the pod's sockets anew. */
TEST(who_waits_for_a_turn_keeps_his_socket_in_another_stock)
{
	struct waiter w[4];
	struct asked asked = {0};
	struct stock s, next;

	turns.max = 1;
	stock_init(&s, on_need, &asked, &turns);
	stock_init(&next, on_need, &asked, &turns);
	one_heap(&s, w, ARRAY_SIZE(w));
	stock_move_waiters(&next, &s);
	stock_close(&s, -ENETDOWN);
	assert_int_equal(w[1].got, 0);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		turn();
	assert_int_equal(close_all(w, ARRAY_SIZE(w)), ARRAY_SIZE(w));
	stock_close(&next, -ENETDOWN);
}

TEST(an_empty_stock_asks_once_and_serves_in_order)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {0};
	int fds[STOCK_BATCH_MAX];
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	assert_int_equal(asked.times, 1);
	make_fds(fds, asked.last);
	stock_give(&s, fds, asked.last, 0);
	assert_int_equal(a.got, fds[0]);
	assert_int_equal(b.got, fds[1]);
	(void)close(a.got);
	(void)close(b.got);
	stock_close(&s, -ENETDOWN);
	for (uint32_t i = 0; i < asked.last; i++)
		assert_false(is_open(fds[i]));
}

TEST(batches_grow_with_demand_up_to_the_limit)
{
	struct waiter w[200] = {0};
	struct asked asked = {0};
	int fds[STOCK_BATCH_MAX];
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		w[i].wait.on_socket = on_socket;
		assert_int_equal(stock_take(&s, &w[i].wait), -EAGAIN);
	}
	for (int round = 0; round < 10 && s.asked > 0; round++) {
		uint32_t n = s.asked;

		assert_true(n <= STOCK_BATCH_MAX);
		make_fds(fds, n);
		stock_give(&s, fds, n, 0);
	}
	assert_int_equal(asked.last, STOCK_BATCH_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_int_equal(close(w[i].got), 0);
	stock_close(&s, -ENETDOWN);
}

TEST(who_gave_up_gets_nothing)
{
	struct waiter a = {.wait.on_socket = on_socket, .got = -1}, b = a;
	struct asked asked = {0};
	struct stock s;
	int fd;

	stock_init(&s, on_need, &asked, &turns);
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	dial_wait_cancel(&a.wait);
	dial_wait_cancel(&a.wait);
	make_fds(&fd, 1);
	stock_give(&s, &fd, 1, 0);
	assert_int_equal(a.got, -1);
	assert_int_equal(b.got, fd);
	(void)close(fd);
	stock_close(&s, -ENETDOWN);
}

TEST(a_socket_that_there_was_no_room_for_fails_who_waits_for_it)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {0};
	int fds[] = {-EBADF, -EBADF};
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	make_fds(&fds[1], 1);
	stock_give(&s, fds, ARRAY_SIZE(fds), 0);
	assert_int_equal(a.got, -EMFILE);
	assert_int_equal(b.got, fds[1]);
	(void)close(fds[1]);
	stock_give(&s, fds, 1, 0); /* nobody waits */
	assert_int_equal(s.count, 0);
	stock_close(&s, 0);
}

TEST(an_error_fails_those_who_wait_and_the_next_asks_again)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {0};
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	stock_give(&s, NULL, 0, ENETDOWN);
	assert_int_equal(a.got, -ENETDOWN);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	assert_int_equal(asked.times, 2);
	stock_close(&s, -ESHUTDOWN);
	assert_int_equal(b.got, -ESHUTDOWN);
}

TEST(too_many_sockets_are_closed)
{
	struct asked asked = {0};
	int fds[2 * STOCK_BATCH_MAX];
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	make_fds(fds, ARRAY_SIZE(fds));
	stock_give(&s, fds, STOCK_BATCH_MAX, 0);
	stock_give(&s, fds + STOCK_BATCH_MAX, STOCK_BATCH_MAX, 0);
	assert_int_equal(s.count, STOCK_BATCH_MAX);
	assert_false(is_open(fds[STOCK_BATCH_MAX]));
	stock_close(&s, 0);
	assert_false(is_open(fds[0]));
}

TEST(waiters_move_to_the_stock_that_replaces_it)
{
	struct waiter a = {.wait.on_socket = on_socket};
	struct asked old_asked = {0}, new_asked = {0};
	struct stock from, to;
	int fd;

	stock_init(&from, on_need, &old_asked, &turns);
	stock_init(&to, on_need, &new_asked, &turns);
	assert_int_equal(stock_take(&from, &a.wait), -EAGAIN);
	stock_move_waiters(&to, &from);
	assert_int_equal(new_asked.times, 1);
	stock_close(&from, -ENETDOWN);
	make_fds(&fd, 1);
	stock_give(&to, &fd, 1, 0);
	assert_int_equal(a.got, fd);
	(void)close(fd);
	stock_close(&to, 0);
}

/* Nobody was asked, so that nobody would answer. */
TEST(who_cannot_be_helped_does_not_wait)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {.error = -ENOMEM};
	struct stock s, next;
	int fd;

	stock_init(&s, on_need, &asked, &turns);
	assert_int_equal(stock_take(&s, &a.wait), -ENOMEM);
	dial_wait_cancel(&a.wait);
	asked.error = 0;
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	make_fds(&fd, 1);
	asked.error = -ENOMEM;
	stock_give(&s, &fd, 1, 0); /* not the last one yet */
	assert_int_equal(a.got, fd);
	assert_int_equal(b.got, 0);
	stock_init(&next, on_need, &asked, &turns);
	stock_move_waiters(&next, &s);
	assert_int_equal(b.got, -ENOMEM);
	(void)close(fd);
	stock_close(&s, -ENETDOWN);
}

TEST(what_was_lost_is_asked_for_anew)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {0};
	int fds[STOCK_BATCH_MAX];
	struct stock s;

	stock_init(&s, on_need, &asked, &turns);
	stock_lost(&s); /* another's */
	assert_int_equal(stock_take(&s, &a.wait), -EAGAIN);
	stock_lost(&s);
	assert_int_equal(a.got, -ENOMEM);
	assert_int_equal(stock_take(&s, &b.wait), -EAGAIN);
	assert_int_equal(asked.times, 2);
	/* it was not lost after all: there are more than were wanted */
	for (int i = 0; i < 2; i++) {
		make_fds(fds, asked.last);
		stock_give(&s, fds, asked.last, 0);
	}
	assert_true(b.got > 0);
	(void)close(b.got);
	stock_close(&s, -ENETDOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_one_turn_there_are_a_few, setup, teardown),
		cmocka_unit_test_setup_teardown(the_heap_of_one_pod_is_not_the_delay_of_another,
						setup, teardown),
		cmocka_unit_test_setup_teardown(of_many_more_have_their_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_a_turn_needs_nothing_of_the_agent,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			who_waits_for_a_turn_keeps_his_socket_in_another_stock, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_stock_asks_once_and_serves_in_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(batches_grow_with_demand_up_to_the_limit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_gave_up_gets_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_socket_that_there_was_no_room_for_fails_who_waits_for_it, setup,
			teardown),
		cmocka_unit_test_setup_teardown(who_cannot_be_helped_does_not_wait, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_was_lost_is_asked_for_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_error_fails_those_who_wait_and_the_next_asks_again, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_sockets_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(waiters_move_to_the_stock_that_replaces_it, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
