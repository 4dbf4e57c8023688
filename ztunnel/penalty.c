/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/penalty.h"

#include "net/addr.h"

void penalty_add(struct penalty *p, const struct cv_addr *addr, uint64_t now_us)
{
	p->peers[p->next].addr = *addr;
	p->peers[p->next].until_us = now_us + PENALTY_US;
	p->next = (p->next + 1) % PENALTY_MAX;
}

bool penalty_is_on(const struct penalty *p, const struct cv_addr *addr, uint64_t now_us)
{
	for (size_t i = 0; i < PENALTY_MAX; i++)
		if (p->peers[i].until_us > now_us && cv_addr_equal(&p->peers[i].addr, addr))
			return true;
	return false;
}
