/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/outbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "tls/identity.h"
#include "ztunnel/outbound_internal.h"
#include "ztunnel/pod.h"
#include "ztunnel/resolve.h"
#include "ztunnel/stand_in.h"
#include "ztunnel/state.h"

/* For the pod to be known and to have its certificate. */
#define STATE_TIMEOUT_US (5 * 1000000ULL)
/* For a tunnel and the answer to CONNECT: longer than its own deadlines, which say more. */
#define CONNECT_TIMEOUT_US (30 * 1000000ULL)
/* Where another endpoint may be asked: a vanished node says nothing until its PINGs run out. */
#define FAILOVER_US (3 * 1000000ULL)
/* How long a peer that refuses may be asked again. */
#define RETRY_FOR_US (2 * 1000000ULL)
#define RETRIES_MAX  64
/* Tunnels that may refuse its stream. */
#define REFUSALS_MAX 4

static struct outbound *of_relay(struct relay *r)
{
	return container_of(r, struct outbound, relay);
}

static void attempt_free(struct outbound *o)
{
	struct attempt *a = o->attempt;

	o->attempt = NULL;
	if (!a)
		return;
	state_wait_cancel(&a->state_wait);
	dial_wait_cancel(&a->dial_wait);
	pool_wait_cancel(&a->pool_wait);
	names_cancel(&a->name_wait);
	for (size_t i = 0; i < a->silent_count; i++)
		workload_unref(a->silent[i]);
	(void)workload_unref(a->meant);
	free(a);
}

static void destroy(struct conn *c)
{
	struct outbound *o = container_of(c, struct outbound, conn);

	relay_reset(&o->relay, HBONE_CANCEL);
	outbound_dial_stop(o);
	attempt_free(o);
	conn_release(c);
	free(o);
}

static const struct conn_ops conn_ops = {
	.direction = CONN_OUTBOUND,
	.has_socket = true,
	.cut = conn_fail,
	.destroy = destroy,
};

void outbound_opened(struct outbound *o)
{
	loop_timer_del(&o->conn.timer);
	attempt_free(o);
	conn_opened(&o->conn);
}

void outbound_retry_after(struct outbound *o, uint64_t delay_us)
{
	o->attempt->is_waiting_retry = true;
	(void)loop_timer_set(o->conn.worker->loop, &o->conn.timer, delay_us);
}

void outbound_retry_later(struct outbound *o)
{
	uint64_t delay_us = OUTBOUND_RETRY_MIN_US << MIN(o->attempt->retries, 5U);

	outbound_retry_after(o, MIN(delay_us, OUTBOUND_RETRY_US));
}

/* is_whole() - everything that the application has said can still be said to somebody else. */
static bool is_whole(const struct outbound *o)
{
	return relay_can_replay(&o->relay) ||
	       (o->conn.bytes_to_server == 0 && !o->relay.is_app_eof);
}

bool outbound_may_retry(const struct outbound *o)
{
	const struct attempt *a = o->attempt;

	return a->retries < RETRIES_MAX && is_whole(o) &&
	       loop_now_us(o->conn.worker->loop) - a->started_us < RETRY_FOR_US;
}

struct resolve_choice outbound_choice(struct outbound *o)
{
	const struct attempt *a = o->attempt;

	return (struct resolve_choice){
		.random = (uint32_t)worker_random(o->conn.worker),
		.avoid = a->avoid,
		.avoid_count = a->avoid_count,
		.avoid_named = a->avoid_named,
		.avoid_named_count = a->avoid_named_count,
		.silent = a->silent,
		.silent_count = a->silent_count,
		.meant = a->meant,
		.among = a->among,
	};
}

/* How long the endpoint that is being tried has for an answer. */
static uint64_t answer_us(const struct outbound *o)
{
	return o->attempt->has_endpoint && o->attempt->has_others ? FAILOVER_US
								  : CONNECT_TIMEOUT_US;
}

const struct workload *outbound_client(const struct outbound *o)
{
	const struct pod *p = o->conn.pod;

	return state_client(o->conn.worker->state, p->uid, p->service_account);
}

