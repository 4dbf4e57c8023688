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
#define POD_MAX    (SLOT_COUNT / 2)
#define NAMES_MAX  16384
/* More than pods fit on a node. Those that are gone leave room by being idle. */
#define ASKERS_MAX 1024
/* Many times what we say that an answer lasts: who still has it then has not listened. */
#define KEEP_US (3600ULL * 1000 * 1000)

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

struct dns_wildcards {
	struct map *blocks; /* wildcard host -> struct block */
	size_t names;
};

int dns_wildcards_new(struct dns_wildcards **ret)
{
	struct dns_wildcards *w = calloc(1, sizeof(*w));
	int r = w ? map_new(&w->blocks) : -ENOMEM;

	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

static void slot_clear(struct dns_wildcards *w, struct slot *s)
{
	if (!s->name)
		return;
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
	map_for_each (w->blocks, it)
		block_free(w, it.value);
	map_free(w->blocks);
	free(w);
	return NULL;
}

static bool is_idle(const struct slot *s, uint64_t now_us)
{
	return !s->name || now_us - s->used_us > KEEP_US;
}

/* Blocks of which nothing was used for long, as those of wildcards that are gone. */
static void blocks_sweep(struct dns_wildcards *w, uint64_t now_us)
{
	map_for_each (w->blocks, it) {
		struct block *b = it.value;
		size_t i = 0;

		while (i < SLOTS && is_idle(&b->slots[i], now_us))
			i++;
		if (i < SLOTS)
			continue;
		(void)map_del_str(w->blocks, it.key);
		block_free(w, b);
	}
}

static int block_get(struct dns_wildcards *w, const char *host, struct block **ret)
{
	struct block *b = map_get_str(w->blocks, host);

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return -ENOMEM;
		if (map_put_str(w->blocks, host, b) < 0) {
			free(b);
			return -ENOMEM;
		}
	}
	*ret = b;
	return 0;
}

bool dns_wildcard_has(const struct service *v)
{
	const char *host = v->endpoints_count ? v->endpoints[0].workload->hostname : NULL;

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

static struct asker *asker_new(struct slot *s)
{
	if (s->askers_count == s->askers_room) {
		size_t room = s->askers_room ? 2 * s->askers_room : 1;
		struct asker *more = reallocarray(s->askers, room, sizeof(*more));

		if (!more)
			return NULL;
		s->askers = more;
		s->askers_room = room;
	}
	return &s->askers[s->askers_count++];
}

static int asker_put(struct slot *s, const struct dns_wildcard_ask *ask)
{
	struct asker *a = asker_find(s, ask->pod);

	if (!a)
		a = asker_idle(s, ask->now_us);
	if (!a)
		a = asker_new(s);
	if (!a)
		return -ENOMEM;
	a->pod = ask->pod;
	a->used_us = s->used_us = ask->now_us;
	return 0;
}

/* The slot of @ask's name, or where it would be; -1: nowhere. */
static int slot_find(const struct block *b, const struct dns_wildcard_ask *ask)
{
	uint32_t at = str_hash(ask->name) % SLOT_COUNT;
	size_t of_pod = 0;
	int room = -1;

	for (uint32_t i = 0; i < SLOT_COUNT; i++) {
		int n = (int)((at + i) % SLOT_COUNT + SLOT_FIRST);
		const struct slot *s = &b->slots[n];

		if (s->name && streq(s->name, ask->name))
			return n;
		if (room < 0 && is_idle(s, ask->now_us))
			room = n;
		of_pod += s->name && s->pod == ask->pod && !is_idle(s, ask->now_us);
	}
	return of_pod < POD_MAX ? room : -1;
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
	int r, n;

	if (!range)
		return -EAFNOSUPPORT;
	if (w->names >= NAMES_MAX)
		blocks_sweep(w, ask->now_us);
	r = block_get(w, v->def->hostname, &b);
	if (r < 0)
		return r;
	n = slot_find(b, ask);
	if (n < 0 || (!b->slots[n].name && w->names >= NAMES_MAX))
		return -ENOSPC;
	r = slot_fill(w, &b->slots[n], ask);
	if (r == 0)
		r = asker_put(&b->slots[n], ask);
	if (r < 0)
		return r;
	*ret = *range;
	ret->bytes[15] = (uint8_t)n;
	return 0;
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
