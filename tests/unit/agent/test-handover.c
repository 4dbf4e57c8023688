/* SPDX-License-Identifier: Apache-2.0 */
/* handover - who asks waits until the other has let go; nobody there is no error; root only. */
#include "userspace/agent/handover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/unix.h"
#include "tests/unit/agent/no-fds.h"

#define NOBODY 65534

struct fixture {
	struct loop *loop;
	struct handover *handover;
	char dir[32], path[64];
	volatile bool *has_let_go; /* shared with the child that asks */
	int asked;
};

static void on_asked(void *arg)
{
	struct fixture *f = arg;

	f->asked++;
	(void)usleep(50000);
	*f->has_let_go = true;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-handover.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	(void)snprintf(f->path, sizeof(f->path), "%s/handover.sock", f->dir);
	f->has_let_go = mmap(NULL, sizeof(*f->has_let_go), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->has_let_go, MAP_FAILED);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(handover_listen(f->loop, f->path, on_asked, f, &f->handover), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	handover_free(f->handover);
	loop_free(f->loop);
	(void)munmap((void *)f->has_let_go, sizeof(*f->has_let_go));
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* asker() - a process of its own. Its exit code: 0 it came back after the other had let go. */
static pid_t asker(struct fixture *f, uid_t uid)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (uid != 0 && setuid(uid) < 0)
		_exit(3);
	if (handover_wait(f->path) < 0)
		_exit(2);
	_exit(*f->has_let_go ? 0 : 1);
}

/* asker_end() - turn the loop until it has ended. Return: its exit code. */
static int asker_end(struct fixture *f, pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0)
		(void)loop_run_once(f->loop, 10);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_asker_comes_back_after_the_other_has_let_go(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(asker_end(f, asker(f, 0)), 0);
	assert_int_equal(f->asked, 1);
}

static void a_second_asker_finds_nobody(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(asker_end(f, asker(f, 0)), 0);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(handover_wait(f->path), 0);
	assert_int_equal(f->asked, 1);
}

static void others_than_root_are_not_heard(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->path, 0666), 0);
	assert_int_equal(asker_end(f, asker(f, NOBODY)), 1);
	assert_int_equal(f->asked, 0);
	assert_int_equal(asker_end(f, asker(f, 0)), 0);
	assert_int_equal(f->asked, 1);
}

static void a_path_that_cannot_be_is_an_error(void **state)
{
	char path[200];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(handover_wait(path), -ENAMETOOLONG);
}

static void two_may_not_listen(void **state)
{
	struct fixture *f = *state;
	struct handover *second = NULL;

	assert_int_equal(handover_listen(f->loop, f->path, on_asked, f, &second), -EADDRINUSE);
	assert_null(second);
}

static void without_descriptors_the_loop_does_not_spin(void **state)
{
	struct fixture *f = *state;
	int fd = -1;

	if (geteuid() != 0)
		skip();
	assert_int_equal(unix_stream_connect(f->path, &fd), 0);
	assert_in_range(turns_without_fds(f->loop), 1, 100);
	for (int i = 0; i < 300 && !f->asked; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_int_equal(f->asked, 1);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_descriptors_the_loop_does_not_spin, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_asker_comes_back_after_the_other_has_let_go,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_asker_finds_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(others_than_root_are_not_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(a_path_that_cannot_be_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(two_may_not_listen, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
