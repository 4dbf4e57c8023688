/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* hamt_internal - the inside of a trie, for hamt and hamt_versions alone.
 *
 * Who frees a node: a counted trie (hamt_new()) counts the handles and branches that hold it, so
 * that clones may be changed each on its own. That costs a count of every child of every branch
 * that is copied, each on a cache line of its own. A versioned trie (hamt_new_versioned()) has one
 * writer and a line of versions: a node is in all versions from the one it was born in to the one
 * before it was replaced, and is freed when none of those is left. Copying is then just that. */
#include <stdatomic.h>

#include "base/hamt.h"

#define HAMT_KEY_MAX ((1u << 18) - 1)

enum node_kind {
	NODE_LEAF,
	NODE_BRANCH,
	NODE_CLASH, /* leaves whose 64 hash bits are all equal */
};

struct node {
	/* counted: who holds it; versioned: the lower bits of the version that it was born in */
	atomic_uint refs;
	uint32_t kind : 2;       /* enum node_kind */
	uint32_t key_len : 18;   /* NODE_LEAF: of the copy that it has */
	uint32_t born_high : 12; /* at a version every microsecond 44 bits last for half a year */
};

struct leaf {
	struct node node;
	uint64_t hash;
	void *value;
	uint8_t key[]; /* none where the value has it: hamt_ops.key */
};

struct branch {
	struct node node;
	uint32_t bitmap; /* NODE_BRANCH: which of the 32 children there are */
	uint32_t count;
	struct node *children[];
};

struct hamt_versions; /* opaque */

struct hamt {
	const struct hamt_ops *ops;
	struct node *root;
	size_t count;
	struct hamt_versions *versions; /* NULL: counted */
	bool is_version;                /* one of them, read-only */
};

static inline struct leaf *as_leaf(struct node *n)
{
	return container_of(n, struct leaf, node);
}

static inline struct branch *as_branch(struct node *n)
{
	return container_of(n, struct branch, node);
}

/* Of versioned nodes. */
static inline uint64_t node_born(struct node *n)
{
	return (uint64_t)n->born_high << 32 | atomic_load_explicit(&n->refs, memory_order_relaxed);
}

/** versions_new() - no version yet. Return: 0; -ENOMEM. */
_must_check_ int versions_new(struct hamt_versions **ret);

/** versions_now() - the version that the writer works at; its nodes nobody else sees. */
uint64_t versions_now(const struct hamt_versions *t);

/** versions_reserve() - room for the nodes that one put or delete replaces, so that versions_drop()
 * cannot fail; to be called before each. Return: 0; -ENOMEM. */
_must_check_ int versions_reserve(struct hamt_versions *t);

/** versions_drop() - @h, the writer's, has @n no more; its children are not meant. */
void versions_drop(struct hamt *h, struct node *n);

/** versions_publish() - what @h, the writer's, holds becomes a version. Return: 0; -ENOMEM. */
_must_check_ int versions_publish(struct hamt *h, struct hamt **ret);

/** versions_release() - give up a version. Any thread. */
void versions_release(struct hamt *version);

/** versions_end() - the writer's handle @h is given up; the versions live on. Frees @h. */
void versions_end(struct hamt *h);
