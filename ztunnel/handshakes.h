/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* handshakes - those with peers that are under way, and who makes room when there are too many: the
 * oldest of an address that has most of them, the one that begins counted. Who connects and says
 * nothing needs no certificate; he is neither to keep out nor to throw out who has fewer, from
 * however many addresses he does it. One per worker. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

#define HANDSHAKES_MAX 1024

struct share;
struct shares;

/** struct handshake - zeroed before first use. */
struct handshake {
	struct list link;
	struct share *share; /* the peer's; NULL: no memory for it, then he has as good as none */
	bool is_on;
};

struct handshakes {
	struct list all; /* struct handshake.link, the oldest first */
	uint32_t count;
	struct shares *shares; /* each peer's of them */
};

/** handshakes_init() - none. Return: 0; -ENOMEM. */
_must_check_ int handshakes_init(struct handshakes *h);
/** handshakes_free() - when all have ended; zeroed is fine. */
void handshakes_free(struct handshakes *h);
/** handshakes_begin() - @one, with @peer. Return: NULL; whom the caller has to end, since there are
 * too many: counted no more. */
struct handshake *handshakes_begin(struct handshakes *h, struct handshake *one,
				   const struct cv_addr *peer);
/** handshakes_end() - well or not; more than once is as once. */
void handshakes_end(struct handshakes *h, struct handshake *one);
