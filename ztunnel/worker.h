/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* worker - one thread of the data path: an event loop, the listeners of the pods whose home it is
 * (help.h), its own stock of sockets for every pod, its own tunnels, its own counters. Workers
 * share nothing but immutable, counted snapshots and descriptors; they hear from the main thread,
 * and from each other, by their inbox. Functions named worker_post_*() are for other threads, all
 * else is the worker's own. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "culvert/zds.h"
#include "ztunnel/brief.h"
#include "ztunnel/handshakes.h"
#include "ztunnel/help.h"
#include "ztunnel/inbox.h"
#include "ztunnel/penalty.h"
#include "ztunnel/refused.h"
#include "ztunnel/stock.h"

struct admin_dump;
struct conn;
struct hbone_desk;
struct hbone_handshaker;
struct hbone_scratch;
struct listener_set;
struct map;
struct name_query;
struct pod;
struct pool;
struct state;
struct telemetry;

/* Connections of one worker, tunnels not counted; more are refused. */
#define WORKER_CONNS_MAX 100000
/* Stocks that have their turn in one of the loop, each of which dials one or some (stock.h); a
 * stock that is alone has all of them. */
#define WORKER_DIALS 4
/* Workers whose handshakes one thread makes. */
#define WORKERS_PER_HANDSHAKER 4
/* Tunnels from peers of one worker. */
#define WORKER_TUNNELS_MAX 20000

struct worker;

/* Called in the main thread. */
struct worker_ops {
	/* This worker serves the pod. @error: 0 or a positive errno. */
	void (*on_pod_added)(void *arg, struct pod *pod, int error);
	void (*on_need)(void *arg, unsigned int worker, const struct zds_sockets *need);
	/* A connection wants the addresses of a host: names_serve(). */
	void (*on_name)(void *arg, struct name_query *q);
	/* After worker_post_drain() to all workers: no connection is left. */
	void (*on_drained)(void *arg);
};

struct worker {
	unsigned int index;
	unsigned int count; /* of all workers */
	uint64_t poll_us;   /* see loop_set_poll() */
	struct worker *all; /* array of @count */
	pthread_t thread;
	bool is_running;
	struct loop *loop;
	struct inbox inbox;
	struct message lost; /* sockets, for want of memory; in the inbox while is_lost */
	atomic_bool is_lost;
	struct message settled; /* all workers drain; posted once */
	atomic_uint draining;   /* how many do; counted in the first one */
	/* What must be heard needs no memory to tell. */
	struct message news; /* in the inbox while there is a next_state */
	_Atomic(struct state *) next_state;
	struct message distrust; /* in the inbox while is_distrusting */
	atomic_bool is_distrusting;
	struct inbox *main_inbox;
	struct help help;
	const struct worker_ops *ops;
	struct hbone_scratch *scratch;
	struct hbone_handshaker *handshaker; /* and of the next few; NULL: an earlier one's */
	struct hbone_desk *desk;             /* with it */
	uint8_t *splice_scratch;
	struct telemetry *telemetry;
	struct state *state; /* counted; never NULL once running */
	struct map *pods;    /* netns cookie -> struct worker_pod */
	struct pool *pool;
	struct list conns;            /* struct conn.link */
	struct list state_waiters;    /* struct state_wait.link */
	struct list server_tunnels;   /* struct server_tunnel.link */
	struct list pod_list;         /* struct worker_pod.link */
	struct turns dials;           /* the stocks that have some */
	struct handshakes handshakes; /* with peers */
	struct refused refused;       /* of streams, by peer */
	struct penalty penalty;       /* peers that flooded: the first worker's is everybody's */
	int reserve_fd; /* given up to refuse a connection when there are no descriptors left */
	struct brief brief;
	uint32_t conn_count;
	uint32_t tunnel_count;
	uint64_t policy_generation; /* that live connections have been checked against */
	bool is_draining;
	bool is_settled; /* and nothing is handed over any more */
	bool is_drained_told;
	uint64_t random;
	/* What other workers look at to share new connections out; relaxed. */
	atomic_uint load_conns;
	atomic_uint load_tunnels;
};

/** struct state_wait - somebody who waits for a newer snapshot; embedded. The owner has the
 * deadline. */
struct state_wait {
	struct list link;
	void (*on_state)(struct state_wait *w);
};
void worker_wait_state(struct worker *w, struct state_wait *wait);
/** state_wait_cancel() - harmless when it does not wait; @wait zero or used before. */
void state_wait_cancel(struct state_wait *wait);

static inline bool state_wait_is_waiting(const struct state_wait *wait)
{
	return list_is_in(&wait->link);
}

/** worker_prepare() - make what it needs. @w zeroed but for index, count, poll_us, all, main_inbox,
 * ops. All workers are prepared before the first starts. Return: 0; -errno, worker_free() still
 * applies. */
_must_check_ int worker_prepare(struct worker *w, struct state *state);
/** worker_start() - run its loop in a thread. Return: 0; -errno. */
_must_check_ int worker_start(struct worker *w);
/** worker_stop() - cut what is left and end the thread. Harmless when it does not run. */
void worker_stop(struct worker *w);
/** worker_free() - after worker_stop() of all workers. Also takes a zeroed one. */
void worker_free(struct worker *w);

/** worker_post_state() - a newer snapshot; counted. One that it has not come to is left out. */
void worker_post_state(struct worker *w, struct state *s);
/** worker_post_pod_add() - watch these listeners (instead of older ones of the same cookie); both
 * counted. */
void worker_post_pod_add(struct worker *w, struct pod *pod, struct listener_set *listeners);
void worker_post_pod_del(struct worker *w, uint64_t netns_cookie);
/** worker_post_sockets() - from the agent; @fds are taken. Without memory for it nobody is left
 * waiting, see stock_lost(). */
void worker_post_sockets(struct worker *w, const struct zds_sockets *m, const int *fds);
/** worker_penalty() - which all workers have in common. */
static inline struct penalty *worker_penalty(struct worker *w)
{
	return &w->all[0].penalty;
}

/** worker_post_trust() - other revocation lists or trust domains are in force: cut whom they no
 * longer accept. */
void worker_post_trust(struct worker *w);
/** worker_post_drain() - listeners close now, tunnels say GOAWAY, connections go on. */
void worker_post_drain(struct worker *w);
/** worker_post_collect() - runs @fn(@arg, conn) for each connection in the worker's thread, then
 * @done(@arg) in the main thread. */
int worker_post_collect(struct worker *w, void (*fn)(void *arg, const struct conn *c),
			void (*done)(void *main, void *arg), void *arg);

/** worker_pod_stock() - Return: NULL when the pod is gone. @kind: CV_SOCKET_DIAL_*. */
struct stock *worker_pod_stock(struct worker *w, uint64_t netns_cookie, uint32_t kind,
			       enum zds_family family);
/** worker_pod_is_leaving() - its listeners are closed, or about to: it has left, or all ends. */
bool worker_pod_is_leaving(struct worker *w, uint64_t netns_cookie);
/** worker_random() - not for secrets. */
uint64_t worker_random(struct worker *w);
/** worker_count_conn(), worker_count_tunnel() - @by +1 or -1; ends the drain when nothing is left.
 */
void worker_count_conn(struct worker *w, int by);
void worker_count_tunnel(struct worker *w, int by);
