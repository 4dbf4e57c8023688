/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/resources.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

int resources_init(struct resources *s)
{
	*s = (struct resources){0};
	list_init(&s->entries);
	list_init(&s->removed);
	s->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	s->digest = EVP_MD_CTX_new();
	return s->sha256 && s->digest ? map_new(&s->by_name) : -ENOMEM;
}

static void entry_free(struct resources *s, struct resource_entry *e)
{
	if (s->near == e)
		s->near = NULL;
	list_del(&e->link);
	list_del(&e->removed_link);
	(void)map_del_str(s->by_name, e->name);
	free(e->packed);
	free(e);
}

void resources_clear(struct resources *s)
{
	struct resource_entry *e, *tmp;

	EVP_MD_CTX_free(s->digest);
	EVP_MD_free(s->sha256);
	s->digest = NULL;
	s->sha256 = NULL;
	if (!s->by_name)
		return;
	list_for_each_entry_safe (e, tmp, &s->entries, link)
		entry_free(s, e);
	s->by_name = map_free(s->by_name);
}

static void entry_touch(struct resources *s, struct resource_entry *e)
{
	e->seq = ++s->seq;
	list_del(&e->link);
	list_add_tail(&s->entries, &e->link);
	list_del(&e->removed_link);
	if (!e->packed)
		list_add_tail(&s->removed, &e->removed_link);
}

/* Return: the entry of @name, made if there is none; NULL: no memory. */
static struct resource_entry *entry_get(struct resources *s, const char *name)
{
	const char *key;
	void **at = map_at_str(s->by_name, name, &key);
	struct resource_entry *e = at ? *at : NULL;

	if (!at || e)
		return e;
	*at = e = calloc(1, sizeof(*e));
	if (!e) {
		(void)map_del_str(s->by_name, name);
		return NULL;
	}
	e->name = key;
	list_init(&e->link);
	list_init(&e->removed_link);
	return e;
}

static int version_make(const struct resources *s, const void *packed, size_t len,
			char ret[RESOURCE_VERSION_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (!EVP_DigestInit_ex2(s->digest, s->sha256, NULL) ||
	    !EVP_DigestUpdate(s->digest, packed, len) ||
	    !EVP_DigestFinal_ex(s->digest, digest, NULL))
		return -ENOMEM;
	str_hex(digest, (RESOURCE_VERSION_SIZE - 1) / 2, ret);
	return 0;
}

static int bytes_set(struct resources *s, struct resource_entry *e, const void *packed, size_t len)
{
	_cleanup_(freep) uint8_t *copy = malloc(len ? len : 1);
	int r;

	if (!copy)
		return -ENOMEM;
	r = version_make(s, packed, len, e->version);
	if (r < 0)
		return r;
	if (len > 0)
		memcpy(copy, packed, len);
	s->n_live += e->packed ? 0 : 1;
	free(e->packed);
	e->packed = TAKE_PTR(copy);
	e->len = len;
	return 0;
}

int resources_set(struct resources *s, const char *name, const void *packed, size_t len)
{
	struct resource_entry *e = entry_get(s, name);
	int r;

	if (!e)
		return -ENOMEM;
	if (e->packed && e->len == len && memcmp(e->packed, packed, len) == 0)
		return 0;
	r = bytes_set(s, e, packed, len);
	if (r == 0)
		entry_touch(s, e);
	else if (!e->seq)
		entry_free(s, e); /* it is new */
	return r;
}

void resources_remove(struct resources *s, const char *name)
{
	struct resource_entry *e = map_get_str(s->by_name, name);

	if (!e || !e->packed)
		return;
	free(TAKE_PTR(e->packed));
	s->n_live--;
	entry_touch(s, e);
}

struct resource_entry *resources_get(const struct resources *s, const char *name)
{
	return map_get_str(s->by_name, name);
}

static bool is_after(const struct list *l, uint64_t seq)
{
	return list_entry(l, struct resource_entry, link)->seq > seq;
}

/* Where to look from: a client mostly lacks what is newest, or all, which goes to it in parts. */
static struct list *look_from(struct resources *s, uint64_t seq)
{
	const struct resource_entry *near = s->near;
	uint64_t far = s->seq - MIN(seq, s->seq);

	if (seq == 0)
		return &s->entries;
	if (near && MAX(near->seq, seq) - MIN(near->seq, seq) < far)
		return &s->near->link;
	return s->entries.prev;
}

struct resource_entry *resources_after(struct resources *s, uint64_t seq)
{
	struct list *l = look_from(s, seq);

	while (l != &s->entries && is_after(l, seq))
		l = l->prev;
	while (l->next != &s->entries && !is_after(l->next, seq))
		l = l->next;
	if (l->next == &s->entries)
		return NULL;
	s->near = list_entry(l->next, struct resource_entry, link);
	return s->near;
}

struct resource_entry *resources_next(const struct resources *s, const struct resource_entry *e)
{
	return e->link.next == &s->entries ? NULL
					   : list_entry(e->link.next, struct resource_entry, link);
}

void resources_forget(struct resources *s, uint64_t seq)
{
	struct resource_entry *e, *tmp;

	list_for_each_entry_safe (e, tmp, &s->removed, removed_link) {
		if (e->seq > seq)
			break;
		entry_free(s, e);
	}
}
