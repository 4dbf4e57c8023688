/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* penalty - peers that flood tunnels, or break HTTP/2 on one after the other, or break them off
 * amid floods of tiny frames, are not heard for a while: a new handshake costs us as much as them,
 * and what comes after it more. Each offence fills the peer's bucket, which leaks; once it is full,
 * the peer is not heard for a time that grows with what is in it. So a mistake costs nothing, an
 * attacker soon has one tunnel in two seconds, and who stops is heard again. One for all workers:
 * else who is not heard by one would be by the next. Bounded: who has least in his bucket makes
 * room, but nobody who is not heard for one who did less. Any thread. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "culvert/abi/addr.h"

/* A full bucket: one flood, or so many times less of what an honest peer might do, too: a tunnel
 * that is broken off amid tiny frames, one that ends in a protocol error. */
#define PENALTY_FLOOD      16
#define PENALTY_BROKEN_OFF 4
#define PENALTY_PROTOCOL   1
/* For which a peer is not heard, when its bucket is just full, and at most. */
#define PENALTY_US     (250 * 1000ULL)
#define PENALTY_US_MAX (2 * 1000 * 1000ULL)
/* In which a bucket loses one. */
#define PENALTY_LEAK_US (100 * 1000ULL)
#define PENALTY_MAX     128

/** struct penalty - zeroed before first use, which makes the lock one that nobody has. */
struct penalty {
	pthread_mutex_t lock; /* of all below; held for a look at the table */
	struct {
		struct cv_addr addr;
		uint64_t level; /* at @at_us */
		uint64_t at_us;
		uint64_t until_us;
	} peers[PENALTY_MAX];
};

/** penalty_add() - an offence of @addr's. @weight: PENALTY_*; @now_us: of
 * the worker's loop. */
void penalty_add(struct penalty *p, const struct cv_addr *addr, uint64_t weight, uint64_t now_us);
/** penalty_is_on() - whether @addr is not heard now. */
bool penalty_is_on(struct penalty *p, const struct cv_addr *addr, uint64_t now_us);
