/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pods_private - what the pods_*.c share. Nobody else includes it. */
#include "base/list.h"
#include "base/map.h"
#include "pods.h"

/* A pod that is wanted in the mesh; its enrolment when its namespace is there. */
struct pod {
	struct pods *pods;
	struct podspec *spec;
	struct enrolment *enrolment; /* owned */
	struct loop_timer retry;
	uint64_t retry_us;
	char *left_key;  /* its key in by_key once its object is gone, see pods_leave(); NULL */
	bool is_earlier; /* as one that has left: its object is that of a later sandbox */
	char *left_with; /* such a one whose pod has left: that one's key; NULL */
	bool is_error_logged;
	char error[256];
};

struct pods {
	struct pods_config config;
	struct map *by_key;     /* "namespace/name" -> struct pod, owned */
	struct map *by_cookie;  /* netns cookie -> struct enrolment */
	struct map *earlier;    /* netns cookie -> struct netns_sought, owned; see pods_left.c */
	struct list enrolments; /* of all in by_key; those not checked in this second first */
	struct list draining;   /* owned */
	struct loop_timer check, slice, grace;
	unsigned int checks, check_phase;
	size_t slice_size;
	size_t in_flight; /* offers that ztunnel has not answered */
	bool is_synced, has_stale;
	bool is_blind; /* not all namespaces of the node could be looked at for the last sweep */
	bool is_dests_synced; /* something is known of the mesh */
	bool is_dests_told;   /* by the control plane, to this agent */
	bool is_retired;
	bool is_announced; /* SYNCED sent to this ztunnel */
};

/** pods_addr_is_of_another() - has a pod besides @self this address? */
bool pods_addr_is_of_another(const struct pods *p, const struct enrolment *self,
			     const struct cv_addr *addr);
/** pods_addrs_claim() - what this pod owns, others give up: to be called when it comes and when its
 * own addresses change. @e may be listed or not. */
void pods_addrs_claim(struct pods *p, const struct enrolment *e);
/** pods_clashes_resolve() - sk_lookup cannot tell namespaces apart, and two pods may well have one
 * address that is neither's own (link-local, of a bridge inside): then neither is served at it,
 * rather than one pod's connections by the other's listener. */
void pods_clashes_resolve(struct pods *p, struct enrolment *e);
/** pods_left_check() - end those that have left and whose namespaces have gone now. */
void pods_left_check(struct pods *p);
/** pods_netns_lives() - does anything hold the namespace of a pod that is enrolled? Its podspec's
 * path is another one then, where the process that it named has ended. */
bool pods_netns_lives(struct pod *pod);
/** pods_netns_settle() - @spec is the pod's from now on: where it names another namespace, but not
 * because of another sandbox, and the one that the pod has lives, it is to be that one. With
 * another sandbox the pod leaves as pods_leave() has it, and is to be made anew. */
void pods_netns_settle(struct pod *pod, struct podspec *spec);
/** pods_netns_seek() - the namespace that @spec names lacks the Pod's addresses: look for the one
 * that has them. Return: it names that one now. */
bool pods_netns_seek(struct pods *p, struct podspec *spec);
/** pods_earlier_remove() - the pod is not to be in the mesh: nor is what its earlier sandboxes have
 * left. @key: may be that of one that has left, and of one that has ended. */
void pods_earlier_remove(struct pods *p, const char *key);
/** pods_stale_sweep() - release what an earlier agent captured and nobody is behind any more. */
void pods_stale_sweep(struct pods *p);
/** pods_left_forget(), pods_left_free() - what is remembered of one such, of all. */
void pods_left_forget(struct pods *p, uint64_t cookie);
void pods_left_free(struct pods *p);
/** pods_left_replace() - the namespace of one that has left is a wanted pod's (its object is back):
 * @e is freed, the kernel keeps what it has. */
void pods_left_replace(struct pods *p, struct enrolment *e);
/** pods_check_start() - look after pods from now on. Return: 0; -ENOMEM. */
_must_check_ int pods_check_start(struct pods *p);
void pods_check_stop(struct pods *p);
/** pods_check_add() - into the list of enrolments. */
void pods_check_add(struct pods *p, struct enrolment *e);
/** pods_reopen() - its namespace has gone: perhaps there is another one by now. */
void pods_reopen(struct pod *pod);
/** pods_offer() - offer to ztunnel what is to be offered. */
void pods_offer(struct pods *p);
/** pods_unoffer() - it is to be offered again. */
void pods_unoffer(struct pods *p, struct enrolment *e);
