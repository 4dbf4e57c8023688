/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/refused.h"

#include <stddef.h>

#include "base/macros.h"
#include "base/map.h"
#include "net/addr.h"

static size_t place_of(const struct cv_addr *peer)
{
	return map_hash(peer, sizeof(*peer)) % REFUSED_PEERS;
}

void refused_add(struct refused *r, const struct cv_addr *peer, struct refused_tunnel *tunnel,
		 uint64_t now_us)
{
	size_t i = place_of(peer);
	uint64_t leaked = (now_us - r->peers[i].at_us) / REFUSED_LEAK_US;

	tunnel->credit = MAX(tunnel->credit - 1, -1);
	r->peers[i].at_us += leaked * REFUSED_LEAK_US;
	r->peers[i].level -= (uint32_t)MIN(leaked, (uint64_t)r->peers[i].level);
	if (r->peers[i].level == 0)
		r->peers[i].addr = *peer;
	if (cv_addr_equal(&r->peers[i].addr, peer))
		r->peers[i].level = MIN(r->peers[i].level + 1, (uint32_t)REFUSED_LIMIT);
}

void refused_earn(struct refused *r, const struct cv_addr *peer, struct refused_tunnel *tunnel)
{
	size_t i = place_of(peer);

	tunnel->credit = MIN(tunnel->credit + 1, REFUSED_CREDIT);
	r->peers[i].level -= r->peers[i].level > 0 && cv_addr_equal(&r->peers[i].addr, peer);
}

bool refused_is_flood(const struct refused *r, const struct cv_addr *peer,
		      const struct refused_tunnel *tunnel, uint64_t now_us)
{
	size_t i = place_of(peer);

	return tunnel->credit < 0 && r->peers[i].level >= REFUSED_LIMIT &&
	       now_us - r->peers[i].at_us < REFUSED_LEAK_US &&
	       cv_addr_equal(&r->peers[i].addr, peer);
}
