/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hamt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hamt_internal.h"
#include "base/map.h"

#define HAMT_BITS      5
#define HAMT_MASK      31u
#define HAMT_HASH_BITS 64

static void node_ref(struct node *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
}

/* Of a counted trie. */
static void node_unref(const struct hamt_ops *ops, struct node *n)
{
	if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (n->kind == NODE_LEAF) {
		ops->unref(as_leaf(n)->value);
		free(as_leaf(n));
		return;
	}
	for (uint32_t i = 0; i < as_branch(n)->count; i++)
		node_unref(ops, as_branch(n)->children[i]);
	free(as_branch(n));
}

/* No other handle sees it. */
static bool is_own(const struct hamt *h, struct node *n)
{
	return h->versions ? node_born(n) == versions_now(h->versions)
			   : atomic_load_explicit(&n->refs, memory_order_acquire) == 1;
}

/* @h has @n no more. Of a versioned trie: nor its children, other than by another branch. */
static void node_drop(struct hamt *h, struct node *n)
{
	if (h->versions)
		versions_drop(h, n);
	else
		node_unref(h->ops, n);
}

static void node_init(const struct hamt *h, struct node *n, enum node_kind kind, size_t key_len)
{
	uint64_t born = h->versions ? versions_now(h->versions) : 1;

	atomic_init(&n->refs, (uint32_t)born);
	n->born_high = (uint32_t)(born >> 32) & 0xfff;
	n->kind = kind & 3;
	n->key_len = (uint32_t)key_len & HAMT_KEY_MAX;
}

static struct leaf *leaf_new(const struct hamt *h, const void *key, size_t key_len, void *value)
{
	size_t copy_len = h->ops->key ? 0 : key_len;
	struct leaf *l = copy_len <= HAMT_KEY_MAX ? malloc(sizeof(*l) + copy_len) : NULL;

	if (!l)
		return NULL;
	node_init(h, &l->node, NODE_LEAF, copy_len);
	l->hash = map_hash(key, key_len);
	l->value = h->ops->ref(value);
	memcpy(l->key, key, copy_len);
	return l;
}

static const void *leaf_key(const struct hamt_ops *ops, const struct leaf *l, size_t *ret_len)
{
	if (ops->key)
		return ops->key(l->value, ret_len);
	*ret_len = l->node.key_len;
	return l->key;
}

static bool leaf_is_key(const struct hamt_ops *ops, const struct leaf *l, uint64_t hash,
			const void *key, size_t key_len)
{
	const void *own;
	size_t own_len;

	if (l->hash != hash)
		return false;
	own = leaf_key(ops, l, &own_len);
	return own_len == key_len && memcmp(own, key, key_len) == 0;
}

static bool leaf_is_like(const struct hamt_ops *ops, const struct leaf *l, const struct leaf *like)
{
	size_t len;
	const void *key = leaf_key(ops, like, &len);

	return leaf_is_key(ops, l, like->hash, key, len);
}

static struct branch *branch_alloc(const struct hamt *h, enum node_kind kind, uint32_t count)
{
	struct branch *b = malloc(sizeof(*b) + count * sizeof(b->children[0]));

	if (!b)
		return NULL;
	node_init(h, &b->node, kind, 0);
	b->bitmap = 0;
	b->count = count;
	return b;
}

static uint32_t hash_bit(uint64_t hash, unsigned int shift)
{
	return 1u << ((hash >> shift) & HAMT_MASK);
}

static uint32_t child_index(const struct branch *b, uint32_t bit)
{
	return (uint32_t)__builtin_popcount(b->bitmap & (bit - 1));
}

/* Index of the child on the way to @hash and @key, or -1. */
static int branch_find(const struct hamt_ops *ops, const struct branch *b, unsigned int shift,
		       const struct leaf *like)
{
	if (b->node.kind == NODE_BRANCH) {
		uint32_t bit = hash_bit(like->hash, shift);

		return b->bitmap & bit ? (int)child_index(b, bit) : -1;
	}
	for (uint32_t i = 0; i < b->count; i++)
		if (leaf_is_like(ops, as_leaf(b->children[i]), like))
			return (int)i;
	return -1;
}

/* Make the branch in *@slot ours alone: content stays the same, so a later failure needs no undo.
 */
