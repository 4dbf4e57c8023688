/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "source/kube_json.h"
#include "source/kube_prune.h"

#define ITEMS_DEPTH 2 /* the list's object, its items */

/** struct feeding - the bytes of one call. */
struct feeding {
	struct kube_list *list;
	const char *from, *p, *end; /* @from: not yet taken */
	int (*on_item)(void *arg, json_t *item);
	void *arg;
};

static int keep(struct buf *b, size_t limit, const char *from, const char *to)
{
	int r;

	b->limit = limit;
	r = from < to ? buf_append(b, from, (size_t)(to - from)) : 0;
	return r == -ENOBUFS ? -EMSGSIZE : r;
}

/* What has come up to here belongs where we are. */
static int taken(struct feeding *f)
{
	struct kube_list *l = f->list;
	const char *from = f->from;

	f->from = f->p;
	if (l->place == KUBE_LIST_OUTSIDE)
		return keep(&l->rest, KUBE_REST_MAX, from, f->p);
	return l->place == KUBE_LIST_ITEM ? keep(&l->item, KUBE_ITEM_MAX, from, f->p) : 0;
}

static size_t blanks_strip(const char *text, size_t len)
{
	while (len > 0 && json_is_blank(text[len - 1]))
		len--;
	return len;
}

/* Is the list that begins behind what is kept of the rest the value of "items"? */
static bool is_items(const struct kube_list *l)
{
	static const char key[] = "\"items\"";
	const char *text = (const char *)buf_head(&l->rest);
	size_t len = blanks_strip(text, buf_len(&l->rest));

	if (len == 0 || text[len - 1] != ':')
		return false;
	len = blanks_strip(text, len - 1);
	return len >= strlen(key) && memcmp(text + len - strlen(key), key, strlen(key)) == 0;
}

static int item_read(const struct feeding *f, const char *text, size_t len)
{
	size_t pruned_len;
	_cleanup_(freep) char *pruned = kube_prune_text(f->list->kind, text, len, &pruned_len);
	json_t *item = pruned ? kube_json_load(pruned, pruned_len) : NULL;
	int r = 0;

	if (!item)
		return pruned ? -EBADMSG : -ENOMEM;
	if (json_is_object(item))
		r = f->on_item(f->arg, item);
	json_decref(item);
	return r;
}

static int item_end(struct feeding *f)
{
	struct kube_list *l = f->list;
	int r;

	if (buf_len(&l->item) == 0) {
		r = item_read(f, f->from, (size_t)(f->p - f->from));
		f->from = f->p;
	} else {
		r = taken(f);
		if (r == 0)
			r = item_read(f, (const char *)buf_head(&l->item), buf_len(&l->item));
		buf_reset(&l->item);
	}
	l->place = KUBE_LIST_BETWEEN;
	return r;
}

/* f->p is behind the bracket. */
static int on_open(struct feeding *f, char bracket)
{
	struct kube_list *l = f->list;
	int r = 0;

	if (l->place == KUBE_LIST_BETWEEN) {
		l->place = KUBE_LIST_ITEM;
		f->from = f->p - 1;
	} else if (l->place == KUBE_LIST_OUTSIDE && l->depth == 1 && bracket == '[') {
		f->p--;
		r = taken(f);
		f->p++;
		if (r == 0 && is_items(l)) {
			r = taken(f);
			l->place = KUBE_LIST_BETWEEN;
		}
	}
	l->depth++;
	return r;
}

static int on_close(struct feeding *f)
{
	struct kube_list *l = f->list;

	if (l->depth == 0)
		return -EBADMSG;
	l->depth--;
	if (l->place == KUBE_LIST_ITEM && l->depth == ITEMS_DEPTH)
		return item_end(f);
	if (l->place == KUBE_LIST_BETWEEN && l->depth < ITEMS_DEPTH) {
		l->place = KUBE_LIST_OUTSIDE;
		f->from = f->p - 1;
	}
	return 0;
}

/* Through a string, as far as it has come. */
static void string_go(struct feeding *f)
{
	struct kube_list *l = f->list;

	for (; f->p < f->end && l->is_string; f->p++) {
		l->is_string = l->is_escaped || *f->p != '"';
		l->is_escaped = !l->is_escaped && *f->p == '\\';
	}
}

int kube_list_feed(struct kube_list *l, const char *data, size_t len,
		   int (*on_item)(void *arg, json_t *item), void *arg)
{
	struct feeding f = {.list = l,
			    .from = data,
			    .p = data,
			    .end = data + len,
			    .on_item = on_item,
			    .arg = arg};
	int r = 0;

	while (r == 0 && f.p < f.end) {
		char c;

		if (l->is_string) {
			string_go(&f);
			continue;
		}
		c = *f.p++;
		if (c == '"')
			l->is_string = true;
		else if (c == '{' || c == '[')
			r = on_open(&f, c);
		else if (c == '}' || c == ']')
			r = on_close(&f);
	}
	return r == 0 ? taken(&f) : r;
}

json_t *kube_list_end(const struct kube_list *l)
{
	json_t *page = NULL;
	const json_t *items;

	if (buf_len(&l->rest) > 0)
		page = kube_json_load((const char *)buf_head(&l->rest), buf_len(&l->rest));
	items = json_object_get(page, "items");
	/* an empty list may be null */
	if (json_is_object(json_object_get(page, "metadata")) &&
	    (!items || json_is_array(items) || json_is_null(items)))
		return page;
	json_decref(page);
	return NULL;
}

void kube_list_reset(struct kube_list *l)
{
	buf_reset(&l->rest);
	buf_reset(&l->item);
	*l = (struct kube_list){.kind = l->kind};
}
