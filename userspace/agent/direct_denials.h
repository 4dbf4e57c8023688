/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_denials - the connections that connect(2) has refused by a known denial: out of cv_refused
 * into ztunnel's metrics and access log, as if it had denied them itself. Owner: direct. Thread:
 * loop only. */
#include "base/cleanup.h"
#include "base/macros.h"

struct direct_config;
struct direct_denials; /* opaque */
struct direct_news;

/** direct_denials_new() - @config, @news: borrowed for its life. Return: 0; -ENOMEM. */
_must_check_ int direct_denials_new(const struct direct_config *config, struct direct_news *news,
				    struct direct_denials **ret);
/** direct_denials_free() - takes NULL. Return: NULL. */
struct direct_denials *direct_denials_free(struct direct_denials *d);
DEFINE_CLEANUP(struct direct_denials *, direct_denials_free);

/** direct_denials_soon() - there may be one: told in a moment, with those that come meanwhile. */
void direct_denials_soon(struct direct_denials *d);
