/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* xds_sync - keeps the snapshot current: xDS client -> builder -> published snapshots. Thread: the
 * main loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "xds/dial.h"

struct buf;
struct loop;
struct settings;
struct state;
struct tls_identity;
struct xds_sync; /* opaque */

struct xds_sync_config {
	struct loop *loop;         /* borrowed */
	struct dial_target target; /* control plane; copied. Neither path nor address: none */
	const char *node;          /* name of this node; copied */
	const char *node_id;       /* "ztunnel~<ip>~<pod>.<ns>~<ns>.svc.cluster.local"; copied */
	const char *network;       /* "" unless there are several; copied */
};

struct xds_sync_ops {
	/** on_state() - a new snapshot, batched per update. @s is borrowed: take state_ref() to
	 * keep it. */
	void (*on_state)(void *arg, struct state *s);
	/** on_synced() - once, when both types have been received. NULL: not wanted. */
	void (*on_synced)(void *arg);
	/** on_connected() - the stream is open, for the first time or again. NULL: not wanted. */
	void (*on_connected)(void *arg);
	/** on_settings() - new or changed, and of the same change as the snapshot that comes next;
	 * may be taken out of @s. NULL: not wanted. */
	void (*on_settings)(void *arg, struct settings *s);
};

/** xds_sync_new() - start; connects and reconnects by itself. Return: 0; -errno. */
_must_check_ int xds_sync_new(const struct xds_sync_config *config, const struct xds_sync_ops *ops,
			      void *arg, struct xds_sync **ret);
struct xds_sync *xds_sync_free(struct xds_sync *x);
DEFINE_CLEANUP(struct xds_sync *, xds_sync_free);

/** xds_sync_state() - the newest published snapshot (an empty one at first); borrowed until the
 * loop's next turn. */
struct state *xds_sync_state(const struct xds_sync *x);

/** xds_sync_is_synced() - both types have been received once. */
bool xds_sync_is_synced(const struct xds_sync *x);

/** xds_sync_set_identity() - put a certificate in the coming snapshots. @t: counted; NULL takes it
 * out. Return: 0; -ENOMEM. */
int xds_sync_set_identity(struct xds_sync *x, const char *identity, const struct tls_identity *t);

/** xds_sync_set_stand_in() - for state_client(). @packed: istio.workload.Address; NULL takes it
 * out. Return: 0; as decode_address(). */
int xds_sync_set_stand_in(struct xds_sync *x, const char *uid, const void *packed, size_t len);

/** xds_sync_add_pod(), xds_sync_del_pod() - see state_builder_add_pod(). Return: 0; -ENOMEM. */
_must_check_ int xds_sync_add_pod(struct xds_sync *x, const char *uid);
void xds_sync_del_pod(struct xds_sync *x, const char *uid);

/** xds_sync_metrics() - append istio_xds_* in OpenMetrics text. Return: 0; -ENOMEM. */
int xds_sync_metrics(void *arg, struct buf *into);
