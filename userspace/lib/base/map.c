/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/str.h"

/* Open addressing with linear probing. A deleted slot keeps a tombstone, so that an iteration may
 * delete where it stands. The hash is in the slot: passing a stranger costs no look at its entry.
 */
#define MAP_MIN_SLOTS 16
#define HUGE_PAGE     ((size_t)2 * 1024 * 1024)

struct entry {
	void *value;
	size_t key_len;
	char key[];
};

struct slot {
	uint64_t hash;
	struct entry *entry; /* NULL: free; or &tombstone */
};

struct map {
	struct slot *slots;
	size_t n_slots; /* power of two, or 0 */
	size_t n_live;
	size_t n_used; /* live and tombstones */
};

static struct entry tombstone;

static uint64_t hash_seed[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_init(void)
{
	random_bytes(hash_seed, sizeof(hash_seed));
}

static inline uint64_t rotl(uint64_t x, unsigned int b)
{
	return x << b | x >> (64 - b);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline uint64_t load_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

uint64_t map_hash(const void *key, size_t key_len)
{
	const uint8_t *p = key;
	uint64_t last = (uint64_t)key_len << 56;
	uint64_t v[4];
	size_t left = key_len;

	(void)pthread_once(&hash_once, hash_init);
	v[0] = hash_seed[0] ^ 0x736f6d6570736575ULL;
	v[1] = hash_seed[1] ^ 0x646f72616e646f6dULL;
	v[2] = hash_seed[0] ^ 0x6c7967656e657261ULL;
	v[3] = hash_seed[1] ^ 0x7465646279746573ULL;
	for (; left >= 8; left -= 8, p += 8) {
		uint64_t m = load_le64(p);

		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)p[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int map_new(struct map **ret)
{
	struct map *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*ret = m;
	return 0;
}

void map_clear(struct map *m)
{
	for (size_t i = 0; i < m->n_slots; i++)
		if (m->slots[i].entry != &tombstone)
			free(m->slots[i].entry);
	free(m->slots);
	*m = (struct map){0};
}

struct map *map_free(struct map *m)
{
	if (!m)
		return NULL;
	map_clear(m);
	free(m);
	return NULL;
}

static bool slot_is(const struct slot *s, uint64_t hash, const void *key, size_t key_len)
{
	if (s->hash != hash || s->entry == &tombstone || s->entry->key_len != key_len)
		return false;
	return key_len == 0 || memcmp(s->entry->key, key, key_len) == 0;
}

/* map_find() - slot of the key, or n_slots when absent. */
static size_t map_find(const struct map *m, uint64_t hash, const void *key, size_t key_len)
{
	size_t mask = m->n_slots - 1;

	if (m->n_slots == 0)
		return 0;
	for (size_t i = hash & mask; m->slots[i].entry; i = (i + 1) & mask)
		if (slot_is(&m->slots[i], hash, key, key_len))
			return i;
	return m->n_slots;
}

static void slots_insert(struct slot *slots, size_t n_slots, const struct slot *s)
{
	size_t i = s->hash & (n_slots - 1);

	while (slots[i].entry)
		i = (i + 1) & (n_slots - 1);
	slots[i] = *s;
}

/* A large table is read all over: in large pages, where the system has them, a look costs one miss
 * and not two, and filling it no fault for each 4 KiB. A power of two: all of them are full. */
static struct slot *slots_new(size_t n)
{
	size_t size = n * sizeof(struct slot);
	struct slot *slots;

	if (size < HUGE_PAGE)
		return calloc(n, sizeof(*slots));
	slots = aligned_alloc(HUGE_PAGE, size);
	if (!slots)
		return NULL;
	(void)madvise(slots, size, MADV_HUGEPAGE);
	memset(slots, 0, size);
	return slots;
}

/* map_make_room() - keep a quarter of the slots empty; rebuilding also drops tombstones. */
static int map_make_room(struct map *m)
{
	size_t n = MAP_MIN_SLOTS;
	struct slot *slots;

	if (m->n_slots > 0 && (m->n_used + 1) * 4 <= m->n_slots * 3)
		return 0;
	while ((m->n_live + 1) * 2 > n)
		n *= 2;
	slots = slots_new(n);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_slots; i++)
		if (m->slots[i].entry && m->slots[i].entry != &tombstone)
			slots_insert(slots, n, &m->slots[i]);
	free(m->slots);
	m->slots = slots;
	m->n_slots = n;
	m->n_used = m->n_live;
	return 0;
}

/* Return: the entry of an absent key, with value NULL; NULL: no memory. */
static struct entry *entry_add(struct map *m, uint64_t hash, const void *key, size_t key_len)
{
	struct entry *e = malloc(sizeof(*e) + key_len + 1);

	if (!e)
		return NULL;
	if (map_make_room(m) < 0) {
		free(e);
		return NULL;
	}
	e->value = NULL;
	e->key_len = key_len;
	if (key_len > 0)
		memcpy(e->key, key, key_len);
	e->key[key_len] = '\0';
	slots_insert(m->slots, m->n_slots, &(struct slot){hash, e});
	m->n_live++;
	m->n_used++;
	return e;
}

void **map_at(struct map *m, const void *key, size_t key_len, const char **ret_key)
{
	uint64_t hash = map_hash(key, key_len);
	size_t i = map_find(m, hash, key, key_len);
	struct entry *e = i < m->n_slots ? m->slots[i].entry : entry_add(m, hash, key, key_len);

	if (!e)
		return NULL;
	if (ret_key)
		*ret_key = e->key;
	return &e->value;
}

int map_put(struct map *m, const void *key, size_t key_len, void *value)
{
	void **at = map_at(m, key, key_len, NULL);

	if (!at)
		return -ENOMEM;
	*at = value;
	return 0;
}

void *map_get_hashed(const struct map *m, uint64_t hash, const void *key, size_t key_len)
{
	size_t i = map_find(m, hash, key, key_len);

	return i < m->n_slots ? m->slots[i].entry->value : NULL;
}

void *map_get(const struct map *m, const void *key, size_t key_len)
{
	return m->n_live == 0 ? NULL : map_get_hashed(m, map_hash(key, key_len), key, key_len);
}

void *map_del(struct map *m, const void *key, size_t key_len)
{
	size_t i = map_find(m, map_hash(key, key_len), key, key_len);
	size_t mask = m->n_slots - 1;
	void *value;

	if (i >= m->n_slots)
		return NULL;
	value = m->slots[i].entry->value;
	free(m->slots[i].entry);
	m->slots[i].entry = &tombstone;
	m->n_live--;
	if (m->slots[(i + 1) & mask].entry)
		return value;
	/* The end of a chain: these tombstones are needed by nobody. */
	for (; m->slots[i].entry == &tombstone; i = (i - 1) & mask) {
		m->slots[i].entry = NULL;
		m->n_used--;
	}
	return value;
}

size_t map_count(const struct map *m)
{
	return m->n_live;
}

int map_put_str(struct map *m, const char *key, void *value)
{
	return map_put(m, key, strlen(key), value);
}

void **map_at_str(struct map *m, const char *key, const char **ret_key)
{
	return map_at(m, key, strlen(key), ret_key);
}

void *map_get_str(const struct map *m, const char *key)
{
	return map_get(m, key, strlen(key));
}

void *map_del_str(struct map *m, const char *key)
{
	return map_del(m, key, strlen(key));
}

bool map_next(const struct map *m, struct map_iter *it)
{
	while (it->pos < m->n_slots) {
		const struct entry *e = m->slots[it->pos++].entry;

		if (!e || e == &tombstone)
			continue;
		it->key = e->key;
		it->key_len = e->key_len;
		it->value = e->value;
		return true;
	}
	return false;
}
