/* SPDX-License-Identifier: Apache-2.0 */
/* worker, stock - connections that wait for the agent's sockets, in the rig (rig.h): more than
 * there are when all ends, and sockets that get lost. */
#include <stdbool.h>
#include <stddef.h>

#include "tests/unit/ztunnel/apps.h"
#include "ztunnel/stock.h"

/* Of the thread that has it: there is no memory. */
static _Thread_local bool has_no_memory;
/* What the agent sends finds none. */
static bool is_answer_lost;

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
		T(sockets_that_are_lost_are_asked_for_anew),
		T(drain_serves_more_than_the_stock_has),
	};

	return rig_run(tests);
}
