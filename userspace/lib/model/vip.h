/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* vip - automatic addresses of ServiceEntry hosts, from 240.240.0.0/16 and 2001:2::/48: by a hash
 * of the name. Of two hosts that fall together the older has the number, then the first by name.
 * Which one a host has is a matter of who is there and how old each is, not of the order in which
 * they came and went: else who has cached an address would be led to another host when the control
 * plane starts again, or another replica answers. The price: when a host goes, one that it has
 * displaced moves to where it was, and that is told. To spare it that, somebody would have to write
 * down who has what. A wildcard has 256 of each family, from 241.0.0.0/8 and 2001:2:0:1::/96, for
 * the names that ztunnel is asked for below it. Owner: the model. */
#include <stdint.h>

#include "base/map.h"
#include "net/cidr.h"

struct vip_pool {
	struct map *hosts;    /* host -> struct vip */
	struct vip **numbers; /* who has it; NULL: nobody. All at once: giving one cannot fail */
	size_t numbers_count; /* that somebody has */
	/** on_moved() - a host has another number now, because another came, went or became older
	 * or younger, or it did itself. NULL: nobody is told. */
	void (*on_moved)(void *arg, const char *host);
	void *arg;
};

_must_check_ int vip_pool_init(struct vip_pool *p);
void vip_pool_done(struct vip_pool *p);
/** vip_get() - count one more user of a host's pair of addresses. @since: its creationTimestamp,
 * copied; the oldest user's is the host's age. NULL: younger than all that have one. Return: 0;
 * -ENOMEM; -ENOSPC all 65,000 are taken. */
_must_check_ int vip_get(struct vip_pool *p, const char *host, const char *since);
/** vip_put() - one user less. @since: as in its vip_get(). */
void vip_put(struct vip_pool *p, const char *host, const char *since);
/** vip_addrs() - the IPv4 and the IPv6 address, or range, of a host with users. Return: 0; -ENOENT
 * none. */
_must_check_ int vip_addrs(const struct vip_pool *p, const char *host, struct cidr ret[2]);
