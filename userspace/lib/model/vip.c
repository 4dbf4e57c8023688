/* SPDX-License-Identifier: Apache-2.0 */
#include "model/vip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"

/* 240.240.0.1 .. 240.240.255.254 */
#define NUMBER_MAX 65534U

#define FULL          128
#define WILDCARD_BITS 8

struct vip {
	unsigned int users;
	uint16_t number;
	char host[];
};

static int number_find(const struct vip_pool *p, const char *host, uint16_t *ret)
{
	uint32_t at = str_hash(host) % NUMBER_MAX; /* it must outlive a restart */

	for (uint32_t i = 0; i < NUMBER_MAX; i++) {
		uint16_t n = (uint16_t)((at + i) % NUMBER_MAX + 1);

		if (map_get(p->numbers, &n, sizeof(n)))
			continue;
		*ret = n;
		return 0;
	}
	return -ENOSPC;
}

static int vip_add(struct vip_pool *p, const char *host)
{
	size_t size = strlen(host) + 1;
	struct vip *v = calloc(1, sizeof(*v) + size);
	int r;

	if (!v)
		return -ENOMEM;
	v->users = 1;
	memcpy(v->host, host, size);
	r = number_find(p, host, &v->number);
	if (r == 0)
		r = map_put(p->numbers, &v->number, sizeof(v->number), v);
	if (r == 0) {
		r = map_put_str(p->hosts, host, v);
		if (r < 0)
			(void)map_del(p->numbers, &v->number, sizeof(v->number));
	}
	if (r < 0)
		free(v);
	return r;
}

int vip_get(struct vip_pool *p, const char *host)
{
	struct vip *v = map_get_str(p->hosts, host);

	if (!v)
		return vip_add(p, host);
	v->users++;
	return 0;
}

void vip_put(struct vip_pool *p, const char *host)
{
	struct vip *v = map_get_str(p->hosts, host);

	if (!v || --v->users > 0)
		return;
	(void)map_del_str(p->hosts, host);
	(void)map_del(p->numbers, &v->number, sizeof(v->number));
	free(v);
}

int vip_addrs(const struct vip_pool *p, const char *host, struct cidr ret[2])
{
	const struct vip *v = map_get_str(p->hosts, host);
	uint8_t v4[4] = {240, 240}, v6[16] = {0x20, 0x01, 0x00, 0x02};
	size_t at = 2; /* of the number in the one */
	bool is_wildcard = host[0] == '*';

	if (!v)
		return -ENOENT;
	if (is_wildcard) {
		v4[0] = 241;
		v6[7] = 1;
		at = 1;
	}
	v4[at] = v6[at + 12] = (uint8_t)(v->number >> 8);
	v4[at + 1] = v6[at + 13] = (uint8_t)v->number;
	if (is_wildcard)
		v4[3] = v6[15] = 0;
	for (size_t i = 0; i < 2; i++)
		ret[i].len = is_wildcard ? FULL - WILDCARD_BITS : FULL;
	if (cv_addr_from_bytes(v4, sizeof(v4), &ret[0].addr) < 0 ||
	    cv_addr_from_bytes(v6, sizeof(v6), &ret[1].addr) < 0)
		return -ENOENT;
	return 0;
}

int vip_pool_init(struct vip_pool *p)
{
	int r = map_new(&p->hosts);

	return r < 0 ? r : map_new(&p->numbers);
}

void vip_pool_done(struct vip_pool *p)
{
	if (p->hosts)
		map_for_each (p->hosts, it)
			free(it.value);
	p->hosts = map_free(p->hosts);
	p->numbers = map_free(p->numbers);
}
