/* SPDX-License-Identifier: Apache-2.0 */
/* accept - connections come in here and go to the worker that has the least to do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "ztunnel/descriptors.h"
#include "ztunnel/inbound.h"
#include "ztunnel/memory.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pod.h"
#include "ztunnel/relay.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker.h"
#include "ztunnel/worker_pod.h"

#define ACCEPT_MAX 16
/* The listeners' backlog. */
#define ACCEPT_REST_MAX 4096
/* A connection goes to another worker that has fewer by more than this, brief ones (brief.h) not
 * counted. */
#define SHARE_CONNS   4
#define SHARE_TUNNELS 0

static int local_of(int fd, struct cv_sockaddr *ret)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	return cv_sockaddr_from_native((struct sockaddr *)&ss, len, ret);
}

/* limit_reached() - Return: which; NULL. */
static const char *limit_reached(struct worker *w, int fd)
{
	if (w->conn_count >= WORKER_CONNS_MAX || descriptors_are_scarce(fd))
		return strerror(EMFILE);
	return memory_is_short(loop_now_us(w->loop)) ? "out of memory" : NULL;
}

/* refuse() - this one only, when a limit is reached. Return: whether it was, @fd is closed. */
static bool refuse(struct worker *w, const struct pod *pod, enum accept_kind kind, int fd,
		   const struct cv_sockaddr *peer)
{
	const char *why = limit_reached(w, fd);
	const struct workload *own;
	struct conn_info info;

	if (!why)
		return false;
	own = pod_workload(w->state, pod);
	info = (struct conn_info){
		.direction = kind == ACCEPT_OUTBOUND ? CONN_OUTBOUND : CONN_INBOUND,
		.src = *peer,
		.src_workload = kind == ACCEPT_OUTBOUND ? own : NULL,
		.dst_workload = kind == ACCEPT_OUTBOUND ? NULL : own,
		.opened_us = loop_now_us(w->loop),
	};
	(void)local_of(fd, &info.dst);
	telemetry_conn_early(w->telemetry, &info, CONN_CONNECT, why);
	(void)relay_close_rst(fd);
	return true;
}

static void serve(struct worker *w, struct pod *pod, enum accept_kind kind, int fd,
		  const struct cv_sockaddr *peer)
{
	struct cv_sockaddr local;

	if (refuse(w, pod, kind, fd, peer))
		return;
	if (kind == ACCEPT_OUTBOUND) {
		outbound_start(w, pod, fd, peer);
		return;
	}
	if (local_of(fd, &local) < 0) {
		(void)relay_close_rst(fd);
		return;
	}
	if (kind == ACCEPT_HBONE)
		inbound_tunnel_start(w, pod, fd, peer, &local);
	else
		inbound_plain_start(w, pod, fd, peer, &local);
}

struct worker_handoff {
	struct message m;
	struct pod *pod;
	enum accept_kind kind;
	int fd;
	struct cv_sockaddr peer;
};

static void run_handoff(void *target, struct message *m)
{
	struct worker_handoff *h = container_of(m, struct worker_handoff, m);

	if (target)
		serve(target, h->pod, h->kind, h->fd, &h->peer);
	else
		(void)relay_close_rst(h->fd);
	(void)pod_unref(h->pod);
	free(h);
}

static uint32_t load_of(struct worker *w, enum accept_kind kind)
{
	return atomic_load_explicit(kind == ACCEPT_HBONE ? &w->load_tunnels : &w->load_conns,
				    memory_order_relaxed);
}

/* slack_of() - what is gone in a moment leaves nothing to be balanced. Twice their average, because
 * they come in bunches. */
static uint32_t slack_of(const struct worker *w, enum accept_kind kind)
{
	if (kind == ACCEPT_HBONE)
		return SHARE_TUNNELS;
	return SHARE_CONNS + 2 * brief_open(&w->brief, loop_now_us(w->loop));
}

/* least_loaded() - a pod's home would else keep everything. */
static struct worker *least_loaded(struct worker *w, enum accept_kind kind)
{
	uint32_t slack = slack_of(w, kind);
	struct worker *best = w;

	for (unsigned int i = 0; i < w->count; i++)
		if (load_of(&w->all[i], kind) < load_of(best, kind))
			best = &w->all[i];
	return load_of(w, kind) > load_of(best, kind) + slack ? best : w;
}

static void share_out(struct worker *w, struct pod *pod, enum accept_kind kind, int fd,
		      const struct cv_sockaddr *peer)
{
	/* One that will be refused waits for nobody: it would keep the agent's room meanwhile. And
	 * in a drain the other workers are to know what they still get. */
	bool is_mine = descriptors_are_scarce(fd) || w->is_draining;
	struct worker *to = is_mine ? w : least_loaded(w, kind);
	struct worker_handoff *h = to == w ? NULL : calloc(1, sizeof(*h));

	if (!h) {
		serve(w, pod, kind, fd, peer);
		return;
	}
	h->m.run = run_handoff;
	h->pod = pod_ref(pod);
	h->kind = kind;
	h->fd = fd;
	h->peer = *peer;
	inbox_post(&to->inbox, &h->m);
}

/* shed() - no descriptor is left: refuse one connection with the one held back for this, else its
 * arrival would wake us for ever. */
static void shed(struct worker *w, int listen_fd)
{
	w->reserve_fd = close_fd(w->reserve_fd);
	(void)relay_close_rst(accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC));
	w->reserve_fd = eventfd(0, EFD_CLOEXEC);
}

/* is_banned() - no other worker is woken for one that is not heard, and none begins a handshake. */
static bool is_banned(struct worker *w, enum accept_kind kind, const struct cv_sockaddr *peer)
{
	return kind == ACCEPT_HBONE &&
	       penalty_is_on(worker_penalty(w), &peer->addr, loop_now_us(w->loop));
}

/* accept_one() - Return: whether there may be more. */
static bool accept_one(struct worker *w, const struct accept_watch *a)
{
	struct sockaddr_storage ss = {0};
	struct cv_sockaddr peer = {0};
	socklen_t len = sizeof(ss);
	int fd;

	fd = accept4(a->watch.fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			shed(w, a->watch.fd);
		return errno == EINTR || errno == ECONNABORTED;
	}
	if (cv_sockaddr_from_native((struct sockaddr *)&ss, len, &peer) < 0) {
		(void)relay_close_rst(fd);
		return true;
	}
	if (is_banned(w, a->kind, &peer))
		(void)relay_close_rst(fd);
	else
		share_out(w, a->owner->pod, a->kind, fd, &peer);
	return true;
}

static void accept_some(struct accept_watch *a, unsigned int n)
{
	for (unsigned int i = 0; i < n && accept_one(a->owner->worker, a); i++)
		continue;
}

void accept_ready(struct loop_fd *watch, uint32_t events)
{
	struct accept_watch *a = container_of(watch, struct accept_watch, watch);
	uint64_t turn = loop_turn(a->owner->worker->loop);

	/* Mostly one came, and to ask in vain for another costs as much as to take one. Where more
	 * wait, the next turn is about this listener again and takes twice as many. */
	a->quota = turn == a->turn + 1 ? MIN(a->quota * 2 + 1, (unsigned int)ACCEPT_MAX) : 1;
	a->turn = turn;
	accept_some(a, a->quota);
}

void accept_rest(struct accept_watch *a)
{
	accept_some(a, ACCEPT_REST_MAX);
}
