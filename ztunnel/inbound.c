/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/inbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hbone/tunnel.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "tls/identity.h"
#include "ztunnel/authz.h"
#include "ztunnel/baggage.h"
#include "ztunnel/conn.h"
#include "ztunnel/handshakes.h"
#include "ztunnel/memory.h"
#include "ztunnel/pod.h"
#include "ztunnel/relay.h"
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"

/* For the pod to be known and to have its certificate. */
#define STATE_TIMEOUT_US (5 * 1000000ULL)
/* For the application to take the connection. */
#define DIAL_TIMEOUT_US (10 * 1000000ULL)

/* A tunnel from a peer. Counted: by itself until it closes, and by each of its streams, which
 * borrow the identity. */
struct server_tunnel {
	struct list link; /* worker->server_tunnels */
	struct handshake handshake;
	struct refused_tunnel refused;
	unsigned int refs;
	struct worker *worker;
	struct pod *pod;
	struct hbone_tunnel *hbone; /* NULL: waiting for a certificate, or closed */
	int fd;                     /* while waiting */
	struct state_wait state_wait;
	struct loop_timer deadline;
	struct cv_sockaddr peer;
	struct cv_sockaddr local;
	int refusal; /* of its peer, when trust changed last; 0: none */
	const char *refusal_text;
	bool is_evicted; /* for another handshake */
	bool is_leaving; /* no new streams once it is open: its pod has left the mesh */
	char identity[SPIFFE_ID_SIZE];
};

/* A stream of it, on its way to the application. */
struct inbound {
	struct conn conn;
	struct server_tunnel *tunnel; /* counted */
	struct relay relay;
	struct dial_wait dial_wait;
	struct cv_sockaddr target;
	bool is_answered;
};

static void tunnel_unref(struct server_tunnel *t)
{
	if (--t->refs > 0)
		return;
	(void)pod_unref(t->pod);
	free(t);
}

/* Streams. */

static struct inbound *of_relay(struct relay *r)
{
	return container_of(r, struct inbound, relay);
}

static void destroy(struct conn *c)
{
	struct inbound *in = container_of(c, struct inbound, conn);

	dial_wait_cancel(&in->dial_wait);
	relay_reset(&in->relay, HBONE_CONNECT_ERROR);
	conn_release(&in->conn);
	tunnel_unref(in->tunnel);
	free(in);
}

/* Not for want of anything of ours, nor before we know the pod: that is not the peer's doing. */
static void count_refusal(const struct inbound *in)
{
	struct worker *w = in->conn.worker;

	refused_add(&w->refused, &in->tunnel->peer.addr, &in->tunnel->refused,
		    loop_now_us(w->loop));
}

/* reject() - answer with @status before it was opened. */
static void reject(struct inbound *in, int status, const char *error)
{
	(void)hbone_stream_respond(&in->relay.stream, status, NULL);
	conn_fail(&in->conn, CONN_CONNECT, error);
}

/* refuse() - the pod has left the mesh, or is about to come back: nobody has seen the stream, and
 * its client may ask again over another tunnel (RFC 9113, section 8.7). */
static void refuse(struct inbound *in)
{
	hbone_stream_reset(&in->relay.stream, HBONE_REFUSED_STREAM);
	conn_fail(&in->conn, CONN_CONNECT, "the pod is gone");
}

/* Only the application's own refusal counts: what else a dial fails by is ours. */
static void reject_errno(struct inbound *in, int error)
{
	char text[CONN_TEXT_MAX];

	if (error == -ECONNREFUSED)
		count_refusal(in);
	reject(in, 503, conn_errno_text(CONN_DIAL_FAILED, error, text));
}

static void cut(struct conn *c, enum conn_flags flags, const char *error)
{
	struct inbound *in = container_of(c, struct inbound, conn);

	if (!in->is_answered)
		(void)hbone_stream_respond(&in->relay.stream, flags == CONN_DENY ? 401 : 503, NULL);
	conn_fail(c, flags, error);
}

