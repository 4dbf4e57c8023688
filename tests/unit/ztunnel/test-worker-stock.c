/* SPDX-License-Identifier: Apache-2.0 */
/* worker, stock - connections that wait for the agent's sockets, in the rig (rig.h): more than
 * there are when all ends, and sockets that get lost; and news that do not for want of memory. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/unit/ztunnel/apps.h"
#include "ztunnel/stock.h"

/* Of the thread that has it: there is no memory. */
static _Thread_local bool has_no_memory;
/* What the agent sends finds none. */
static bool is_answer_lost;
/* Nor do new snapshots. */
static bool is_news_lean;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	return has_no_memory ? NULL : __real_calloc(n, size);
}

void __real_worker_post_sockets(struct worker *w, const struct zds_sockets *m, const int *fds);
void __wrap_worker_post_sockets(struct worker *w, const struct zds_sockets *m, const int *fds);

void __wrap_worker_post_sockets(struct worker *w, const struct zds_sockets *m, const int *fds)
{
	has_no_memory = is_answer_lost;
	__real_worker_post_sockets(w, m, fds);
	has_no_memory = false;
}

void __real_worker_post_state(struct worker *w, struct state *s);
void __wrap_worker_post_state(struct worker *w, struct state *s);

void __wrap_worker_post_state(struct worker *w, struct state *s)
{
	has_no_memory = is_news_lean;
	__real_worker_post_state(w, s);
	has_no_memory = false;
}

TEST(a_policy_is_in_force_without_memory_to_tell_of_it)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "before");
	is_news_lean = true;
	rig_publish(f, true, true);
	is_news_lean = false;
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), WAIT_MS);
	app_pair_close(&p);
}

/* Who is slow sees the last one only. */
TEST(of_many_snapshots_the_last_one_is_in_force)
{
	struct rig *f = *cmocka_state;
	struct pair p;

	for (int i = 0; i < 100; i++)
		rig_publish(f, true, i % 2 == 0);
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "after");
	app_pair_close(&p);
	for (int i = 0; i < 101; i++)
		rig_publish(f, true, i % 2 == 0);
	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), WAIT_MS);
}

TEST(sockets_that_are_lost_are_asked_for_anew)
{
	struct rig *f = *cmocka_state;
	struct pair p;

	is_answer_lost = true;
	for (int i = 0; i < 5; i++)
		app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), WAIT_MS);
	is_answer_lost = false;
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "again");
	app_pair_close(&p);
}

/* That came before it, and for which there are no sockets yet. */
TEST(drain_serves_more_than_the_stock_has)
{
	enum { N = 5 * STOCK_BATCH_MAX * WORKERS };
	struct rig *f = *cmocka_state;
	static struct pair pairs[N];

	for (int i = 0; i < N; i++)
		pairs[i].client = app_dial_as(f, f->server, true, SERVER_ADDR ":8080");
	for (int i = 0; i < WORKERS; i++)
		worker_post_drain(&f->workers[i]);
	app_all_arrive(f, pairs, N);
	rig_turn_until(f, &f->drained, WORKERS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_policy_is_in_force_without_memory_to_tell_of_it),
		T(of_many_snapshots_the_last_one_is_in_force),
		T(sockets_that_are_lost_are_asked_for_anew),
		T(drain_serves_more_than_the_stock_has),
	};

	return rig_run(tests);
}
