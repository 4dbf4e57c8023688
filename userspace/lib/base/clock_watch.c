/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock_watch.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NEVER_S 0x7fffffffffLL /* some 17,000 years: the timer itself is of no interest */

static int arm(int fd)
{
	const struct itimerspec never = {.it_value = {.tv_sec = NEVER_S}};

	if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0)
		return -errno;
	return 0;
}

static void on_timer(struct loop_fd *fd, uint32_t events)
{
	struct clock_watch *w = container_of(fd, struct clock_watch, _timer);
	uint64_t expired;

	if (read(fd->fd, &expired, sizeof(expired)) >= 0 || errno != ECANCELED)
		return;
	/* armed first: what is set while @_on_step runs is told, too */
	(void)arm(fd->fd);
	w->_on_step(w);
}

int clock_watch_start(struct clock_watch *w, struct loop *l, void (*on_step)(struct clock_watch *w))
{
	_cleanup_(close_fdp) int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	int r = fd < 0 ? -errno : arm(fd);

	if (r < 0)
		return r;
	w->_on_step = on_step;
	w->_timer = (struct loop_fd){.fd = fd, .on_event = on_timer};
	r = loop_add(l, &w->_timer, EPOLLIN);
	if (r < 0) {
		*w = (struct clock_watch){0};
		return r;
	}
	(void)TAKE_FD(fd);
	return 0;
}

void clock_watch_stop(struct clock_watch *w)
{
	if (!w->_on_step)
		return;
	loop_del(&w->_timer);
	(void)close_fd(w->_timer.fd);
	*w = (struct clock_watch){0};
}
