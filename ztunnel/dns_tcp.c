/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "net/addr.h"
#include "ztunnel/descriptors.h"
#include "ztunnel/dns_internal.h"
#include "ztunnel/dns_stream.h"
#include "ztunnel/memory.h"

#define QUERIES_MAX 64 /* of one connection, forwarded and not answered */
#define ACCEPT_MAX  16 /* connections of one wake-up: the loop has others to serve */

/* A query that has been forwarded. */
struct tcp_query {
	struct list link; /* in client->queries, in order; has_begun: in ->transfers */
	uint64_t started_us;
	bool has_begun; /* a transfer of which something has come */
	size_t len;
	uint8_t packet[];
};

/* One connection of a pod, and the one to its nameserver, opened when the first query has to go
 * there. */
struct tcp_client {
	struct list link; /* in pod->clients */
	struct dns_pod *pod;
	struct loop_fd down; /* the pod */
	struct loop_fd up;   /* the nameserver; fd < 0 while there is none */
	struct loop_timer idle;
	struct loop_timer slow;        /* for the nameserver to answer something */
	struct cv_sockaddr nameserver; /* what the pod dialled */
	struct list queries;
	size_t queries_count;
	struct list transfers;
	size_t transfers_count;
	size_t held;        /* bytes of it and its buffers that have been counted */
	unsigned int tries; /* nameservers that the queries of now have been sent to */
	bool is_up_wanted;  /* waits for a socket */
	bool is_up_ready;   /* connected */
	bool is_down_eof;
	struct buf from_down, to_down, from_up, to_up;
};

static void query_unlink(struct tcp_client *c, struct tcp_query *q)
{
	list_del(&q->link);
	if (q->has_begun) {
		c->transfers_count--;
		return;
	}
	c->queries_count--;
	c->pod->dns->tcp_queries--;
}

static void query_free(struct tcp_client *c, struct tcp_query *q)
{
	query_unlink(c, q);
	dns_let_go(c->pod, sizeof(*q) + q->len);
	free(q);
}

static void queries_free(struct tcp_client *c)
{
	struct tcp_query *q, *tmp;

	list_for_each_entry_safe (q, tmp, &c->queries, link)
		query_free(c, q);
	list_for_each_entry_safe (q, tmp, &c->transfers, link)
		query_free(c, q);
}

/* transfer_begin() - a zone comes in as many messages as it takes, and which is the last one only
 * who asked can tell. Of too many the first is over, or as good as that. */
static void transfer_begin(struct tcp_client *c, struct tcp_query *q)
{
	if (c->transfers_count == QUERIES_MAX)
		query_free(c, list_entry(c->transfers.next, struct tcp_query, link));
	query_unlink(c, q);
	q->has_begun = true;
	list_add_tail(&c->transfers, &q->link);
	c->transfers_count++;
}

static void client_free(struct tcp_client *c)
{
	loop_timer_del(&c->idle);
	loop_timer_del(&c->slow);
	queries_free(c);
	loop_del(&c->down);
	loop_del(&c->up);
	close_fd(c->down.fd);
	close_fd(c->up.fd);
	buf_reset(&c->from_down);
	buf_reset(&c->to_down);
	buf_reset(&c->from_up);
	buf_reset(&c->to_up);
	list_del(&c->link);
	c->pod->clients_count--;
	dns_let_go(c->pod, c->held);
	free(c);
}

static void on_idle(struct loop_timer *t)
{
	client_free(container_of(t, struct tcp_client, idle));
}

static void client_arm(struct tcp_client *c)
{
	uint32_t down = (c->is_down_eof || buf_len(&c->to_down) > DNS_MESSAGE_MAX ? 0 : EPOLLIN) |
			(buf_len(&c->to_down) ? EPOLLOUT : 0);
	uint32_t up = (buf_len(&c->to_down) > DNS_MESSAGE_MAX ? 0 : EPOLLIN) |
		      (!c->is_up_ready || buf_len(&c->to_up) ? EPOLLOUT : 0);

	loop_set(&c->down, down);
	if (c->up.loop)
		loop_set(&c->up, up);
}

static void on_up(struct loop_fd *w, uint32_t events);

/* up_close() - who waits for the rest of a transfer is to see that it ends here. */
static void up_close(struct tcp_client *c)
{
	if (c->transfers_count > 0)
		c->is_down_eof = true;
	loop_del(&c->up);
	c->up.fd = close_fd(c->up.fd);
	c->is_up_ready = false;
	buf_consume(&c->to_up, buf_len(&c->to_up));
	buf_consume(&c->from_up, buf_len(&c->from_up));
}

