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
	return map_new(&s->by_name);
}

static void entry_free(struct resources *s, struct resource_entry *e)
{
	(void)map_del_str(s->by_name, e->name);
	list_del(&e->link);
	list_del(&e->removed_link);
	free(e->name);
	free(e->packed);
	free(e);
}

void resources_clear(struct resources *s)
{
	struct resource_entry *e, *tmp;

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

static int entry_new(struct resources *s, const char *name, struct resource_entry **ret)
{
	_cleanup_(freep) struct resource_entry *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	list_init(&e->link);
	list_init(&e->removed_link);
	e->name = strdup(name);
	r = e->name ? map_put_str(s->by_name, name, e) : -ENOMEM;
	if (r < 0) {
		free(e->name);
		return r;
	}
	*ret = TAKE_PTR(e);
	return 0;
}

static int version_make(const void *packed, size_t len, char ret[RESOURCE_VERSION_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(packed, len, digest, NULL, EVP_sha256(), NULL))
		return -ENOMEM;
	str_hex(digest, (RESOURCE_VERSION_SIZE - 1) / 2, ret);
	return 0;
}

int resources_set(struct resources *s, const char *name, const void *packed, size_t len)
{
	struct resource_entry *e = map_get_str(s->by_name, name);
	_cleanup_(freep) uint8_t *copy = NULL;
	char version[RESOURCE_VERSION_SIZE];
	int r;

	if (e && e->packed && e->len == len && memcmp(e->packed, packed, len) == 0)
		return 0;
	copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOMEM;
	if (len > 0)
		memcpy(copy, packed, len);
	r = version_make(copy, len, version);
	if (r == 0 && !e)
		r = entry_new(s, name, &e);
	if (r < 0 || !e)
		return r;
	s->n_live += e->packed ? 0 : 1;
	free(e->packed);
	e->packed = TAKE_PTR(copy);
	e->len = len;
	memcpy(e->version, version, sizeof(version));
	entry_touch(s, e);
	return 0;
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

struct resource_entry *resources_after(const struct resources *s, uint64_t seq)
{
	struct resource_entry *first = NULL;

	/* from the newest: what a client lacks is mostly little */
	for (struct list *l = s->entries.prev; l != &s->entries; l = l->prev) {
		struct resource_entry *e = list_entry(l, struct resource_entry, link);

		if (e->seq <= seq)
			break;
		first = e;
	}
	return first;
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
