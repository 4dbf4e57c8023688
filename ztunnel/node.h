/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node - the main thread of ztunnel: agent and control plane on one side, workers, DNS and admin on
 * the other. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "xds/dial_options.h"

struct node; /* opaque */

struct node_config {
	const char *name;    /* of the node; all strings borrowed for the node's life */
	const char *run_dir; /* RUN: control/xds.sock, agent/zds.sock, ztunnel/admin.sock */
	unsigned int workers;
	uint64_t poll_us; /* how long a worker looks for more before it sleeps; 0: not at all */
	uint16_t admin_port, metrics_port, ready_port; /* 0: none */
	struct dial_options control;                   /* where a remote control plane is */
	const char *crl;                               /* file of revocation lists; NULL: none */
	uint64_t drain_us; /* for connections, after SIGTERM, where MeshConfig says nothing */
};

#define NODE_WORKERS_MAX 64

/** node_new() - listen, start no thread yet. @err: what went wrong, one line. Return: 0; -errno. */
_must_check_ int node_new(const struct node_config *config, char *err, size_t err_size,
			  struct node **ret);
/** node_run() - start the workers and serve until SIGTERM, SIGINT or /quitquitquit, then drain.
 * Return: 0; -errno. */
_must_check_ int node_run(struct node *n);
/** node_free() - cut what is left. Takes NULL. Return: NULL. */
struct node *node_free(struct node *n);
DEFINE_CLEANUP(struct node *, node_free);
