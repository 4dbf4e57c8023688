/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* unpack - memory for one protobuf message while it is read. protobuf-c asks for each string and
 * each part of it; here they come out of a few blocks, and all go at once: what was unpacked is not
 * to be given to free_unpacked(). Owner: a function's frame. */
#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct unpack_block;

struct unpack {
	ProtobufCAllocator memory; /* for the unpack functions */
	struct unpack_block *blocks;
	size_t block_size;
	bool is_short; /* there was no memory: that is why nothing was unpacked */
};

/** unpack_init() - nothing yet. @u must stay where it is. @block_size: a part of what a message
 * takes. */
void unpack_init(struct unpack *u, size_t block_size);
/** unpack_error() - why nothing was unpacked. Return: -ENOMEM; -EBADMSG. */
static inline int unpack_error(const struct unpack *u)
{
	return u->is_short ? -ENOMEM : -EBADMSG;
}
/** unpack_reset() - give back all of it. */
void unpack_reset(struct unpack *u);
static inline void unpack_resetp(struct unpack *u)
{
	unpack_reset(u);
}
