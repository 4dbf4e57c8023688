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

/** struct vip_user - an entry that has the host. */
struct vip_user {
	struct vip_user *next;
	char since[SINCE_SIZE];
};

struct vip {
	struct vip_user *users; /* the oldest first, whose age is the host's */
	uint16_t number;        /* 0: not yet */
	char host[];
};

static bool precedes(const struct vip *a, const struct vip *b)
{
	int order = strcmp(a->users->since, b->users->since);

	return order ? order < 0 : strcmp(a->host, b->host) < 0;
}

/* ---- numbers ----
 * From where its hash leads, a host has the first number that nobody older has: what each has
 * depends on who is there alone, and not on who came or went when. */

static uint16_t number_home(const struct vip *v)
{
	return (uint16_t)(str_hash(v->host) % NUMBER_MAX + 1);
}

static uint16_t number_next(uint16_t n)
{
	return (uint16_t)(n % NUMBER_MAX + 1);
}

/* How many steps lead from the one to the other. */
static uint32_t number_steps(uint16_t from, uint16_t to)
{
	return (NUMBER_MAX + to - from) % NUMBER_MAX;
}

static void moved_tell(const struct vip_pool *p, const struct vip *v)
{
	if (p->on_moved)
		p->on_moved(p->arg, v->host);
}

/* Whoever is younger than who comes looks for another number behind it. One must be free. */
static void number_give(struct vip_pool *p, struct vip *v)
{
	struct vip *self = v, *other;

	for (uint16_t n = number_home(v); v; n = number_next(n)) {
		other = p->numbers[n];
		if (other && !precedes(v, other))
			continue;
		p->numbers[n] = v;
		v->number = n;
		if (v != self)
			moved_tell(p, v);
		v = other;
	}
	p->numbers_count++;
}

/* The oldest of those who looked at a number that is free now, and went on. NULL: nobody did. */
static struct vip *heir_find(const struct vip_pool *p, uint16_t freed)
{
	struct vip *v, *oldest = NULL;

	for (uint16_t n = number_next(freed); (v = p->numbers[n]); n = number_next(n))
		if (number_steps(number_home(v), n) >= number_steps(freed, n) &&
		    (!oldest || precedes(v, oldest)))
			oldest = v;
	return oldest;
}

/* A hole would be kept by nobody but this process: its heir has the number, another the heir's. */
static void number_take(struct vip_pool *p, struct vip *v)
{
	uint16_t freed = v->number;

	v->number = 0;
	p->numbers[freed] = NULL;
	p->numbers_count--;
	while ((v = heir_find(p, freed))) {
		uint16_t left = v->number;

		p->numbers[left] = NULL;
		p->numbers[freed] = v;
		v->number = freed;
		moved_tell(p, v);
		freed = left;
	}
}

/* The host's age is another one. */
static void number_renew(struct vip_pool *p, struct vip *v)
{
	uint16_t before = v->number;

	number_take(p, v);
	number_give(p, v);
	if (v->number != before)
		moved_tell(p, v);
}

/* ---- users ---- */

static void since_copy(char ret[SINCE_SIZE], const char *since)
{
	if (!since || str_copy(ret, SINCE_SIZE, since) < 0)
		(void)str_copy(ret, SINCE_SIZE, UNKNOWN);
}

/* Return: whether it is the oldest now. */
static bool user_add(struct vip *v, struct vip_user *u)
{
	struct vip_user **at = &v->users;

	while (*at && strcmp((*at)->since, u->since) <= 0)
		at = &(*at)->next;
	u->next = *at;
	*at = u;
	return v->users == u;
}

/* Return: whether the oldest has gone, and no other is as old. */
static bool user_remove(struct vip *v, const char *since)
{
	struct vip_user **at = &v->users, *u;
	char age[SINCE_SIZE];

	since_copy(age, since);
	while (*at && strcmp((*at)->since, age) != 0)
		at = &(*at)->next;
	u = *at;
	if (!u)
		return false;
	*at = u->next;
	free(u);
	return at == &v->users && (!v->users || strcmp(v->users->since, age) != 0);
}

static void vip_drop(struct vip_pool *p, struct vip *v)
{
	(void)map_del_str(p->hosts, v->host);
	number_take(p, v);
	free(v);
}

static int vip_make(struct vip_pool *p, const char *host, struct vip **ret)
{
	size_t size = strlen(host) + 1;
	struct vip *v;
	int r;

	if (p->numbers_count >= NUMBER_MAX)
		return -ENOSPC;
	v = calloc(1, sizeof(*v) + size);
	if (!v)
		return -ENOMEM;
	memcpy(v->host, host, size);
	r = map_put_str(p->hosts, host, v);
	if (r < 0)
		free(v);
	else
		*ret = v;
	return r;
}

int vip_get(struct vip_pool *p, const char *host, const char *since)
{
	_cleanup_(freep) struct vip_user *u = calloc(1, sizeof(*u));
	struct vip *v = map_get_str(p->hosts, host);
	bool is_oldest;
	int r = 0;

	if (!u)
		return -ENOMEM;
	since_copy(u->since, since);
	if (!v)
		r = vip_make(p, host, &v);
	if (r < 0)
		return r;
	is_oldest = user_add(v, TAKE_PTR(u));
	if (!v->number)
		number_give(p, v);
	else if (is_oldest)
		number_renew(p, v);
	return 0;
}

void vip_put(struct vip_pool *p, const char *host, const char *since)
{
	struct vip *v = map_get_str(p->hosts, host);

	if (!v || !user_remove(v, since))
		return;
	if (v->users)
		number_renew(p, v);
	else
		vip_drop(p, v);
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

	if (r < 0)
		return r;
	p->numbers = calloc(NUMBER_MAX + 1, sizeof(struct vip *));
	return p->numbers ? 0 : -ENOMEM;
}

static void vip_free(struct vip *v)
{
	for (struct vip_user *u = v->users, *next; u; u = next) {
		next = u->next;
		free(u);
	}
	free(v);
}

void vip_pool_done(struct vip_pool *p)
{
	if (p->hosts)
		map_for_each (p->hosts, it)
			vip_free(it.value);
	p->hosts = map_free(p->hosts);
	free(p->numbers);
	p->numbers = NULL;
}