/* Connect to a nameserver as soon as there is a socket. Return: 0; -errno. */
static int up_connect(struct tcp_client *c)
{
	struct cv_sockaddr to = c->nameserver;
	struct sockaddr_storage native;
	socklen_t len;
	int r;

	to.addr = *dns_server(c->pod, &c->nameserver.addr, c->tries - 1);
	r = dns_stock_take(c->pod, true, &to.addr);
	c->is_up_wanted = r == -EAGAIN;
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	c->up.fd = r;
	c->up.on_event = on_up;
	r = cv_sockaddr_to_native(&to, AF_UNSPEC, &native, &len);
	if (r < 0)
		return r;
	if (connect(c->up.fd, (struct sockaddr *)&native, len) < 0 && errno != EINPROGRESS)
		return -errno;
	return loop_add(c->pod->dns->loop, &c->up, EPOLLIN | EPOLLOUT);
}

/* No nameserver answers: say so for each query. */
static int queries_fail(struct tcp_client *c)
{
	struct tcp_query *q, *tmp;
	int r = 0;

	list_for_each_entry_safe (q, tmp, &c->queries, link) {
		const struct dns_request request = dns_request_of(c->pod, q->packet, q->len, true);
		size_t len = dns_fail(c->pod->dns, &request);

		if (r == 0 && len)
			r = dns_stream_put(&c->to_down, c->pod->dns->answer, len);
		query_free(c, q);
	}
	loop_timer_del(&c->slow);
	return r;
}

static int queries_send(struct tcp_client *c)
{
	struct tcp_query *q;
	int r = 0;

	list_for_each_entry (q, &c->queries, link)
		if (r == 0)
			r = dns_stream_put(&c->to_up, q->packet, q->len);
	return r;
}

/* May all that is outstanding be sent once more? */
static bool may_try_again(const struct tcp_client *c)
{
	const struct tcp_query *q;

	list_for_each_entry (q, &c->queries, link)
		if (c->tries >= dns_tries(q->packet, q->len))
			return false;
	return true;
}

/* How long the nameserver of now may take: the last one all that is left. */
static int slow_set(struct tcp_client *c)
{
	unsigned int tries =
		may_try_again(c) || c->tries > DNS_TRIES ? 1 : DNS_TRIES - c->tries + 1;

	return loop_timer_set(c->pod->dns->loop, &c->slow, (uint64_t)DNS_TRY_US * tries);
}

/* The nameserver has failed, or it is slow: the next one. Return: 0; -errno: hang up. */
static int up_next(struct tcp_client *c)
{
	int r = -ECONNREFUSED;

	up_close(c);
	while (r < 0 && c->queries_count && may_try_again(c)) {
		c->tries++;
		up_close(c);
		r = queries_send(c);
		if (r == 0)
			r = up_connect(c);
	}
	if (r < 0) {
		up_close(c);
		return queries_fail(c);
	}
	return slow_set(c);
}

static struct tcp_query *query_new(struct tcp_client *c, const uint8_t *packet, size_t len)
{
	struct tcp_query *q;

	if (dns_hold_new(c->pod, sizeof(*q) + len) < 0)
		return NULL;
	q = malloc(sizeof(*q) + len);
	if (!q) {
		dns_let_go(c->pod, sizeof(*q) + len);
		return NULL;
	}
	q->len = len;
	q->has_begun = false;
	memcpy(q->packet, packet, len);
	q->started_us = loop_now_us(c->pod->dns->loop);
	list_add_tail(&c->queries, &q->link);
	c->queries_count++;
	c->pod->dns->tcp_queries++;
	return q;
}

/* Nobody is asked. */
static int client_refuse(struct tcp_client *c, const struct dns_request *request)
{
	struct dns *d = c->pod->dns;

	d->stats.dropped++;
	return dns_stream_put(&c->to_down, d->answer, dns_fail(d, request));
}

static int client_forward(struct tcp_client *c, const struct dns_request *request)
{
	struct tcp_query *q;
	int r;

	if (c->queries_count >= QUERIES_MAX)
		return -ENOSPC;
	q = query_new(c, request->packet, request->len);
	if (!q)
		return client_refuse(c, request);
	dns_metrics_count(c->pod->dns->metrics, request, DNS_FORWARDED);
	if (c->up.fd < 0 && !c->is_up_wanted) {
		c->tries = 0;
		return up_next(c);
	}
	r = dns_stream_put(&c->to_up, q->packet, q->len);
	return r == 0 && !c->slow.loop ? slow_set(c) : r;
}

