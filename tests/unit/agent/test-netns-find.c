/* SPDX-License-Identifier: Apache-2.0 */
/* netns_find - namespaces of processes of the test's own, by cookie and by file. */
#include "userspace/agent/netns_find.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

#define LIVING 3
#define DEAD   100

static unsigned int walks;

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
	walks += streq(path, "/proc");
	return __real_opendir(path);
}

/* A process in a namespace of its own. */
static pid_t begin(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		byte = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
		(void)!write(ready[1], &byte, 1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	if (byte != 'y')
		skip();
	return pid;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int cookie_inside(void *arg)
{
	return netns_cookie(arg);
}

static uint64_t cookie_of(const struct netns_home *home, pid_t pid)
{
	char path[NETNS_OF_MAX];
	struct netns_file file;
	uint64_t cookie = 0;
	int fd;

	assert_int_equal(netns_open(netns_path_of(pid, path), &fd, &file), 0);
	assert_int_equal(netns_call(home, fd, cookie_inside, &cookie), 0);
	(void)close(fd);
	return cookie;
}

static void many_are_found_in_one_walk(void **state)
{
	struct netns_sought sought[LIVING + DEAD], *all[LIVING + DEAD];
	char path[NETNS_PATH_MAX];
	struct netns_home home;
	pid_t pids[LIVING];
	int fd = -EBADF;

	assert_int_equal(netns_home_open(0, &home), 0);
	for (size_t i = 0; i < LIVING + DEAD; i++) {
		sought[i] = (struct netns_sought){.cookie = (1ULL << 60) + i, .fd = -EBADF};
		all[i] = &sought[i];
	}
	for (size_t i = 0; i < LIVING; i++) {
		pids[i] = begin();
		sought[i].cookie = cookie_of(&home, pids[i]);
	}
	walks = 0;
	assert_int_equal(netns_find_all(&home, all, LIVING + DEAD), 0);
	assert_int_equal(walks, 1);
	for (size_t i = 0; i < LIVING + DEAD; i++) {
		assert_int_equal(sought[i].is_found, i < LIVING);
		assert_int_equal(sought[i].fd >= 0, i < LIVING);
		assert_int_equal(sought[i].path[0] != 0, i < LIVING);
	}
	/* by their files, which are theirs as long as they are open */
	end(pids[0]);
	assert_int_equal(netns_find_all(&home, all, LIVING), 0);
	assert_false(sought[0].is_found);
	assert_true(sought[1].is_found);
	assert_true(netns_is_of(pids[2], &sought[2].file));
	assert_true(netns_find_path(&sought[2].file, path));
	assert_true(netns_file_is_same(path, &sought[2].file));
	assert_int_equal(netns_find(&home, sought[1].cookie, &fd), 0);
	(void)close(fd);
	end(pids[1]);
	assert_int_equal(netns_find(&home, 1ULL << 60, &fd), -ENOENT);
	assert_false(netns_find_path(&sought[1].file, path));
	end(pids[2]);
	for (size_t i = 0; i < LIVING; i++)
		(void)close(sought[i].fd);
	netns_home_close(&home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_are_found_in_one_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
