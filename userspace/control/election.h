/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* election - who of several control planes writes: Kubernetes' leader election by a Lease, without
 * the requests. Times of other machines are never compared with ours: a Lease has run out when it
 * has not changed for its duration while we were looking. A leader stops long before others may
 * take over. Owner: leader. One thread. */
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/macros.h"

#define ELECTION_LEASE_S     15
#define ELECTION_DEADLINE_US 10000000ULL /* a leader that could not renew for so long stops */
#define ELECTION_RETRY_US    2000000ULL

enum election_action {
	ELECTION_WAIT,   /* somebody else has it */
	ELECTION_CREATE, /* there is no Lease */
	ELECTION_UPDATE, /* it is ours, or nobody's any more */
};

/** struct election - zeroed but for @self. Times are of any clock that never goes back. */
struct election {
	char self[254]; /* holderIdentity */
	/* the Lease as it was seen last */
	char holder[254], renewed[64], version[64], acquired[64];
	int64_t transitions, duration_s;
	uint64_t seen_us;    /* when it was seen to change */
	uint64_t renewed_us; /* when our last renewal was sent; 0: we are not the leader */
};

/** election_see() - @lease: as the API server has it; NULL: there is none. */
enum election_action election_see(struct election *e, const json_t *lease, uint64_t now_us);

/**
 * election_lease() - what to write, of the version that was seen
 * @wall: the time of day as RFC 3339 with microseconds. @is_release: nobody's from now on. Return:
 * a new reference; NULL on lack of memory.
 */
json_t *election_lease(const struct election *e, const char *namespace_, const char *name,
		       const char *wall, bool is_release);

/** election_won() - a Lease of ours was written. @lease: the answer; @sent_us: when it was asked.
 */
void election_won(struct election *e, const json_t *lease, uint64_t sent_us);
/** election_lost() - it is another's, or a write was refused. */
void election_lost(struct election *e);

/** election_is_leader() - may we write at @now_us? */
bool election_is_leader(const struct election *e, uint64_t now_us);
