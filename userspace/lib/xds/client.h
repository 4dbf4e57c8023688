/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* client - delta ADS client. Owner: a daemon; thread: its loop. Keeps itself connected (10 ms
 * doubling to 15 s, to 1 s while nobody listens), names what its owner holds when it reconnects,
 * acks and nacks. While the control plane is away nothing is removed. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "xds/dial.h"
#include "xds/types.h"

struct xds_client; /* opaque */

/** struct xds_ops - what the client tells its owner; all in the loop's thread. The client must not
 * be freed inside. */
struct xds_ops {
	/**
	 * on_resource() - a resource is new or changed.
	 * @packed: the message of @type, packed (unpack with protobuf-c); borrowed for the call. An
	 * XDS_AUTHORIZATION without a body, or with one of another type, comes as an empty one,
	 * for its owner to deny: what it is there to keep out is not known.
	 * @err:    a sentence for the control plane, on refusal only; "" before the call.
	 * Return: 0; -ENOMEM: it is sent again over another connection, until then
	 * xds_client_part() is XDS_PART_MORE; any other -errno refuses this resource (nack): what
	 * was held under the name before stays in force.
	 */
	int (*on_resource)(void *arg, enum xds_type type, const char *name, const void *packed,
			   size_t len, char *err, size_t err_size);
	/** on_removed() - @name is gone. May name something that was never delivered. Return: 0;
	 * -ENOMEM: as above. */
	int (*on_removed)(void *arg, enum xds_type type, const char *name);
	/**
	 * for_each_held() - call @fn with the name of each resource of @type that on_resource()
	 * took over and nobody removed, so that only the difference is sent after a reconnect. Not
	 * asked for XDS_NODE_CONFIG.
	 * @name: must last until the loop's next turn.
	 * Return: 0; what @fn returned, if not 0.
	 */
	int (*for_each_held)(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			     void *fn_arg);
	/** on_update_done() - one response is through; the first call per type means: the type is
	 * in sync. May be NULL. */
	void (*on_update_done)(void *arg, enum xds_type type);
	/** on_state() - connected (stream open) or lost. May be NULL. */
	void (*on_state)(void *arg, bool is_connected);
	/** on_failure() - the control plane is not reached, or ended the stream: once, and again
	 * when @why becomes another. May be NULL. */
	void (*on_failure)(void *arg, const char *why);
};

struct xds_client_config {
	struct loop *loop;         /* borrowed */
	struct dial_target target; /* the control plane; copied */
	const char *node_id;       /* see client_id.h; copied */
	const char *node_name;     /* metadata NODE_NAME; copied */
	const char *version;       /* ISTIO_VERSION, the build (istiod takes what is no version of
				      Istio's for its newest); NULL: not said; copied */
	unsigned int types;        /* bit set: 1u << XDS_ADDRESS | ...; of them those that are not
				      XDS_ISTIO_TYPES are asked of a control plane of ours alone */
	const struct xds_ops *ops; /* borrowed, lives as long as the client */
	void *arg;
};

/** xds_client_new() - make a client; it connects from the loop's next turn on. Return: 0; -EINVAL;
 * -ENOMEM. */
_must_check_ int xds_client_new(const struct xds_client_config *config, struct xds_client **ret);
struct xds_client *xds_client_free(struct xds_client *c);
DEFINE_CLEANUP(struct xds_client *, xds_client_free);

/** xds_client_is_connected() - the stream is open now. */
bool xds_client_is_connected(const struct xds_client *c);
/** xds_client_part() - of the response that came last, over this connection or the one before. */
enum xds_part xds_client_part(const struct xds_client *c);
/** xds_client_failure() - why it is not connected, as on_failure() said; "" while it is, or before
 * the first attempt. Return: borrowed until the loop's next turn. */
const char *xds_client_failure(const struct xds_client *c);