/* Answer or forward each whole query that has come. Return: 0; -errno: hang up. */
static int client_serve(struct tcp_client *c)
{
	struct dns *d = c->pod->dns;
	struct dns_request request;
	size_t whole, len;
	int r = 0;

	while (r == 0 && (whole = dns_stream_next(&c->from_down))) {
		const uint8_t *packet = buf_head(&c->from_down) + DNS_STREAM_PREFIX;

		request = dns_request_of(c->pod, packet, whole - DNS_STREAM_PREFIX, true);
		dns_metrics_count(d->metrics, &request, DNS_ASKED);
		r = dns_try_answer(c->pod, &request, &len);
		if (r == 0)
			r = dns_stream_put(&c->to_down, d->answer, len);
		else if (r == -ENOENT)
			r = client_forward(c, &request);
		if (r == 0)
			buf_consume(&c->from_down, whole);
	}
	if (r == -EBADMSG)
		d->stats.dropped++;
	return r;
}

/* Return: NULL: none of @queries. */
static struct tcp_query *query_of(const struct list *queries, const uint8_t *reply, size_t len)
{
	struct tcp_query *q;

	list_for_each_entry (q, queries, link)
		if (dns_is_reply(q->packet, q->len, reply, len))
			return q;
	return NULL;
}

/* query_answered() - Return: length in dns->answer of what is said instead; 0: the reply. */
static size_t query_answered(struct tcp_client *c, struct tcp_query *q, const uint8_t *reply)
{
	const struct dns_request request = dns_request_of(c->pod, q->packet, q->len, true);
	struct dns *d = c->pod->dns;
	size_t own;

	dns_metrics_took(d->metrics, &request, loop_now_us(d->loop) - q->started_us);
	own = dns_substitute(c->pod, &request, reply);
	if (dns_is_transfer(q->packet, q->len) && dns_has_answer(reply))
		transfer_begin(c, q);
	else
		query_free(c, q);
	return own;
}

/* A reply, when somebody has asked for it, and still waits. Return: 0; -errno. */
static int reply_pass(struct tcp_client *c, const uint8_t *packet, size_t len)
{
	struct tcp_query *q = query_of(&c->queries, packet, len);
	size_t own = 0;
	int r;

	if (q)
		own = query_answered(c, q, packet);
	else if (!query_of(&c->transfers, packet, len))
		return 0;
	/* who answers is not dead */
	loop_timer_del(&c->slow);
	r = dns_stream_put(&c->to_down, own ? c->pod->dns->answer : packet, own ? own : len);
	return r == 0 && c->queries_count ? slow_set(c) : r;
}

/* Whole messages only go down, so that an answer of ours never lands inside one of the
 * nameserver's. */
static int client_pass_down(struct tcp_client *c)
{
	size_t whole;
	int r = 0;

	while (r == 0 && (whole = dns_stream_next(&c->from_up))) {
		r = reply_pass(c, buf_head(&c->from_up) + DNS_STREAM_PREFIX,
			       whole - DNS_STREAM_PREFIX);
		buf_consume(&c->from_up, whole);
	}
	return r;
}

/* After each event: what is in use now. Return: 0; -ENOBUFS: too much. */
static int client_count(struct tcp_client *c)
{
	struct buf *buffers[] = {&c->from_down, &c->to_down, &c->from_up, &c->to_up};
	size_t n = sizeof(*c);
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		/* what one large message took is not kept for the next */
		if (buf_len(buffers[i]) == 0 && buffers[i]->cap > DNS_STREAM_READ_SIZE)
			buf_reset(buffers[i]);
		n += buffers[i]->cap;
	}
	if (n > c->held)
		r = dns_hold(c->pod, n - c->held);
	else
		dns_let_go(c->pod, c->held - n);
	if (r == 0)
		c->held = n;
	else
		c->pod->dns->stats.dropped++;
	return r;
}

/* Nobody asks or waits; of a transfer there may be more. */
static bool is_ending(const struct tcp_client *c)
{
	return c->is_down_eof && !buf_len(&c->to_down) && c->queries_count == 0;
}

/* idle_us() - a pod that has closed its end has mostly had all of its transfer. */
static uint64_t idle_us(const struct tcp_client *c)
{
	return is_ending(c) ? DNS_TRY_US : DNS_TCP_IDLE_US;
}

/* After each event: write, then see whether it is over. @r < 0 ends it. */
static void client_finish(struct tcp_client *c, int r)
{
	if (r == 0)
		r = dns_stream_flush(c->down.fd, &c->to_down);
	if (r == 0 && c->is_up_ready && dns_stream_flush(c->up.fd, &c->to_up) < 0)
		r = up_next(c);
	if (r == 0 && is_ending(c) && (c->transfers_count == 0 || c->up.fd < 0))
		r = -ECONNRESET;
	if (r == 0)
		r = client_count(c);
	if (r == 0)
		r = loop_timer_set(c->pod->dns->loop, &c->idle, idle_us(c));
	if (r < 0)
		client_free(c);
	else
		client_arm(c);
}

