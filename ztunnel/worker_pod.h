/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* worker_pod - a pod as one worker serves it: its watches of the listeners and its stock. Used by
 * worker.c and nobody else. */
#include "base/list.h"
#include "base/loop.h"
#include "ztunnel/pod.h"
#include "ztunnel/stock.h"

struct worker;
struct worker_pod;

enum accept_kind {
	ACCEPT_OUTBOUND,
	ACCEPT_PLAIN,
	ACCEPT_HBONE,
};

struct accept_watch {
	struct loop_fd watch; /* fd belongs to the listener set */
	struct worker_pod *owner;
	enum accept_kind kind;
	unsigned int quota; /* how many to take when it is ready again */
	uint64_t turn;      /* of the loop, when it was ready last */
};

struct worker_pod {
	struct list link; /* worker->pod_list: also those that are leaving */
	struct worker *worker;
	struct pod *pod;                /* counted */
	struct listener_set *listeners; /* counted; NULL: closed */
	struct accept_watch accepts[POD_LISTENERS];
	struct stock stocks[STOCK_KINDS][STOCK_FAMILIES];
	struct loop_timer leave; /* replaced or released: gone when it fires */
};

/** accept_ready() - on_event of every listener. */
void accept_ready(struct loop_fd *watch, uint32_t events);
/** accept_rest() - all that waits, because the listener is about to close. */
void accept_rest(struct accept_watch *a);

/** worker_pod_find() - Return: NULL when it is not served. */
struct worker_pod *worker_pod_find(struct worker *w, uint64_t netns_cookie);
/** worker_pod_add() - serve it; what was there for the cookie accepts a little longer.
 * Return: 0; -ENOMEM; -errno. */
_must_check_ int worker_pod_add(struct worker *w, struct pod *pod, struct listener_set *listeners);
/** worker_pod_lost() - sockets for a pod of this worker's were lost: stock_lost(). */
void worker_pod_lost(struct worker_pod *wp);
/** worker_pod_watch() - as help_accepts() says by now. */
void worker_pod_watch(struct worker_pod *wp);
/** worker_pod_drain() - take what has been captured already, then stop. */
void worker_pod_drain(struct worker_pod *wp);
/** worker_pod_release() - the same; it frees itself a little later. */
void worker_pod_release(struct worker_pod *wp);
void worker_pod_free(struct worker_pod *wp);
