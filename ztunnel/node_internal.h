/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node_internal - the main thread's state, shared by node.c, node_drain.c, node_direct.c and
 * node_trust.c. */
#include "base/clock_watch.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/trim.h"
#include "culvert/zds.h"
#include "ztunnel/inbox.h"
#include "ztunnel/needs.h"
#include "ztunnel/node.h"
#include "ztunnel/settings.h"
#include "ztunnel/worker.h"

struct admin_dump;
struct buf;
struct state;
struct tls_identity;

/* A pod as the main thread sees it. */
struct node_pod {
	struct pod *pod;      /* counted */
	char *identity;       /* that certs_want() was told; NULL: none yet */
	unsigned int pending; /* workers that have not answered */
	int error;            /* of the first that failed */
	bool has_stand_in;    /* in the snapshots */
	bool is_stale;        /* not named by the agent since it reconnected */
};

struct node {
	struct node_config config;
	struct loop *loop;
	struct inbox inbox;
	struct worker workers[NODE_WORKERS_MAX];
	struct agent_link *agent;
	struct xds_sync *xds;
	struct certs *certs;
	struct dns *dns;
	struct admin *admin;
	struct map *pods; /* netns cookie -> struct node_pod */
	struct needs needs;
	struct state *state; /* counted */
	struct tls_trust *trust;
	struct crl_watch *crl; /* NULL: there are no lists */
	struct clock_watch clock;
	struct settings settings;
	bool has_new_domains; /* trusted once all workers have the next snapshot */
	unsigned int untold;  /* workers that have not come to it */
	struct loop_timer drain_timer, leave_timer, answer_timer;
	uint64_t answer_until_us; /* at the end: what is in flight of the pods' DNS */
	struct trim trim;
	unsigned int drained;
	unsigned int rounds;         /* workers that have not been round yet, see node_drain.c */
	struct telemetry *telemetry; /* of direct connections: this thread's */
	struct list listings;        /* that the agent has been asked for: node_direct_list() */
	uint64_t listing_id;         /* of the last */
	uint64_t pods_started, pods_stopped;
	bool has_asked;  /* the agent keeps verdicts */
	bool is_renewed; /* a certificate, since the last snapshot */
	bool is_draining;
	bool is_answered; /* by the agent, since the round began */
};

static inline struct node_pod *node_pod_find(const struct node *n, uint64_t cookie)
{
	return map_get(n->pods, &cookie, sizeof(cookie));
}

/** node_pod_want() - ask for the certificate of the pod's identity, or for another one, once its
 * workload is known; without a control plane, let an identity that is here stand in. */
void node_pod_want(struct node *n, struct node_pod *np);
/** node_stand_in_drop() - the pod is gone, and out of n->pods. */
void node_stand_in_drop(struct node *n, const struct node_pod *np);

/** node_drain() - no new connections; end when the last is over, or at the deadline. */
void node_drain(struct node *n);
/** node_drain_answered() - the agent has answered a need. */
void node_drain_answered(struct node *n);
/** node_drain_lost() - in a drain: the agent is gone, and is not looked for. */
void node_drain_lost(struct node *n);
/** node_drain_done() - in a drain: the last connection is over. */
void node_drain_done(struct node *n);
/** node_needs_refuse() - who waits for sockets hears @error, a -errno. */
void node_needs_refuse(struct node *n, int error);

/** node_direct_ask(), node_direct_report(), node_direct_page() - agent_link_ops: ZDS_VERDICT_ASK,
 * ZDS_DIRECT, ZDS_DIRECT_PAGE. @arg: the node. */
void node_direct_ask(void *arg, const struct zds_verdict *m);
void node_direct_report(void *arg, const struct zds_direct *m, size_t count);
void node_direct_page(void *arg, const struct zds_direct_page *m);
/** node_direct_init(), node_direct_free() - what is kept of direct connections. Return: 0; -ENOMEM.
 */
_must_check_ int node_direct_init(struct node *n);
void node_direct_free(struct node *n);
/** node_direct_list() - add the direct connections that are open, which the agent is asked for:
 * nothing is kept of them here. Holds @d until they are there. */
void node_direct_list(struct node *n, struct admin_dump *d);
/** node_direct_lost() - the agent is gone: what it was asked for ends as it is. */
void node_direct_lost(struct node *n);
/** node_metrics() - append workload_manager_* as OpenMetrics text. @arg: the node. Return: 0;
 * -ENOMEM. */
int node_metrics(void *arg, struct buf *into);
/** node_direct_state() - n->state is new: tell the agent when verdicts may be others. @old: NULL:
 * none. */
void node_direct_state(struct node *n, const struct state *old);

/** node_trust_make() - whom to trust at first: n->trust, n->crl. Return: 0; -errno. */
_must_check_ int node_trust_make(struct node *n);
/** node_trust_settings(), node_trust_connected() - xds_sync_ops. @arg: the node. */
void node_trust_settings(void *arg, struct settings *s);
void node_trust_connected(void *arg);
/** node_trust_state() - a snapshot has gone to everybody; on_settings() of it came before. */
void node_trust_state(struct node *n);
/** node_trust_identity() - certs_config. @arg: the node. */
void node_trust_identity(void *arg, const char *identity, const struct tls_identity *t);
/** node_trust_free() - after every connection. */
void node_trust_free(struct node *n);