static int slot_own(struct hamt *h, struct node **slot)
{
	struct branch *old = as_branch(*slot);
	struct branch *b;

	if (is_own(h, &old->node))
		return 0;
	b = branch_alloc(h, (enum node_kind)old->node.kind, old->count);
	if (!b)
		return -ENOMEM;
	b->bitmap = old->bitmap;
	memcpy(b->children, old->children, old->count * sizeof(old->children[0]));
	for (uint32_t i = 0; i < old->count && !h->versions; i++)
		node_ref(b->children[i]);
	*slot = &b->node;
	node_drop(h, &old->node);
	return 0;
}

/* Put @l into the owned branch *@slot, which has no child for it. */
static int branch_grow(struct node **slot, unsigned int shift, struct leaf *l)
{
	struct branch *b = as_branch(*slot);
	uint32_t at = b->count;
	struct branch *bigger;

	bigger = realloc(b, sizeof(*b) + (b->count + 1) * sizeof(b->children[0]));
	if (!bigger)
		return -ENOMEM;
	if (bigger->node.kind == NODE_BRANCH) {
		uint32_t bit = hash_bit(l->hash, shift);

		at = child_index(bigger, bit);
		bigger->bitmap |= bit;
	}
	memmove(&bigger->children[at + 1], &bigger->children[at],
		(bigger->count - at) * sizeof(bigger->children[0]));
	bigger->children[at] = &l->node;
	bigger->count++;
	*slot = &bigger->node;
	return 0;
}

/* Replace the leaf in *@slot by a branch that holds it and @l, as deep as their hashes agree. */
static int leaf_split(const struct hamt *h, struct node **slot, unsigned int shift, struct leaf *l)
{
	struct leaf *old = as_leaf(*slot);
	bool is_clash = shift >= HAMT_HASH_BITS;
	uint32_t bit = is_clash ? 0 : hash_bit(old->hash, shift);
	struct branch *b = branch_alloc(h, is_clash ? NODE_CLASH : NODE_BRANCH, 1);
	struct node *top;
	int r;

	if (!b)
		return -ENOMEM;
	b->bitmap = bit;
	b->children[0] = &old->node;
	top = &b->node;
	if (!is_clash && bit == hash_bit(l->hash, shift))
		r = leaf_split(h, &b->children[0], shift + HAMT_BITS, l);
	else
		r = branch_grow(&top, shift, l);
	if (r < 0) {
		free(b);
		return r;
	}
	*slot = top;
	return 0;
}

static int slot_put(struct hamt *h, struct node **slot, unsigned int shift, struct leaf *l)
{
	struct node *n = *slot;
	int i, r;

	if (!n) {
		*slot = &l->node;
		return 1;
	}
	if (n->kind == NODE_LEAF) {
		if (leaf_is_like(h->ops, as_leaf(n), l)) {
			*slot = &l->node;
			node_drop(h, n);
			return 0;
		}
		r = leaf_split(h, slot, shift, l);
		return r < 0 ? r : 1;
	}
	r = slot_own(h, slot);
	if (r < 0)
		return r;
	i = branch_find(h->ops, as_branch(*slot), shift, l);
	if (i >= 0)
		return slot_put(h, &as_branch(*slot)->children[i], shift + HAMT_BITS, l);
	r = branch_grow(slot, shift, l);
	return r < 0 ? r : 1;
}

/* Take child @i out of the owned branch in *@slot; an only leaf that is left takes the branch's
 * place. */
static void branch_shrink(struct node **slot, unsigned int shift, uint32_t i, uint64_t hash)
{
	struct branch *b = as_branch(*slot);
	struct node *other = b->count == 2 ? b->children[1 - i] : NULL;

	if (b->count == 1 || (other && other->kind == NODE_LEAF)) {
		*slot = other;
		free(b);
		return;
	}
	if (b->node.kind == NODE_BRANCH)
		b->bitmap &= ~hash_bit(hash, shift);
	b->count--;
	memmove(&b->children[i], &b->children[i + 1], (b->count - i) * sizeof(b->children[0]));
}

/* The key is known to be there: @like is its leaf, and goes. */
static int slot_del(struct hamt *h, struct node **slot, unsigned int shift, const struct leaf *like)
{
	uint64_t hash = like->hash;
	struct node **child;
	int i, r;

	if ((*slot)->kind == NODE_LEAF) {
		node_drop(h, *slot);
		*slot = NULL;
		return 0;
	}
	r = slot_own(h, slot);
	if (r < 0)
		return r;
	i = branch_find(h->ops, as_branch(*slot), shift, like);
	if (i < 0)
		return -ENOENT;
	child = &as_branch(*slot)->children[i];
	r = slot_del(h, child, shift + HAMT_BITS, like);
	if (r < 0)
		return r;
	if (!*child)
		branch_shrink(slot, shift, (uint32_t)i, hash);
	else if (as_branch(*slot)->count == 1 && (*child)->kind == NODE_LEAF) {
		struct node *only = *child;

		free(as_branch(*slot));
		*slot = only;
	}
	return 0;
}