static const struct conn_ops conn_ops = {.direction = CONN_INBOUND, .cut = cut, .destroy = destroy};

static void on_relay_bytes(struct relay *r, uint64_t to_stream, uint64_t to_app)
{
	conn_count_bytes(&of_relay(r)->conn, to_app, to_stream);
}

static void on_relay_done(struct relay *r, int error, uint32_t code)
{
	struct inbound *in = of_relay(r);

	if (!in->is_answered)
		conn_fail(&in->conn, CONN_CONNECT, CONN_CLIENT_LEFT);
	else
		conn_fail(&in->conn, CONN_OK, conn_end_text(error, code));
}

static const struct relay_ops relay_ops = {
	.on_bytes = on_relay_bytes,
	.on_done = on_relay_done,
};

/* answer() - the application took the connection. Return: false when @in is gone. */
static bool answer(struct inbound *in)
{
	char baggage[HBONE_BAGGAGE_MAX];

	loop_timer_del(&in->conn.timer);
	baggage_format(in->conn.dst_workload, baggage, sizeof(baggage));
	if (hbone_stream_respond(&in->relay.stream, 200, baggage) < 0) {
		reject(in, 503, "out of memory");
		return false;
	}
	in->is_answered = true;
	refused_earn(&in->conn.worker->refused, &in->tunnel->peer.addr, &in->tunnel->refused);
	conn_opened(&in->conn);
	relay_connected(&in->relay);
	return true;
}

/* on_app_connecting() - the application took the connection, or did not. */
static void on_app_connecting(struct loop_fd *w, uint32_t events)
{
	struct inbound *in = container_of(w, struct inbound, relay.app);
	int r = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (events & (EPOLLERR | EPOLLHUP))
		r = tcp_connect_result(w->fd);
	if (r < 0) {
		reject_errno(in, r);
		return;
	}
	/* The error has been taken. */
	if (answer(in))
		relay_on_event(w, events & ~(uint32_t)EPOLLERR);
}

/* dial_on() - Return: whether the application has taken the connection; -errno, @fd is closed. */
static int dial_on(struct inbound *in, int fd)
{
	int r, is_connected = conn_dial_app(&in->conn, fd, &in->target);

	in->relay.is_nagling = true;
	r = is_connected;
	if (r >= 0)
		r = relay_watch(&in->relay, fd, is_connected, on_app_connecting);
	if (r < 0)
		(void)close_fd(fd);
	return r < 0 ? r : is_connected;
}

static void on_socket(struct dial_wait *wait, int fd)
{
	struct inbound *in = container_of(wait, struct inbound, dial_wait);
	int r = fd < 0 ? fd : dial_on(in, fd);

	if (fd == -ENETDOWN || fd == -ENOENT)
		refuse(in);
	else if (r < 0)
		reject_errno(in, r);
	else if (r > 0)
		(void)answer(in);
}

static void on_timer(struct loop_timer *timer)
{
	reject(container_of(timer, struct inbound, conn.timer), 503,
	       CONN_DIAL_FAILED ": " CONN_TOO_LATE);
}

static void dial(struct inbound *in)
{
	enum zds_family family = cv_addr_is_v4(&in->target.addr) ? ZDS_INET : ZDS_INET6;
	struct worker *w = in->conn.worker;
	struct stock *stock =
		worker_pod_stock(w, in->conn.pod->netns_cookie, CV_SOCKET_DIAL_APP, family);
	int r;

	if (!stock) {
		refuse(in);
		return;
	}
	in->conn.timer.on_timer = on_timer;
	(void)loop_timer_set(w->loop, &in->conn.timer, DIAL_TIMEOUT_US);
	in->dial_wait.on_socket = on_socket;
	r = stock_take(stock, &in->dial_wait);
	if (r != -EAGAIN)
		on_socket(&in->dial_wait, r);
}

/* client_of() - the tunnel's source address is proven; the port is what the client's ztunnel says,
 * for the same address only. */
static struct cv_sockaddr client_of(const struct server_tunnel *t, const struct hbone_head *head)
{
	char text[CV_SOCKADDR_STRLEN];
	struct cv_sockaddr said;

