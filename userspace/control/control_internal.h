/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* control_internal - what control.c keeps, for those beside it that tell of it: status.c and
 * metrics.c, which change nothing, and mesh_doubts.c. */
#include "control.h"
#include "discovery.h"
#include "kinds.h"
#include "model/model.h"
#include "pod_ranges.h"
#include "problems.h"
#include "source/json_pool.h"
#include "source/mesh_config.h"
#include "stale.h"
#include "xds/server.h"

#define CONTROL_METHODS 2

struct control {
	struct control_config config;
	struct source *source;
	struct model *model;
	struct problems *problems;
	struct xds_server *xds;
	struct ca_service *ca_service;
	struct grpc_server *grpc;
	struct grpc_method methods[CONTROL_METHODS];
	struct cluster *cluster; /* with an API server only */
	struct kinds *kinds;
	struct discovery *discovery;
	struct pod_ranges *pod_ranges;
	struct json_pool *labels; /* one copy of what many pods have */
	struct mesh_config mesh;
	uint64_t started_us, first_us; /* when it began to read; when the first object came, or 0 */
	bool is_torn;                  /* the source is in the middle of a change */
	bool is_lossy;           /* an object did not get into the model, for want of memory */
	bool is_lost;            /* nor into what discovery knows: only a new start brings it */
	bool is_behind;          /* nor all of it out, and nodes are told nothing */
	struct loop_timer again; /* while is_behind */
	bool is_config_behind; /* what nodes are told of it; until the source is consistent again */
	bool is_synced;
	struct stale stale;
};
