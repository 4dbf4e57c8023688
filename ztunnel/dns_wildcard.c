/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_wildcard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/state.h"

#define SLOTS      256
#define SLOT_FIRST 1 /* neither the range's first address nor its last one */
#define SLOT_COUNT 254
#define RANGE_LEN  120
#define NAMES_MAX  16384
#define POD_MAX    1024 /* names that a pod is led to, below all wildcards */
/* More than pods fit on a node. Those that are gone leave room by being idle. */
#define ASKERS_MAX 1024
/* Many times what we say that an answer lasts: who still has it then has not listened. */
#define KEEP_US  (3600ULL * 1000 * 1000)
#define SWEEP_US (1000ULL * 1000)
#define TELL_US  (10ULL * 1000 * 1000) /* a pod can ask in vain as often as it likes */

/* A pod that was told this address for the name of now. */
struct asker {
	uint64_t pod;
	uint64_t used_us;
};

struct slot {
	char *name;   /* NULL: free */
	uint64_t pod; /* that asked first */
	uint64_t used_us;
	struct asker *askers;
	size_t askers_count;
	size_t askers_room;
};

struct block {
	struct slot slots[SLOTS];
};

/* A pod that has asked. */
struct pod {
	uint64_t cookie;
	size_t names; /* that it is led to */
};

struct dns_wildcards {
	struct map *blocks; /* wildcard host -> struct block */
	struct map *pods;   /* netns cookie -> struct pod */
	size_t names;
	uint64_t swept_us;
	uint64_t untold;  /* refusals */
	uint64_t told_us; /* 0: never */
};

int dns_wildcards_new(struct dns_wildcards **ret)
{
	struct dns_wildcards *w = calloc(1, sizeof(*w));
	int r = w ? map_new(&w->blocks) : -ENOMEM;

	if (r == 0)
		r = map_new(&w->pods);
	if (r < 0) {
		(void)dns_wildcards_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

static size_t pod_names(const struct dns_wildcards *w, uint64_t cookie)
{
	const struct pod *p = map_get(w->pods, &cookie, sizeof(cookie));

	return p ? p->names : 0;
}

static int pod_count(struct dns_wildcards *w, uint64_t cookie)
{
	struct pod *p = map_get(w->pods, &cookie, sizeof(cookie));

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->cookie = cookie;
		if (map_put(w->pods, &cookie, sizeof(cookie), p) < 0) {
			free(p);
			return -ENOMEM;
		}
	}
	p->names++;
	return 0;
}

static void pod_uncount(struct dns_wildcards *w, uint64_t cookie)
{
	struct pod *p = map_get(w->pods, &cookie, sizeof(cookie));

	if (--p->names)
		return;
	(void)map_del(w->pods, &cookie, sizeof(cookie));
	free(p);
}

static void asker_del(struct dns_wildcards *w, struct slot *s, size_t i)
{
	pod_uncount(w, s->askers[i].pod);
	s->askers[i] = s->askers[--s->askers_count];
}

static void slot_clear(struct dns_wildcards *w, struct slot *s)
{
	if (!s->name)
		return;
	while (s->askers_count)
		asker_del(w, s, s->askers_count - 1);
	free(s->name);
	free(s->askers);
	*s = (struct slot){0};
	w->names--;
}

static void block_free(struct dns_wildcards *w, struct block *b)
{
	for (size_t i = 0; i < SLOTS; i++)
		slot_clear(w, &b->slots[i]);
	free(b);
}

struct dns_wildcards *dns_wildcards_free(struct dns_wildcards *w)
{
	if (!w)
		return NULL;
	if (w->blocks)
		map_for_each (w->blocks, it)
			block_free(w, it.value);
	map_free(w->blocks);
	map_free(w->pods);
	free(w);
	return NULL;
}

static bool is_idle(const struct slot *s, uint64_t now_us)
{
	return !s->name || now_us - s->used_us > KEEP_US;
}

/* Return: is anything left? */
static bool block_sweep(struct dns_wildcards *w, struct block *b, uint64_t now_us)
{
	bool is_used = false;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &b->slots[i];

		if (is_idle(s, now_us))
			slot_clear(w, s);
		for (size_t k = s->askers_count; k-- > 0;)
			if (now_us - s->askers[k].used_us > KEEP_US)
				asker_del(w, s, k);
		is_used |= s->name != NULL;
	}
	return is_used;
}

/* What was not used for long, as all of wildcards and pods that are gone. Seldom: who asks in vain
 * can ask often. */
static void sweep(struct dns_wildcards *w, uint64_t now_us)
{
	if (now_us - w->swept_us < SWEEP_US)
		return;
	w->swept_us = now_us;
	map_for_each (w->blocks, it) {
		struct block *b = it.value;

		if (block_sweep(w, b, now_us))
			continue;
		(void)map_del_str(w->blocks, it.key);
		block_free(w, b);
	}
}

static int block_new(struct dns_wildcards *w, const char *host, struct block **ret)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	if (map_put_str(w->blocks, host, b) < 0) {
		free(b);
		return -ENOMEM;
	}
	*ret = b;
	return 0;
}

bool dns_wildcard_has(const struct service *v)
{
	const char *host = v->endpoints_count ? v->endpoints[0].workload->rare->hostname : NULL;

	return host && host[0] == '*' && streq(host, v->def->hostname);
}

