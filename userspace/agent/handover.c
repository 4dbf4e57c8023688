/* SPDX-License-Identifier: Apache-2.0 */
#include "handover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/accept_pause.h"
#include "base/log.h"
#include "net/seqpacket.h"
#include "net/unix.h"

#define ANSWER_MS 10000
#define PAUSE_MS  200

struct handover {
	struct loop *loop;
	struct loop_fd watch; /* owns its descriptor */
	struct accept_pause pause;
	char *path;
	void (*on_asked)(void *arg);
	void *arg;
};

static void stop_listening(struct handover *h)
{
	if (h->watch.fd < 0)
		return;
	accept_pause_end(&h->pause);
	loop_del(&h->watch);
	(void)unlink(h->path);
	h->watch.fd = close_fd(h->watch.fd);
}

static void on_connection(struct loop_fd *w, uint32_t events)
{
	struct handover *h = container_of(w, struct handover, watch);
	_cleanup_(close_fdp) int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	uid_t uid;
	pid_t pid;

	if (fd < 0) {
		accept_pause_begin(&h->pause, h->loop, w, errno);
		return;
	}
	if (peer_cred(fd, &uid, &pid) < 0 || uid != 0) {
		log_warn("agent", "refused a connection to the handover socket");
		return;
	}
	log_info("agent", "asked to hand over pid=%d", (int)pid);
	/* The next one that asks is to find the new agent there, or nobody. */
	stop_listening(h);
	h->on_asked(h->arg);
}

int handover_listen(struct loop *loop, const char *path, void (*on_asked)(void *arg), void *arg,
		    struct handover **ret)
{
	_cleanup_(handover_freep) struct handover *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->loop = loop;
	h->watch.fd = -EBADF;
	h->watch.on_event = on_connection;
	h->on_asked = on_asked;
	h->arg = arg;
	h->path = strdup(path);
	if (!h->path)
		return -ENOMEM;
	r = unix_stream_listen(path, 0600, &h->watch.fd);
	if (r < 0)
		return r;
	r = loop_add(loop, &h->watch, EPOLLIN);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

struct handover *handover_free(struct handover *h)
{
	if (!h)
		return NULL;
	stop_listening(h);
	free(h->path);
	free(h);
	return NULL;
}

int handover_wait(void *path)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	struct pollfd answer = {.events = POLLIN};
	int r;

	r = unix_stream_connect(path, &fd);
	if (r < 0) {
		(void)nanosleep(&pause, NULL);
		return r == -ENAMETOOLONG || r == -EACCES ? r : 0;
	}
	log_info("agent", "another agent serves this node: asking it to hand over");
	answer.fd = fd;
	if (poll(&answer, 1, ANSWER_MS) < 0 && errno != EINTR)
		return -errno;
	return 0;
}
