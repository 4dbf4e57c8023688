/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/unpack.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/macros.h"

/* Of what protobuf-c keeps: pointers, numbers of 64 bits, texts. */
#define ALIGN _Alignof(uint64_t)

struct unpack_block {
	struct unpack_block *next;
	size_t used, size;
	_Alignas(ALIGN) unsigned char bytes[];
};

static struct unpack_block *block_new(struct unpack *u, size_t size)
{
	struct unpack_block *b = malloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	b->size = size;
	b->used = 0;
	b->next = u->blocks;
	u->blocks = b;
	return b;
}

static void *on_alloc(void *arg, size_t size)
{
	struct unpack *u = arg;
	struct unpack_block *b = u->blocks;
	size_t want;
	void *p;

	if (size > SIZE_MAX / 2) {
		u->is_short = true;
		return NULL;
	}
	want = (size + ALIGN - 1) & ~(ALIGN - 1);
	if (!b || b->size - b->used < want)
		b = block_new(u, MAX(want, u->block_size));
	if (!b) {
		u->is_short = true;
		return NULL;
	}
	p = b->bytes + b->used;
	b->used += want;
	return p;
}

static void on_free(void *arg, void *p)
{
}

void unpack_init(struct unpack *u, size_t block_size)
{
	*u = (struct unpack){
		.memory = {.alloc = on_alloc, .free = on_free, .allocator_data = u},
		.block_size = block_size,
	};
}

void unpack_reset(struct unpack *u)
{
	while (u->blocks) {
		struct unpack_block *b = u->blocks;

		u->blocks = b->next;
		free(b);
	}
}
