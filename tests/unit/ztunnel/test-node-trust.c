/* SPDX-License-Identifier: Apache-2.0 */
/* node_trust - when a name of the trust domain is trusted, in a node without agent or control
 * plane.
 */
#include "ztunnel/node_internal.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tls/trust.h"

#define OLD_NAME  "old.example"
#define GONE_NAME "gone.example"

struct fixture {
	struct node *n;
	void (*begin)(struct fixture *f);
	void (*finish)(struct fixture *f);
	struct loop_timer step;
	struct message busy;
	sem_t is_free;
	char dir[64], ztunnel_dir[96], admin_path[128];
	unsigned int steps;
	bool was_early;
};

/* Something else keeps a worker from the snapshot that it has been told of. */
static void run_busy(void *target, struct message *m)
{
	struct fixture *f = container_of(m, struct fixture, busy);

	if (target)
		assert_int_equal(sem_wait(&f->is_free), 0);
}

static void hold_worker(struct fixture *f)
{
	f->busy.run = run_busy;
	inbox_post(&f->n->workers[1].inbox, &f->busy);
}

static void let_worker_go(struct fixture *f)
{
	assert_int_equal(sem_post(&f->is_free), 0);
}

static struct settings settings_of(const char *const *names, size_t count)
{
	struct settings s = {.domains = calloc(count, sizeof(*s.domains)),
			     .domain_count = count,
			     .trust_bundle = strdup("")};

	for (size_t i = 0; i < count; i++)
		s.domains[i] = strdup(names[i]);
	return s;
}

static void publish(struct fixture *f, const char *const *names, size_t count)
{
	struct settings s = settings_of(names, count);

	node_trust_settings(f->n, &s);
	node_trust_state(f->n);
}

static const char *const names[] = {GONE_NAME, OLD_NAME};

static void publish_alias(struct fixture *f)
{
	hold_worker(f);
	publish(f, &names[1], 1);
}

/* publish_alias_for_another() - two changes, one after the other. */
static void publish_alias_for_another(struct fixture *f)
{
	assert_int_equal(tls_trust_set_domains(f->n->trust, names, 1), 0);
	f->n->settings = settings_of(names, 1);
	hold_worker(f);
	publish(f, names, 2);
	publish(f, &names[1], 1);
	assert_false(tls_trust_is_domain(f->n->trust, GONE_NAME));
}

/* The second worker cannot be asked. */
static bool is_out;

int __real_worker_post_collect(struct worker *w, void (*fn)(void *arg, const struct conn *c),
			       void (*done)(void *main, void *arg), void *arg);
int __wrap_worker_post_collect(struct worker *w, void (*fn)(void *arg, const struct conn *c),
			       void (*done)(void *main, void *arg), void *arg);
int __wrap_worker_post_collect(struct worker *w, void (*fn)(void *arg, const struct conn *c),
			       void (*done)(void *main, void *arg), void *arg)
{
	return is_out && w->index == 1 ? -ENOMEM : __real_worker_post_collect(w, fn, done, arg);
}

static void publish_without_memory(struct fixture *f)
{
	log_set_level(LOG_OFF);
	is_out = true;
	publish(f, &names[1], 1);
	is_out = false;
}

static void publish_something(struct fixture *f)
{
	node_trust_state(f->n);
}

static void on_step(struct loop_timer *t)
{
	struct fixture *f = container_of(t, struct fixture, step);
	bool is_trusted = tls_trust_is_domain(f->n->trust, OLD_NAME);

	if (f->steps++ == 0)
		f->begin(f);
	else if (f->steps < 20)
		f->was_early |= is_trusted;
	else if (f->steps == 20)
		f->finish(f);
	else if (is_trusted || f->steps > 5000)
		loop_stop(f->n->loop, 0);
	assert_int_equal(loop_timer_set(f->n->loop, t, 2000), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct node_config c = {.name = "n1", .workers = 2};
	char err[256];

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/node-trust-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->ztunnel_dir, sizeof(f->ztunnel_dir), "%s/ztunnel", f->dir);
	(void)snprintf(f->admin_path, sizeof(f->admin_path), "%s/admin.sock", f->ztunnel_dir);
	assert_int_equal(mkdir(f->ztunnel_dir, 0700), 0);
	assert_int_equal(sem_init(&f->is_free, 0, 0), 0);
	c.run_dir = f->dir;
	assert_int_equal(node_new(&c, err, sizeof(err), &f->n), 0);
	f->step.on_timer = on_step;
	assert_int_equal(loop_timer_set(f->n->loop, &f->step, 2000), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_del(&f->step);
	node_free(f->n);
	(void)sem_destroy(&f->is_free);
	(void)unlink(f->admin_path);
	(void)rmdir(f->ztunnel_dir);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void run(struct fixture *f, void (*begin)(struct fixture *f),
		void (*finish)(struct fixture *f))
{
	f->begin = begin;
	f->finish = finish;
	assert_int_equal(node_run(f->n), 0);
	assert_false(f->was_early);
	assert_true(tls_trust_is_domain(f->n->trust, OLD_NAME));
	assert_false(tls_trust_is_domain(f->n->trust, GONE_NAME));
}

/* A policy that denies it is one of them. */
static void a_new_name_is_trusted_when_every_worker_has_the_policies_that_mean_it(void **state)
{
	run(*state, publish_alias, let_worker_go);
}

static void that_another_name_goes_meanwhile_makes_it_no_sooner(void **state)
{
	run(*state, publish_alias_for_another, let_worker_go);
}

static void a_worker_that_cannot_be_asked_is_asked_with_the_next_snapshot(void **state)
{
	run(*state, publish_without_memory, publish_something);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_name_is_trusted_when_every_worker_has_the_policies_that_mean_it),
		TEST(that_another_name_goes_meanwhile_makes_it_no_sooner),
		TEST(a_worker_that_cannot_be_asked_is_asked_with_the_next_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
