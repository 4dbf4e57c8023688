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
	void *arg;
};

enum pods_state {
	PODS_PENDING,
	PODS_CAPTURED,
	PODS_ERROR,
	PODS_STATE_MAX,
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
	const char *rules_error; /* why they are not in force; NULL: they are */
};

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

/* From zds. */
void pods_ztunnel_connected(struct pods *p);
void pods_ztunnel_lost(struct pods *p);
void pods_ack(struct pods *p, uint64_t netns_cookie, int error);
void pods_need(struct pods *p, const struct zds_sockets *need);

/** pods_name() - "namespace/name" of an enrolled namespace; NULL when unknown. Borrowed. */
const char *pods_name(const struct pods *p, uint64_t netns_cookie);
/** pods_netns_fd() - an enrolled namespace; borrowed. Return: -ENOENT when unknown. */
int pods_netns_fd(const struct pods *p, uint64_t netns_cookie);
/** pods_name_by_addr() - the same by an address of its. Looks through all: not for hot paths. */
const char *pods_name_by_addr(const struct pods *p, const struct cv_addr *addr);

/** pods_for_each() - @fn for each pod, in no order. */
void pods_for_each(const struct pods *p, void (*fn)(void *arg, const struct pods_info *info),
		   void *arg);
/** pods_count() - how many are in each state. */
void pods_count(const struct pods *p, size_t ret[PODS_STATE_MAX]);
/** pods_state_name() - "pending", "captured", "error". */
const char *pods_state_name(enum pods_state state);
