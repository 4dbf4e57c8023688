/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* metrics - GET /metrics on a port of its own, by istiod's names where we have the thing. Labels
 * are words of our own tables: what strangers send makes no series. Owner: main. Thread: its loop.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"

struct control; /* control.h */
struct metrics; /* opaque */

/** metrics_new() - listen on every address. @port: host order; 0: nowhere. @control: borrowed; what
 * it points to is NULL until there is one. Return: 0; -EADDRINUSE and other errors of
 * tcp_listen_any(), -ENOMEM: logged. */
_must_check_ int metrics_new(struct loop *loop, uint16_t port, struct control *const *control,
			     struct metrics **ret);
/** metrics_free() - before the control plane. Takes NULL. Return: NULL. */
struct metrics *metrics_free(struct metrics *m);
DEFINE_CLEANUP(struct metrics *, metrics_free);

/** metrics_write() - append what @control has to tell, in Prometheus' text format 0.0.4: istiod's
 * counters have no suffix. Return: 0; -ENOMEM. */
_must_check_ int metrics_write(struct control *control, struct buf *into);
