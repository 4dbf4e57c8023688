/* SPDX-License-Identifier: Apache-2.0 */
/* maker - the child that makes sockets: its cgroup's name, its errors, its end. */
#include "userspace/agent/maker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/log.h"
#include "base/str.h"
#include "userspace/agent/maker_link.h"
#include "userspace/agent/stock.h"

#define PATIENCE_MS 10000
#define FORKS       300

static void the_cgroup_is_the_line_without_a_controller(void **state)
{
	char path[16] = "untouched";

	assert_int_equal(maker_cgroup_path("1:memory:/x\n0::/a/b\n", path, sizeof(path)), 0);
	assert_string_equal(path, "/a/b");
	assert_int_equal(maker_cgroup_path("0::/", path, sizeof(path)), 0);
	assert_string_equal(path, "/");
	assert_int_equal(maker_cgroup_path("", path, sizeof(path)), -ENOENT);
	assert_int_equal(maker_cgroup_path("10::/a\n", path, sizeof(path)), -ENOENT);
	assert_int_equal(maker_cgroup_path("0::/0123456789abcdef", path, sizeof(path)),
			 -ENAMETOOLONG);
	assert_string_equal(path, "/");
}

struct fixture {
	char *program;
	struct netns_home home;
	int null, netns;
	struct zds_sockets what;
	int fds[ZDS_MAX_FDS];
	int marks; /* sockets that the agent has made itself */
	struct sockets_marker marker;
	struct stock stock;
};

static int on_mark(void *arg, int fd, enum cv_socket_kind kind)
{
	++*(int *)arg;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	f->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	f->what = (struct zds_sockets){.kind = CV_SOCKET_DIAL_APP, .count = 4};
	f->marker = (struct sockets_marker){on_mark, &f->marks};
	assert_int_equal(beside_path("../../../bin/" MAKER_PROGRAM, &f->program), 0);
	f->stock = (struct stock){
		.program = f->program, .home = &f->home, .marker = &f->marker, .mark_fd = f->null};
	return netns_home_open(0, &f->home);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)close(f->null);
	(void)close(f->netns);
	netns_home_close(&f->home);
	free(f->program);
	free(f);
	return 0;
}

/* /dev/null is no map: marking must fail, and an unmarked socket must never come out. */
static void a_socket_that_cannot_be_marked_is_not_given(void **state)
{
	struct fixture *f = *state;
	struct maker *m = NULL;

	if (geteuid() != 0)
		skip();
	assert_int_equal(maker_new(f->program, &f->home, f->null, getpid(), &m), 0);
	assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EINVAL);
	assert_int_equal(maker_dial(m, f->null, &f->what, f->fds), -EINVAL); /* no namespace */
	f->what.count = ZDS_MAX_FDS + 1;
	assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EINVAL);
	maker_free(m);
}

static void a_dead_child_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct maker *m = NULL;

	assert_int_equal(maker_new(f->program, &f->home, f->null, getpid(), &m), 0);
	assert_int_equal(kill(maker_pid(m), SIGKILL), 0);
	assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EPIPE);
	maker_free(m);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void it_is_a_program_of_its_own(void **state)
{
	struct fixture *f = *state;
	char link[64], own[PATH_MAX], is[PATH_MAX] = "";
	struct maker *m = NULL;

	assert_non_null(realpath(f->program, own));
	assert_int_equal(maker_new(f->program, &f->home, f->null, getpid(), &m), 0);
	(void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)maker_pid(m));
	for (int ms = 0; ms < PATIENCE_MS && !streq(is, own); ms++) {
		ssize_t n = readlink(link, is, sizeof(is) - 1);

		is[n < 0 ? 0 : n] = '\0';
		(void)usleep(1000);
	}
	assert_string_equal(is, own);
	maker_free(m);
}

static void one_that_is_missing_is_gone(void **state)
{
	struct fixture *f = *state;
	struct maker *m = NULL;

	assert_int_equal(maker_new("/nowhere/" MAKER_PROGRAM, &f->home, f->null, getpid(), &m), 0);
	assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EPIPE);
	maker_free(m);
}

/* stderr and who else writes there: to have the log's locks held most of the time. */
struct noise {
	pthread_t thread;
	atomic_bool is_ending;
	int err;
};

static void *log_on_and_on(void *arg)
{
	struct noise *n = arg;

	while (!atomic_load(&n->is_ending))
		log_warn("agent", "what another thread of the agent's has to say");
	return NULL;
}

static void noise_begin(struct noise *n, int null)
{
	*n = (struct noise){.err = dup(STDERR_FILENO)};
	assert_true(dup2(null, STDERR_FILENO) >= 0);
	assert_int_equal(pthread_create(&n->thread, NULL, log_on_and_on, n), 0);
}

