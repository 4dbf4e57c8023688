/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* leader - takes part in the election of the one control plane that writes, by a Lease of the root
 * namespace. Owner: cluster. Thread: its loop. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

/* Of all replicas of all revisions. */
#define LEADER_LEASE "culvert-leader"

struct leader; /* opaque */

struct leader_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	const char *namespace_;   /* borrowed */
	const char *lease;        /* borrowed; NULL: LEADER_LEASE */
	const char *identity;     /* copied; NULL: $POD_NAME, else this host and process */
	uint64_t retry_us;        /* between two looks; 0: 2 s */
	/** on_change() - we are the leader, or no longer. Never inside leader_new(), and not when
	 * it is freed. */
	void (*on_change)(void *arg, bool is_leader);
	void *arg;
};

_must_check_ int leader_new(const struct leader_config *config, struct leader **ret);
/** leader_release() - let another take over at once; waits for the API server, a second at most,
 * outside the loop's callbacks. */
void leader_release(struct leader *l);
struct leader *leader_free(struct leader *l);
DEFINE_CLEANUP(struct leader *, leader_free);

/** leader_is_leader() - now. */
bool leader_is_leader(const struct leader *l);
/** leader_holder() - who has it as far as we know; "" when nobody. Borrowed. */
const char *leader_holder(const struct leader *l);
