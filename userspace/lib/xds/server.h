/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* server - delta ADS server over a store of packed resources. Owner: the control plane; thread: its
 * loop. A client is sent what it lacks and then what changes; one response per type is on its way
 * at a time, two where more follows on the first, so a slow client costs no more than these. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "http/grpc.h"
#include "xds/push_stats.h"
#include "xds/types.h"

struct xds_server; /* opaque */

_must_check_ int xds_server_new(struct loop *loop, struct xds_server **ret);
/** xds_server_free() - after the gRPC server that serves its method. Takes NULL. Return: NULL. */
struct xds_server *xds_server_free(struct xds_server *s);
DEFINE_CLEANUP(struct xds_server *, xds_server_free);

/** xds_server_method() - what grpc_server_new() is to serve. */
struct grpc_method xds_server_method(struct xds_server *s);

/** xds_server_set() - add or change; same bytes change nothing. @packed is copied. Return: 0;
 * -ENOMEM. */
_must_check_ int xds_server_set(struct xds_server *s, enum xds_type type, const char *name,
				const void *packed, size_t len);
/** xds_server_remove() - harmless when there is none. */
void xds_server_remove(struct xds_server *s, enum xds_type type, const char *name);
/** xds_server_note_change() - something has come that the next flush may send: the time counts
 * until clients have it. Else it counts from the flush. */
void xds_server_note_change(struct xds_server *s);
/** xds_server_flush() - send what changed since the last flush. Until the first one, nobody is sent
 * anything. */
void xds_server_flush(struct xds_server *s);
/** xds_server_hold() - what is set and removed now is not all of a change: nobody is sent anything
 * until the next flush. */
void xds_server_hold(struct xds_server *s);
/** xds_server_shut() - what is known may be old: all streams end and none is taken, clients keep
 * what they have. @why: borrowed, a sentence for them; NULL: no longer. */
void xds_server_shut(struct xds_server *s, const char *why);
/** xds_server_count() - resources in the store. */
size_t xds_server_count(const struct xds_server *s, enum xds_type type);

/** xds_server_stats() - so far; borrowed. */
const struct push_stats *xds_server_stats(const struct xds_server *s);

/** struct xds_server_client - one open stream, for status. */
struct xds_server_client {
	const char *node_id;     /* "" before the first request */
	const char *node_name;   /* metadata NODE_NAME; "" when absent */
	const char *version;     /* metadata ISTIO_VERSION; likewise */
	uint64_t acked;          /* resources acknowledged so far, removals included */
	uint64_t nacked;         /* responses refused */
	const char *nack_detail; /* of what it still refuses; "" when nothing */
};

void xds_server_for_each_client(struct xds_server *s,
				void (*fn)(void *arg, const struct xds_server_client *client),
				void *arg);
