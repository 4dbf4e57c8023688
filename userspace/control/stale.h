/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stale - a control plane that no longer hears of some kind's changes tells nodes nothing: what it
 * knows may be half of a change, or older than what they have of another replica. They count as
 * alone and keep what they have. Certificates are signed all the same. Owner: control. Thread: its
 * loop. */
#include <stdint.h>

#include "problems.h"
#include "xds/server.h"

/** struct stale - all zero: it hears of all. */
struct stale {
	char text[192]; /* a sentence; "": it is not */
};

/** stale_set() - as a source's on_stale() says. @s must outlive @xds. */
void stale_set(struct stale *s, struct xds_server *xds, struct problems *problems, const char *kind,
	       uint64_t since_us);
