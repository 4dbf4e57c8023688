/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mesh - keeps the maps of destinations as the control plane says: delta xDS client, dests, maps.
 * While the control plane is away everything stays. Owner: agent. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "datapath.h"
#include "dests.h"
#include "xds/dial.h"

struct mesh; /* opaque */

struct mesh_config {
	struct loop *loop;            /* borrowed */
	struct datapath *datapath;    /* borrowed */
	struct dial_target target;    /* control plane; copied */
	const char *node;             /* copied */
	void (*on_synced)(void *arg); /* the first full set of destinations is in the maps */
	/* The maps lack destinations (they are full), or no longer. First told with the first full
	 * set. */
	void (*on_incomplete)(void *arg, bool is_incomplete);
	/* outboundTrafficPolicy, when it has been told: the maps hold the registry while it is
	 * true. */
	void (*on_registry_only)(void *arg, bool is_registry_only);
	void *arg;
};

/** mesh_new() - connect from the loop's next turn on. Return: 0; -ENOMEM; -EINVAL. */
_must_check_ int mesh_new(const struct mesh_config *config, struct mesh **ret);
/** mesh_free() - the maps stay as they are. Takes NULL. Return: NULL. */
struct mesh *mesh_free(struct mesh *m);
DEFINE_CLEANUP(struct mesh *, mesh_free);

/** mesh_dests() - borrowed, as long as @m. */
const struct dests *mesh_dests(const struct mesh *m);
bool mesh_is_connected(const struct mesh *m);
/** mesh_failure() - why not, as xds_client_failure(). */
const char *mesh_failure(const struct mesh *m);
