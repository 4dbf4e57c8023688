/* SPDX-License-Identifier: Apache-2.0 */
/* help - one worker accepts a pod's connections; while it has no time, the others do too. */
#include "ztunnel/help.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/unit/ztunnel/rig.h"
#include "ztunnel/pod.h"

#define CONNS 3

/* What keeps a worker from its other work. */
struct chore {
	struct message m;
	struct worker *worker;
	atomic_bool is_over;
	bool is_stuck; /* in one turn; else turn after turn */
};

static void run_chore(void *target, struct message *m)
{
	struct chore *c = container_of(m, struct chore, m);
	uint64_t until = now_monotonic_us() + (c->is_stuck ? WAIT_MS * 1000ULL : 1000);

	while (now_monotonic_us() < until && !(c->is_stuck && atomic_load(&c->is_over)))
		continue;
	if (target && !c->is_stuck && !atomic_load(&c->is_over))
		inbox_post(&c->worker->inbox, &c->m);
	else
		atomic_store(&c->is_over, true);
}

static void begin(struct chore *c, struct worker *w, bool is_stuck)
{
	atomic_store(&c->is_over, false);
	c->m.run = run_chore;
	c->worker = w;
	c->is_stuck = is_stuck;
	inbox_post(&w->inbox, &c->m);
}

static bool becomes(const atomic_bool *flag, bool value)
{
	uint64_t until = now_monotonic_us() + WAIT_MS * 1000ULL;

	while (atomic_load(flag) != value && now_monotonic_us() < until)
		(void)usleep(1000);
	return atomic_load(flag) == value;
}

static struct worker *home_of(struct rig *f, const struct pod *pod)
{
	return &f->workers[pod->netns_cookie % WORKERS];
}

static bool has_tunnels(struct worker *w, unsigned int n)
{
	uint64_t until = now_monotonic_us() + WAIT_MS * 1000ULL;

	while (atomic_load(&w->load_tunnels) != n && now_monotonic_us() < until)
		(void)usleep(1000);
	return atomic_load(&w->load_tunnels) == n;
}

/* comes_to_one() - the tunnel that was dialled is there, with whomever. */
static bool comes_to_one(struct worker *a, struct worker *b)
{
	uint64_t until = now_monotonic_us() + WAIT_MS * 1000ULL;

	while (atomic_load(&a->load_tunnels) + atomic_load(&b->load_tunnels) == 0 &&
	       now_monotonic_us() < until)
		(void)usleep(1000);
	return atomic_load(&a->load_tunnels) + atomic_load(&b->load_tunnels) == 1;
}

/* dial() - somebody who says nothing, at the server's port for tunnels. */
static int dial(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(CV_HBONE_PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, SERVER_ADDR, &sa.sin_addr), 1);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* They outlive their test, whose worker may still look at them. */
static struct chore busy, stuck;

/* has_time() - Return: false when @home is as busy as the machine: it asks for help. */
static bool has_time(struct worker *home)
{
	/* It finds out when it has something to do, however little. */
	for (int i = 0; i < WAIT_MS / 20 && atomic_load(&home->help.is_asked); i++) {
		loop_wake(home->loop);
		(void)usleep(20 * 1000);
	}
	return !atomic_load(&home->help.is_asked);
}

TEST(connections_of_a_pod_come_to_its_home)
{
	struct rig *f = *cmocka_state;
	struct worker *home = home_of(f, f->server), *other = &f->workers[!home->index];
	int seen = 0;

	for (int i = 0; i < 10 * CONNS && seen < CONNS; i++) {
		int fd;

		assert_true(has_time(home));
		fd = dial();
		assert_true(comes_to_one(home, other));
		if (!atomic_load(&home->help.is_asked)) {
			assert_int_equal(atomic_load(&home->load_tunnels), 1);
			seen++;
		}
		(void)close(fd);
		assert_true(has_tunnels(home, 0) && has_tunnels(other, 0));
	}
	assert_int_equal(seen, CONNS);
}

TEST(others_accept_while_the_home_has_no_time)
{
	struct rig *f = *cmocka_state;
	struct worker *home = home_of(f, f->server), *other = &f->workers[!home->index];
	int fd;

	begin(&busy, home, false);
	assert_true(becomes(&home->help.is_asked, true));
	atomic_store(&busy.is_over, true);
	begin(&stuck, home, true);
	fd = dial();
	assert_true(has_tunnels(other, 1));
	assert_false(atomic_load(&stuck.is_over));
	atomic_store(&stuck.is_over, true);
	(void)close(fd);
}

TEST(help_ends_when_the_home_has_time_again)
{
	struct rig *f = *cmocka_state;
	struct worker *home = home_of(f, f->server);

	begin(&busy, home, false);
	assert_true(becomes(&home->help.is_asked, true));
	atomic_store(&busy.is_over, true);
	assert_true(has_time(home));
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(connections_of_a_pod_come_to_its_home),
		T(others_accept_while_the_home_has_no_time),
		T(help_ends_when_the_home_has_time_again),
	};

	return rig_run(tests);
}