static struct leaf *node_find(const struct hamt_ops *ops, struct node *n, const void *key,
			      size_t key_len)
{
	uint64_t hash = map_hash(key, key_len);
	unsigned int shift = 0;

	while (n && n->kind == NODE_BRANCH) {
		const struct branch *b = as_branch(n);
		uint32_t bit = hash_bit(hash, shift);

		n = b->bitmap & bit ? b->children[child_index(b, bit)] : NULL;
		shift += HAMT_BITS;
	}
	if (n && n->kind == NODE_CLASH) {
		const struct branch *b = as_branch(n);

		for (uint32_t i = 0; i < b->count; i++)
			if (leaf_is_key(ops, as_leaf(b->children[i]), hash, key, key_len))
				return as_leaf(b->children[i]);
		return NULL;
	}
	return n && leaf_is_key(ops, as_leaf(n), hash, key, key_len) ? as_leaf(n) : NULL;
}

static int node_visit(const struct hamt_ops *ops, struct node *n,
		      int (*fn)(void *, const void *, size_t, void *), void *arg)
{
	const void *key;
	size_t len;
	int r = 0;

	if (!n)
		return 0;
	if (n->kind == NODE_LEAF) {
		key = leaf_key(ops, as_leaf(n), &len);
		return fn(arg, key, len, as_leaf(n)->value);
	}
	for (uint32_t i = 0; i < as_branch(n)->count && r == 0; i++)
		r = node_visit(ops, as_branch(n)->children[i], fn, arg);
	return r;
}

int hamt_new(const struct hamt_ops *ops, struct hamt **ret)
{
	struct hamt *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->ops = ops;
	*ret = h;
	return 0;
}

int hamt_new_versioned(const struct hamt_ops *ops, struct hamt **ret)
{
	struct hamt *h = NULL;
	int r = hamt_new(ops, &h);

	if (r == 0)
		r = versions_new(&h->versions);
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

int hamt_publish(struct hamt *h, struct hamt **ret)
{
	return versions_publish(h, ret);
}

int hamt_clone(const struct hamt *h, struct hamt **ret)
{
	struct hamt *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = *h;
	if (c->root)
		node_ref(c->root);
	*ret = c;
	return 0;
}

struct hamt *hamt_free(struct hamt *h)
{
	if (!h)
		return NULL;
	if (h->is_version) {
		versions_release(h);
	} else if (h->versions) {
		versions_end(h);
	} else {
		node_unref(h->ops, h->root);
		free(h);
	}
	return NULL;
}

int hamt_put(struct hamt *h, const void *key, size_t key_len, void *value)
{
	struct leaf *l;
	int r = h->versions ? versions_reserve(h->versions) : 0;

	if (r < 0)
		return r;
	l = leaf_new(h, key, key_len, value);
	if (!l)
		return -ENOMEM;
	r = slot_put(h, &h->root, 0, l);
	if (r < 0) {
		node_drop(h, &l->node);
		return r;
	}
	h->count += (size_t)r;
	return 0;
}

int hamt_del(struct hamt *h, const void *key, size_t key_len)
{
	struct leaf *l = node_find(h->ops, h->root, key, key_len);
	int r = l && h->versions ? versions_reserve(h->versions) : 0;

	if (!l)
		return -ENOENT;
	if (r == 0)
		r = slot_del(h, &h->root, 0, l);
	if (r < 0)
		return r;
	h->count--;
	return 0;
}

void *hamt_get(const struct hamt *h, const void *key, size_t key_len)
{
	struct leaf *l = node_find(h->ops, h->root, key, key_len);

	return l ? l->value : NULL;
}

size_t hamt_count(const struct hamt *h)
{
	return h->count;
}

int hamt_put_str(struct hamt *h, const char *key, void *value)
{
	return hamt_put(h, key, strlen(key), value);
}

int hamt_del_str(struct hamt *h, const char *key)
{
	return hamt_del(h, key, strlen(key));
}

void *hamt_get_str(const struct hamt *h, const char *key)
{
	return hamt_get(h, key, strlen(key));
}

int hamt_visit(const struct hamt *h,
	       int (*fn)(void *arg, const void *key, size_t key_len, void *value), void *arg)
{
	return node_visit(h->ops, h->root, fn, arg);
}
