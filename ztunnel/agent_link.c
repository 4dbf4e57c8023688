/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/agent_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "net/seqpacket.h"

#define TARGET           "ztunnel"
#define RETRY_MIN_US     (10 * 1000ULL)
#define RETRY_MAX_US     (1000 * 1000ULL)
#define MESSAGES_MAX     64 /* per turn */
#define QUEUE_MAX        4096
#define HELLO_TIMEOUT_US (5 * 1000000ULL)
#define NEVER_US         (UINT64_MAX / 2)

/* A message that the agent's socket had no room for. */
struct queued {
	struct list link;
	size_t len;
	uint8_t bytes[];
};

struct agent_link {
	struct loop *loop;
	char *path;
	char node[64];
	const struct agent_link_ops *ops;
	void *arg;
	struct loop_fd watch;
	struct loop_timer
		timer; /* reconnect, the agent's HELLO is due, or it has missed a message */
	uint64_t retry_us;
	bool is_connected; /* its HELLO has come */
	bool is_told;      /* the failure to connect is in the log already */
	struct list queue;
	uint32_t queue_count;
	_Alignas(struct zds_pod_add) uint8_t buf[ZDS_MAX_MESSAGE]; /* read in place */
};

static int check_fixed(const struct zds_header *h, size_t size, size_t fd_count, size_t want_fds)
{
	return h->len == size && fd_count == want_fds ? 0 : -EBADMSG;
}

static int check_sockets(const struct zds_sockets *m, size_t len, size_t fd_count)
{
	if (len != sizeof(*m) || m->count != fd_count || m->count > ZDS_MAX_FDS)
		return -EBADMSG;
	if (m->kind < CV_SOCKET_DIAL_APP || m->kind > CV_SOCKET_DNS || m->family > ZDS_INET6)
		return -EBADMSG;
	return (m->error == 0) == (m->count > 0) ? 0 : -EBADMSG;
}

static int check_hello(const struct zds_hello *m, size_t len, size_t fd_count)
{
	if (len != sizeof(*m) || fd_count != 0 || m->version != ZDS_VERSION)
		return -EBADMSG;
	return memchr(m->node, '\0', sizeof(m->node)) ? 0 : -EBADMSG;
}

static int check_direct(const struct zds_direct *m, size_t len, size_t fd_count)
{
	if (len < sizeof(*m) || len % sizeof(*m) != 0 || fd_count != 0)
		return -EBADMSG;
	for (size_t i = 0; i < len / sizeof(*m); i++)
		if (m[i].what > ZDS_DIRECT_DENIED)
			return -EBADMSG;
	return 0;
}

static int check_direct_page(const struct zds_direct_page *m, size_t len, size_t fd_count)
{
	if (len < sizeof(*m) || fd_count != 0)
		return -EBADMSG;
	return len - sizeof(*m) == (size_t)m->count * sizeof(m->open[0]) ? 0 : -EBADMSG;
}

int agent_link_check(const void *msg, size_t len, size_t fd_count)
{
	const struct zds_header *h = msg;

	if (len < sizeof(*h) || h->len != len)
		return -EBADMSG;
	switch (h->type) {
	case ZDS_HELLO:
		return check_hello(msg, len, fd_count);
	case ZDS_POD_ADD:
		return check_fixed(h, sizeof(struct zds_pod_add), fd_count, ZDS_LISTENERS);
	case ZDS_POD_DEL:
		return check_fixed(h, sizeof(struct zds_pod_ref), fd_count, 0);
	case ZDS_SYNCED:
		return check_fixed(h, sizeof(struct zds_header), fd_count, 0);
	case ZDS_SOCKETS:
		return check_sockets(msg, len, fd_count);
	case ZDS_NAMESERVER:
		return check_fixed(h, sizeof(struct zds_nameserver), fd_count, 0);
	case ZDS_VERDICT_ASK:
		return check_fixed(h, sizeof(struct zds_verdict), fd_count, 0);
	case ZDS_DIRECT:
		return check_direct(msg, len, fd_count);
	case ZDS_DIRECT_PAGE:
		return check_direct_page(msg, len, fd_count);
	case ZDS_METRICS:
		return fd_count == 0 ? 0 : -EBADMSG;
	default:
		return -EBADMSG;
	}
}

static void queue_clear(struct agent_link *l)
{
	while (!list_is_empty(&l->queue)) {
		struct queued *q = list_entry(l->queue.next, struct queued, link);

		list_del(&q->link);
		free(q);
	}
	l->queue_count = 0;
}

