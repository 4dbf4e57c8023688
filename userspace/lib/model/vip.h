/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* vip - automatic addresses of ServiceEntry hosts, from 240.240.0.0/16 and 2001:2::/48: the same
 * for one host name each time, whoever else has come. A wildcard has 256 of each family, from
 * 241.0.0.0/8 and 2001:2:0:1::/96, for the names that ztunnel is asked for below it. Owner: the
 * model. */
#include <stdint.h>

#include "base/map.h"
#include "net/cidr.h"

struct vip_pool {
	struct map *hosts;   /* host -> struct vip */
	struct map *numbers; /* uint16_t -> struct vip */
};

_must_check_ int vip_pool_init(struct vip_pool *p);
void vip_pool_done(struct vip_pool *p);
/** vip_get() - count one more user of a host's pair of addresses. Return: 0; -ENOMEM; -ENOSPC all
 * 65,000 are taken. */
_must_check_ int vip_get(struct vip_pool *p, const char *host);
/** vip_put() - one user less. */
void vip_put(struct vip_pool *p, const char *host);
/** vip_addrs() - the IPv4 and the IPv6 address, or range, of a host with users. Return: 0; -ENOENT
 * none. */
_must_check_ int vip_addrs(const struct vip_pool *p, const char *host, struct cidr ret[2]);