static void noise_end(struct noise *n)
{
	atomic_store(&n->is_ending, true);
	(void)pthread_join(n->thread, NULL);
	(void)dup2(n->err, STDERR_FILENO);
	(void)close(n->err);
}

static void a_child_waits_for_no_lock_of_other_threads(void **state)
{
	struct fixture *f = *state;
	struct noise noise;
	uint64_t begun_us;

	noise_begin(&noise, f->null);
	begun_us = now_monotonic_us();
	for (int i = 0; i < FORKS && now_monotonic_us() - begun_us < PATIENCE_MS * 1000; i++) {
		struct maker *m = NULL;

		assert_int_equal(maker_new("/nowhere/x", &f->home, f->null, getpid(), &m), 0);
		assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EPIPE);
		maker_free(m);
	}
	noise_end(&noise);
	assert_true(now_monotonic_us() - begun_us < PATIENCE_MS * 1000);
}

static int stderr_to_file(char *path)
{
	int fd = mkstemp(path), was = dup(STDERR_FILENO);

	assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	(void)close(fd);
	return was;
}

/* ask_one_that_cannot_start() - after it has ended, or whenever that will be. */
static void ask_one_that_cannot_start(struct fixture *f, bool is_late)
{
	char path[] = "/tmp/test-maker.XXXXXX";
	int was = stderr_to_file(path);
	struct maker *m = NULL;
	char *said = NULL;

	assert_int_equal(maker_new("/nowhere/x", &f->home, f->null, getpid(), &m), 0);
	if (is_late)
		(void)waitid(P_PID, (id_t)maker_pid(m), NULL, WEXITED | WNOWAIT);
	assert_int_equal(maker_dial(m, f->netns, &f->what, f->fds), -EPIPE);
	maker_free(m);
	(void)dup2(was, STDERR_FILENO);
	(void)close(was);
	assert_int_equal(file_read(path, 4096, &said, NULL), 0);
	(void)unlink(path);
	assert_non_null(strstr(said, "cannot start /nowhere/x: No such file or directory"));
	free(said);
}

static void why_it_did_not_start_is_told(void **state)
{
	ask_one_that_cannot_start(*state, true);
	for (int i = 0; i < 50; i++)
		ask_one_that_cannot_start(*state, false);
}

static void the_agent_makes_them_when_the_child_is_gone(void **state)
{
	struct fixture *f = *state;
	struct stock *s = &f->stock;

	if (geteuid() != 0)
		skip();
	stock_ztunnel_connected(s, getpid());
	assert_int_equal(stock_dial(s, f->netns, &f->what, f->fds), -EINVAL);
	assert_int_equal(f->marks, 0);
	assert_int_equal(kill(maker_pid(s->maker), SIGKILL), 0);
	assert_int_equal(stock_dial(s, f->netns, &f->what, f->fds), 0);
	assert_int_equal(f->marks, 4);
	assert_null(s->maker);
	for (int i = 0; i < 4; i++)
		(void)close(f->fds[i]);
	stock_ztunnel_lost(s);
}

/* Once slow, or killed for its memory, it must not cost the agent ztunnel's memory for good. */
static void a_new_child_takes_the_place_of_one_that_is_gone(void **state)
{
	struct fixture *f = *state;
	struct stock *s = &f->stock;

	if (geteuid() != 0)
		skip();
	f->what.count = 1;
	stock_ztunnel_connected(s, getpid());
	assert_int_equal(kill(maker_pid(s->maker), SIGKILL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stock_dial(s, f->netns, &f->what, f->fds), 0);
		(void)close(f->fds[0]);
		assert_null(s->maker); /* not at once */
	}
	assert_int_equal(f->marks, 2);
	s->again_us = 0;
	assert_int_equal(stock_dial(s, f->netns, &f->what, f->fds), -EINVAL);
	assert_int_equal(f->marks, 2); /* it was the child's answer */
	assert_non_null(s->maker);
	stock_ztunnel_lost(s);
	assert_int_equal(stock_dial(s, f->netns, &f->what, f->fds), 0);
	(void)close(f->fds[0]);
	assert_null(s->maker); /* for nobody there is none */
}

#define with_child(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cgroup_is_the_line_without_a_controller),
		with_child(a_socket_that_cannot_be_marked_is_not_given),
		with_child(a_dead_child_is_noticed),
		with_child(it_is_a_program_of_its_own),
		with_child(one_that_is_missing_is_gone),
		with_child(a_child_waits_for_no_lock_of_other_threads),
		with_child(why_it_did_not_start_is_told),
		with_child(the_agent_makes_them_when_the_child_is_gone),
		with_child(a_new_child_takes_the_place_of_one_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
