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

#define SINCE_SIZE 32
#define UNKNOWN    "~" /* behind every time */

struct vip {
	unsigned int users;
	uint16_t number; /* 0: none */
	char since[SINCE_SIZE];
	char host[];
};

static bool precedes(const struct vip *a, const struct vip *b)
{
	int order = strcmp(a->since, b->since);

	return order ? order < 0 : strcmp(a->host, b->host) < 0;
}

/* number_give() - from where its hash leads, the first that nobody older has; whoever has it looks
 * for another behind it. So each has the number that it would have had they come by age. */
static int number_give(struct vip_pool *p, struct vip *v)
{
	uint32_t at = str_hash(v->host) % NUMBER_MAX;
	struct vip *self = v, *other;

	if (p->numbers_count >= NUMBER_MAX)
		return -ENOSPC;
	for (uint32_t i = 0; v; i++) {
		uint16_t n = (uint16_t)((at + i) % NUMBER_MAX + 1);

		other = p->numbers[n];
		if (other && !precedes(v, other))
			continue;
		p->numbers[n] = v;
		v->number = n;
		if (v != self && p->on_moved)
			p->on_moved(p->arg, v->host);
		v = other;
	}
	p->numbers_count++;
	return 0;
}

static void number_take(struct vip_pool *p, struct vip *v)
{
	if (!v->number)
		return;
	p->numbers[v->number] = NULL;
	p->numbers_count--;
	v->number = 0;
}

/* Another entry of the host is older than those before. */
static int since_set(struct vip_pool *p, struct vip *v, const char *since)
{
	uint16_t before = v->number;
	int r;

	if (strcmp(since, v->since) >= 0 || str_copy(v->since, sizeof(v->since), since) < 0)
		return 0;
	number_take(p, v);
	r = number_give(p, v);
	if (r == 0 && v->number != before && p->on_moved)
		p->on_moved(p->arg, v->host);
	return r;
}

static int vip_add(struct vip_pool *p, const char *host, const char *since)
{
	size_t size = strlen(host) + 1;
	struct vip *v = calloc(1, sizeof(*v) + size);
	int r;

	if (!v)
		return -ENOMEM;
	v->users = 1;
	memcpy(v->host, host, size);
	if (str_copy(v->since, sizeof(v->since), since) < 0)
		(void)str_copy(v->since, sizeof(v->since), UNKNOWN);
	r = map_put_str(p->hosts, host, v);
	if (r < 0) {
		free(v);
		return r;
	}
	r = number_give(p, v);
	if (r < 0)
		vip_put(p, host);
	return r;
}

int vip_get(struct vip_pool *p, const char *host, const char *since)
{
	struct vip *v = map_get_str(p->hosts, host);
	int r;

	if (!since)
		since = UNKNOWN;
	if (!v)
		return vip_add(p, host, since);
	r = since_set(p, v, since);
	if (r == 0)
		v->users++;
	return r;
}

void vip_put(struct vip_pool *p, const char *host)
{
	struct vip *v = map_get_str(p->hosts, host);

	if (!v || --v->users > 0)
		return;
	(void)map_del_str(p->hosts, host);
	number_take(p, v);
	free(v);
}

int vip_addrs(const struct vip_pool *p, const char *host, struct cidr ret[2])
{
	const struct vip *v = map_get_str(p->hosts, host);
	uint8_t v4[4] = {240, 240}, v6[16] = {0x20, 0x01, 0x00, 0x02};
	size_t at = 2; /* of the number in the one */
	bool is_wildcard = host[0] == '*';

	if (!v || !v->number)
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

	if (r < 0)
		return r;
	p->numbers = calloc(NUMBER_MAX + 1, sizeof(struct vip *));
	return p->numbers ? 0 : -ENOMEM;
}

void vip_pool_done(struct vip_pool *p)
{
	if (p->hosts)
		map_for_each (p->hosts, it)
			free(it.value);
	p->hosts = map_free(p->hosts);
	free(p->numbers);
	p->numbers = NULL;
}
