/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "net/seqpacket.h"

/* Longer than the agent's own limit, so that its reason is heard. */
#define ANSWER_MS   20000
#define ADD_TRIES   15
#define TRY_NS      (100 * 1000 * 1000)
#define OUTSIDE_MAX (4u << 20)

static const struct timespec pause_of_try = {.tv_nsec = TRY_NS};

static int answer_wait(int fd, struct cni_reply *ret)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t fds = 0;
	ssize_t n;
	int r;

	do
		r = poll(&p, 1, ANSWER_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	n = seqpacket_recv(fd, ret, sizeof(*ret), NULL, 0, &fds);
	if (n == 0 || n == -ECONNRESET)
		return -ENOTCONN; /* it has died over the question */
	if (n < 0)
		return (int)n;
	if (n != sizeof(*ret) || ret->protocol != CNI_PROTOCOL || ret->verdict == 0 ||
	    ret->verdict >= CNI_VERDICT_MAX)
		return -EPROTO;
	ret->message[sizeof(ret->message) - 1] = '\0';
	return 0;
}

static bool is_away(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN || r == -EPIPE ||
	       r == -ECONNRESET;
}

static int agent_connect(const char *socket, int *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	uid_t uid;
	int r;

	r = seqpacket_connect(socket, &fd);
	if (r < 0)
		return is_away(r) ? -ENOTCONN : r;
	r = peer_cred(fd, &uid, NULL);
	if (r < 0)
		return r;
	if (uid != 0)
		return -EPERM;
	*ret = TAKE_FD(fd);
	return 0;
}

/* An agent that is being replaced is back before the runtime would be. */
static int agent_reach(const char *socket, unsigned int tries, int *ret)
{
	int r = agent_connect(socket, ret);

	for (unsigned int i = 1; i < tries && r == -ENOTCONN; i++) {
		(void)nanosleep(&pause_of_try, NULL);
		r = agent_connect(socket, ret);
	}
	return r;
}

struct question {
	const char *socket;
	const struct cni_request *request;
	int netns_fd;            /* < 0: none */
	struct cni_reply *reply; /* NULL: none is awaited */
};

/* @ret_was_there: somebody has heard it. */
static int question_put(const struct question *q, bool *ret_was_there)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int r;

	r = agent_reach(q->socket, q->request->verb == CNI_ADD ? ADD_TRIES : 1, &fd);
	*ret_was_there = r == 0;
	if (r < 0)
		return r;
	r = seqpacket_send(fd, q->request, sizeof(*q->request), &q->netns_fd, q->netns_fd >= 0);
	if (r < 0)
		return is_away(r) ? -ENOTCONN : r;
	return q->reply ? answer_wait(fd, q->reply) : 0;
}

int agent_ask(void *arg, const char *socket, const struct cni_request *request, const char *netns,
	      struct cni_reply *ret)
{
	_cleanup_(close_fdp) int ns = -EBADF;
	struct question q = {.socket = socket, .request = request, .reply = ret};
	bool was_there;
	int r;

	if (netns) {
		ns = open(netns, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (ns < 0)
			return -errno;
	}
	q.netns_fd = ns;
	r = question_put(&q, &was_there);
	/* there may be another by now. Once: the question may be what it has ended of */
	if (r == -ENOTCONN && was_there && request->verb == CNI_ADD) {
		(void)nanosleep(&pause_of_try, NULL); /* its listener ends, too */
		r = question_put(&q, &was_there);
	}
	return r;
}

/* ---- away ---- */

/* Root's, and of nobody else to write: the folder is on the node, where other things are, too. */
static bool is_trusted(const char *path, struct stat *st)
{
	return lstat(path, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == 0 &&
	       !(st->st_mode & 022);
}

static bool is_line_of(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; *line && (at = strstr(at, line)) != NULL; at += len)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	return false;
}

static bool was_outside(const char *folder, const char *namespace_)
{
	_cleanup_(freep) char *path = str_format("%s/" CNI_OUTSIDE_NAME, folder), *text = NULL;
	struct stat st;

	return path && is_trusted(path, &st) && file_read(path, OUTSIDE_MAX, &text, NULL) == 0 &&
	       is_line_of(text, namespace_);
}

/* By the clock since boot: a step of the other must not end the wait. */
static bool is_away_for(const char *folder, unsigned int grace_s)
{
	_cleanup_(freep) char *path = str_format("%s/" CNI_AWAY_NAME, folder), *text = NULL;
	uint64_t since_us, now_us = now_monotonic_us();
	struct stat st;
	char now[32];

	if (!path)
		return false;
	if (is_trusted(path, &st) && file_read(path, sizeof(now), &text, NULL) == 0 &&
	    str_parse_u64(text, 0, now_us, &since_us) == 0)
		return now_us - since_us >= grace_s * 1000000ULL;
	(void)snprintf(now, sizeof(now), "%llu", (unsigned long long)now_us);
	(void)!file_write_atomic(path, now, strlen(now), 0600);
	return false;
}

bool agent_is_let_go(void *arg, const char *socket, unsigned int grace_s, const char *namespace_)
{
	_cleanup_(freep) char *folder = strdup(socket);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash)
		return false;
	*slash = '\0';
	/* First, so that the count begins with any pod. */
	return is_away_for(folder, grace_s) && was_outside(folder, namespace_);
}