	if (hbone_forwarded_get(head->forwarded, "for", text, sizeof(text)) == 0 &&
	    cv_sockaddr_parse(text, &said) == 0 && said.port != 0 &&
	    cv_addr_equal(&said.addr, &t->peer.addr))
		return said;
	return t->peer;
}

static struct inbound *inbound_new(struct server_tunnel *t, int32_t id,
				   const struct hbone_head *head)
{
	struct inbound *in = calloc(1, sizeof(*in));
	const struct workload *src;

	if (!in)
		return NULL;
	relay_init(&in->relay, t->worker->loop, &relay_ops);
	if (hbone_stream_bind(hbone_tunnel_session(t->hbone), &in->relay.stream, &relay_stream_ops,
			      id) < 0) {
		free(in);
		return NULL;
	}
	conn_init(&in->conn, t->worker, t->pod, &conn_ops);
	in->tunnel = t;
	t->refs++;
	in->conn.is_mtls = true;
	in->conn.has_hbone = true;
	in->conn.src = client_of(t, head);
	in->conn.original_dst = t->local;
	in->conn.dst = t->local;
	in->conn.src_identity = t->identity;
	src = state_workload_by_addr(t->worker->state, &t->peer.addr);
	/* Named only when the certificate says the same. */
	if (src && streq(src->app->identity, t->identity))
		conn_set_src(&in->conn, src);
	return in;
}

static int resolve(struct inbound *in, const struct hbone_head *head, const struct workload *dst)
{
	const struct service *service = NULL;
	char host[HBONE_FORWARDED_MAX];
	int status, r;

	/* For the log, when nothing better comes of it. */
	if (cv_sockaddr_parse(head->authority, &in->conn.hbone_addr) < 0)
		memset(&in->conn.hbone_addr, 0, sizeof(in->conn.hbone_addr));
	status = resolve_inbound(in->conn.worker->state, dst, head->authority,
				 &in->tunnel->local.addr, &in->target, &service);
	if (status != 0)
		return status;
	r = hbone_forwarded_get(head->forwarded, "host", host, sizeof(host));
	if (!service)
		service = resolve_served(in->conn.worker->state, dst, ntohs(in->target.port),
					 r < 0 ? NULL : host);
	conn_set_service(&in->conn, service);
	in->conn.hbone_addr = in->target;
	return pod_is_own_port(in->conn.pod, ntohs(in->target.port)) ? 503 : 0;
}

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct server_tunnel *t = arg;
	const struct workload *dst = pod_workload(t->worker->state, t->pod);
	struct authz_verdict v;
	struct inbound *in;
	int status;

	if (refused_is_flood(&t->worker->refused, &t->peer.addr, &t->refused,
			     loop_now_us(t->worker->loop)))
		return -EDQUOT;
	if (t->worker->conn_count >= WORKER_CONNS_MAX)
		return -ENOSPC;
	in = inbound_new(t, id, head);
	if (!in)
		return -ENOMEM;
	conn_set_dst(&in->conn, dst);
	if (memory_is_short(loop_now_us(t->worker->loop))) {
		reject(in, 503, "out of memory");
		return 0;
	}
	in->conn.dst_identity = dst ? in->conn.dst_workload->app->identity : NULL;
	status = resolve(in, head, dst);
	if (status != 0) {
		if (dst)
			count_refusal(in);
		reject(in, status, status == 400 ? "bad CONNECT target" : "unknown CONNECT target");
		return 0;
	}
	conn_note(&in->conn, dst);
	conn_check(&in->conn, dst, &v);
	if (!v.is_allowed) {
		count_refusal(in);
		(void)hbone_stream_respond(&in->relay.stream, 401, NULL);
		conn_denied(&in->conn, &v);
		destroy(&in->conn);
		return 0;
	}
	in->conn.is_checked = true;
	dial(in);
	return 0;
}

/* The tunnel itself. */

