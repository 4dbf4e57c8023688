/* SPDX-License-Identifier: Apache-2.0 */
/* hamt_versions - the versions of a trie that has one writer, and the nodes that only older ones
 * have. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hamt_internal.h"
#include "base/list.h"

/* What one put or delete replaces at most: a branch for each 5 bits of the hash, the clash below,
 * the leaf. */
#define PER_EDIT   16
#define FIRST_SIZE 48

/* Nodes that the writer has replaced. */
struct gone {
	struct gone *next;
	size_t count;
	size_t size;
	struct node *nodes[];
};

struct version {
	struct hamt h; /* first: this is what readers hold */
	atomic_uint refs;
	uint64_t number;
	struct list of_all; /* under the lock; the newest is first */
	struct gone *gone;  /* this is the newest living version that has them; under the lock */
};

struct hamt_versions {
	/* the writer's */
	uint64_t now;
	struct version *last; /* counted: so the newest version lives as long as the writer */
	struct gone *gone;    /* since then */
	bool is_changed;      /* since then */
	/* everyone's, under the lock */
	pthread_mutex_t lock;
	struct list living;
	bool has_writer;
};

static struct version *as_version(struct hamt *h)
{
	return container_of(h, struct version, h);
}

static void node_free(const struct hamt_ops *ops, struct node *n)
{
	if (n->kind == NODE_LEAF) {
		ops->unref(as_leaf(n)->value);
		free(as_leaf(n));
		return;
	}
	free(as_branch(n));
}

/* What was born after version @after; below an older node there is nothing younger. */
static void tree_free(const struct hamt_ops *ops, struct node *n, uint64_t after)
{
	if (!n || node_born(n) <= after)
		return;
	if (n->kind != NODE_LEAF)
		for (uint32_t i = 0; i < as_branch(n)->count; i++)
			tree_free(ops, as_branch(n)->children[i], after);
	node_free(ops, n);
}

static void versions_free(struct hamt_versions *t)
{
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

int versions_new(struct hamt_versions **ret)
{
	struct hamt_versions *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	(void)pthread_mutex_init(&t->lock, NULL);
	list_init(&t->living);
	t->now = 1;
	t->has_writer = true;
	t->is_changed = true;
	*ret = t;
	return 0;
}

uint64_t versions_now(const struct hamt_versions *t)
{
	return t->now;
}

int versions_reserve(struct hamt_versions *t)
{
	size_t size = t->gone ? t->gone->size : 0;
	struct gone *g;

	t->is_changed = true;
	if (!t->last || (t->gone && t->gone->count + PER_EDIT <= size))
		return 0;
	size = size ? size * 2 : FIRST_SIZE;
	g = realloc(t->gone, sizeof(*g) + size * sizeof(g->nodes[0]));
	if (!g)
		return -ENOMEM;
	if (!t->gone)
		g->count = 0;
	g->next = NULL;
	g->size = size;
	t->gone = g;
	return 0;
}

void versions_drop(struct hamt *h, struct node *n)
{
	struct hamt_versions *t = h->versions;

	if (node_born(n) == t->now)
		node_free(h->ops, n);
	else
		t->gone->nodes[t->gone->count++] = n;
}

int versions_publish(struct hamt *h, struct hamt **ret)
{
	struct hamt_versions *t = h->versions;
	struct version *last = t->last;
	struct version *v;

	if (!t->is_changed) {
		atomic_fetch_add_explicit(&last->refs, 1, memory_order_relaxed);
		*ret = &last->h;
		return 0;
	}
	v = malloc(sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->h = *h;
	v->h.is_version = true;
	atomic_init(&v->refs, 2); /* the caller's and the writer's */
	v->number = t->now++;
	v->gone = NULL;
	(void)pthread_mutex_lock(&t->lock);
	list_add(&t->living, &v->of_all);
	if (last)
		last->gone = t->gone;
	(void)pthread_mutex_unlock(&t->lock);
	t->gone = NULL;
	t->last = v;
	t->is_changed = false;
	if (last)
		versions_release(&last->h);
	*ret = &v->h;
	return 0;
}

/* @v is going, @older is the next one. What that has too becomes its, the rest is freed. */
static void gone_pass_on(struct version *v, struct version *older)
{
	struct gone *next;

	for (struct gone *g = v->gone; g; g = next) {
		size_t kept = 0;

		next = g->next;
		for (size_t i = 0; i < g->count; i++) {
			if (older && node_born(g->nodes[i]) <= older->number)
				g->nodes[kept++] = g->nodes[i];
			else
				node_free(v->h.ops, g->nodes[i]);
		}
		g->count = kept;
		if (!kept) {
			free(g);
			continue;
		}
		g->next = older->gone;
		older->gone = g;
	}
}

static void gone_forget(struct gone *g)
{
	for (struct gone *next; g; g = next) {
		next = g->next;
		free(g);
	}
}

void versions_release(struct hamt *version)
{
	struct version *v = as_version(version);
	struct hamt_versions *t = v->h.versions;
	struct version *older = NULL;
	uint64_t after = 0;
	bool is_over;

	if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	(void)pthread_mutex_lock(&t->lock);
	if (v->of_all.next != &t->living) {
		older = container_of(v->of_all.next, struct version, of_all);
		after = older->number;
	}
	if (t->living.next == &v->of_all) {
		/* the newest: the writer is gone and nothing will come. All that no older one has
		 * goes, what later versions had replaced in it too */
		gone_forget(v->gone);
		tree_free(v->h.ops, v->h.root, after);
	} else {
		gone_pass_on(v, older);
	}
	list_del(&v->of_all);
	is_over = !t->has_writer && list_is_empty(&t->living);
	(void)pthread_mutex_unlock(&t->lock);
	free(v);
	if (is_over)
		versions_free(t);
}

void versions_end(struct hamt *h)
{
	struct hamt_versions *t = h->versions;
	struct version *last = t->last;
	bool is_over;

	/* what it has replaced is in the last version's trie, which ends with that */
	gone_forget(t->gone);
	tree_free(h->ops, h->root, last ? last->number : 0);
	(void)pthread_mutex_lock(&t->lock);
	t->has_writer = false;
	is_over = list_is_empty(&t->living);
	(void)pthread_mutex_unlock(&t->lock);
	free(h);
	if (is_over)
		versions_free(t);
	else
		versions_release(&last->h);
}
