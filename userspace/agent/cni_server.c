/* SPDX-License-Identifier: Apache-2.0 */
#include "cni_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/accept_pause.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "net/seqpacket.h"

#define CONNECTIONS_MAX 512
#define REQUEST_US      (5 * 1000 * 1000)
#define WAIT_US         (15 * 1000 * 1000) /* less than the plugin's patience */
#define AGAIN_US        (50 * 1000)
#define LOG_LINES_MAX   200 /* per minute: a runtime that turns in circles fills no disk */
#define LOG_WINDOW_US   (60ULL * 1000 * 1000)

struct conn {
	struct cni_server *server;
	struct list link;
	struct loop_fd watch;
	struct loop_timer timer; /* until the request is there, then until the next try */
	struct cni_request request;
	int netns_fd;
	uint64_t asked_us; /* 0: no request yet */
};

struct cni_server {
	struct cni_server_config config;
	char *path;
	struct loop_fd listener;
	struct accept_pause pause;
	struct list conns;
	unsigned int n_conns;
	struct loop_task recheck;
	uint64_t log_window_us;
	unsigned int log_lines;
};

static void conn_free(struct conn *c)
{
	loop_timer_del(&c->timer);
	loop_del(&c->watch);
	close_fd(c->watch.fd);
	close_fd(c->netns_fd);
	list_del(&c->link);
	if (c->server->n_conns-- == CONNECTIONS_MAX)
		(void)loop_set(&c->server->listener, EPOLLIN);
	free(c);
}

static bool is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

int cni_request_check(const struct cni_request *q, size_t len, size_t nfds)
{
	if (len < sizeof(q->protocol))
		return -EBADMSG;
	if (q->protocol != CNI_PROTOCOL)
		return -EPROTONOSUPPORT;
	if (len != sizeof(*q) || q->verb == 0 || q->verb >= CNI_VERB_MAX ||
	    nfds != (q->verb == CNI_ADD))
		return -EBADMSG;
	if (!is_text(q->namespace_, sizeof(q->namespace_)) || !is_text(q->pod, sizeof(q->pod)) ||
	    !is_text(q->uid, sizeof(q->uid)) || !is_text(q->container, sizeof(q->container)) ||
	    !is_text(q->message, sizeof(q->message)))
		return -EBADMSG;
	if (!q->namespace_[0] || !q->pod[0] || strchr(q->namespace_, '/') || strchr(q->pod, '/'))
		return -EBADMSG;
	return 0;
}

static void conn_answer(struct conn *c, struct cni_reply *reply)
{
	static const char *const words[CNI_VERDICT_MAX] = {[CNI_CAPTURED] = "captured",
							   [CNI_REFUSING] = "refusing",
							   [CNI_OUTSIDE] = "outside"};
	const struct cni_request *q = &c->request;

	if (c->asked_us && q->verb == CNI_ADD && words[reply->verdict])
		log_info("cni", "pod may start pod=%s/%s verdict=%s took_us=%llu", q->namespace_,
			 q->pod, words[reply->verdict],
			 (unsigned long long)(now_monotonic_us() - c->asked_us));
	if (c->asked_us && q->verb == CNI_ADD && !words[reply->verdict])
		log_warn("cni", "a pod must wait pod=%s/%s because=\"%s\"", q->namespace_, q->pod,
			 reply->message);
	reply->protocol = CNI_PROTOCOL;
	(void)!seqpacket_send(c->watch.fd, reply, sizeof(*reply), NULL, 0);
	conn_free(c);
}

/* Ask, and answer when there is an answer. */
static void conn_try(struct conn *c)
{
	struct cni_server *s = c->server;
	uint64_t waited_us = loop_now_us(s->config.loop) - c->asked_us;
	struct cni_reply reply = {0};

	s->config.on_request(s->config.arg, &c->request, c->netns_fd, waited_us, &reply);
	if (reply.verdict == 0 && waited_us < WAIT_US) {
		(void)loop_timer_set(s->config.loop, &c->timer, AGAIN_US);
		return;
	}
	if (reply.verdict == 0)
		reply.verdict = CNI_AGAIN;
	conn_answer(c, &reply);
}

static void on_timer(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);

	if (c->asked_us)
		conn_try(c);
	else
		conn_free(c);
}

