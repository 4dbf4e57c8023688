/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* penalty - peers that flooded a tunnel are not heard for a moment: a new handshake costs us as
 * much as them, and what comes after it more. One per worker. Bounded: the oldest entry goes first.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "culvert/abi/addr.h"

#define PENALTY_US  (250 * 1000ULL)
#define PENALTY_MAX 32

/** struct penalty - zeroed before first use. */
struct penalty {
	struct {
		struct cv_addr addr;
		uint64_t until_us;
	} peers[PENALTY_MAX];
	size_t next;
};

/** penalty_add() - @addr is not heard for PENALTY_US. */
void penalty_add(struct penalty *p, const struct cv_addr *addr, uint64_t now_us);
/** penalty_is_on() - whether @addr is not heard now. */
bool penalty_is_on(const struct penalty *p, const struct cv_addr *addr, uint64_t now_us);
