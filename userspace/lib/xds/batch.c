/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/batch.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xds/address_index.h"

typedef Envoy__Service__Discovery__V3__Resource delta_resource;

struct batch *batch_new(void)
{
	struct batch *b = malloc(sizeof(*b)); /* mostly of no use: not zeroed */

	if (!b)
		return NULL;
	b->removed = NULL;
	b->n_resources = b->n_removed = b->removed_cap = b->bytes = 0;
	return b;
}

void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->n_resources; i++)
		free(b->resources[i].aliases);
	for (size_t i = 0; i < b->n_removed; i++)
		free(b->removed[i]);
	b->n_resources = b->n_removed = b->bytes = 0;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	batch_clear(b);
	free(b->removed);
	free(b);
}

bool batch_is_full(const struct batch *b)
{
	return b->n_resources == BATCH_RESOURCES || b->bytes >= BATCH_BYTES;
}

void batch_add(struct batch *b, enum xds_type type, const struct resource_entry *e)
{
	size_t i = b->n_resources++;
	Google__Protobuf__Any *body = &b->bodies[i];
	delta_resource *res = &b->resources[i];

	google__protobuf__any__init(body);
	body->type_url = (char *)xds_type_url(type);
	body->value.data = e->packed;
	body->value.len = e->len;
	envoy__service__discovery__v3__resource__init(res);
	res->name = (char *)(uintptr_t)e->name;
	res->version = (char *)e->version;
	res->resource = body;
	b->resource_pointers[i] = res;
	b->bytes += e->len + strlen(e->name) + strlen(body->type_url) + 32;
}

int batch_add_aliases(struct batch *b, const struct resource_entry *e)
{
	delta_resource *res = &b->resources[b->n_resources - 1];

	if (!e->keys || !e->keys->n)
		return 0;
	res->aliases = calloc(e->keys->n, sizeof(*res->aliases));
	if (!res->aliases)
		return -ENOMEM;
	for (size_t i = 0; i < e->keys->n; i++) {
		const char *ip = address_key_is(&e->keys->links[i], ADDRESS_BY_IP);

		if (!ip)
			continue;
		res->aliases[res->n_aliases++] = (char *)(uintptr_t)ip;
		b->bytes += strlen(ip) + 2;
	}
	return 0;
}

int batch_remove(struct batch *b, const char *name)
{
	char *copy;

	if (b->n_removed == b->removed_cap) {
		size_t cap = b->removed_cap ? b->removed_cap * 2 : 16;
		char **grown = realloc(b->removed, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		b->removed = grown;
		b->removed_cap = cap;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	b->removed[b->n_removed++] = copy;
	b->bytes += strlen(name);
	return 0;
}
