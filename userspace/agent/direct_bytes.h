/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_bytes - tells ztunnel every few seconds how much more the direct connections that are open
 * have carried, as inet_diag has it; their end is an event of the BPF programs. Owner: direct.
 * Thread: loop only. */
#include "base/cleanup.h"
#include "base/macros.h"

/* Of what is open for a shorter time only the end tells. */
#define DIRECT_BYTES_ROUND_US (5 * 1000 * 1000ull)

struct direct_bytes; /* opaque */
struct direct_config;
struct direct_news;

/** direct_bytes_new() - @config, @news: borrowed for its life. Return: 0; -ENOMEM. */
_must_check_ int direct_bytes_new(const struct direct_config *config, struct direct_news *news,
				  struct direct_bytes **ret);
/** direct_bytes_free() - takes NULL. Return: NULL. */
struct direct_bytes *direct_bytes_free(struct direct_bytes *b);
DEFINE_CLEANUP(struct direct_bytes *, direct_bytes_free);