static void disconnect(struct agent_link *l, int error, const char *why)
{
	bool was_connected = l->is_connected;

	loop_del(&l->watch);
	l->watch.fd = close_fd(l->watch.fd);
	l->is_connected = false;
	queue_clear(l);
	if (was_connected || !l->is_told)
		(void)log_warn_errno(TARGET, error, "no agent path=%s reason=\"%s\"", l->path, why);
	l->is_told = true;
	(void)loop_timer_set(l->loop, &l->timer, l->retry_us);
	l->retry_us = MIN(l->retry_us * 2, (uint64_t)RETRY_MAX_US);
	if (was_connected)
		l->ops->on_lost(l->arg);
}

static int enqueue(struct agent_link *l, const void *msg, size_t len)
{
	struct queued *q;

	if (l->queue_count >= QUEUE_MAX)
		return -ENOBUFS;
	q = malloc(sizeof(*q) + len);
	if (!q)
		return -ENOBUFS;
	q->len = len;
	memcpy(q->bytes, msg, len);
	list_add_tail(&l->queue, &q->link);
	l->queue_count++;
	return loop_set(&l->watch, EPOLLIN | EPOLLOUT);
}

static int send_message(struct agent_link *l, const void *msg, size_t len)
{
	int r = -EAGAIN;

	if (l->watch.fd < 0)
		return -ENOTCONN;
	if (list_is_empty(&l->queue))
		r = seqpacket_send(l->watch.fd, msg, len, NULL, 0);
	return r == -EAGAIN ? enqueue(l, msg, len) : r;
}

/* Of what may not be missed: one that was lost leaves the agent with verdicts that do not hold, or
 * with a pod that it waits for. When it is back it asks for all anew. The timer is set at all
 * times: another time for it needs no memory. */
static int send_surely(struct agent_link *l, const void *msg, size_t len)
{
	int r = send_message(l, msg, len);

	if (r < 0 && l->is_connected)
		(void)loop_timer_set(l->loop, &l->timer, 0);
	return r;
}

static int flush_queue(struct agent_link *l)
{
	while (!list_is_empty(&l->queue)) {
		struct queued *q = list_entry(l->queue.next, struct queued, link);
		int r = seqpacket_send(l->watch.fd, q->bytes, q->len, NULL, 0);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		list_del(&q->link);
		free(q);
		l->queue_count--;
	}
	return loop_set(&l->watch, EPOLLIN);
}

static void on_hello(struct agent_link *l)
{
	l->is_connected = true;
	l->is_told = false;
	l->retry_us = RETRY_MIN_US;
	(void)loop_timer_set(l->loop, &l->timer, NEVER_US);
	log_info(TARGET, "connected to agent path=%s", l->path);
	l->ops->on_connected(l->arg);
}

static void dispatch(struct agent_link *l, size_t len, const int *fds)
{
	const struct zds_header *h = (const void *)l->buf;

	switch (h->type) {
	case ZDS_HELLO:
		on_hello(l);
		break;
	case ZDS_POD_ADD:
		l->ops->on_pod_add(l->arg, (const void *)l->buf, fds);
		break;
	case ZDS_POD_DEL:
		l->ops->on_pod_del(l->arg, ((const struct zds_pod_ref *)h)->netns_cookie);
		break;
	case ZDS_SYNCED:
		l->ops->on_synced(l->arg);
		break;
	case ZDS_SOCKETS:
		l->ops->on_sockets(l->arg, (const void *)l->buf, fds);
		break;
	case ZDS_NAMESERVER:
		l->ops->on_nameserver(l->arg, (const void *)l->buf);
		break;
	case ZDS_VERDICT_ASK:
		l->ops->on_verdict_ask(l->arg, (const void *)l->buf);
		break;
	case ZDS_DIRECT:
		l->ops->on_direct(l->arg, (const void *)l->buf, len / sizeof(struct zds_direct));
		break;
	case ZDS_DIRECT_PAGE:
		l->ops->on_direct_page(l->arg, (const void *)l->buf);
		break;
	case ZDS_METRICS:
		l->ops->on_metrics(l->arg, (const char *)(h + 1), len - sizeof(*h));
		break;
	default:
		break;
	}
}

/* receive_one() - Return: 1 there may be more; 0 not now, or disconnected. */
static int receive_one(struct agent_link *l)
{
	int fds[ZDS_MAX_FDS];
	size_t n_fds = 0;
	ssize_t n;

	n = seqpacket_recv(l->watch.fd, l->buf, sizeof(l->buf), fds, ZDS_MAX_FDS, &n_fds);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		disconnect(l, n == 0 ? -ECONNRESET : (int)n, "read failed");
		return 0;
	}
	/* HELLO comes first, and once. */
	if (agent_link_check(l->buf, (size_t)n, n_fds) < 0 ||
	    l->is_connected ==
		    (((const struct zds_header *)(const void *)l->buf)->type == ZDS_HELLO)) {
		for (size_t i = 0; i < n_fds; i++)
			(void)close_fd(fds[i]);
		disconnect(l, -EBADMSG, "malformed message");
		return 0;
	}
	dispatch(l, (size_t)n, fds);
	return l->watch.fd >= 0;
}

