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

TEST(an_empty_stock_asks_once_and_serves_in_order)
{
	struct waiter a = {.wait.on_socket = on_socket}, b = a;
	struct asked asked = {0};
	int fds[STOCK_BATCH_MAX];
	struct stock s;

	stock_init(&s, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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

	stock_init(&from, on_need, &old_asked);
	stock_init(&to, on_need, &new_asked);
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

	stock_init(&s, on_need, &asked);
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
	stock_init(&next, on_need, &asked);
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

	stock_init(&s, on_need, &asked);
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
		cmocka_unit_test(an_empty_stock_asks_once_and_serves_in_order),
		cmocka_unit_test(batches_grow_with_demand_up_to_the_limit),
		cmocka_unit_test(who_gave_up_gets_nothing),
		cmocka_unit_test(a_socket_that_there_was_no_room_for_fails_who_waits_for_it),
		cmocka_unit_test(who_cannot_be_helped_does_not_wait),
		cmocka_unit_test(what_was_lost_is_asked_for_anew),
		cmocka_unit_test(an_error_fails_those_who_wait_and_the_next_asks_again),
		cmocka_unit_test(too_many_sockets_are_closed),
		cmocka_unit_test(waiters_move_to_the_stock_that_replaces_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
