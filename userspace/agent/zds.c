/* SPDX-License-Identifier: Apache-2.0 */
#include "zds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/accept_pause.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "net/seqpacket.h"

#define QUEUE_MAX        4096
#define QUEUE_BYTES_MAX  (16 * 1024 * 1024) /* who asks and does not read the answers */
#define HELLO_TIMEOUT_US (5 * 1000 * 1000)
#define RECV_BURST       64 /* messages per wake-up, so that the loop turns */

struct message {
	struct list link;
	size_t len, fd_count;
	int fds[ZDS_MAX_FDS]; /* owned */
	unsigned char bytes[];
};

struct conn {
	struct zds *zds;
	struct list link; /* zds.conns */
	int fd;
	pid_t pid;
	bool is_greeted;
	bool is_closing; /* freed at the end of the turn */
	struct loop_fd watch;
	struct loop_timer hello_timer;
	struct loop_task free_task;
	struct list queue; /* struct message */
	size_t queued, queued_bytes;
};

struct zds {
	struct loop *loop;
	char *path;
	char node[64];
	uid_t uid;
	const struct zds_ops *ops;
	void *arg;
	struct loop_fd listener;
	struct accept_pause pause;
	struct list conns;
	struct conn *active;    /* has said HELLO */
	struct conn *candidate; /* has not yet */
	pid_t replaced_pid;     /* may not come back while the one that replaced it is there */
};

static struct message *message_free(struct message *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < m->fd_count; i++)
		close_fd(m->fds[i]);
	free(m);
	return NULL;
}

static struct conn *conn_free(struct conn *c)
{
	struct message *m, *tmp;

	if (!c)
		return NULL;
	list_del(&c->link);
	loop_del(&c->watch);
	loop_timer_del(&c->hello_timer);
	loop_task_del(&c->free_task);
	list_for_each_entry_safe (m, tmp, &c->queue, link) {
		list_del(&m->link);
		message_free(m);
	}
	close_fd(c->fd);
	free(c);
	return NULL;
}
DEFINE_CLEANUP(struct conn *, conn_free);

/* The loop's task: the connection may be closed inside one of its own callbacks. */
static void on_conn_free(struct loop_task *t)
{
	struct conn *c = container_of(t, struct conn, free_task);
	struct zds *z = c->zds;
	bool was_active = z->active == c;

	if (z->candidate == c)
		z->candidate = NULL;
	if (was_active)
		z->active = NULL;
	conn_free(c);
	if (was_active)
		z->ops->on_lost(z->arg);
}

static void conn_close(struct conn *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	loop_del(&c->watch);
	loop_timer_del(&c->hello_timer);
	loop_task_queue(c->zds->loop, &c->free_task);
}

/* Return: NULL when there is no memory or no descriptor left. */
static struct message *message_new(const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	struct message *m = calloc(1, sizeof(*m) + len);

	if (!m)
		return NULL;
	memcpy(m->bytes, bytes, len);
	m->len = len;
	for (size_t i = 0; i < fd_count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			return message_free(m);
		m->fds[m->fd_count++] = fd;
	}
	return m;
}

static int conn_queue(struct conn *c, const void *msg, size_t len, const int *fds, size_t fd_count)
{
	struct message *m;

	if (c->queued >= QUEUE_MAX || c->queued_bytes + len > QUEUE_BYTES_MAX)
		return -ENOBUFS;
	m = message_new(msg, len, fds, fd_count);
	if (!m)
		return -ENOMEM;
	list_add_tail(&c->queue, &m->link);
	c->queued++;
	c->queued_bytes += len;
	return loop_set(&c->watch, EPOLLIN | EPOLLOUT);
}

static int conn_send(struct conn *c, struct zds_header *msg, size_t len, const int *fds,
		     size_t fd_count)
{
	int r = -EAGAIN;

	msg->len = (uint32_t)len;
	if (c->queued == 0)
		r = seqpacket_send(c->fd, msg, len, fds, fd_count);
	if (r == -EAGAIN)
		r = conn_queue(c, msg, len, fds, fd_count);
	if (r < 0) {
		log_warn_errno("agent", r, "cannot send to ztunnel, dropping it pid=%d",
			       (int)c->pid);
		conn_close(c);
	}
	return r;
}

static void conn_flush(struct conn *c)
{
	while (!list_is_empty(&c->queue)) {
		struct message *m = list_entry(c->queue.next, struct message, link);
		int r = seqpacket_send(c->fd, m->bytes, m->len, m->fds, m->fd_count);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			conn_close(c);
			return;
		}
		list_del(&m->link);
		c->queued--;
		c->queued_bytes -= m->len;
		message_free(m);
	}
	(void)loop_set(&c->watch, EPOLLIN);
}

