/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file_watch.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A change comes as several events. */
#define SETTLE_US (20 * 1000)
#define EVENTS    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB)

static void on_settle(struct loop_timer *t)
{
	struct file_watch *w = container_of(t, struct file_watch, _settle);

	w->_on_change(w);
}

static void on_inotify(struct loop_fd *fd, uint32_t events)
{
	struct file_watch *w = container_of(fd, struct file_watch, _inotify);
	_Alignas(struct inotify_event) char buf[4096];

	while (read(fd->fd, buf, sizeof(buf)) > 0)
		;
	/* not pushed back by what comes next: a busy folder must not delay it for ever */
	if (!w->_settle.at_us)
		(void)loop_timer_set(w->_loop, &w->_settle, SETTLE_US);
}

int file_watch_start(struct file_watch *w, struct loop *l, const char *folder,
		     void (*on_change)(struct file_watch *w))
{
	_cleanup_(close_fdp) int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int r;

	if (fd < 0 || inotify_add_watch(fd, folder, EVENTS) < 0)
		return -errno;
	w->_loop = l;
	w->_on_change = on_change;
	w->_settle.on_timer = on_settle;
	w->_inotify = (struct loop_fd){.fd = fd, .on_event = on_inotify};
	r = loop_add(l, &w->_inotify, EPOLLIN);
	if (r < 0) {
		*w = (struct file_watch){0};
		return r;
	}
	(void)TAKE_FD(fd);
	return 0;
}

void file_watch_stop(struct file_watch *w)
{
	if (!w->_loop)
		return;
	loop_timer_del(&w->_settle);
	loop_del(&w->_inotify);
	(void)close_fd(w->_inotify.fd);
	*w = (struct file_watch){0};
}
