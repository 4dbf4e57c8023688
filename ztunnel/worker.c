/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/map.h"
#include "base/str.h"
#include "hbone/tunnel.h"
#include "net/addr.h"
#include "ztunnel/conn.h"
#include "ztunnel/inbound.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pod.h"
#include "ztunnel/pool.h"
#include "ztunnel/relay.h"
#include "ztunnel/splice.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker_pod.h"

/* How long listeners that new ones replace still accept, and how long the sockets of a released pod
 * are kept for connections that were accepted just before. */
#define REPLACED_US (5 * 1000000ULL)
#define RELEASED_US (1 * 1000000ULL)
#define ACCEPT_MAX  16
/* A connection goes to another worker that has fewer by more than this. */
#define SHARE_CONNS   4
#define SHARE_TUNNELS 0
/* Turns for tunnels that were told to close. */
#define LAST_TURNS 3

uint64_t worker_random(struct worker *w)
{
	/* xorshift64*: spreads load, hides nothing. */
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return w->random * 2685821657736338717ULL;
}

struct worker_drained {
	struct message m;
	const struct worker_ops *ops;
};

static void run_drained(void *target, struct message *m)
{
	struct worker_drained *d = container_of(m, struct worker_drained, m);

	if (target)
		d->ops->on_drained(target);
	free(d);
}

static void tell_if_drained(struct worker *w)
{
	struct worker_drained *d;

	if (!w->is_draining || w->is_drained_told || w->conn_count > 0 || w->tunnel_count > 0)
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	w->is_drained_told = true;
	d->m.run = run_drained;
	d->ops = w->ops;
	inbox_post(w->main_inbox, &d->m);
}

void worker_count_conn(struct worker *w, int by)
{
	w->conn_count += (uint32_t)by;
	atomic_store_explicit(&w->load_conns, w->conn_count, memory_order_relaxed);
	tell_if_drained(w);
}

void worker_count_tunnel(struct worker *w, int by)
{
	w->tunnel_count += (uint32_t)by;
	atomic_store_explicit(&w->load_tunnels, w->tunnel_count, memory_order_relaxed);
	tell_if_drained(w);
}

void worker_wait_state(struct worker *w, struct state_wait *wait)
{
	list_add_tail(&w->state_waiters, &wait->link);
}

void state_wait_cancel(struct state_wait *wait)
{
	if (wait->link.next)
		list_del(&wait->link);
}

/* Accepting. */

static void serve(struct worker *w, struct pod *pod, enum accept_kind kind, int fd,
		  const struct cv_sockaddr *peer)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct cv_sockaddr local;

	if (w->conn_count >= WORKER_CONNS_MAX) {
		(void)relay_close_rst(fd);
		return;
	}
	if (kind == ACCEPT_OUTBOUND) {
		outbound_start(w, pod, fd, peer);
		return;
	}
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    cv_sockaddr_from_native((struct sockaddr *)&ss, len, &local) < 0) {
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

/* least_loaded() - whoever wakes first would else get everything. */
static struct worker *least_loaded(struct worker *w, enum accept_kind kind)
{
	uint32_t slack = kind == ACCEPT_HBONE ? SHARE_TUNNELS : SHARE_CONNS;
	struct worker *best = w;

	for (unsigned int i = 0; i < w->count; i++)
		if (load_of(&w->all[i], kind) < load_of(best, kind))
			best = &w->all[i];
	return load_of(w, kind) > load_of(best, kind) + slack ? best : w;
}

static void share_out(struct worker *w, struct pod *pod, enum accept_kind kind, int fd,
		      const struct cv_sockaddr *peer)
{
	struct worker *to = least_loaded(w, kind);
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
	share_out(w, a->owner->pod, a->kind, fd, &peer);
	return true;
}

static void on_acceptable(struct loop_fd *watch, uint32_t events)
{
	struct accept_watch *a = container_of(watch, struct accept_watch, watch);
	struct worker *w = a->owner->worker;

	for (int i = 0; i < ACCEPT_MAX && accept_one(w, a); i++)
		continue;
}

/* Pods. */

struct worker_need {
	struct message m;
	const struct worker_ops *ops;
	unsigned int worker;
	struct zds_sockets need;
};

static void run_need(void *target, struct message *m)
{
	struct worker_need *n = container_of(m, struct worker_need, m);

	if (target)
		n->ops->on_need(target, n->worker, &n->need);
	free(n);
}

static void on_stock_need(void *arg, struct stock *s, uint32_t count)
{
	struct worker_pod *wp = arg;
	size_t at = (size_t)(s - &wp->stocks[0][0]);
	struct worker_need *n = calloc(1, sizeof(*n));

	if (!n) {
		s->asked = 0;
		return;
	}
	n->m.run = run_need;
	n->ops = wp->worker->ops;
	n->worker = wp->worker->index;
	n->need.netns_cookie = wp->pod->netns_cookie;
	n->need.kind = CV_SOCKET_DIAL_APP + (uint32_t)(at / STOCK_FAMILIES);
	n->need.family = (uint32_t)(at % STOCK_FAMILIES);
	n->need.count = count;
	inbox_post(wp->worker->main_inbox, &n->m);
}

static struct stock *stock_of(struct worker_pod *wp, uint32_t kind, uint32_t family)
{
	if (kind < CV_SOCKET_DIAL_APP || kind > CV_SOCKET_DIAL_PLAIN || family >= STOCK_FAMILIES)
		return NULL;
	return &wp->stocks[kind - CV_SOCKET_DIAL_APP][family];
}

static struct worker_pod *pod_find(struct worker *w, uint64_t cookie)
{
	return map_get(w->pods, &cookie, sizeof(cookie));
}

struct stock *worker_pod_stock(struct worker *w, uint64_t netns_cookie, uint32_t kind,
			       enum zds_family family)
{
	struct worker_pod *wp = pod_find(w, netns_cookie);

	return wp ? stock_of(wp, kind, family) : NULL;
}

static void stop_listening(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++)
		loop_del(&wp->accepts[i].watch);
	wp->listeners = listener_set_unref(wp->listeners);
}

