/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* refused - how many streams of a peer were refused lately: targets that are none, policies, an
 * application that does not listen. Each costs us several times what it costs the peer. An honest
 * one whose target starts anew, or that a policy denies, asks as often as its application does;
 * what is past all of those is a flood. A stream that is taken earns one back. One per worker; no
 * memory of its own: of two peers that fall together, the one that came first is counted alone. */
#include <stdbool.h>
#include <stdint.h>

#include "culvert/abi/addr.h"

/* So many at once, and 2,000 a second for ever. */
#define REFUSED_LIMIT   20000
#define REFUSED_LEAK_US 500
#define REFUSED_PEERS   512

/** struct refused - zeroed before first use. */
struct refused {
	struct {
		struct cv_addr addr;
		uint64_t at_us;
		uint32_t level; /* at @at_us */
	} peers[REFUSED_PEERS];
};

/** refused_add() - a stream of @peer's was refused. @now_us: never less than before. */
void refused_add(struct refused *r, const struct cv_addr *peer, uint64_t now_us);
/** refused_earn() - one was taken. */
void refused_earn(struct refused *r, const struct cv_addr *peer);
/** refused_is_flood() - whether its streams are one now. */
bool refused_is_flood(const struct refused *r, const struct cv_addr *peer, uint64_t now_us);