/* note_silent() - whom it asks says nothing, and so may all of its node, unless that is ours. */
static void note_silent(struct outbound *o)
{
	struct workload *dst = o->conn.dst_workload;
	struct attempt *a = o->attempt;

	if (a->has_endpoint && dst && a->silent_count < OUTBOUND_AVOID_MAX &&
	    !dial_wait_is_on(&a->dial_wait) &&
	    !streq(dst->place->node, o->conn.src_workload->place->node))
		a->silent[a->silent_count++] = workload_ref(dst);
}

bool outbound_try_next(struct outbound *o)
{
	struct attempt *a = o->attempt;
	struct resolve_choice choice;
	struct state *s = o->conn.worker->state;
	struct upstream u;

	if (!a->has_endpoint || !a->has_others || a->avoid_count == OUTBOUND_AVOID_MAX ||
	    !is_whole(o))
		return false;
	a->avoid[a->avoid_count] = a->endpoint;
	a->among = CV_CHOICE_ALL;
	choice = outbound_choice(o);
	choice.avoid_count++;
	resolve_outbound_again(s, outbound_client(o), &o->conn.original_dst, &choice, &u);
	if (!u.is_chosen)
		return false;
	a->avoid_count++;
	outbound_retry_after(o, 1);
	return true;
}

/** struct cut - why what goes through a tunnel is cut. */
struct cut {
	enum conn_flags flags;
	const char *text;
};

static void cut_stream(void *arg, struct hbone_stream *st)
{
	const struct cut *cut = arg;

	conn_fail(&of_relay(container_of(st, struct relay, stream))->conn, cut->flags, cut->text);
}

void outbound_cut_session(struct hbone_session *s, int error, const char *text)
{
	struct cut cut = {conn_flags_refused(error), text};

	hbone_session_each_stream(s, cut_stream, &cut);
}

/* Through a tunnel. */

static void on_relay_bytes(struct relay *r, uint64_t to_stream, uint64_t to_app)
{
	conn_count_bytes(&of_relay(r)->conn, to_stream, to_app);
}

/* on_relay_done() - over, or the tunnel went before it answered. */
static void on_relay_done(struct relay *r, int error, uint32_t code)
{
	struct outbound *o = of_relay(r);

	if (o->attempt)
		conn_fail(&o->conn, CONN_CONNECT,
			  code == HBONE_NO_MEMORY
				  ? "the tunnel ended before it was answered: out of memory"
				  : "the tunnel closed before it answered");
	else
		conn_fail(&o->conn, CONN_OK, conn_end_text(error, code));
}

static void on_relay_response(struct relay *r, const struct hbone_head *head)
{
	struct outbound *o = of_relay(r);
	char text[CONN_TEXT_MAX];

	if (!o->attempt)
		return;
	if (head->status == 200) {
		outbound_opened(o);
		relay_let_go(r);
		return;
	}
	/* its application refused, or it is about to leave; a policy's no is an answer */
	if (head->status == 503 && outbound_try_next(o)) {
		hbone_stream_reset(&r->stream, HBONE_CANCEL);
		relay_rewind(r);
		return;
	}
	conn_fail(&o->conn, head->status == 401 ? CONN_DENY : CONN_CONNECT,
		  conn_status_text(head->status, text));
}

/* on_relay_unanswered() - a stream that was refused, mostly because a GOAWAY was on its way, has
 * been seen by nobody (RFC 9113, section 8.7): another tunnel to the same endpoint takes it. */
static bool on_relay_unanswered(struct relay *r, uint32_t code)
{
	struct outbound *o = of_relay(r);

	if (!o->attempt)
		return false;
	if (code == HBONE_REFUSED_STREAM && is_whole(o) && o->attempt->refusals < REFUSALS_MAX) {
		outbound_retry_after(o, o->attempt->refusals++ ? OUTBOUND_RETRY_US : 1);
		return true;
	}
	return r->is_held && outbound_try_next(o);
}

static const struct relay_ops relay_ops = {
	.on_response = on_relay_response,
	.on_unanswered = on_relay_unanswered,
	.on_bytes = on_relay_bytes,
	.on_done = on_relay_done,
};

