/* SPDX-License-Identifier: Apache-2.0 */
#include "directs.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define PAGE_MAX (64 * 1024)

struct page {
	uint32_t size, count, next;
	struct cv_tuple *keys;
	struct cv_direct *values;
};

static struct page *page_free(struct page *p)
{
	if (!p)
		return NULL;
	free(p->keys);
	free(p->values);
	free(p);
	return NULL;
}
DEFINE_CLEANUP(struct page *, page_free);

/* Return: NULL: no memory. */
static struct page *page_new(uint32_t size)
{
	_cleanup_(page_freep) struct page *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->size = size;
	p->keys = calloc(size, sizeof(*p->keys));
	p->values = calloc(size, sizeof(*p->values));
	return p->keys && p->values ? TAKE_PTR(p) : NULL;
}

/* Return: 0; -ENOSPC, what shares the next place is more than a page; -errno. */
static int page_read(struct page *p, int fd, uint32_t at)
{
	int r;

	p->count = p->size;
	r = bpf_map_lookup_batch(fd, at ? &at : NULL, &p->next, p->keys, p->values, &p->count,
				 NULL);
	if (r != -ENOENT)
		return r;
	p->next = 0;
	return 0;
}

static void page_tell(struct page *p, directs_fn *fn, void *arg)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (!fn(arg, &p->keys[i], &p->values[i])) {
			p->next = 0;
			return;
		}
}

int directs_page(int fd, uint32_t at, directs_fn *fn, void *arg, uint32_t *ret_next)
{
	int r = -ENOSPC;

	for (uint32_t size = DIRECTS_PAGE; r == -ENOSPC && size <= PAGE_MAX; size *= 2) {
		_cleanup_(page_freep) struct page *p = page_new(size);

		if (!p)
			return -ENOMEM;
		r = page_read(p, fd, at);
		if (r == 0) {
			page_tell(p, fn, arg);
			*ret_next = p->next;
		}
	}
	return r;
}

int directs_each(int fd, directs_fn *fn, void *arg)
{
	uint32_t at = 0;
	int r;

	do {
		r = directs_page(fd, at, fn, arg, &at);
	} while (r == 0 && at != 0);
	return r;
}

struct cv_tuple directs_tuple(const struct cv_tuple *key, const struct cv_direct *c)
{
	struct cv_tuple t = c->flags & CV_DIRECT_TURNED ? cv_tuple_turned(key) : *key;

	t.netns_cookie = c->src_cookie;
	return t;
}

bool directs_is_open(const struct cv_direct *c)
{
	return (c->flags & (CV_DIRECT_ESTABLISHED | CV_DIRECT_CLIENT_CLOSED)) ==
	       CV_DIRECT_ESTABLISHED;
}
