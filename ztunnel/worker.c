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
#include "base/reserve.h"
#include "base/str.h"
#include "hbone/handshaker.h"
#include "hbone/tunnel.h"
#include "net/addr.h"
#include "ztunnel/conn.h"
#include "ztunnel/descriptors.h"
#include "ztunnel/inbound.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pod.h"
#include "ztunnel/pool.h"
#include "ztunnel/relay.h"
#include "ztunnel/splice.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker_pod.h"

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

	if (!w->is_settled || w->is_drained_told || w->conn_count > 0 || w->tunnel_count > 0)
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
	telemetry_count_socket(w->telemetry, CONN_INBOUND, by);
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

/* Messages. */

struct worker_message {
	struct message m;
	struct worker *worker;
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

/* Once it is taken from there the next one is a message again. */
static void run_state(void *target, struct message *msg)
{
	struct worker *w = container_of(msg, struct worker, news);
	struct state *s = atomic_exchange(&w->next_state, NULL);

	if (!target) {
		(void)state_unref(s);
		return;
	}
	(void)state_unref(w->state);
	w->state = s;
	if (state_policy_generation(w->state) != w->policy_generation) {
		w->policy_generation = state_policy_generation(w->state);
		conn_recheck_all(w);
	}
	pool_on_state(w->pool);
	run_state_waiters(w);
}

void worker_post_state(struct worker *w, struct state *s)
{
	struct state *unseen = atomic_exchange(&w->next_state, state_ref(s));

	if (unseen)
		(void)state_unref(unseen);
	else
		inbox_post(&w->inbox, &w->news);
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
	struct worker_pod *wp = target ? worker_pod_find(target, m->netns_cookie) : NULL;

	if (wp) {
		worker_pod_release(wp);
		inbound_drain_pod(target, m->netns_cookie);
	}
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

/* Whose they were there was no memory to tell. */
static void run_lost(void *target, struct message *msg)
{
	struct worker *w = container_of(msg, struct worker, lost);
	struct worker_pod *wp;

	atomic_store(&w->is_lost, false);
	if (target)
		list_for_each_entry (wp, &w->pod_list, link)
			worker_pod_lost(wp);
}

void worker_post_sockets(struct worker *w, const struct zds_sockets *sockets, const int *fds)
{
	struct worker_message *m = message_new(w, run_sockets);
	uint32_t count = MIN(sockets->count, (uint32_t)ZDS_MAX_FDS);

	if (!m) {
		for (uint32_t i = 0; i < count; i++)
			(void)close_fd(fds[i]);
		if (!atomic_exchange(&w->is_lost, true))
			inbox_post(&w->inbox, &w->lost);
		return;
	}
	m->sockets = *sockets;
	m->sockets.count = count;
	/* Not when the worker comes to it: the agent's next message needs the room. */
	for (uint32_t i = 0; i < count; i++)
		m->fds[i] = descriptors_are_scarce(fds[i]) ? close_fd(fds[i]) : fds[i];
	inbox_post(&w->inbox, &m->m);
}

static void run_trust(void *target, struct message *msg)
{
	struct worker *w = container_of(msg, struct worker, distrust);

	atomic_store(&w->is_distrusting, false);
	if (!target)
		return;
	pool_on_trust(w->pool);
	inbound_on_trust(w);
}

void worker_post_trust(struct worker *w)
{
	if (!atomic_exchange(&w->is_distrusting, true))
		inbox_post(&w->inbox, &w->distrust);
}

/* Behind everything that another worker has handed over. */
static void run_settled(void *target, struct message *msg)
{
	struct worker *w = target;

	if (!w)
		return;
	w->is_settled = true;
	tell_if_drained(w);
}

/* A worker that drains keeps what it accepts, so that after the last one has begun no more is
 * handed over. */
static void settle_if_last(struct worker *w)
{
	if (atomic_fetch_add(&w->all[0].draining, 1) + 1 != w->count)
		return;
	for (unsigned int i = 0; i < w->count; i++)
		inbox_post(&w->all[i].inbox, &w->all[i].settled);
}

static void run_drain(void *target, struct message *msg)
{
	struct worker_message *m = container_of(msg, struct worker_message, m);
	struct worker *w = target;

	if (w && !w->is_draining) {
		struct worker_pod *wp;

		w->is_draining = true;
		list_for_each_entry (wp, &w->pod_list, link) {
			worker_pod_drain(wp);
		}
		inbound_drain(w);
		pool_drain(w->pool);
		settle_if_last(w);
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

	(void)reserve_fill();
	(void)loop_run(w->loop);
	inbox_close(&w->inbox);
	cut_all(w);
	reserve_drop();
	return NULL;
}

/* prepare_handshakes() - beside the loop: the first worker of a few has the thread for all of them.
 */
static int prepare_handshakes(struct worker *w)
{
	struct worker *first = &w->all[w->index - w->index % WORKERS_PER_HANDSHAKER];
	int r = first == w ? hbone_handshaker_new(&w->handshaker) : 0;

	return r < 0 ? r : hbone_desk_new(first->handshaker, w->loop, &w->desk);
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
	loop_set_poll(w->loop, w->poll_us);
	turns_init(&w->dials, w->loop, WORKER_DIALS);
	help_init(w);
	inbox_init(&w->inbox, w->loop, w);
	w->lost.run = run_lost;
	w->news.run = run_state;
	w->distrust.run = run_trust;
	w->settled.run = run_settled;
	w->state = state_ref(state);
	w->policy_generation = state_policy_generation(state);
	r = map_new(&w->pods);
	if (r == 0)
		r = handshakes_init(&w->handshakes);
	if (r == 0)
		r = hbone_scratch_new(&w->scratch);
	if (r == 0)
		r = prepare_handshakes(w);
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
	w->desk = hbone_desk_free(w->desk);
	w->handshaker = hbone_handshaker_free(w->handshaker);
	w->scratch = hbone_scratch_free(w->scratch);
	w->telemetry = telemetry_free(w->telemetry);
	w->pods = map_free(w->pods);
	handshakes_free(&w->handshakes);
	turns_free(&w->dials);
	w->state = state_unref(w->state);
	w->loop = loop_free(w->loop);
	w->reserve_fd = close_fd(w->reserve_fd);
	free(w->splice_scratch);
	w->splice_scratch = NULL;
}
