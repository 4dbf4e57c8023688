/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pods - the pods of this node that are to be in the mesh, and what it takes to keep them there:
 * namespaces that come late, change or go, a ztunnel that comes and goes, what an earlier agent
 * left behind. Owner: agent. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "dests.h"
#include "enrolment.h"
#include "podspec.h"
#include "stock.h"
#include "zds.h"

struct pods; /* opaque */

struct pods_config {
	struct loop *loop; /* borrowed, like all here */
	const struct enrolment_context *enrolment;
	struct zds *zds;
	struct stock *stock;
	const struct dests *dests;
	/* A pod has come, gone or changed: what is cached of it is void. May be NULL. */
	void (*on_changed)(void *arg);
	/* Will pods_put() be called for a pod of this name? Then what is left of it stays captured.
	 * The name may be cut, as in cv_pods. May be NULL. */
	bool (*is_awaited)(void *arg, const char *name);
	/*
	 * Of a namespace that an earlier agent captured, and that no pod has which is to be in the
	 * mesh: is it known to be out of it? If not, it stays captured while it lives. @name: as
	 * above. NULL: it is, as with a folder, whose manifests say it all.
	 */
	bool (*is_outside)(void *arg, const char *name, const struct netns_file *file);
	/* @fn for the network namespaces of the pod's processes, by path, until it says yes: did
	 * it? May be NULL. */
	bool (*elsewhere)(void *arg, const char *key, bool (*fn)(void *fn_arg, const char *netns),
			  void *fn_arg);
	/* A pod cannot be enrolled yet; once for each reason. May be NULL. */
	void (*on_failed)(void *arg, const char *key, const char *message);
	void *arg;
};

enum pods_state {
	PODS_PENDING,
	PODS_CAPTURED,
	PODS_ERROR,
	PODS_STATE_MAX,
};

enum pods_hold {
	PODS_HOLD_NONE,     /* it could send in plaintext */
	PODS_HOLD_REFUSING, /* captured without a ztunnel */
	PODS_HOLD_SERVED,   /* captured, ztunnel has it */
};

/** struct pods_info - one pod, for status. Strings are borrowed, for the moment. */
struct pods_info {
	const char *namespace_, *name;
	enum pods_state state;
	const char *error; /* or what it waits for; "" */
	uint64_t netns_cookie;
	const struct cv_addr *addrs;
	size_t addr_count;
	const struct exclusions *exclusions;
	const struct reroute *reroute; /* NULL: nothing */
	const char *rules_error;       /* why they are not in force; NULL: they are */
	const char *guard_notice;      /* what its links' guard lacks; NULL: nothing */
	/* Captured for the processes that may live there: it has no object, or another sandbox */
	bool is_kept;
};

/** pods_others - for the context of the enrolments, with struct pods as its argument. */
extern const struct enrolment_others pods_others;

/** pods_new() - no pods yet. Return: 0; -ENOMEM. */
_must_check_ int pods_new(const struct pods_config *config, struct pods **ret);
/** pods_free() - stop; what is captured stays captured, for the next agent. Takes NULL. Return:
 * NULL. */
struct pods *pods_free(struct pods *p);
DEFINE_CLEANUP(struct pods *, pods_free);

/** pods_put() - this pod is to be in the mesh; new or changed. @spec is taken, also on failure.
 * Return: 0; -ENOMEM. */
int pods_put(struct pods *p, struct podspec *spec);
/** pods_remove() - this pod is not, or no longer. @key: "namespace/name". */
void pods_remove(struct pods *p, const char *key);
/** pods_end() - the same for one whose processes have ended: nothing of it stays. */
void pods_end(struct pods *p, const char *key);
/**
 * pods_leave() - this pod's object is gone, but perhaps not its processes, which may be ending
 * still A captured one stays so until its network namespace has gone, pods_end() or pods_remove(),
 * but is offered to no other ztunnel. @left_key: its key from now on, so that another pod may have
 * its name. One that is not captured goes at once.
 */
void pods_leave(struct pods *p, const char *key, const char *left_key);
/** pods_has() - is there a pod of this key, or something in an earlier sandbox of it? */
bool pods_has(const struct pods *p, const char *key);
/** pods_synced() - all pods of the moment have been put. The first call ends the adoption of what
 * an earlier agent left. */
void pods_synced(struct pods *p);
/**
 * pods_dests_synced() - mesh destinations are known: pods may be captured from now on
 * @is_told: the control plane has told them, so that a pod that it does not name is not in the mesh
 * yet; false: they are what an earlier agent left.
 */
void pods_dests_synced(struct pods *p, bool is_told);

/** pods_flags_changed() - the enrolment context has changed. Takes NULL: no pods yet. */
void pods_flags_changed(struct pods *p);

/** pods_retire() - another agent has them now: write no map any more, offer nothing; only
 * pods_need() is served. */
void pods_retire(struct pods *p);

/* From zds. */
/** pods_ztunnel_connected() - each pod is offered to it, with listeners of its own. */
void pods_ztunnel_connected(struct pods *p);
/** pods_ztunnel_lost() - what no ztunnel serves any more is refused until another one is there. */
void pods_ztunnel_lost(struct pods *p);
/** pods_ack() - ztunnel has taken a pod, and it is captured; @error: an errno, it has not, and the
 * pod is offered again later. An unknown cookie is fine: the pod has gone meanwhile. */
void pods_ack(struct pods *p, uint64_t netns_cookie, int error);
/** pods_need() - ztunnel wants sockets of a pod, borrowed; they, or why there are
 * none, are sent at once. */
void pods_need(struct pods *p, const struct zds_sockets *need);

/** pods_name() - "namespace/name" of an enrolled namespace; NULL when unknown. Borrowed. */
const char *pods_name(const struct pods *p, uint64_t netns_cookie);
/** pods_netns_fd() - an enrolled namespace; borrowed. Return: -ENOENT when unknown. */
int pods_netns_fd(const struct pods *p, uint64_t netns_cookie);
/** pods_name_by_addr() - the same by an address of its. Looks through all: not for hot paths. */
const char *pods_name_by_addr(const struct pods *p, const struct cv_addr *addr);

/**
 * pods_hold() - how a pod is held
 * @ret_why: what it waits for; borrowed, for the moment. @ret_is_soon: more than that is to be
 * expected at once. Return: PODS_HOLD_NONE for an unknown one, too.
 */
enum pods_hold pods_hold(const struct pods *p, const char *key, bool *ret_is_soon,
			 const char **ret_why);

/** pods_for_each() - @fn for each pod, in no order but that those which are kept come last. */
void pods_for_each(const struct pods *p, void (*fn)(void *arg, const struct pods_info *info),
		   void *arg);
/** pods_for_each_earlier() - the same for what an earlier agent has captured, and no pod of now is
 * known to have: as pending, with what is waited for. */
void pods_for_each_earlier(const struct pods *p,
			   void (*fn)(void *arg, const struct pods_info *info), void *arg);
/** pods_count() - how many are in each state. */
void pods_count(const struct pods *p, size_t ret[PODS_STATE_MAX]);
/** pods_draining() - how many have left the mesh, but keep for a moment what connections under way
 * need. */
size_t pods_draining(const struct pods *p);
/** pods_state_name() - "pending", "captured", "error". */
const char *pods_state_name(enum pods_state state);
