/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/crl_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "tls/crl.h"

#define TARGET "crl"
/* A change comes as several events. */
#define SETTLE_US      (20 * 1000)
#define FILE_BYTES_MAX (16 * 1024 * 1024)
#define EVENTS         (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB)

struct crl_watch {
	struct loop *loop;
	char *path;
	struct tls_crl *lists;
	struct loop_fd inotify;
	struct loop_timer settle;
	void (*on_change)(void *arg);
	void *arg;
	int error;   /* of the last reading; told once */
	bool is_new; /* never read yet */
};

/* Return: 0 other lists are in force; -errno. */
static int load(struct crl_watch *w, size_t *ret_count)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r = file_read(w->path, FILE_BYTES_MAX, &text, &len);

	return r < 0 ? r : tls_crl_load(w->lists, text, len, ret_count);
}

static void on_settle(struct loop_timer *t)
{
	struct crl_watch *w = container_of(t, struct crl_watch, settle);
	size_t count = 0;
	int r = load(w, &count);

	if (r < 0) {
		if (r != w->error)
			(void)log_error_errno(TARGET, r, "cannot read, %s path=\"%s\"",
					      w->is_new ? "nothing is revoked"
							: "the lists before stay in force",
					      w->path);
		w->error = r;
		return;
	}
	w->error = 0;
	w->is_new = false;
	log_info(TARGET, "loaded path=\"%s\" revoked=%zu", w->path, count);
	if (w->on_change)
		w->on_change(w->arg);
}

static void on_inotify(struct loop_fd *fd, uint32_t events)
{
	struct crl_watch *w = container_of(fd, struct crl_watch, inotify);
	_Alignas(struct inotify_event) char buf[4096];

	while (read(fd->fd, buf, sizeof(buf)) > 0)
		;
	/* not pushed back by what comes next: a busy folder must not delay it for ever */
	if (!w->settle.at_us)
		(void)loop_timer_set(w->loop, &w->settle, SETTLE_US);
}

static int folder_watch(struct crl_watch *w)
{
	_cleanup_(freep) char *folder = strdup(w->path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!folder)
		return -ENOMEM;
	if (slash)
		slash[slash == folder] = '\0';
	w->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify.fd < 0)
		return -errno;
	if (inotify_add_watch(w->inotify.fd, slash ? folder : ".", EVENTS) < 0)
		return -errno;
	return loop_add(w->loop, &w->inotify, EPOLLIN);
}

int crl_watch_new(struct loop *l, const char *path, void (*on_change)(void *arg), void *arg,
		  struct crl_watch **ret)
{
	_cleanup_(crl_watch_freep) struct crl_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->inotify.fd = -EBADF;
	w->inotify.on_event = on_inotify;
	w->settle.on_timer = on_settle;
	w->loop = l;
	w->is_new = true;
	if (path) {
		w->path = strdup(path);
		r = w->path ? tls_crl_new(&w->lists) : -ENOMEM;
		if (r == 0)
			r = folder_watch(w);
		if (r < 0)
			return log_error_errno(TARGET, r, "cannot watch the folder of %s", path);
		on_settle(&w->settle);
	}
	w->on_change = on_change;
	w->arg = arg;
	*ret = TAKE_PTR(w);
	return 0;
}

struct crl_watch *crl_watch_free(struct crl_watch *w)
{
	if (!w)
		return NULL;
	loop_timer_del(&w->settle);
	loop_del(&w->inotify);
	(void)close_fd(w->inotify.fd);
	w->lists = tls_crl_free(w->lists);
	free(w->path);
	free(w);
	return NULL;
}

struct tls_crl *crl_watch_lists(const struct crl_watch *w)
{
	return w ? w->lists : NULL;
}
