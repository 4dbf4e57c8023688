/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* refused - how many streams of a peer were refused lately: targets that are none, policies, an
 * application that does not listen. Each costs us several times what it costs the peer. An honest
 * one whose target starts anew, or that a policy denies, asks as often as its application does;
 * what is past all of those is a flood. A stream that is taken earns one back. One per worker; no
 * memory of its own: of two peers that fall together, the one that came first is counted alone.
 *
 * Of a peer that floods, only tunnels end on which more is refused than taken: who asks for a pod
 * that is down goes on with those that are up. */
#include <stdbool.h>
#include <stdint.h>

#include "culvert/abi/addr.h"

/* So many at once, and 2,000 a second for ever. */
#define REFUSED_LIMIT   20000
#define REFUSED_LEAK_US 500
#define REFUSED_PEERS   512
/* What a tunnel may have been good for, and be refused later. */
#define REFUSED_CREDIT 1000

/** struct refused_tunnel - zeroed before first use. */
struct refused_tunnel {
	int credit; /* of what was taken; -1: more was refused since */
};

/** struct refused - zeroed before first use. */
struct refused {
	struct {
		struct cv_addr addr;
		uint64_t at_us;
		uint32_t level; /* at @at_us */
	} peers[REFUSED_PEERS];
};

/** refused_add() - a stream of @peer's was refused on @tunnel. @now_us: never less than before. */
void refused_add(struct refused *r, const struct cv_addr *peer, struct refused_tunnel *tunnel,
		 uint64_t now_us);
/** refused_earn() - one was taken. */
void refused_earn(struct refused *r, const struct cv_addr *peer, struct refused_tunnel *tunnel);
/** refused_is_flood() - whether its streams are one now, and @tunnel is part of it. */
bool refused_is_flood(const struct refused *r, const struct cv_addr *peer,
		      const struct refused_tunnel *tunnel, uint64_t now_us);
