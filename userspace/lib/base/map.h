/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* map - hash map from a byte-string key to a pointer. Owner: its creator. One thread. Keys are
 * copied, values are borrowed. Hashes are seeded per process, so that hostile keys cannot be made
 * to collide. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "macros.h"

struct map; /* opaque */

/** map_new() - an empty map. Return: 0; -ENOMEM. */
_must_check_ int map_new(struct map **ret);

/** map_free() - free the map and its keys, not the values. Takes NULL. Return: NULL. */
struct map *map_free(struct map *m);
DEFINE_CLEANUP(struct map *, map_free);

/** map_put() - set @key to @value, replacing. Return: 0; -ENOMEM (map unchanged). */
_must_check_ int map_put(struct map *m, const void *key, size_t key_len, void *value);

/**
 * map_at() - the place of a key's value, made for one that is absent: one search where map_get()
 * and map_put() are two
 * @ret_key: the map's own copy of the key, there as long as its entry; may be NULL
 * Return: borrowed until the entry is deleted; NULL inside is an absent key's: set it, or delete
 * the key; NULL: no memory (map unchanged).
 */
void **map_at(struct map *m, const void *key, size_t key_len, const char **ret_key);

/** map_get() - Return: the value, or NULL when absent. */
void *map_get(const struct map *m, const void *key, size_t key_len);
/** map_get_hashed() - the same with @hash of map_hash(), for who asks several maps. */
void *map_get_hashed(const struct map *m, uint64_t hash, const void *key, size_t key_len);

/** map_del() - Return: the value that was there, or NULL. */
void *map_del(struct map *m, const void *key, size_t key_len);

/** map_clear() - delete everything, memory included. */
void map_clear(struct map *m);

/** map_count() - number of entries. */
size_t map_count(const struct map *m);

/* The same with NUL-terminated keys. */
_must_check_ int map_put_str(struct map *m, const char *key, void *value);
void **map_at_str(struct map *m, const char *key, const char **ret_key);
void *map_get_str(const struct map *m, const char *key);
void *map_del_str(struct map *m, const char *key);

struct map_iter {
	size_t pos;
	const void *key; /* NUL-terminated copy, key_len without the NUL */
	size_t key_len;
	void *value;
};

/** map_next() - advance @it (start from zeroes). The current entry may be deleted while iterating,
 * nothing may be added. */
bool map_next(const struct map *m, struct map_iter *it);

#define map_for_each(m, it) for (struct map_iter it = {0}; map_next((m), &(it));)

/** map_hash() - the seeded hash itself (SipHash-1-3), for other tables. */
uint64_t map_hash(const void *key, size_t key_len);
