/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp - in a child process: what is left of the kernel, and what is not. */
#include "ztunnel/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void *thread(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static bool can_thread(void)
{
	pthread_t t;
	int has_run = 0;

	return pthread_create(&t, NULL, thread, &has_run) == 0 && pthread_join(t, NULL) == 0 &&
	       has_run;
}

static bool can_socket(int family)
{
	return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool is_refused(long r)
{
	return r == -1 && errno == EPERM;
}

/* Return: 0; which check failed. */
static int check_refused(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || !is_refused(setns(fd, CLONE_NEWNET)) || !is_refused(unshare(CLONE_NEWNET)))
		return 2;
	if (!is_refused(open("/dev/null", O_WRONLY | O_CLOEXEC)) ||
	    !is_refused(open("/dev/null", O_RDWR | O_CLOEXEC)))
		return 3;
	if (!is_refused(execl("/bin/true", "true", NULL)) || !is_refused(syscall(SYS_fork)) ||
	    !is_refused(syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL)))
		return 4;
	if (!is_refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) || !is_refused(kill(getpid(), 0)) ||
	    !is_refused(syscall(SYS_bpf, 0, NULL, 0)) || !is_refused(setuid(getuid())))
		return 5;
	return can_socket(AF_NETLINK) || can_socket(AF_PACKET) ? 6 : 0;
}

static int in_child(bool has_remote_control)
{
	pid_t pid = fork();
	int status = 0, r;

	if (pid == 0) {
		if (seccomp_apply(has_remote_control) < 0)
			_exit(1);
		r = check_refused();
		if (r == 0 && (!can_socket(AF_UNIX) || can_socket(AF_INET) != has_remote_control ||
			       can_socket(AF_INET6) != has_remote_control))
			r = 7;
		_exit(r == 0 && !can_thread() ? 8 : r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void only_what_it_needs_is_left(void **state)
{
	assert_int_equal(in_child(false), 0);
}

static void a_remote_control_plane_needs_sockets_to_it(void **state)
{
	assert_int_equal(in_child(true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_it_needs_is_left),
		cmocka_unit_test(a_remote_control_plane_needs_sockets_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
