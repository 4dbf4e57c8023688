/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* agent_private - what the agent*.c files share. Nobody else includes it. */
#include "agent.h"
#include "base/loop.h"
#include "base/trim.h"
#include "cni_fresh.h"
#include "cni_install.h"
#include "cni_server.h"
#include "datapath.h"
#include "direct.h"
#include "enrolment.h"
#include "events.h"
#include "features.h"
#include "handover.h"
#include "kube_events.h"
#include "kube_write.h"
#include "redirection.h"
#include "refusals.h"
#include "http/server.h"
#include "keeper.h"
#include "mesh.h"
#include "metrics.h"
#include "nameservers.h"
#include "netns.h"
#include "objects.h"
#include "pods.h"
#include "stock.h"
#include "sweep.h"
#include "uplink.h"
#include "zds.h"

/** struct agent_cni - the part that serves culvert-cni; all of it NULL without. */
struct agent_cni {
	struct cni_server *server;
	struct cni_install *install;
	struct cni_fresh *fresh; /* NULL also with a folder, which is always of now */
	struct cni_dirs dirs;    /* in the options; NULL: the plugin is not ours to install */
	const char *run_dir;     /* in the options */
	const char *exempt;      /* in the options */
	uint64_t grace_s;
	struct loop_timer outside; /* to write CNI_OUTSIDE_NAME */
	char *outside_text;        /* as it was written last */
};

/** struct agent_kube - what is told to the cluster, and who has us there; all NULL with a folder.
 */
struct agent_kube {
	struct keeper *keeper; /* NULL also where no DaemonSet was named */
	struct kube_write *write;
	struct kube_events *events;
	struct redirection *redirection;
};

/** struct agent_ready - what a readiness probe is told. */
struct agent_ready {
	struct loop_timer look;
	bool is_synced, is_told;
};

/** struct agent_leave - the last moments, see agent_leave(). */
struct agent_leave {
	struct loop_timer look;
	unsigned int looks;
};

struct agent {
	char *node, *run_dir, *maker_program;
	int lock_fd;
	struct loop *loop;
	struct netns_home home;
	struct datapath *datapath;
	char uplink_trouble[UPLINK_TROUBLE_LEN]; /* "": none */
	struct enrolment_context enrolment;
	struct feature features[FEATURE_COUNT];
	struct zds *zds;
	struct mesh *mesh;
	struct pods *pods;
	struct direct *direct;
	struct objects *objects;
	struct events *events;
	struct refusals *refusals;
	struct sweep *sweep;
	struct http_server *admin;
	struct loop_timer metrics;
	struct nameservers nameservers;
	struct stock stock;
	struct agent_cni cni;
	struct agent_kube kube;
	struct agent_ready ready;
	struct agent_leave leave;
	struct trim trim;

	struct handover *handover;
	bool is_retired;  /* another agent has taken the pods over; ours is only ztunnel's stock */
	bool is_stopping; /* retired, and to end with its ztunnel */
	struct loop_timer watch; /* retired: is the other still there? */
	unsigned int free_count; /* how often in a row it was not */
};

/* agent_ztunnel.c */

/** agent_zds_ops - what ztunnel says; the argument is the agent. */
extern const struct zds_ops agent_zds_ops;
/** agent_metrics_start() - tell ztunnel the counters every few seconds. Return: 0; -ENOMEM. */
_must_check_ int agent_metrics_start(struct agent *a);

/* agent_past.c */

/** agent_past_start() - remember from now on, before events are read. Return: 0; -errno, logged. */
_must_check_ int agent_past_start(struct agent *a);
/** agent_past_drop() - an event that is a drop, for who asks later and for ztunnel. @pod: whose,
 * NULL unknown. */
void agent_past_drop(struct agent *a, const struct cv_event *ev, const char *pod);
/** agent_past_format() - append {node, lost, refused{}, passed{}}. Return: 0; -ENOMEM. */
_must_check_ int agent_past_format(struct agent *a, struct buf *b);

/* agent_handover.c */

/** agent_handover_start() - let another agent take over; nothing without a @path. Return: 0;
 * -errno, logged. */
_must_check_ int agent_handover_start(struct agent *a, const char *path);
/** agent_handover_end() - stop that, and all timers of the agent's own. */
void agent_handover_end(struct agent *a);
/** agent_retired_waits() - on SIGTERM: is there a ztunnel that still needs its sockets? The agent
 * then ends with it. */
bool agent_retired_waits(struct agent *a);
/** agent_retired_lost() - a retired agent's ztunnel is gone. */
void agent_retired_lost(struct agent *a);

/* agent_leave.c */

/** agent_leave() - after the loop has ended: is none to come back to this node? If so, pods have
 * been released, and what other nodes sent by tunnels for a moment more has been served. */
bool agent_leave(struct agent *a);

/* agent_ready.c; see agent_ready_ask() and agent_end_await() */

/** agent_ready_synced() - the node's pods are known. From now on what is missing besides is looked
 * at. */
void agent_ready_synced(struct agent *a);
/** agent_ready_stop() - what was told last stays; @is_end: it is not ready any more. */
void agent_ready_stop(struct agent *a, bool is_end);
/** agent_ready_retired() - nobody is to wait for the end of this one: it waits for its ztunnel's.
 */
void agent_ready_retired(struct agent *a);

/* agent_kube.c */

/** agent_kube_start() - once there are objects. @daemonset: "namespace/name" that keeps the agent
 * running; NULL: none. Return: 0; -EINVAL no such words; -ENOMEM; logged. */
_must_check_ int agent_kube_start(struct agent *a, const char *daemonset);
/** agent_kube_stop() - before there are no objects any more. */
void agent_kube_stop(struct agent *a);
/** agent_kube_warn() - an Event about a pod. @key: "namespace/name"; @reason: static. */
void agent_kube_warn(struct agent *a, const char *key, const char *reason, const char *message);

/* agent_cni.c */

/** agent_cni_start() - listen for culvert-cni, if the options say so; else take it away. Return: 0;
 * -errno, logged. */
_must_check_ int agent_cni_start(struct agent *a, const struct agent_options *o);
/** agent_cni_synced() - the node's pods are known: the plugin can be answered from now on. */
void agent_cni_synced(struct agent *a);
/** agent_cni_changed() - a pod or namespace, or how a pod is held, is another now. */
void agent_cni_changed(struct agent *a);
/** agent_cni_leave() - no agent comes after this one: take the plugin away, and answer it still. */
void agent_cni_leave(struct agent *a);
/** agent_cni_stop() - the plugin stays where it is. */
void agent_cni_stop(struct agent *a);
/** agent_cni_error() - why a pod that starts is not captured before its first byte; NULL: it is,
 * or that is not asked for. */
const char *agent_cni_error(const struct agent *a);
