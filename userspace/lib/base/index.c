/* SPDX-License-Identifier: Apache-2.0 */
#include "base/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int index_init(struct index *ix)
{
	return map_new(&ix->buckets);
}

void index_done(struct index *ix)
{
	if (ix->buckets)
		map_for_each (ix->buckets, it)
			free(it.value);
	ix->buckets = map_free(ix->buckets);
}

static struct index_bucket *bucket_get(struct index *ix, const char *key)
{
	const char *mine;
	void **at = map_at_str(ix->buckets, key, &mine);
	struct index_bucket *b = at ? *at : NULL;

	if (!at || b)
		return b;
	b = malloc(sizeof(*b));
	if (!b) {
		(void)map_del_str(ix->buckets, key);
		return NULL;
	}
	list_init(&b->links);
	b->count = 0;
	b->key = mine;
	*at = b;
	return b;
}

int index_add(struct index *ix, const char *key, void *owner, struct index_link *l)
{
	struct index_bucket *b = bucket_get(ix, key);

	if (!b)
		return -ENOMEM;
	l->owner = owner;
	l->bucket = b;
	list_add_tail(&b->links, &l->link);
	b->count++;
	return 0;
}

void index_del(struct index *ix, struct index_link *l)
{
	struct index_bucket *b = l->bucket;

	if (!b)
		return;
	list_del(&l->link);
	l->bucket = NULL;
	if (--b->count > 0)
		return;
	(void)map_del_str(ix->buckets, b->key);
	free(b);
}

struct index_bucket *index_find(const struct index *ix, const char *key)
{
	return map_get_str(ix->buckets, key);
}

size_t index_count(const struct index *ix, const char *key)
{
	const struct index_bucket *b = index_find(ix, key);

	return b ? b->count : 0;
}