static void worker_pod_free(struct worker_pod *wp)
{
	if (pod_find(wp->worker, wp->pod->netns_cookie) == wp)
		(void)map_del(wp->worker->pods, &wp->pod->netns_cookie,
			      sizeof(wp->pod->netns_cookie));
	loop_timer_del(&wp->leave);
	list_del(&wp->link);
	stop_listening(wp);
	for (size_t k = 0; k < STOCK_KINDS; k++)
		for (size_t f = 0; f < STOCK_FAMILIES; f++)
			stock_close(&wp->stocks[k][f], -ENETDOWN);
	(void)pod_unref(wp->pod);
	free(wp);
}

static void on_leave(struct loop_timer *t)
{
	worker_pod_free(container_of(t, struct worker_pod, leave));
}

static enum accept_kind kind_of(size_t listener)
{
	if (listener == ZDS_LISTEN_PLAIN)
		return ACCEPT_PLAIN;
	return listener == ZDS_LISTEN_HBONE ? ACCEPT_HBONE : ACCEPT_OUTBOUND;
}

static int start_listening(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++) {
		struct accept_watch *a = &wp->accepts[i];
		int r;

		a->owner = wp;
		a->kind = kind_of(i);
		a->watch.fd = wp->listeners->fds[i];
		a->watch.on_event = on_acceptable;
		r = loop_add(wp->worker->loop, &a->watch, EPOLLIN | EPOLLEXCLUSIVE);
		/* A placeholder, where the kernel has no IPv6. */
		if (r < 0 && r != -EPERM)
			return r;
	}
	return 0;
}

/* replace() - the agent has made new listeners for a pod that is served: the old ones accept a
 * little longer. */
static void replace(struct worker_pod *wp, struct worker_pod *old)
{
	if (!old)
		return;
	for (size_t k = 0; k < STOCK_KINDS; k++)
		for (size_t f = 0; f < STOCK_FAMILIES; f++)
			stock_move_waiters(&wp->stocks[k][f], &old->stocks[k][f]);
	(void)loop_timer_set(wp->worker->loop, &old->leave, REPLACED_US);
}

static int worker_pod_add(struct worker *w, struct pod *pod, struct listener_set *listeners)
{
	struct worker_pod *old = pod_find(w, pod->netns_cookie);
	struct worker_pod *wp = calloc(1, sizeof(*wp));
	int r;

	if (!wp)
		return -ENOMEM;
	wp->worker = w;
	wp->pod = pod_ref(pod);
	wp->listeners = listener_set_ref(listeners);
	wp->leave.on_timer = on_leave;
	list_init(&wp->link);
	for (size_t k = 0; k < STOCK_KINDS; k++)
		for (size_t f = 0; f < STOCK_FAMILIES; f++)
			stock_init(&wp->stocks[k][f], on_stock_need, wp);
	r = start_listening(wp);
	if (r == 0)
		r = map_put(w->pods, &pod->netns_cookie, sizeof(pod->netns_cookie), wp);
	if (r < 0) {
		worker_pod_free(wp);
		return r;
	}
	list_add_tail(&w->pod_list, &wp->link);
	replace(wp, old);
	return 0;
}

