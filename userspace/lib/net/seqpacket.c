/* SPDX-License-Identifier: Apache-2.0 */
#include "net/seqpacket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "net/unix.h"

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * SEQPACKET_FDS_MAX)];
};

int seqpacket_listen(const char *path, unsigned int mode, int *ret_fd)
{
	return unix_listen(path, SOCK_SEQPACKET, mode, ret_fd);
}

int seqpacket_connect(const char *path, int *ret_fd)
{
	return unix_connect(path, SOCK_SEQPACKET, ret_fd);
}

int seqpacket_send(int fd, const void *buf, size_t len, const int *fds, size_t n)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t r;

	if (n > SEQPACKET_FDS_MAX || len == 0)
		return -EINVAL;
	if (n > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	do
		r = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* take_fds() - all descriptors of the message into @all. Return: how many. */
static size_t take_fds(struct msghdr *msg, int all[SEQPACKET_FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t here;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		here = MIN(here, SEQPACKET_FDS_MAX - n);
		memcpy(all + n, CMSG_DATA(c), here * sizeof(int));
		n += here;
	}
	return n;
}

/* NOLINTNEXTLINE(readability-function-size) */
ssize_t seqpacket_recv(int fd, void *buf, size_t size, int *fds, size_t max_fds, size_t *ret_nfds)
{
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	int all[SEQPACKET_FDS_MAX];
	size_t n;
	ssize_t r;

	do
		r = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	n = take_fds(&msg, all);
	if (r == 0 && n == 0) {
		*ret_nfds = 0;
		return 0;
	}
	if (r == 0 || n > max_fds || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < n; i++)
			(void)close_fd(all[i]);
		return -EBADMSG;
	}
	if (n > 0)
		memcpy(fds, all, n * sizeof(int));
	*ret_nfds = n;
	return r;
}

int peer_cred(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_uid = cred.uid;
	if (ret_pid)
		*ret_pid = cred.pid;
	return 0;
}