static void fail_info(const struct server_tunnel *t, enum conn_flags flags, const char *error)
{
	const struct conn_info info = {
		.direction = CONN_INBOUND,
		.src = t->peer,
		.dst = t->local,
		.dst_workload = pod_workload(t->worker->state, t->pod),
		.opened_us = loop_now_us(t->worker->loop),
	};

	telemetry_conn_early(t->worker->telemetry, &info, flags, error);
}

static void tunnel_leave(struct server_tunnel *t)
{
	handshakes_end(&t->worker->handshakes, &t->handshake);
	loop_timer_del(&t->deadline);
	state_wait_cancel(&t->state_wait);
	list_del(&t->link);
	t->fd = close_fd(t->fd);
	t->hbone = NULL;
	worker_count_tunnel(t->worker, -1);
	tunnel_unref(t);
}

static void on_ready(void *arg)
{
	struct server_tunnel *t = arg;

	handshakes_end(&t->worker->handshakes, &t->handshake);
	if (hbone_tunnel_peer_identity(t->hbone, t->identity, sizeof(t->identity)) < 0) {
		hbone_tunnel_close(t->hbone, -EACCES, "the peer shows no identity");
		return;
	}
	if (t->worker->is_draining || t->is_leaving)
		hbone_tunnel_drain(t->hbone);
}

/* weight_of() - how grave an offence it is that an open tunnel ended with @error. */
static uint64_t weight_of(int error)
{
	switch (error) {
	case -EDQUOT:
		return PENALTY_FLOOD;
	case -ECONNABORTED:
		return PENALTY_BROKEN_OFF;
	case -EPROTO:
		return PENALTY_PROTOCOL;
	default:
		return 0;
	}
}

static void on_closed(void *arg, enum hbone_stage stage, int error, const char *text)
{
	struct server_tunnel *t = arg;
	uint64_t weight = weight_of(error);
	char line[CONN_TEXT_MAX];

	if (error == -EKEYREVOKED)
		telemetry_crl_rejected(t->worker->telemetry, CONN_INBOUND);
	if (stage == HBONE_STAGE_OPEN && weight > 0) {
		penalty_add(worker_penalty(t->worker), &t->peer.addr, weight,
			    loop_now_us(t->worker->loop));
		fail_info(t, CONN_H2_HANDSHAKE_FAILURE, text);
	}
	/* A connection that says nothing at all is a probe, not a failure. */
	if (stage != HBONE_STAGE_OPEN && !t->is_evicted) {
		(void)snprintf(line, sizeof(line), "tls handshake error: %s", text);
		fail_info(t, error == -EKEYREVOKED ? CONN_CERT_REVOKED : CONN_TLS_FAILURE, line);
	}
	tunnel_leave(t);
}

static const struct hbone_tunnel_ops tunnel_ops = {
	.on_connect = on_connect,
	.on_ready = on_ready,
	.on_closed = on_closed,
};

static int tunnel_accept(struct server_tunnel *t, const struct tls_identity *identity)
{
	struct hbone_tunnel_config config = {
		.loop = t->worker->loop,
		.scratch = t->worker->scratch,
		.desk = t->worker->desk,
		.share = t->pod->netns_cookie * 2,
		.fd = t->fd,
		.is_server = true,
		.ops = &tunnel_ops,
		.arg = t,
	};
	int r;

	config.ssl = SSL_new(identity->server_ctx);
	if (!config.ssl)
		return -ENOMEM;
	r = hbone_tunnel_new(&config, &t->hbone);
	if (r < 0) {
		SSL_free(config.ssl);
		return r;
	}
	t->fd = -EBADF;
	return 0;
}

static const struct tls_identity *own_identity(const struct server_tunnel *t)
{
	const struct state *s = t->worker->state;
	const struct workload *me = pod_workload(s, t->pod);

	return me ? state_tls_identity(s, me->app->identity) : NULL;
}