static const struct cv_addr *range_of(const struct service *v, bool is_v4)
{
	for (size_t i = 0; i < v->def->vips_count; i++)
		if (v->def->vips[i].len == RANGE_LEN &&
		    cv_addr_is_v4(&v->def->vips[i].addr) == is_v4)
			return &v->def->vips[i].addr;
	return NULL;
}

static struct asker *asker_find(const struct slot *s, uint64_t pod)
{
	for (size_t i = 0; i < s->askers_count; i++)
		if (s->askers[i].pod == pod)
			return &s->askers[i];
	return NULL;
}

/* The one that has used the name least of late, if a new one may have its place. */
static struct asker *asker_idle(const struct slot *s, uint64_t now_us)
{
	struct asker *idle = s->askers_count ? &s->askers[0] : NULL;

	for (size_t i = 1; i < s->askers_count; i++)
		if (s->askers[i].used_us < idle->used_us)
			idle = &s->askers[i];
	return idle && (s->askers_count == ASKERS_MAX || now_us - idle->used_us > KEEP_US) ? idle
											   : NULL;
}

static int asker_add(struct dns_wildcards *w, struct slot *s, const struct dns_wildcard_ask *ask)
{
	if (s->askers_count == s->askers_room) {
		size_t room = s->askers_room ? 2 * s->askers_room : 1;
		struct asker *more = reallocarray(s->askers, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->askers = more;
		s->askers_room = room;
	}
	if (pod_count(w, ask->pod) < 0)
		return -ENOMEM;
	s->askers[s->askers_count++] = (struct asker){.pod = ask->pod, .used_us = ask->now_us};
	return 0;
}

static int asker_put(struct dns_wildcards *w, struct slot *s, const struct dns_wildcard_ask *ask)
{
	struct asker *a = asker_find(s, ask->pod), *idle;

	s->used_us = ask->now_us;
	if (a) {
		a->used_us = ask->now_us;
		return 0;
	}
	idle = asker_idle(s, ask->now_us);
	if (idle)
		asker_del(w, s, (size_t)(idle - s->askers));
	return asker_add(w, s, ask);
}

/* The slot of @ask's name, or where it would be; -1: nowhere. A pod may have as many as it leaves
 * free, so that there are some for the next one. */
static int slot_find(const struct block *b, const struct dns_wildcard_ask *ask)
{
	static const struct slot none;
	uint32_t at = str_hash(ask->name) % SLOT_COUNT;
	size_t of_pod = 0, free_count = 0;
	int room = -1;

	for (uint32_t i = 0; i < SLOT_COUNT; i++) {
		int n = (int)((at + i) % SLOT_COUNT + SLOT_FIRST);
		const struct slot *s = b ? &b->slots[n] : &none;
		bool is_free = is_idle(s, ask->now_us);

		if (s->name && streq(s->name, ask->name))
			return n;
		if (room < 0 && is_free)
			room = n;
		free_count += is_free;
		of_pod += !is_free && s->pod == ask->pod;
	}
	return of_pod < free_count ? room : -1;
}

/* Would @s, or a new one, be one too many? */
static bool is_full(const struct dns_wildcards *w, const struct slot *s,
		    const struct dns_wildcard_ask *ask)
{
	bool is_same = s && s->name && streq(s->name, ask->name);

	if ((!s || !s->name) && w->names >= NAMES_MAX)
		return true;
	return pod_names(w, ask->pod) >= POD_MAX && !(is_same && asker_find(s, ask->pod));
}

static int slot_fill(struct dns_wildcards *w, struct slot *s, const struct dns_wildcard_ask *ask)
{
	char *name;

	if (s->name && streq(s->name, ask->name))
		return 0;
	name = strdup(ask->name);
	if (!name)
		return -ENOMEM;
	slot_clear(w, s);
	s->name = name;
	s->pod = ask->pod;
	w->names++;
	return 0;
}

int dns_wildcard_take(struct dns_wildcards *w, const struct service *v,
		      const struct dns_wildcard_ask *ask, struct cv_addr *ret)
{
	const struct cv_addr *range = range_of(v, ask->is_v4);
	struct block *b;
	int r = 0, n;

	if (!range)
		return -EAFNOSUPPORT;
	if (w->names >= NAMES_MAX || pod_names(w, ask->pod) >= POD_MAX)
		sweep(w, ask->now_us);
	b = map_get_str(w->blocks, v->def->hostname);
	n = slot_find(b, ask);
	if (n < 0 || is_full(w, b ? &b->slots[n] : NULL, ask))
		return -ENOSPC;
	if (!b)
		r = block_new(w, v->def->hostname, &b);
	if (r == 0)
		r = slot_fill(w, &b->slots[n], ask);
	if (r == 0)
		r = asker_put(w, &b->slots[n], ask);
	if (r < 0)
		return r;
	*ret = *range;
	ret->bytes[15] = (uint8_t)n;
	return 0;
}

uint64_t dns_wildcard_refused(struct dns_wildcards *w, uint64_t now_us)
{
	uint64_t n = ++w->untold;

	if (w->told_us && now_us - w->told_us < TELL_US)
		return 0;
	w->told_us = now_us;
	w->untold = 0;
	return n;
}

const char *dns_wildcard_name(struct dns_wildcards *w, const char *host,
			      const struct dns_wildcard_dial *dial)
{
	struct block *b = map_get_str(w->blocks, host);
	struct slot *s = b ? &b->slots[dial->addr.bytes[15]] : NULL;
	struct asker *a = s ? asker_find(s, dial->pod) : NULL;

	if (!a)
		return NULL;
	a->used_us = s->used_us = dial->now_us;
	return s->name;
}
