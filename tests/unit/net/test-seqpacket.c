/* SPDX-License-Identifier: Apache-2.0 */
/* seqpacket, unix - messages whole or not at all, no descriptor is lost, socket files are replaced
 * only when stale. */
#include "net/seqpacket.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "net/unix.h"

static char dir[64];
static char path[96];

static int setup(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/culvert-test-seq.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/sock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)unlink(path);
	return rmdir(dir);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
}

static void a_message_carries_descriptors(void **state)
{
	int fds[2], passed[2], got[4] = {-1, -1, -1, -1};
	char buf[16];
	size_t n = 99;
	int before;

	pair(fds);
	assert_int_equal(pipe(passed), 0);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 4, &n), -EAGAIN);
	assert_int_equal(n, 99);
	assert_int_equal(seqpacket_send(fds[0], "hello", 5, passed, 2), 0);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 4, &n), 5);
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(passed[0], buf, 1), 1);
	for (int i = 0; i < 2; i++) {
		(void)close(got[i]);
		(void)close(passed[i]);
	}
	before = count_fds();
	(void)close(fds[0]);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 4, &n), 0);
	assert_int_equal(count_fds(), before - 1);
	(void)close(fds[1]);
}

static void what_does_not_fit_is_refused_and_closed(void **state)
{
	int fds[2], got[2], many[SEQPACKET_FDS_MAX + 1];
	char buf[4];
	size_t n = 99;
	int before;

	pair(fds);
	before = count_fds();
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = fds[0];
	assert_int_equal(seqpacket_send(fds[0], "x", 1, many, ARRAY_SIZE(many)), -EINVAL);
	assert_int_equal(seqpacket_send(fds[0], "", 0, NULL, 0), -EINVAL);
	assert_int_equal(seqpacket_send(fds[0], "12345", 5, many, 2), 0);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 2, &n), -EBADMSG);
	assert_int_equal(seqpacket_send(fds[0], "1", 1, many, 3), 0);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 2, &n), -EBADMSG);
	assert_int_equal(seqpacket_send(fds[0], "1", 1, many, SEQPACKET_FDS_MAX), 0);
	assert_int_equal(seqpacket_recv(fds[1], buf, sizeof(buf), got, 0, &n), -EBADMSG);
	assert_int_equal(n, 99);
	assert_int_equal(count_fds(), before);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void a_slow_peer_is_eagain_not_a_wait(void **state)
{
	char block[1024] = {0};
	int fds[2], r = 0;

	pair(fds);
	for (int i = 0; i < 100000 && r == 0; i++)
		r = seqpacket_send(fds[0], block, sizeof(block), NULL, 0);
	assert_int_equal(r, -EAGAIN);
	(void)close(fds[1]);
	assert_int_equal(seqpacket_send(fds[0], block, sizeof(block), NULL, 0), -ECONNRESET);
	assert_int_equal(seqpacket_send(fds[0], block, sizeof(block), NULL, 0), -EPIPE);
	(void)close(fds[0]);
}

static void listening_replaces_only_stale_files(void **state)
{
	int a = -EBADF, b = -EBADF, c = -EBADF;
	struct stat st;

	assert_int_equal(seqpacket_connect(path, &c), -ENOENT);
	assert_int_equal(seqpacket_listen(path, 0600, &a), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(seqpacket_listen(path, 0600, &b), -EADDRINUSE);
	assert_int_equal(unix_stream_listen(path, 0600, &b), -EADDRINUSE);
	assert_int_equal(b, -EBADF);
	(void)close(a);
	assert_int_equal(seqpacket_connect(path, &c), -ECONNREFUSED);
	assert_int_equal(seqpacket_listen(path, 0666, &a), 0);
	assert_int_equal(seqpacket_connect(path, &c), 0);
	(void)close(c);
	(void)close(a);
	assert_int_equal(unlink(path), 0);
	a = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(a >= 0);
	(void)close(a);
	assert_int_equal(seqpacket_listen(path, 0600, &b), -EEXIST);
}

static void a_path_too_long_is_refused(void **state)
{
	char name[200];
	int fd = -EBADF;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(unix_stream_listen(name, 0600, &fd), -ENAMETOOLONG);
	assert_int_equal(unix_stream_connect(name, &fd), -ENAMETOOLONG);
	assert_int_equal(fd, -EBADF);
}

static void the_peer_is_named_by_the_kernel(void **state)
{
	uid_t uid = 12345;
	pid_t pid = 0;
	int fds[2];

	pair(fds);
	assert_int_equal(peer_cred(fds[0], &uid, &pid), 0);
	assert_int_equal(uid, getuid());
	assert_int_equal(pid, getpid());
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(peer_cred(fds[0], &uid, NULL), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_carries_descriptors),
		cmocka_unit_test(what_does_not_fit_is_refused_and_closed),
		cmocka_unit_test(a_slow_peer_is_eagain_not_a_wait),
		cmocka_unit_test_setup_teardown(listening_replaces_only_stale_files, setup,
						teardown),
		cmocka_unit_test(a_path_too_long_is_refused),
		cmocka_unit_test(the_peer_is_named_by_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