static void tunnel_try(struct server_tunnel *t)
{
	const struct tls_identity *identity = own_identity(t);

	if (!identity) {
		worker_wait_state(t->worker, &t->state_wait);
		return;
	}
	loop_timer_del(&t->deadline);
	if (tunnel_accept(t, identity) < 0) {
		fail_info(t, CONN_TLS_FAILURE, "out of memory");
		tunnel_leave(t);
	}
}

static void on_state(struct state_wait *wait)
{
	tunnel_try(container_of(wait, struct server_tunnel, state_wait));
}

static void on_deadline(struct loop_timer *timer)
{
	struct server_tunnel *t = container_of(timer, struct server_tunnel, deadline);

	fail_info(t, CONN_IDENTITY_ERROR, "no certificate of our own in time");
	tunnel_leave(t);
}

static void handshake_begin(struct server_tunnel *new)
{
	struct handshake *gone =
		handshakes_begin(&new->worker->handshakes, &new->handshake, &new->peer.addr);
	struct server_tunnel *t;

	if (!gone)
		return;
	t = container_of(gone, struct server_tunnel, handshake);
	t->is_evicted = true;
	if (t->hbone)
		hbone_tunnel_close(t->hbone, -EBUSY, "too many handshakes");
	else
		tunnel_leave(t);
}

void inbound_tunnel_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *peer,
			  const struct cv_sockaddr *local)
{
	struct server_tunnel *t =
		w->tunnel_count < WORKER_TUNNELS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t) {
		(void)relay_close_rst(fd);
		return;
	}
	t->refs = 1;
	t->worker = w;
	t->pod = pod_ref(pod);
	t->fd = fd;
	t->peer = *peer;
	t->local = *local;
	t->state_wait.on_state = on_state;
	t->deadline.on_timer = on_deadline;
	t->is_leaving = worker_pod_is_leaving(w, pod->netns_cookie);
	handshake_begin(t);
	list_add_tail(&w->server_tunnels, &t->link);
	worker_count_tunnel(w, 1);
	(void)loop_timer_set(w->loop, &t->deadline, STATE_TIMEOUT_US);
	tunnel_try(t);
}

static void cut_if_refused(struct conn *c)
{
	const struct server_tunnel *t = container_of(c, struct inbound, conn)->tunnel;

	if (t->refusal)
		cut(c, conn_flags_refused(t->refusal), t->refusal_text);
}

/* Each connection is looked at once, however many tunnels end. */
void inbound_on_trust(struct worker *w)
{
	struct server_tunnel *t, *next;
	struct conn *c, *after;

	list_for_each_entry (t, &w->server_tunnels, link)
		t->refusal = t->hbone ? hbone_tunnel_refusal(t->hbone, &t->refusal_text) : 0;
	list_for_each_entry_safe (c, after, &w->conns, link) {
		if (c->ops == &conn_ops)
			cut_if_refused(c);
	}
	list_for_each_entry_safe (t, next, &w->server_tunnels, link) {
		if (t->refusal)
			hbone_tunnel_close(t->hbone, t->refusal, t->refusal_text);
	}
}

/* tunnel_drain() - a handshake goes on: its client would take an end for a failure. */
static void tunnel_drain(struct server_tunnel *t)
{
	t->is_leaving = true;
	if (!t->handshake.is_on)
		hbone_tunnel_drain(t->hbone);
}

void inbound_drain(struct worker *w)
{
	struct server_tunnel *t, *next;

	list_for_each_entry_safe (t, next, &w->server_tunnels, link)
		tunnel_drain(t);
}

void inbound_drain_pod(struct worker *w, uint64_t netns_cookie)
{
	struct server_tunnel *t, *next;

	list_for_each_entry_safe (t, next, &w->server_tunnels, link) {
		if (t->pod->netns_cookie == netns_cookie)
			tunnel_drain(t);
	}
}

void inbound_close_all(struct worker *w)
{
	while (!list_is_empty(&w->server_tunnels)) {
		struct server_tunnel *t =
			list_entry(w->server_tunnels.next, struct server_tunnel, link);

		if (t->hbone)
			hbone_tunnel_abandon(t->hbone);
		tunnel_leave(t);
	}
}