static void open_stream(struct outbound *o, struct hbone_session *s)
{
	struct outbound_head text;
	struct hbone_connect c;

	outbound_head(o, &text, &c);
	o->relay.is_held = o->attempt->has_endpoint && o->attempt->has_others;
	relay_keep(&o->relay);
	if (hbone_stream_open(s, &o->relay.stream, &relay_stream_ops, &c) < 0)
		conn_fail(&o->conn, CONN_CONNECT, "no stream to be had");
}

static enum conn_flags flags_of(enum hbone_stage stage, int error)
{
	if (error == -EKEYREVOKED || error == -EKEYREJECTED)
		return conn_flags_refused(error);
	if (stage == HBONE_STAGE_TLS)
		return CONN_TLS_FAILURE;
	if (stage == HBONE_STAGE_OPEN)
		return CONN_H2_HANDSHAKE_FAILURE;
	return error == -ETIMEDOUT ? CONN_NETWORK_POLICY : CONN_CONNECT;
}

/* is_starting() - nobody was there, or it went away before it said anything: its ztunnel is being
 * restarted, or is about to serve the pod. Nothing has been sent. */
static bool is_starting(enum hbone_stage stage, int error)
{
	return (stage == HBONE_STAGE_CONNECT && error == -ECONNREFUSED) ||
	       (stage != HBONE_STAGE_OPEN && error == -ECONNRESET);
}

static void no_tunnel(struct outbound *o, enum hbone_stage stage, int error, const char *text)
{
	char line[CONN_TEXT_MAX];

	if (error == -EAGAIN && o->attempt->retries < RETRIES_MAX) {
		outbound_retry_after(o, 1);
		return;
	}
	if (error == -ETIMEDOUT)
		note_silent(o);
	if ((stage != HBONE_STAGE_TLS || is_starting(stage, error)) && outbound_try_next(o))
		return;
	if (is_starting(stage, error) && outbound_may_retry(o)) {
		o->attempt->avoid_count = 0;
		outbound_retry_later(o);
		return;
	}
	if (stage == HBONE_STAGE_CONNECT && error == -ETIMEDOUT)
		text = "connection timed out, maybe a NetworkPolicy is blocking HBONE port "
		       "15008: " CONN_TOO_LATE;
	else if (stage == HBONE_STAGE_CONNECT && streq(text, strerror(-error)))
		text = conn_errno_text(CONN_IO_ERROR, error, line);
	else {
		(void)snprintf(line, sizeof(line), CONN_IO_ERROR ": %s", text);
		text = line;
	}
	conn_fail(&o->conn, flags_of(stage, error), text);
}

static void on_tunnel(struct pool_wait *wait, struct hbone_session *s, enum hbone_stage stage,
		      int error, const char *text)
{
	struct outbound *o = container_of(wait, struct attempt, pool_wait)->owner;

	if (s)
		open_stream(o, s);
	else
		no_tunnel(o, stage, error, text);
}

static void start_tunnel(struct outbound *o, const struct upstream *u,
			 const struct tls_identity *identity)
{
	const struct pool_want want = {.pod = o->conn.pod, .identity = identity, .upstream = u};
	struct hbone_session *s = NULL;
	int r;

	o->conn.is_mtls = true;
	o->conn.has_hbone = true;
	o->conn.dst = u->dial;
	o->conn.hbone_addr = u->target;
	o->conn.src_identity = o->conn.src_workload->app->identity;
	o->conn.dst_identity = u->workload ? o->conn.dst_workload->app->identity : NULL;
	(void)loop_timer_set(o->conn.worker->loop, &o->conn.timer, answer_us(o));
	r = pool_get(o->conn.worker->pool, &want, &o->attempt->pool_wait, &s);
	if (r == -EAGAIN)
		return;
	if (r < 0)
		conn_fail_errno(&o->conn, CONN_IO_ERROR, r);
	else
		open_stream(o, s);
}

/* Choosing. */

