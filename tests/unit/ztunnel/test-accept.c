/* SPDX-License-Identifier: Apache-2.0 */
/* accept - connections that one worker takes and another one serves, in the rig (rig.h). */
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/ztunnel/apps.h"
#include "ztunnel/pod.h"

/* What keeps a worker from its other work. */
struct halt {
	struct message m;
	sem_t until;
};

static void run_halt(void *target, struct message *m)
{
	struct halt *h = container_of(m, struct halt, m);

	while (sem_wait(&h->until) < 0)
		continue;
}

static void halt(struct halt *h, struct worker *w)
{
	h->m.run = run_halt;
	assert_int_equal(sem_init(&h->until, 0, 0), 0);
	inbox_post(&w->inbox, &h->m);
}

/* It has not heard yet that all ends, and looks for one that has less to do. */
TEST(what_a_worker_hands_to_one_that_drains_already_outlives_it)
{
	struct rig *f = *cmocka_state;
	unsigned int home = (unsigned int)(f->client->netns_cookie % WORKERS);
	struct worker *busy = &f->workers[home], *idle = &f->workers[!home];
	int app = f->app, fd, server;
	struct halt h;

	halt(&h, busy);
	atomic_store(&busy->load_conns, 100);
	fd = app_dial_captured(f, OUTSIDE_ADDR ":8080");
	f->app = rig_listen(OUTSIDE_ADDR, APP_PORT);
	worker_post_drain(idle);
	for (int i = 0; i < 20; i++)
		(void)loop_run_once(f->loop, 5);
	(void)sem_post(&h.until);
	server = app_accept(f, WAIT_MS);
	assert_true(server >= 0);
	assert_int_equal(atomic_load(&idle->load_conns), 1);
	worker_post_drain(busy);
	rig_turn_workers(f);
	assert_true(f->drained < WORKERS);
	app_pass(fd, server, "question");
	app_pass(server, fd, "answer");
	(void)close(fd);
	(void)close(server);
	(void)close(f->app);
	f->app = app;
	rig_turn_until(f, &f->drained, WORKERS);
	(void)sem_destroy(&h.until);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_a_worker_hands_to_one_that_drains_already_outlives_it),
	};

	return rig_run(tests);
}
