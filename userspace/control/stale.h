/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stale - a control plane that no longer hears of some kind's changes tells nodes nothing: what it
 * knows may be half of a change, or older than what they have of another replica. They count as
 * alone and keep what they have. Certificates are signed all the same. Owner: control. Thread: its
 * loop. */
#include <stdbool.h>
#include <stdint.h>

#include "problems.h"
#include "xds/server.h"

/** struct stale - all zero: it hears of all. */
struct stale {
	char text[256];  /* a sentence; "": it is not */
	bool is_refused; /* by the API server, and so it is to every replica */
};

/** struct stale_kind - as a source's on_stale() says. */
struct stale_kind {
	const char *name;
	uint64_t since_us;
	bool is_refused;
};

/** stale_set() - @kind: NULL: it hears of all again. @s must outlive @xds. */
void stale_set(struct stale *s, struct xds_server *xds, struct problems *problems,
	       const struct stale_kind *kind);