/* worker_pod_release() - take what has been captured already, then stop. */
static void worker_pod_release(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++)
		if (wp->accepts[i].watch.loop)
			on_acceptable(&wp->accepts[i].watch, EPOLLIN);
	stop_listening(wp);
	(void)loop_timer_set(wp->worker->loop, &wp->leave, RELEASED_US);
}

/* Messages. */

struct worker_message {
	struct message m;
	struct worker *worker;
	struct state *state;
	struct pod *pod;
	struct listener_set *listeners;
	const struct worker_ops *ops;
	uint64_t netns_cookie;
	int error;
	struct zds_sockets sockets;
	int fds[ZDS_MAX_FDS];
	void (*collect)(void *arg, const struct conn *c);
	void (*collected)(void *main, void *arg);
	void *arg;
};

static void message_free(struct worker_message *m)
{
	(void)state_unref(m->state);
	(void)pod_unref(m->pod);
	(void)listener_set_unref(m->listeners);
	free(m);
}

static struct worker_message *message_new(struct worker *w,
					  void (*run)(void *target, struct message *m))
{
	struct worker_message *m = calloc(1, sizeof(*m));

	if (m) {
		m->m.run = run;
		m->worker = w;
		m->ops = w->ops;
	}
	return m;
}

static void run_state_waiters(struct worker *w)
{
	struct list batch;

	list_init(&batch);
	if (list_is_empty(&w->state_waiters))
		return;
	list_add(&w->state_waiters, &batch);
	list_del(&w->state_waiters);
	while (!list_is_empty(&batch)) {
		struct state_wait *wait = list_entry(batch.next, struct state_wait, link);

		list_del(&wait->link);
		wait->on_state(wait);
	}
}

static void run_state(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker *w = target;

	if (w) {
		struct state *old = w->state;

		w->state = TAKE_PTR(m->state);
		(void)state_unref(old);
		if (state_policy_generation(w->state) != w->policy_generation) {
			w->policy_generation = state_policy_generation(w->state);
			conn_recheck_all(w);
		}
		pool_on_state(w->pool);
		run_state_waiters(w);
	}
	message_free(m);
}

void worker_post_state(struct worker *w, struct state *s)
{
	struct worker_message *m = message_new(w, run_state);

	if (!m)
		return;
	m->state = state_ref(s);
	inbox_post(&w->inbox, &m->m);
}

static void run_pod_added(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);

	if (target)
		m->ops->on_pod_added(target, m->pod, m->error);
	message_free(m);
}

static void run_pod_add(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker *w = target;
	int r = -ESHUTDOWN;

	if (!w) {
		message_free(m);
		return;
	}
	if (!w->is_draining)
		r = worker_pod_add(w, m->pod, m->listeners);
	m->listeners = listener_set_unref(m->listeners);
	m->error = -r;
	m->m.run = run_pod_added;
	inbox_post(w->main_inbox, &m->m);
}

void worker_post_pod_add(struct worker *w, struct pod *pod, struct listener_set *listeners)
{
	struct worker_message *m = message_new(w, run_pod_add);

	if (!m)
		return;
	m->pod = pod_ref(pod);
	m->listeners = listener_set_ref(listeners);
	inbox_post(&w->inbox, &m->m);
}

static void run_pod_del(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker_pod *wp = target ? pod_find(target, m->netns_cookie) : NULL;

	if (wp)
		worker_pod_release(wp);
	message_free(m);
}

void worker_post_pod_del(struct worker *w, uint64_t netns_cookie)
{
	struct worker_message *m = message_new(w, run_pod_del);

	if (!m)
		return;
	m->netns_cookie = netns_cookie;
	inbox_post(&w->inbox, &m->m);
}

static void run_sockets(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct stock *s = NULL;

	if (target)
		s = worker_pod_stock(target, m->sockets.netns_cookie, m->sockets.kind,
				     m->sockets.family);
	if (s)
		stock_give(s, m->fds, m->sockets.count, m->sockets.error);
	else
		for (uint32_t i = 0; i < m->sockets.count; i++)
			(void)close_fd(m->fds[i]);
	message_free(m);
}

void worker_post_sockets(struct worker *w, const struct zds_sockets *sockets, const int *fds)
{
	struct worker_message *m = message_new(w, run_sockets);
	uint32_t count = MIN(sockets->count, (uint32_t)ZDS_MAX_FDS);

	if (!m) {
		for (uint32_t i = 0; i < count; i++)
			(void)close_fd(fds[i]);
		return;
	}
	m->sockets = *sockets;
	m->sockets.count = count;
	memcpy(m->fds, fds, count * sizeof(*fds));
	inbox_post(&w->inbox, &m->m);
}