static size_t type_len(uint32_t type)
{
	switch (type) {
	case ZDS_HELLO:
		return sizeof(struct zds_hello);
	case ZDS_POD_ACK:
		return sizeof(struct zds_pod_ref);
	case ZDS_NEED:
		return sizeof(struct zds_sockets);
	case ZDS_VERDICT:
		return sizeof(struct zds_verdict);
	case ZDS_POLICY:
		return sizeof(struct zds_header);
	case ZDS_DIRECT_ASK:
		return sizeof(struct zds_direct_ask);
	default:
		return 0;
	}
}

static int need_check(const struct zds_sockets *n)
{
	if (n->kind < CV_SOCKET_DIAL_APP || n->kind > CV_SOCKET_DNS || n->family > ZDS_INET6 ||
	    n->count < 1 || n->count > ZDS_MAX_FDS)
		return -EBADMSG;
	return 0;
}

int zds_check(const void *msg, size_t len, size_t fd_count)
{
	struct zds_header h;
	struct zds_sockets need;
	struct zds_verdict verdict;

	if (len < sizeof(h) || fd_count != 0)
		return -EBADMSG;
	memcpy(&h, msg, sizeof(h));
	if (h.len != len || type_len(h.type) != len)
		return -EBADMSG;
	if (h.type == ZDS_VERDICT) {
		memcpy(&verdict, msg, sizeof(verdict));
		return verdict.verdict > ZDS_VERDICT_ZTUNNELS ? -EBADMSG : 0;
	}
	if (h.type != ZDS_NEED)
		return 0;
	memcpy(&need, msg, sizeof(need));
	return need_check(&need);
}