/* What the plugin has to say, as part of our own log. */
static void line_log(struct cni_server *s, const struct cni_request *q)
{
	uint64_t now_us = loop_now_us(s->config.loop);

	if (now_us - s->log_window_us > LOG_WINDOW_US) {
		s->log_window_us = now_us;
		s->log_lines = 0;
	}
	if (s->log_lines++ < LOG_LINES_MAX)
		log_info("cni", "%s pod=%s/%s", q->message, q->namespace_, q->pod);
}

static void conn_take(struct conn *c, int r)
{
	struct cni_reply again = {.verdict = CNI_AGAIN};

	if (r == -EPROTONOSUPPORT) {
		(void)str_copy(again.message, sizeof(again.message),
			       "culvert-cni is of another version than culvert-agent");
		conn_answer(c, &again);
	} else if (r < 0) {
		log_warn_errno("cni", r, "dropping a request that is none");
		conn_free(c);
	} else if (c->request.verb == CNI_LOG) {
		line_log(c->server, &c->request);
		conn_free(c);
	} else {
		c->asked_us = loop_now_us(c->server->config.loop);
		(void)loop_set(&c->watch, 0); /* from now on it tells only that the plugin went */
		conn_try(c);
	}
}

static void on_conn(struct loop_fd *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	size_t n = 0;
	ssize_t len;

	if (c->asked_us || !(events & EPOLLIN)) {
		conn_free(c);
		return;
	}
	len = seqpacket_recv(w->fd, &c->request, sizeof(c->request), &c->netns_fd, 1, &n);
	if (len == -EAGAIN)
		return;
	if (n == 0)
		c->netns_fd = -EBADF;
	conn_take(c, len < 0 ? (int)len : cni_request_check(&c->request, (size_t)len, n));
}

static int conn_new(struct cni_server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct conn){.server = s, .netns_fd = -EBADF};
	c->watch = (struct loop_fd){.fd = fd, .on_event = on_conn};
	c->timer.on_timer = on_timer;
	r = loop_add(s->config.loop, &c->watch, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(s->config.loop, &c->timer, REQUEST_US);
	if (r < 0) {
		loop_del(&c->watch);
		free(c);
		return r;
	}
	list_add_tail(&s->conns, &c->link);
	if (++s->n_conns == CONNECTIONS_MAX)
		(void)loop_set(&s->listener, 0);
	return 0;
}

static void on_accept(struct loop_fd *w, uint32_t events)
{
	struct cni_server *s = container_of(w, struct cni_server, listener);
	_cleanup_(close_fdp) int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	uid_t uid;
	int r;

	if (fd < 0) {
		accept_pause_begin(&s->pause, s->config.loop, w, errno);
		return;
	}
	r = peer_cred(fd, &uid, NULL);
	if (r < 0 || uid != 0) {
		log_warn("cni", "refused a connection uid=%u", r < 0 ? 0 : uid);
		return;
	}
	r = conn_new(s, fd);
	if (r < 0)
		log_warn_errno("cni", r, "cannot serve culvert-cni");
	else
		(void)TAKE_FD(fd);
}

static void on_recheck(struct loop_task *t)
{
	struct cni_server *s = container_of(t, struct cni_server, recheck);
	struct conn *c, *tmp;

	list_for_each_entry_safe (c, tmp, &s->conns, link)
		if (c->asked_us)
			conn_try(c);
}

void cni_server_recheck(struct cni_server *s)
{
	if (s && s->n_conns)
		loop_task_queue(s->config.loop, &s->recheck);
}

int cni_server_new(const struct cni_server_config *config, struct cni_server **ret)
{
	_cleanup_(cni_server_freep) struct cni_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	list_init(&s->conns);
	s->config = *config;
	s->listener = (struct loop_fd){.fd = -EBADF, .on_event = on_accept};
	s->recheck.on_task = on_recheck;
	s->path = str_format("%s/" CNI_SOCKET_NAME, config->dir);
	if (!s->path)
		return -ENOMEM;
	r = mkdir_p(config->dir, 0700);
	if (r == 0)
		r = seqpacket_listen(s->path, 0600, &s->listener.fd);
	if (r == 0)
		r = loop_add(config->loop, &s->listener, EPOLLIN);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct cni_server *cni_server_free(struct cni_server *s)
{
	struct conn *c, *tmp;

	if (!s)
		return NULL;
	loop_task_del(&s->recheck);
	list_for_each_entry_safe (c, tmp, &s->conns, link)
		conn_free(c);
	accept_pause_end(&s->pause);
	loop_del(&s->listener);
	if (s->listener.fd >= 0)
		(void)unlink(s->path);
	close_fd(s->listener.fd);
	free(s->path);
	free(s);
	return NULL;
}