static void run_drain(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker *w = target;

	if (w && !w->is_draining) {
		struct worker_pod *wp;

		w->is_draining = true;
		list_for_each_entry (wp, &w->pod_list, link) {
			stop_listening(wp);
		}
		inbound_drain(w);
		pool_drain(w->pool);
		tell_if_drained(w);
	}
	message_free(m);
}

void worker_post_drain(struct worker *w)
{
	struct worker_message *m = message_new(w, run_drain);

	if (m)
		inbox_post(&w->inbox, &m->m);
}

static void run_collected(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);

	if (target)
		m->collected(target, m->arg);
	message_free(m);
}

static void run_collect(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker *w = target;
	struct conn *c;

	if (!w) {
		message_free(m);
		return;
	}
	list_for_each_entry (c, &w->conns, link) {
		m->collect(m->arg, c);
	}
	m->m.run = run_collected;
	inbox_post(w->main_inbox, &m->m);
}

int worker_post_collect(struct worker *w, void (*fn)(void *arg, const struct conn *c),
			void (*done)(void *main, void *arg), void *arg)
{
	struct worker_message *m = message_new(w, run_collect);

	if (!m)
		return -ENOMEM;
	m->collect = fn;
	m->collected = done;
	m->arg = arg;
	inbox_post(&w->inbox, &m->m);
	return 0;
}

static void run_stop(void *target, struct message *msg)
{
	if (target)
		loop_stop(((struct worker *)target)->loop, 0);
	message_free(container_of(msg, struct worker_message, m));
}

/* Life. */

static void cut_all(struct worker *w)
{
	while (!list_is_empty(&w->conns)) {
		struct conn *c = list_entry(w->conns.next, struct conn, link);

		c->ops->cut(c, CONN_OK, "ztunnel is shutting down");
	}
	inbound_close_all(w);
	w->pool = pool_free(w->pool);
	while (!list_is_empty(&w->pod_list))
		worker_pod_free(list_entry(w->pod_list.next, struct worker_pod, link));
	for (int i = 0; i < LAST_TURNS; i++)
		(void)loop_run_once(w->loop, 0);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	(void)loop_run(w->loop);
	inbox_close(&w->inbox);
	cut_all(w);
	return NULL;
}

int worker_prepare(struct worker *w, struct state *state)
{
	int r;

	list_init(&w->conns);
	list_init(&w->state_waiters);
	list_init(&w->server_tunnels);
	list_init(&w->pod_list);
	random_bytes(&w->random, sizeof(w->random));
	w->random |= 1;
	w->reserve_fd = eventfd(0, EFD_CLOEXEC);
	w->splice_scratch = malloc(SPLICE_READ_MAX);
	if (!w->splice_scratch)
		return -ENOMEM;
	r = loop_new(&w->loop);
	if (r < 0)
		return r;
	inbox_init(&w->inbox, w->loop, w);
	w->state = state_ref(state);
	w->policy_generation = state_policy_generation(state);
	r = map_new(&w->pods);
	if (r == 0)
		r = hbone_scratch_new(&w->scratch);
	if (r == 0)
		r = telemetry_new(&w->telemetry);
	if (r == 0)
		r = pool_new(w, &w->pool);
	return r;
}

int worker_start(struct worker *w)
{
	char name[16];
	int r;

	r = pthread_create(&w->thread, NULL, worker_main, w);
	if (r > 0)
		return -r;
	w->is_running = true;
	(void)snprintf(name, sizeof(name), "worker-%u", w->index % 1000U);
	(void)pthread_setname_np(w->thread, name);
	return 0;
}

void worker_stop(struct worker *w)
{
	struct worker_message *m = w->is_running ? message_new(w, run_stop) : NULL;

	if (!m)
		return;
	inbox_post(&w->inbox, &m->m);
	(void)pthread_join(w->thread, NULL);
	w->is_running = false;
}

void worker_free(struct worker *w)
{
	if (!w->loop)
		return;
	w->pool = pool_free(w->pool);
	w->scratch = hbone_scratch_free(w->scratch);
	w->telemetry = telemetry_free(w->telemetry);
	w->pods = map_free(w->pods);
	w->state = state_unref(w->state);
	w->loop = loop_free(w->loop);
	w->reserve_fd = close_fd(w->reserve_fd);
	free(w->splice_scratch);
	w->splice_scratch = NULL;
}