static void on_event(struct loop_fd *w, uint32_t events)
{
	struct agent_link *l = container_of(w, struct agent_link, watch);
	int r;

	if (events & EPOLLOUT) {
		r = flush_queue(l);
		if (r < 0) {
			disconnect(l, r, "write failed");
			return;
		}
	}
	for (int i = 0; i < MESSAGES_MAX && receive_one(l) == 1; i++)
		continue;
}

static int check_peer(int fd)
{
	uid_t uid;
	int r = peer_cred(fd, &uid, NULL);

	if (r < 0)
		return r;
	return uid == 0 || uid == geteuid() ? 0 : -EACCES;
}

static int say_hello(struct agent_link *l)
{
	struct zds_hello m = {.h = {ZDS_HELLO, sizeof(m)}, .version = ZDS_VERSION};

	memcpy(m.node, l->node, sizeof(m.node));
	return send_message(l, &m, sizeof(m));
}

static void try_connect(struct agent_link *l)
{
	int r;

	r = seqpacket_connect(l->path, &l->watch.fd);
	if (r < 0) {
		l->watch.fd = -EBADF;
		disconnect(l, r, "cannot connect");
		return;
	}
	r = check_peer(l->watch.fd);
	if (r == 0)
		r = loop_add(l->loop, &l->watch, EPOLLIN);
	if (r == 0)
		r = say_hello(l);
	if (r < 0) {
		disconnect(l, r, "cannot greet");
		return;
	}
	(void)loop_timer_set(l->loop, &l->timer, HELLO_TIMEOUT_US);
}

static void on_timer(struct loop_timer *t)
{
	struct agent_link *l = container_of(t, struct agent_link, timer);

	if (l->is_connected)
		disconnect(l, -ENOBUFS, "the agent does not hear what it must");
	else if (l->watch.fd >= 0)
		disconnect(l, -ETIMEDOUT, "the agent does not greet");
	else
		try_connect(l);
}

int agent_link_new(const struct agent_link_config *config, struct agent_link **ret)
{
	_cleanup_(agent_link_freep) struct agent_link *l = NULL;
	int r;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	list_init(&l->queue);
	l->watch.fd = -EBADF;
	l->path = strdup(config->path);
	if (!l->path)
		return -ENOMEM;
	r = str_copy(l->node, sizeof(l->node), config->node);
	if (r < 0)
		return -ENAMETOOLONG;
	l->loop = config->loop;
	l->ops = config->ops;
	l->arg = config->arg;
	l->watch.on_event = on_event;
	l->timer.on_timer = on_timer;
	l->retry_us = RETRY_MIN_US;
	r = loop_timer_set(l->loop, &l->timer, 1);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

struct agent_link *agent_link_free(struct agent_link *l)
{
	if (!l)
		return NULL;
	loop_timer_del(&l->timer);
	loop_del(&l->watch);
	l->watch.fd = close_fd(l->watch.fd);
	queue_clear(l);
	free(l->path);
	free(l);
	return NULL;
}

bool agent_link_is_connected(const struct agent_link *l)
{
	return l->is_connected;
}

int agent_link_ack(struct agent_link *l, uint64_t netns_cookie, int error)
{
	const struct zds_pod_ref m = {
		.h = {ZDS_POD_ACK, sizeof(m)}, .netns_cookie = netns_cookie, .error = error};

	return send_surely(l, &m, sizeof(m));
}

int agent_link_need(struct agent_link *l, const struct zds_sockets *need)
{
	struct zds_sockets m = *need;

	m.h.type = ZDS_NEED;
	m.h.len = sizeof(m);
	if (!l->is_connected)
		return -ENOTCONN;
	return send_message(l, &m, sizeof(m));
}

int agent_link_verdict(struct agent_link *l, const struct zds_verdict *verdict)
{
	struct zds_verdict m = *verdict;

	m.h.type = ZDS_VERDICT;
	m.h.len = sizeof(m);
	return send_surely(l, &m, sizeof(m));
}

int agent_link_policy(struct agent_link *l)
{
	const struct zds_header h = {ZDS_POLICY, sizeof(h)};

	if (!l->is_connected)
		return -ENOTCONN;
	return send_surely(l, &h, sizeof(h));
}

int agent_link_direct_ask(struct agent_link *l, uint64_t id, uint32_t at)
{
	const struct zds_direct_ask m = {
		.h = {ZDS_DIRECT_ASK, sizeof(m)},
		.id = id,
		.at = at,
	};

	if (!l->is_connected)
		return -ENOTCONN;
	return send_message(l, &m, sizeof(m));
}
