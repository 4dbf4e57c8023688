/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* hamt - persistent hash trie from a byte-string key to a reference-counted value. A handle (struct
 * hamt) has one owner and one thread; a second handle is made in O(1), shares every node, and may
 * be given to another thread. A later put or delete copies only the path it touches, and nothing
 * where no other handle shares it. Handles that are only read may be read by any number of threads.
 *
 * There are two kinds: of one that hamt_new() made, each handle may be changed on its own
 * (hamt_clone()); of one that hamt_new_versioned() made, one handle is, and hamt_publish() makes
 * others that are only read. Changes of the second cost half of those of the first. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct hamt; /* opaque */

/** struct hamt_ops - how values are shared; both must be safe from any thread (atomic counts). */
struct hamt_ops {
	void *(*ref)(void *value);
	void (*unref)(void *value);
	/* Where the value has the key in it, unchanged for its life: no copy is kept. NULL: copied.
	 */
	const void *(*key)(const void *value, size_t *ret_len);
};

/** hamt_new(), hamt_new_versioned() - an empty trie. @ops: borrowed for ever (static). Return: 0;
 * -ENOMEM. */
_must_check_ int hamt_new(const struct hamt_ops *ops, struct hamt **ret);
_must_check_ int hamt_new_versioned(const struct hamt_ops *ops, struct hamt **ret);

/** hamt_clone() - another handle on what @h, made by hamt_new(), holds now, O(1). Return: 0;
 * -ENOMEM. */
_must_check_ int hamt_clone(const struct hamt *h, struct hamt **ret);

/** hamt_publish() - a handle on what @h, made by hamt_new_versioned(), holds now, O(1); to be read
 * only. It may outlive @h, and be freed by any thread. Return: 0; -ENOMEM. */
_must_check_ int hamt_publish(struct hamt *h, struct hamt **ret);

/** hamt_free() - give up a handle. Takes NULL. Return: NULL. */
struct hamt *hamt_free(struct hamt *h);
DEFINE_CLEANUP(struct hamt *, hamt_free);

/**
 * hamt_put() - set @key to @value, replacing; other handles do not see it
 * @key:   copied, unless hamt_ops.key has it.
 * @value: a reference is taken by ops->ref; the caller keeps its own. Not NULL.
 * Return: 0; -ENOMEM (also for a key of over 256 KiB that is to be copied), @h unchanged.
 */
_must_check_ int hamt_put(struct hamt *h, const void *key, size_t key_len, void *value);

/** hamt_del() - drop @key. Return: 0; -ENOENT; -ENOMEM, @h unchanged. */
int hamt_del(struct hamt *h, const void *key, size_t key_len);

/** hamt_get() - Return: the value, borrowed for as long as the handle is unchanged; NULL when
 * absent. */
void *hamt_get(const struct hamt *h, const void *key, size_t key_len);

/** hamt_count() - number of entries. */
size_t hamt_count(const struct hamt *h);

/* The same with NUL-terminated keys. */
_must_check_ int hamt_put_str(struct hamt *h, const char *key, void *value);
int hamt_del_str(struct hamt *h, const char *key);
void *hamt_get_str(const struct hamt *h, const char *key);

/** hamt_visit() - call @fn for each entry, in no order; stops when @fn is not 0. Return: 0, or what
 * @fn returned. */
int hamt_visit(const struct hamt *h,
	       int (*fn)(void *arg, const void *key, size_t key_len, void *value), void *arg);