static void on_slow(struct loop_timer *t)
{
	struct tcp_client *c = container_of(t, struct tcp_client, slow);

	client_finish(c, up_next(c));
}

static void on_up(struct loop_fd *w, uint32_t events)
{
	struct tcp_client *c = container_of(w, struct tcp_client, up);
	int r = 0;

	if (events & (EPOLLOUT | EPOLLIN) && !(events & EPOLLERR))
		c->is_up_ready = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		r = dns_stream_fill(w->fd, &c->from_up);
		if (client_pass_down(c) < 0) {
			client_finish(c, -ENOBUFS);
			return;
		}
	}
	if (r == 0) {
		client_finish(c, 0);
		return;
	}
	/* it hangs up between queries: the next one dials again */
	if (c->queries_count) {
		r = up_next(c);
	} else {
		up_close(c);
		r = 0;
	}
	client_finish(c, r);
}

static void on_down(struct loop_fd *w, uint32_t events)
{
	struct tcp_client *c = container_of(w, struct tcp_client, down);
	int r = 0;

	/* Nobody reads the answer any more, and the kernel would say so in every turn. */
	if (c->is_down_eof && events & (EPOLLHUP | EPOLLERR)) {
		client_free(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		r = dns_stream_fill(w->fd, &c->from_down);
		if (r == 1)
			c->is_down_eof = true;
		if (r >= 0)
			r = client_serve(c);
	}
	client_finish(c, r);
}

static int client_new(struct dns_pod *pod, int fd, const struct cv_sockaddr *nameserver)
{
	struct tcp_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->pod = pod;
	c->nameserver = *nameserver;
	c->up.fd = -EBADF;
	c->down.fd = fd;
	c->down.on_event = on_down;
	c->idle.on_timer = on_idle;
	c->slow.on_timer = on_slow;
	list_init(&c->queries);
	list_init(&c->transfers);
	c->from_down.limit = c->from_up.limit = 2 * DNS_STREAM_BUFFER_MAX;
	c->to_down.limit = c->to_up.limit = 2 * DNS_STREAM_BUFFER_MAX;
	list_add_tail(&pod->clients, &c->link);
	pod->clients_count++;
	r = loop_add(pod->dns->loop, &c->down, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(pod->dns->loop, &c->idle, DNS_TCP_IDLE_US);
	if (r < 0) {
		c->down.fd = -EBADF; /* the caller's still */
		client_free(c);
	}
	return r;
}

/* One connection. Return: false when there is no more, or none can be taken now. */
static bool accept_one(struct dns_listener *l)
{
	struct dns_pod *pod = l->pod;
	struct cv_sockaddr nameserver;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	/* by the cgroup hook, accept names what the pod dialled */
	_cleanup_(close_fdp) int fd =
		accept4(l->w.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		accept_pause_begin(&pod->accept_pause, pod->dns->loop, &l->w, errno);
		return false;
	}
	if (pod->clients_count >= DNS_POD_TCP || descriptors_are_scarce(fd) ||
	    memory_is_short(loop_now_us(pod->dns->loop)) ||
	    cv_sockaddr_from_native((struct sockaddr *)&peer, len, &nameserver) < 0 ||
	    nameserver.port == 0 || /* from outside */
	    cv_addr_is_loopback(&nameserver.addr) || client_new(pod, fd, &nameserver) < 0)
		pod->dns->stats.dropped++;
	else
		(void)TAKE_FD(fd);
	return true;
}

void dns_tcp_on_accept(struct loop_fd *w, uint32_t events _unused_)
{
	struct dns_listener *l = container_of(w, struct dns_listener, w);

	for (int i = 0; i < ACCEPT_MAX && accept_one(l); i++)
		continue;
}

void dns_tcp_retry(struct dns_pod *pod)
{
	struct tcp_client *c, *tmp;

	list_for_each_entry_safe (c, tmp, &pod->clients, link)
		if (c->is_up_wanted)
			client_finish(c, up_connect(c) < 0 ? up_next(c) : 0);
}

void dns_tcp_fail_all(struct dns_pod *pod)
{
	struct tcp_client *c, *tmp;

	list_for_each_entry_safe (c, tmp, &pod->clients, link) {
		if (queries_fail(c) == 0)
			(void)dns_stream_flush(c->down.fd, &c->to_down);
		client_free(c);
	}
}
