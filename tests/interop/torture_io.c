/* SPDX-License-Identifier: Apache-2.0 */
#include "torture_io.h"

#include <errno.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIPE_MAX 65536

/* This thread's, from its first use to io_close(). */
static _Thread_local struct io_uring ring;
static _Thread_local bool has_ring;

/* The next request of the ring. NULL with errno: where io_uring is not allowed, that is said rather
 * than something else tested. */
static struct io_uring_sqe *uring_begin(void)
{
	int r = has_ring ? 0 : io_uring_queue_init(2, &ring, 0);

	has_ring = r == 0;
	errno = -r;
	return r == 0 ? io_uring_get_sqe(&ring) : NULL;
}

/* What was prepared is done. Return: as the system call of the kind would. */
static ssize_t uring_end(void)
{
	struct __kernel_timespec limit = {.tv_sec = HANG_S};
	struct io_uring_cqe *cqe;
	int r;

	(void)io_uring_submit(&ring);
	do
		r = io_uring_wait_cqe_timeout(&ring, &cqe, &limit);
	while (r == -EINTR);
	if (r < 0) {
		io_close(); /* and with it what is still asked for */
		errno = -r;
		return -1;
	}
	r = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

void io_close(void)
{
	if (has_ring)
		io_uring_queue_exit(&ring);
	has_ring = false;
}

/* ---- writing ---- */

static ssize_t write_uring(int fd, const uint8_t *b, size_t n)
{
	struct io_uring_sqe *sqe = uring_begin();

	if (!sqe)
		return -1;
	io_uring_prep_send(sqe, fd, b, n, MSG_NOSIGNAL);
	return uring_end();
}

static ssize_t write_splice(int fd, const uint8_t *b, size_t n)
{
	int p[2];
	ssize_t r;

	if (pipe(p) < 0)
		return -1;
	if (n > PIPE_MAX)
		n = PIPE_MAX;
	r = write(p[1], b, n);
	if (r > 0)
		r = splice(p[0], NULL, fd, NULL, (size_t)r, SPLICE_F_MOVE);
	close(p[0]);
	close(p[1]);
	return r;
}

static ssize_t write_file(int fd, const uint8_t *b, size_t n)
{
	int file = memfd_create("torture", MFD_CLOEXEC);
	off_t at = 0;
	ssize_t r;

	if (file < 0)
		return -1;
	r = write(file, b, n);
	if (r > 0)
		r = sendfile(fd, file, &at, (size_t)r);
	close(file);
	return r;
}

ssize_t write_some(int fd, enum writing how, const uint8_t *b, size_t n)
{
	size_t half = n / 2;
	struct iovec iov[2] = {{(void *)b, half}, {(void *)(b + half), n - half}};

	switch (how) {
	case W_WRITEV:
		return writev(fd, iov, 2);
	case W_MORE:
		return send(fd, b, n, n % 2 ? MSG_MORE : 0);
	case W_SPLICE:
		return write_splice(fd, b, n);
	case W_SENDFILE:
		return write_file(fd, b, n);
	case W_ZEROCOPY:
		return send(fd, b, n, MSG_ZEROCOPY);
	case W_URING:
		return write_uring(fd, b, n);
	default:
		return send(fd, b, n, 0);
	}
}

/* How many of the sends are done with; their pages are the kernel's until then. */
static uint32_t zerocopy_done(int fd)
{
	char control[128];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	const struct sock_extended_err *err;
	uint32_t done = 0;

	if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0)
		return 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		err = (const void *)CMSG_DATA(c);
		if (err->ee_origin == SO_EE_ORIGIN_ZEROCOPY)
			done += err->ee_data - err->ee_info + 1;
	}
	return done;
}

int zerocopy_wait(int fd, uint32_t sends)
{
	for (int tries = 0; sends > 0 && tries < HANG_S * 1000; tries++) {
		uint32_t done = zerocopy_done(fd);

		if (!done)
			usleep(1000);
		sends -= done < sends ? done : sends;
	}
	return sends ? -ETIMEDOUT : 0;
}

/* ---- reading ---- */

static ssize_t read_uring(int fd, uint8_t *b, size_t n)
{
	struct io_uring_sqe *sqe = uring_begin();

	if (!sqe)
		return -1;
	io_uring_prep_recv(sqe, fd, b, n, 0);
	return uring_end();
}

static ssize_t read_splice(int fd, uint8_t *b, size_t n)
{
	int p[2];
	ssize_t r;

	if (pipe(p) < 0)
		return -1;
	if (n > PIPE_MAX)
		n = PIPE_MAX;
	r = splice(fd, NULL, p[1], NULL, n, SPLICE_F_MOVE);
	if (r > 0)
		r = read(p[0], b, (size_t)r);
	close(p[0]);
	close(p[1]);
	return r;
}

static ssize_t read_peek(int fd, uint8_t *b, size_t n)
{
	uint8_t seen[512];
	ssize_t peeked = recv(fd, seen, sizeof(seen) < n ? sizeof(seen) : n, MSG_PEEK), r;

	if (peeked <= 0)
		return peeked;
	r = recv(fd, b, (size_t)peeked, MSG_WAITALL);
	if (r == peeked && memcmp(seen, b, (size_t)r) == 0)
		return r;
	errno = EPROTO;
	return -1;
}

static ssize_t read_poll(int fd, uint8_t *b, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t r;

	do {
		if (poll(&p, 1, HANG_S * 1000) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		r = recv(fd, b, n, MSG_DONTWAIT);
	} while (r < 0 && errno == EAGAIN);
	return r;
}

ssize_t read_some(int fd, enum reading how, uint8_t *b, size_t n)
{
	/* recv(2) that has taken less of what there is than that waits for as much again */
	int low = n >= 10000 ? 5000 : 1;

	switch (how) {
	case R_PEEK:
		return read_peek(fd, b, n);
	case R_WAITALL:
		return recv(fd, b, n > 3000 ? 3000 : n, MSG_WAITALL);
	case R_SPLICE:
		return read_splice(fd, b, n);
	case R_URING:
		return read_uring(fd, b, n);
	case R_POLL:
		return read_poll(fd, b, n);
	case R_LOWAT:
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
		return recv(fd, b, n, 0);
	default:
		return recv(fd, b, n, 0);
	}
}