static void refused(struct outbound *o, const char *why)
{
	char text[CONN_TEXT_MAX], dst[CV_SOCKADDR_STRLEN];

	if (!streq(why, RESOLVE_NO_UPSTREAM)) {
		conn_fail(&o->conn, CONN_CONNECT, why);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s: %s", why,
		       cv_sockaddr_format(&o->conn.original_dst, dst));
	conn_fail_early(&o->conn, text);
}

static void on_state(struct state_wait *wait)
{
	outbound_resolve(container_of(wait, struct attempt, state_wait)->owner);
}

static void wait_for_state(struct outbound *o)
{
	o->attempt->state_wait.on_state = on_state;
	worker_wait_state(o->conn.worker, &o->attempt->state_wait);
	if (!o->conn.timer.loop)
		(void)loop_timer_set(o->conn.worker->loop, &o->conn.timer, STATE_TIMEOUT_US);
}

/* What it is to wait for; NULL: nothing. */
static const char *lacks(const struct outbound *o, const struct workload *src,
			 const struct upstream *u, const struct tls_identity *identity)
{
	if (!src || !state_is_synced(o->conn.worker->state) ||
	    (u->kind == UPSTREAM_HBONE && !identity))
		return "no certificate or no data about this pod in time";
	return u->is_in_doubt ? u->error : NULL;
}

/* Nobody else is meant from now on, however long that takes and whoever has the address by then. */
static void mean(struct outbound *o, const struct workload *w)
{
	struct attempt *a = o->attempt;

	conn_set_dst(&o->conn, w);
	(void)workload_unref(a->meant);
	a->meant = w ? workload_ref(o->conn.dst_workload) : NULL;
}

void outbound_follow(struct outbound *o, struct upstream *u)
{
	struct worker *w = o->conn.worker;
	struct attempt *a = o->attempt;
	const struct workload *src = outbound_client(o);
	const struct tls_identity *identity =
		src ? state_tls_identity(w->state, src->app->identity) : NULL;

	a->endpoint = u->endpoint;
	a->has_endpoint = u->is_chosen;
	a->has_others = u->has_others;
	o->conn.is_mtls = false;
	o->conn.has_hbone = false;
	o->conn.is_plain = false;
	o->conn.src_identity = NULL;
	o->conn.dst_identity = NULL;
	conn_set_src(&o->conn, src);
	if (u->kind == UPSTREAM_HBONE)
		mean(o, u->workload);
	a->lacks = lacks(o, src, u, identity);
	if (a->lacks) {
		wait_for_state(o);
		return;
	}
	loop_timer_del(&o->conn.timer);
	conn_set_dst(&o->conn, u->workload);
	conn_set_service(&o->conn, u->service);
	switch (u->kind) {
	case UPSTREAM_HBONE:
		start_tunnel(o, u, identity);
		break;
	case UPSTREAM_TCP:
	case UPSTREAM_PASSTHROUGH:
		(void)loop_timer_set(w->loop, &o->conn.timer, answer_us(o));
		outbound_dial(o, u);
		break;
	case UPSTREAM_NAMED:
		(void)loop_timer_set(w->loop, &o->conn.timer, CONNECT_TIMEOUT_US);
		outbound_dial_named(o, u);
		break;
	case UPSTREAM_REFUSE:
		if (a->name_error)
			u->error = names_error(a->name_error);
		refused(o, u->error ? u->error : "refused");
		break;
	}
}

void outbound_resolve(struct outbound *o)
{
	const struct resolve_choice choice = outbound_choice(o);
	struct upstream u;

	resolve_outbound_again(o->conn.worker->state, outbound_client(o), &o->conn.original_dst,
			       &choice, &u);
	outbound_follow(o, &u);
}

/* Let go of what says nothing. */
static void attempt_drop(struct outbound *o)
{
	pool_wait_cancel(&o->attempt->pool_wait);
	dial_wait_cancel(&o->attempt->dial_wait);
	names_cancel(&o->attempt->name_wait);
	outbound_dial_stop(o);
	if (!o->relay.stream.session)
		return;
	hbone_stream_reset(&o->relay.stream, HBONE_CANCEL);
	relay_rewind(&o->relay);
}

