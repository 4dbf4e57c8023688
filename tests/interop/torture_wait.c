/* SPDX-License-Identifier: Apache-2.0 */
#include "torture_wait.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <unistd.h>

static atomic_uint waits[WAIT_MAX][2];

unsigned int waits_of(enum waiting how, bool is_writer)
{
	return atomic_load(&waits[how][is_writer]);
}

int waiter_open(struct waiter *w, int fd, enum waiting how, bool is_writer)
{
	struct epoll_event ev = {.events = is_writer ? EPOLLOUT : EPOLLIN};

	*w = (struct waiter){how, fd, -1, is_writer, 0};
	if (how != WAIT_LEVEL && how != WAIT_EDGE)
		return 0;
	if (how == WAIT_EDGE)
		ev.events |= EPOLLET;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	return w->epoll < 0 ? -1 : epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev);
}

void waiter_close(struct waiter *w)
{
	if (w->epoll >= 0)
		close(w->epoll);
	w->epoll = -1;
}

/* Return: what there is now, 0 where nothing came. */
static unsigned int wait_once(const struct waiter *w)
{
	struct pollfd p = {.fd = w->fd, .events = w->is_writer ? POLLOUT : POLLIN};
	struct epoll_event ev = {.events = 0};
	int r;

	do {
		if (w->how == WAIT_POLL)
			r = poll(&p, 1, HANG_S * 1000);
		else
			r = epoll_wait(w->epoll, &ev, 1, HANG_S * 1000);
	} while (r < 0 && errno == EINTR);
	return w->how == WAIT_POLL ? (unsigned int)p.revents : ev.events;
}

bool waiter_again(struct waiter *w)
{
	unsigned int is_there;

	if (errno == EINTR) /* io_uring leaves a signal of its own behind */
		return true;
	if (errno != EAGAIN || w->how == WAIT_IN_CALL)
		return false;
	atomic_fetch_add(&waits[w->how][w->is_writer], 1);
	is_there = wait_once(w);
	/* what MSG_ZEROCOPY has to say is there for the other direction, too, and stays */
	w->vain = is_there == POLLERR ? w->vain + 1 : 0;
	if (!is_there || w->vain == HANG_S * 1000) {
		errno = ETIMEDOUT;
		return false;
	}
	if (w->vain > 0)
		usleep(1000);
	return true;
}
