/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct - connections between pods of this node: asks ztunnel for the verdicts that the programs
 * miss, keeps cv_verdicts; of those without a tunnel, closes what a new policy denies (and
 * plaintext from before the mesh that STRICT refuses), hands ztunnel what telemetry needs. Owner:
 * agent. Thread: loop only. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "culvert/zds.h"
#include "datapath.h"
#include "netns.h"

struct direct; /* opaque */
struct pods;
struct zds;

struct direct_config {
	struct loop *loop; /* borrowed, like all here */
	struct datapath *datapath;
	struct zds *zds;
	const struct netns_home *home;
	const struct pods *pods;
	bool is_host_vouched; /* what the node's own processes open to its pods is left alone */
};

/**
 * direct_is_wanted() - may pods of this node talk without a tunnel?
 * @mode: the agent's option. "direct" on a kernel that cannot close such connections again is
 * "encrypt", with one line that says so.
 */
bool direct_is_wanted(const char *mode);

/** direct_new() - what is cached stays until it is void. Return: 0; -ENOMEM. */
_must_check_ int direct_new(const struct direct_config *config, struct direct **ret);
/** direct_free() - what is cached stays, live connections too. Takes NULL. Return: NULL. */
struct direct *direct_free(struct direct *d);
DEFINE_CLEANUP(struct direct *, direct_free);

/** direct_void() - a policy or a pod has changed: what is cached does not hold any more; live
 * connections are looked at anew. Harmless with NULL. */
void direct_void(struct direct *d);
/** direct_ztunnel_connected() - the same, and no answer of an earlier one comes any more. */
void direct_ztunnel_connected(struct direct *d);
/** direct_event() - VERDICT_MISS, DIRECT_OPEN, DIRECT_CLOSE from the programs. */
void direct_event(struct direct *d, const struct cv_direct_event *ev);
/** direct_refused() - the programs have refused a connection by policy. Harmless with NULL. */
void direct_refused(struct direct *d);
/** direct_flush() - the events at hand have all been told: hand on what there is for telemetry. */
void direct_flush(struct direct *d);
/** direct_verdict() - ztunnel's answer. */
void direct_verdict(struct direct *d, const struct zds_verdict *v);