static int hello_check(const struct conn *c, const struct zds_hello *hello)
{
	const struct zds *z = c->zds;

	if (c->is_greeted)
		return -EBADMSG;
	if (hello->version != ZDS_VERSION) {
		log_error("agent", "ztunnel speaks another version pid=%d version=%u expected=%u",
			  (int)c->pid, hello->version, ZDS_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (strncmp(hello->node, z->node, sizeof(z->node)) != 0) {
		log_error("agent", "ztunnel is of another node pid=%d node=%.63s", (int)c->pid,
			  hello->node);
		return -EBADMSG;
	}
	/* Two that both reconnect would replace each other for ever. */
	if (z->active && c->pid == z->replaced_pid && c->pid != z->active->pid)
		return -EALREADY;
	return 0;
}

/* The older one hears of it by its socket's end. */
static void active_replace(struct zds *z)
{
	struct conn *old = TAKE_PTR(z->active);

	if (!old)
		return;
	log_info("agent", "a newer ztunnel replaces the older old_pid=%d", (int)old->pid);
	z->replaced_pid = old->pid;
	conn_close(old);
	z->ops->on_lost(z->arg);
}

/* The candidate becomes the one ztunnel. */
static int on_hello(struct conn *c, const struct zds_hello *hello)
{
	struct zds *z = c->zds;
	struct zds_hello reply = {.h.type = ZDS_HELLO, .version = ZDS_VERSION};
	int r;

	r = hello_check(c, hello);
	if (r < 0)
		return r;
	c->is_greeted = true;
	loop_timer_del(&c->hello_timer);
	z->candidate = NULL;
	active_replace(z);
	z->active = c;
	(void)str_copy(reply.node, sizeof(reply.node), z->node);
	if (conn_send(c, &reply.h, sizeof(reply), NULL, 0) == 0)
		z->ops->on_connected(z->arg);
	return 0;
}

static int on_message(struct conn *c, const void *msg, size_t len)
{
	struct zds *z = c->zds;
	union {
		struct zds_header h;
		struct zds_hello hello;
		struct zds_pod_ref ref;
		struct zds_sockets sockets;
		struct zds_verdict verdict;
		struct zds_direct_ask ask;
	} m;

	memset(&m, 0, sizeof(m));
	memcpy(&m, msg, MIN(len, sizeof(m)));
	if (m.h.type == ZDS_HELLO)
		return on_hello(c, &m.hello);
	if (!c->is_greeted)
		return -EBADMSG;
	if (m.h.type == ZDS_POD_ACK)
		z->ops->on_ack(z->arg, m.ref.netns_cookie, m.ref.error);
	else if (m.h.type == ZDS_VERDICT)
		z->ops->on_verdict(z->arg, &m.verdict);
	else if (m.h.type == ZDS_POLICY)
		z->ops->on_policy(z->arg);
	else if (m.h.type == ZDS_DIRECT_ASK)
		z->ops->on_direct_ask(z->arg, &m.ask);
	else
		z->ops->on_need(z->arg, &m.sockets);
	return 0;
}

static int conn_receive(struct conn *c)
{
	unsigned char msg[sizeof(struct zds_hello) + 1];
	int fds[1];

	for (unsigned int i = 0; i < RECV_BURST && !c->is_closing; i++) {
		size_t n = 0;
		ssize_t len = seqpacket_recv(c->fd, msg, sizeof(msg), fds, ARRAY_SIZE(fds), &n);
		int r;

		if (len == -EAGAIN)
			return 0;
		if (len <= 0)
			return len < 0 ? (int)len : -ECONNRESET;
		for (size_t j = 0; j < n; j++)
			close_fd(fds[j]);
		r = zds_check(msg, (size_t)len, n);
		if (r == 0)
			r = on_message(c, msg, (size_t)len);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_conn(struct loop_fd *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	int r;

	if (events & EPOLLOUT)
		conn_flush(c);
	if (c->is_closing || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	r = conn_receive(c);
	if (r == 0 || c->is_closing)
		return;
	if (r == -EALREADY)
		log_debug("agent", "a replaced ztunnel tried to come back pid=%d", (int)c->pid);
	else if (r == -ECONNRESET)
		log_info("agent", "ztunnel closed its connection pid=%d", (int)c->pid);
	else
		log_warn_errno("agent", r, "dropping a ztunnel connection pid=%d", (int)c->pid);
	conn_close(c);
}

static void on_hello_timeout(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, hello_timer);

	log_warn("agent", "no HELLO from a ztunnel connection pid=%d", (int)c->pid);
	conn_close(c);
}

static int conn_new(struct zds *z, int fd, pid_t pid, struct conn **ret)
{
	_cleanup_(conn_freep) struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close_fd(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	c->zds = z;
	c->pid = pid;
	list_init(&c->queue);
	list_add_tail(&z->conns, &c->link);
	c->free_task.on_task = on_conn_free;
	c->hello_timer.on_timer = on_hello_timeout;
	c->watch.fd = fd;
	c->watch.on_event = on_conn;
	r = loop_add(z->loop, &c->watch, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(z->loop, &c->hello_timer, HELLO_TIMEOUT_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

static void on_accept(struct loop_fd *w, uint32_t events)
{
	struct zds *z = container_of(w, struct zds, listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *c;
	uid_t uid;
	pid_t pid;
	int r;

	if (fd < 0) {
		accept_pause_begin(&z->pause, z->loop, w, errno);
		return;
	}
	r = peer_cred(fd, &uid, &pid);
	if (r < 0 || (uid != 0 && uid != z->uid)) {
		log_warn("agent", "refused a connection to the zds socket uid=%u", r < 0 ? 0 : uid);
		close_fd(fd);
		return;
	}
	r = conn_new(z, fd, pid, &c);
	if (r < 0) {
		log_warn_errno("agent", r, "cannot serve a ztunnel connection");
		return;
	}
	if (z->candidate)
		conn_close(z->candidate);
	z->candidate = c;
}

int zds_new(const struct zds_config *config, struct zds **ret)
{
	_cleanup_(zds_freep) struct zds *z = calloc(1, sizeof(*z));
	int r;

	if (!z)
		return -ENOMEM;
	list_init(&z->conns);
	z->listener.fd = -EBADF;
	z->loop = config->loop;
	z->uid = config->uid;
	z->ops = config->ops;
	z->arg = config->arg;
	r = str_copy(z->node, sizeof(z->node), config->node);
	if (r < 0)
		return r;
	z->path = strdup(config->path);
	if (!z->path)
		return -ENOMEM;
	r = seqpacket_listen(z->path, 0660, &z->listener.fd);
	if (r < 0)
		return r;
	if (chown(z->path, 0, config->gid) < 0)
		return -errno;
	z->listener.on_event = on_accept;
	r = loop_add(z->loop, &z->listener, EPOLLIN);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(z);
	return 0;
}

struct zds *zds_free(struct zds *z)
{
	struct conn *c, *tmp;

	if (!z)
		return NULL;
	list_for_each_entry_safe (c, tmp, &z->conns, link)
		conn_free(c);
	accept_pause_end(&z->pause);
	loop_del(&z->listener);
	if (z->listener.fd >= 0)
		(void)unlink(z->path);
	close_fd(z->listener.fd);
	free(z->path);
	free(z);
	return NULL;
}

bool zds_is_connected(const struct zds *z)
{
	return z->active && !z->active->is_closing;
}

pid_t zds_peer_pid(const struct zds *z)
{
	return zds_is_connected(z) ? z->active->pid : 0;
}

int zds_send(struct zds *z, struct zds_header *msg, size_t len, const int *fds, size_t fd_count)
{
	if (!zds_is_connected(z))
		return -ENOTCONN;
	return conn_send(z->active, msg, len, fds, fd_count);
}
