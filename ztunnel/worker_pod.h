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
