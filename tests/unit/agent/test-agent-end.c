/* SPDX-License-Identifier: Apache-2.0 */
/* agent_end_await - ztunnel's end waits for the agent's, and for nothing that may not come. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"
#include "userspace/agent/agent.h"

#define SOON_US  (20 * 1000) /* no pause was made */
#define LATER_US (200 * 1000)

struct fixture {
	char dir[40], agent[64], ready[80], retired[80], lock[80];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-end-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->agent, sizeof(f->agent), "%s/agent", f->dir);
	(void)snprintf(f->ready, sizeof(f->ready), "%s/ready", f->agent);
	(void)snprintf(f->retired, sizeof(f->retired), "%s/retired", f->agent);
	(void)snprintf(f->lock, sizeof(f->lock), "%s/lock", f->agent);
	*state = f;
	return mkdir(f->agent, 0755);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->ready);
	(void)unlink(f->retired);
	(void)unlink(f->lock);
	(void)rmdir(f->agent);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void touch(const char *path)
{
	assert_int_equal(file_write_atomic(path, "", 0, 0600), 0);
}

static uint64_t await_us(const struct fixture *f)
{
	uint64_t begin = now_monotonic_us();

	agent_end_await(f->dir);
	return now_monotonic_us() - begin;
}

static void one_that_is_not_there_is_not_awaited(void **state)
{
	assert_true(await_us(*state) < SOON_US);
}

static void one_that_waits_for_its_ztunnel_is_not_awaited(void **state)
{
	const struct fixture *f = *state;

	touch(f->ready);
	touch(f->retired);
	assert_true(await_us(f) < SOON_US);
}

/* A process with the lock. Return: its pid. */
static pid_t agent_start(const struct fixture *f, bool is_killed)
{
	int fd = open(f->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	pid_t pid;

	touch(f->ready);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	pid = fork();
	if (pid == 0) {
		(void)usleep(LATER_US);
		_exit(is_killed ? 0 : unlink(f->ready) < 0);
	}
	assert_true(pid > 0);
	(void)close(fd);
	return pid;
}

static void one_that_runs_is_awaited_until_it_ends(void **state)
{
	const struct fixture *f = *state;
	pid_t pid = agent_start(f, false);

	assert_true(await_us(f) > LATER_US / 2);
	assert_int_equal(access(f->ready, F_OK), -1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void one_that_is_killed_is_awaited_no_longer(void **state)
{
	const struct fixture *f = *state;
	pid_t pid = agent_start(f, true);
	uint64_t took_us = await_us(f);

	assert_in_range(took_us, LATER_US / 2, LATER_US * 10);
	assert_int_equal(access(f->ready, F_OK), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(await_us(f) < SOON_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_is_not_there_is_not_awaited, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_that_waits_for_its_ztunnel_is_not_awaited,
						setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_runs_is_awaited_until_it_ends, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_that_is_killed_is_awaited_no_longer, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
