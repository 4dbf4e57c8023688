/* SPDX-License-Identifier: Apache-2.0 */
/* netns - in and out of a namespace. What needs root is skipped without it. */
#include "userspace/agent/netns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/addr.h"

static int on_call(void *arg)
{
	return netns_cookie(arg) < 0 ? -EIO : 42;
}

static void goes_there_and_comes_back(void **state)
{
	struct netns_home home;
	struct netns_file file, again;
	struct cv_addr addrs[NETNS_MAX_ADDRS];
	uint64_t there = 0, here = 0;
	size_t n = 99;
	char path[64], ready;
	int fds[2], fd = -1;
	pid_t child;

	if (geteuid() != 0)
		skip();
	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNET) < 0 || write(fds[1], "x", 1) != 1)
			_exit(1);
		(void)pause();
	}
	assert_int_equal(read(fds[0], &ready, 1), 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)child);
	assert_int_equal(netns_home_open(0, &home), 0);
	assert_int_equal(netns_open(path, &fd, &file), 0);
	assert_true(netns_file_is_same(path, &file));
	assert_false(netns_file_is_same("/proc/self/ns/net", &file));
	assert_int_equal(netns_file_of(fd, &again), 0);
	assert_true(netns_file_is_same(path, &again));
	assert_true(netns_is_of(child, &file));
	assert_false(netns_is_of(getpid(), &file));
	assert_int_equal(netns_call(&home, fd, on_call, &there), 42);
	assert_int_equal(netns_cookie(&here), 0);
	assert_int_equal(here, home.cookie);
	assert_int_not_equal(there, here);
	assert_int_equal(netns_addrs(addrs, &n), 0);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	assert_false(netns_file_is_same(path, &file));
	assert_false(netns_is_of(child, &file));
	(void)close(fd);
	netns_home_close(&home);
}

static void link_local_addresses_crowd_out_no_others(void **state)
{
	struct cv_addr addrs[NETNS_MAX_ADDRS];
	char text[CV_ADDR_STRLEN];
	size_t n = 0;
	int r;

	if (geteuid() != 0)
		skip();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	/* NOLINTNEXTLINE(cert-env33-c): a test's own words */
	r = system("{ for i in $(seq 40); do echo addr add 169.254.7.$i/32 dev lo; done; "
		   "echo addr add 10.7.7.7/32 dev lo; } | ip -batch -");
	assert_int_equal(r, 0);
	assert_int_equal(netns_addrs(addrs, &n), 0);
	assert_int_equal(n, NETNS_MAX_ADDRS);
	assert_string_equal(cv_addr_format(&addrs[0], text), "10.7.7.7");
	assert_true(cv_addr_is_link_local(&addrs[1]));
}

static void other_files_are_no_namespaces(void **state)
{
	struct netns_file file = {.ino = 7};
	int fd = -7;

	assert_int_equal(netns_open("/dev/null", &fd, &file), -EINVAL);
	assert_int_equal(netns_open("/proc/self/ns/uts", &fd, &file), -EINVAL);
	assert_int_equal(netns_open("/none", &fd, &file), -ENOENT);
	assert_int_equal(fd, -7);
	assert_int_equal(file.ino, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_there_and_comes_back),
		cmocka_unit_test(link_local_addresses_crowd_out_no_others),
		cmocka_unit_test(other_files_are_no_namespaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
