/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/worker_pod.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"
#include "ztunnel/help.h"
#include "ztunnel/worker.h"

/* How long listeners that new ones replace still accept, and how long the sockets of a released pod
 * are kept for connections that were accepted just before. */
#define REPLACED_US (5 * 1000000ULL)
#define RELEASED_US (1 * 1000000ULL)

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

static int on_stock_need(void *arg, struct stock *s, uint32_t count)
{
	struct worker_pod *wp = arg;
	size_t at = (size_t)(s - &wp->stocks[0][0]);
	struct worker_need *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->m.run = run_need;
	n->ops = wp->worker->ops;
	n->worker = wp->worker->index;
	n->need.netns_cookie = wp->pod->netns_cookie;
	n->need.kind = CV_SOCKET_DIAL_APP + (uint32_t)(at / STOCK_FAMILIES);
	n->need.family = (uint32_t)(at % STOCK_FAMILIES);
	n->need.count = count;
	inbox_post(wp->worker->main_inbox, &n->m);
	return 0;
}

void worker_pod_lost(struct worker_pod *wp)
{
	for (size_t k = 0; k < STOCK_KINDS; k++)
		for (size_t f = 0; f < STOCK_FAMILIES; f++)
			stock_lost(&wp->stocks[k][f]);
}

static struct stock *stock_of(struct worker_pod *wp, uint32_t kind, uint32_t family)
{
	if (kind < CV_SOCKET_DIAL_APP || kind > CV_SOCKET_DIAL_PLAIN || family >= STOCK_FAMILIES)
		return NULL;
	return &wp->stocks[kind - CV_SOCKET_DIAL_APP][family];
}

struct worker_pod *worker_pod_find(struct worker *w, uint64_t cookie)
{
	return map_get(w->pods, &cookie, sizeof(cookie));
}

struct stock *worker_pod_stock(struct worker *w, uint64_t netns_cookie, uint32_t kind,
			       enum zds_family family)
{
	struct worker_pod *wp = worker_pod_find(w, netns_cookie);

	return wp ? stock_of(wp, kind, family) : NULL;
}

bool worker_pod_is_leaving(struct worker *w, uint64_t netns_cookie)
{
	const struct worker_pod *wp = worker_pod_find(w, netns_cookie);

	return !wp || !wp->listeners;
}

/* stop() - close the listeners. */
static void stop(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++)
		loop_del(&wp->accepts[i].watch);
	wp->listeners = listener_set_unref(wp->listeners);
}

void worker_pod_free(struct worker_pod *wp)
{
	if (worker_pod_find(wp->worker, wp->pod->netns_cookie) == wp)
		(void)map_del(wp->worker->pods, &wp->pod->netns_cookie,
			      sizeof(wp->pod->netns_cookie));
	loop_timer_del(&wp->leave);
	list_del(&wp->link);
	stop(wp);
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

static int watch_one(struct accept_watch *a, bool is_on)
{
	if (!is_on)
		loop_del(&a->watch);
	else if (!a->watch.loop)
		return loop_add(a->owner->worker->loop, &a->watch, EPOLLIN | EPOLLEXCLUSIVE);
	return 0;
}

static int watch_all(struct worker_pod *wp)
{
	bool is_on = wp->listeners && help_accepts(wp);

	for (size_t i = 0; i < POD_LISTENERS; i++) {
		int r = watch_one(&wp->accepts[i], is_on);

		/* A placeholder, where the kernel has no IPv6. */
		if (r < 0 && r != -EPERM)
			return r;
	}
	return 0;
}

void worker_pod_watch(struct worker_pod *wp)
{
	(void)watch_all(wp);
}

static int start_listening(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++) {
		struct accept_watch *a = &wp->accepts[i];

		a->owner = wp;
		a->kind = kind_of(i);
		a->watch.fd = wp->listeners->fds[i];
		a->watch.on_event = accept_ready;
	}
	return watch_all(wp);
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

int worker_pod_add(struct worker *w, struct pod *pod, struct listener_set *listeners)
{
	struct worker_pod *old = worker_pod_find(w, pod->netns_cookie);
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
			stock_init(&wp->stocks[k][f], on_stock_need, wp, &wp->worker->dials);
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

void worker_pod_drain(struct worker_pod *wp)
{
	for (size_t i = 0; i < POD_LISTENERS; i++)
		if (wp->accepts[i].watch.loop)
			accept_rest(&wp->accepts[i]);
	stop(wp);
}

void worker_pod_release(struct worker_pod *wp)
{
	worker_pod_drain(wp);
	(void)loop_timer_set(wp->worker->loop, &wp->leave, RELEASED_US);
}
