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

static int bucket_get(struct index *ix, const char *key, struct index_bucket **ret)
{
	struct index_bucket *b = map_get_str(ix->buckets, key);
	size_t size = strlen(key) + 1;
	int r;

	if (!b) {
		b = malloc(sizeof(*b) + size);
		if (!b)
			return -ENOMEM;
		list_init(&b->links);
		b->count = 0;
		memcpy(b->key, key, size);
		r = map_put_str(ix->buckets, key, b);
		if (r < 0) {
			free(b);
			return r;
		}
	}
	*ret = b;
	return 0;
}

int index_add(struct index *ix, const char *key, void *owner, struct index_link *l)
{
	struct index_bucket *b;
	int r;

	r = bucket_get(ix, key, &b);
	if (r < 0)
		return r;
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
