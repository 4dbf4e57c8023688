/* SPDX-License-Identifier: Apache-2.0 */
/* pinlink - a link that may be at work is not taken away; one whose hook is gone, or that cannot
 * have the program, makes room for a new one. The kernel is the test's. */
#include "userspace/agent/pinlink.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"

#define PROG 7

static struct {
	char path[64];
	int update, create; /* what the kernel answers: 0; -errno */
	int created, pinned;
	bool was_there; /* the old pin, when the new link was asked for */
} the_kernel;

static bool is_pinned(void)
{
	return access(the_kernel.path, F_OK) == 0;
}

static int fd_new(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, errno);
	return fd;
}

int __wrap_bpf_obj_get(const char *path);
int __wrap_bpf_obj_get(const char *path)
{
	return access(path, F_OK) == 0 ? fd_new() : -errno;
}

int __wrap_bpf_link_update(int link_fd, int prog_fd, const struct bpf_link_update_opts *opts);
int __wrap_bpf_link_update(int link_fd, int prog_fd, const struct bpf_link_update_opts *opts)
{
	(void)link_fd;
	(void)opts;
	assert_int_equal(prog_fd, PROG);
	return the_kernel.update;
}

int __wrap_bpf_link_create(int prog_fd, int target, enum bpf_attach_type type,
			   const struct bpf_link_create_opts *opts);
int __wrap_bpf_link_create(int prog_fd, int target, enum bpf_attach_type type,
			   const struct bpf_link_create_opts *opts)
{
	(void)target;
	(void)type;
	(void)opts;
	assert_int_equal(prog_fd, PROG);
	the_kernel.created++;
	the_kernel.was_there = is_pinned();
	return the_kernel.create < 0 ? the_kernel.create : fd_new();
}

int __wrap_bpf_obj_pin(int fd, const char *path);
int __wrap_bpf_obj_pin(int fd, const char *path)
{
	int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	(void)fd;
	if (file < 0)
		return -errno;
	(void)close(file);
	the_kernel.pinned++;
	return 0;
}

static int make(void)
{
	return pinlink_make(the_kernel.path, PROG, 0, BPF_CGROUP_INET4_CONNECT, 0);
}

/* A pin of an earlier agent, and a kernel that answers so. */
static void given(bool has_pin, int update, int create)
{
	int file;

	the_kernel.update = update;
	the_kernel.create = create;
	the_kernel.created = the_kernel.pinned = 0;
	the_kernel.was_there = false;
	(void)unlink(the_kernel.path);
	if (!has_pin)
		return;
	file = open(the_kernel.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_return_code(file, errno);
	(void)close(file);
}

static void a_link_at_work_gets_the_program(void **state)
{
	given(true, 0, 0);
	assert_int_equal(make(), 0);
	assert_true(is_pinned());
	assert_int_equal(the_kernel.created, 0);
}

static void without_a_pin_a_link_is_made(void **state)
{
	given(false, 0, 0);
	assert_int_equal(make(), 0);
	assert_int_equal(the_kernel.created, 1);
	assert_true(is_pinned());
}

static void a_link_that_may_be_at_work_stays(void **state)
{
	static const int refusals[] = {-EPERM, -EACCES, -ENOMEM, -EBUSY, -EINTR, -E2BIG, -EEXIST};

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		given(true, refusals[i], 0);
		assert_int_equal(make(), refusals[i]);
		assert_true(is_pinned());
		assert_int_equal(the_kernel.created, 0);
	}
}

static void a_link_that_is_dead_or_of_another_kind_makes_room(void **state)
{
	static const int ends[] = {-ENOLINK, -EINVAL, -EOPNOTSUPP};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		given(true, ends[i], 0);
		assert_int_equal(make(), 0);
		assert_int_equal(the_kernel.created, 1);
		assert_int_equal(the_kernel.pinned, 1);
		assert_false(the_kernel.was_there);
	}
	given(true, -ENOLINK, -ENODEV);
	assert_int_equal(make(), -ENODEV);
	assert_false(is_pinned());
}

static int dir_make(void **state)
{
	static char dir[] = "/tmp/test-pinlink-XXXXXX";

	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(the_kernel.path, sizeof(the_kernel.path), "%s/link_cv_connect4", dir);
	*state = dir;
	return 0;
}

static int dir_remove(void **state)
{
	(void)unlink(the_kernel.path);
	return rmdir(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_at_work_gets_the_program),
		cmocka_unit_test(without_a_pin_a_link_is_made),
		cmocka_unit_test(a_link_that_may_be_at_work_stays),
		cmocka_unit_test(a_link_that_is_dead_or_of_another_kind_makes_room),
	};

	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
