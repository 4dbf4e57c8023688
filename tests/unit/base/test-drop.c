/* SPDX-License-Identifier: Apache-2.0 */
/* drop - in a child process: the user, the capabilities that stay, and none that come back. */
#include "base/drop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define USER "nobody"

static uint64_t effective_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (syscall(SYS_capget, &head, data) < 0)
		return ~0ULL;
	return (uint64_t)data[1].effective << 32 | data[0].effective |
	       (uint64_t)data[1].permitted << 32 | data[0].permitted |
	       (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
}

/* in_child() - Return: the exit code of @fn. */
static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int drop_all(void)
{
	struct user u;

	if (user_lookup(USER, &u) < 0 || drop_to_user(USER, NULL, 0) < 0)
		return 1;
	if (getuid() != u.uid || geteuid() != u.uid || getgid() != u.gid || getgroups(0, NULL) != 0)
		return 2;
	if (effective_caps() != 0 || setuid(0) == 0)
		return 3;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 4;
}

static int drop_keeps(void)
{
	const int keep[] = {CAP_NET_ADMIN};

	if (drop_to_user(USER, keep, 1) < 0)
		return 1;
	return effective_caps() == 1ULL << CAP_NET_ADMIN ? 0 : 2;
}

static int drop_stays_root(void)
{
	const int keep[] = {CAP_NET_ADMIN, CAP_SYS_PTRACE};

	if (drop_to_user(NULL, keep, 2) < 0 || getuid() != 0)
		return 1;
	if (prctl(PR_CAPBSET_READ, CAP_SYS_MODULE, 0, 0, 0) != 0)
		return 2;
	return effective_caps() == (1ULL << CAP_NET_ADMIN | 1ULL << CAP_SYS_PTRACE) ? 0 : 3;
}

static int drop_unknown(void)
{
	return drop_to_user("culvert-no-such-user", NULL, 0) == -ENOENT && getuid() == 0 ? 0 : 1;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void gives_up_everything(void **state)
{
	need_root();
	assert_int_equal(in_child(drop_all), 0);
}

static void keeps_what_it_is_told(void **state)
{
	need_root();
	assert_int_equal(in_child(drop_keeps), 0);
}

static void may_stay_root_without_powers(void **state)
{
	need_root();
	assert_int_equal(in_child(drop_stays_root), 0);
}

static void an_unknown_user_is_an_error(void **state)
{
	struct user u = {.uid = 7};

	assert_int_equal(user_lookup("culvert-no-such-user", &u), -ENOENT);
	assert_int_equal(u.uid, 7);
	need_root();
	assert_int_equal(in_child(drop_unknown), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_up_everything),
		cmocka_unit_test(keeps_what_it_is_told),
		cmocka_unit_test(may_stay_root_without_powers),
		cmocka_unit_test(an_unknown_user_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