/* may_go_on() - nobody else is left to ask: who is being asked has as long as a lone endpoint.
 * Return: false: it has had that. */
static bool may_go_on(struct outbound *o)
{
	uint64_t had_us = answer_us(o);

	o->attempt->has_others = false;
	return had_us < CONNECT_TIMEOUT_US && loop_timer_set(o->conn.worker->loop, &o->conn.timer,
							     CONNECT_TIMEOUT_US - had_us) == 0;
}

static void on_timer(struct loop_timer *t)
{
	struct outbound *o = container_of(t, struct outbound, conn.timer);

	if (o->attempt->is_waiting_retry) {
		o->attempt->is_waiting_retry = false;
		o->attempt->retries++;
		outbound_resolve(o);
		return;
	}
	if (state_wait_is_waiting(&o->attempt->state_wait)) {
		conn_fail(&o->conn, CONN_IDENTITY_ERROR, o->attempt->lacks);
		return;
	}
	note_silent(o);
	if (outbound_try_next(o))
		attempt_drop(o);
	else if (!may_go_on(o))
		conn_fail(&o->conn, CONN_CONNECT, CONN_IO_ERROR ": " CONN_TOO_LATE);
}

/* on_app_event() - once a stream or a retry may come the relay's own; a reset before ends it here.
 */
static void on_app_event(struct loop_fd *w, uint32_t events)
{
	struct outbound *o = container_of(w, struct outbound, relay.app);

	if (events & EPOLLERR && !o->relay.stream.session) {
		conn_fail(&o->conn, CONN_OK, "the application reset the connection");
		return;
	}
	relay_on_event(w, events);
}

/* is_refused() - what may never be dialled: our own listeners would be dialled for ever. */
static const char *is_refused(const struct pod *pod, const struct cv_sockaddr *original)
{
	uint16_t port = ntohs(original->port);

	if (port == 0 || cv_addr_is_any(&original->addr))
		return "no original destination";
	if ((cv_addr_is_loopback(&original->addr) || pod_has_addr(pod, &original->addr)) &&
	    pod_is_own_port(pod, port))
		return "the destination is ztunnel itself";
	return NULL;
}

static void learn_choice(struct outbound *o, int fd)
{
	int among = CV_CHOICE_ALL;
	socklen_t len = sizeof(among);

	if (getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &among, &len) == 0)
		o->attempt->among = (uint32_t)among;
}

static void learn_client(struct outbound *o, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    cv_sockaddr_from_native((struct sockaddr *)&ss, len, &o->conn.src) < 0)
		memset(&o->conn.src, 0, sizeof(o->conn.src));
}

static struct outbound *outbound_new(struct worker *w)
{
	struct outbound *o = calloc(1, sizeof(*o));
	struct attempt *a = calloc(1, sizeof(*a));

	if (!o || !a) {
		free(o);
		free(a);
		return NULL;
	}
	a->owner = o;
	a->plain_fd = -EBADF;
	a->pool_wait.on_tunnel = on_tunnel;
	a->started_us = loop_now_us(w->loop);
	o->attempt = a;
	o->conn.timer.on_timer = on_timer;
	relay_init(&o->relay, w->loop, &relay_ops);
	return o;
}

void outbound_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *original)
{
	struct outbound *o = outbound_new(w);
	const char *why;

	if (!o) {
		(void)relay_close_rst(fd);
		return;
	}
	conn_init(&o->conn, w, pod, &conn_ops);
	o->conn.original_dst = *original;
	o->conn.dst = *original;
	learn_client(o, fd);
	learn_choice(o, fd);
	if (relay_watch(&o->relay, fd, true, on_app_event) < 0) {
		(void)relay_close_rst(fd);
		conn_fail(&o->conn, CONN_CONNECT, "out of memory");
		return;
	}
	/* What it has said by now goes along with the CONNECT. */
	o->relay.is_readable = true;
	why = is_refused(pod, original);
	if (why)
		conn_fail(&o->conn, CONN_CONNECT, why);
	else
		outbound_resolve(o);
}
