/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* control - the control plane of one node: source -> model -> xDS, and the CA. Owner: main. Thread:
 * its loop. */
#include <jansson.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "ca.h"
#include "ca_service.h"
#include "http/grpc.h"
#include "source/source.h"

struct control;     /* opaque */
struct kube_client; /* source/kube_client.h */
struct mesh_config; /* source/mesh_config.h */

struct control_config {
	struct loop *loop; /* borrowed */
	const char *node;  /* "" in a cluster */
	const char *config_dir, *trust_domain, *cluster_id, *cluster_domain;
	const char *namespace_; /* where the mesh is installed: its MeshConfig, Leases, ztunnels */
	const char *root_namespace; /* of mesh-wide policies */
	const char *revision;       /* with an API server; "" the default one */
	const char *mesh_config;    /* name of MeshConfig's ConfigMap */
	/* what the mesh configuration said when the daemon started; borrowed; NULL: nothing */
	const struct mesh_config *mesh_at_start;
	const char *untaint_key;  /* in a cluster: as untaint's; NULL: none */
	const char *pod_ranges;   /* what addresses pods have; NULL: as Nodes say */
	struct kube_client *kube; /* borrowed; the API server, where there is no folder */
	struct ca *ca;            /* borrowed */
	struct ca_settings ca_settings;
	struct csr_signer *signer; /* borrowed; signs for workloads instead of @ca; NULL: none */
	const char *signer_roots;  /* PEM; borrowed; NULL without @signer */
	int xds_fd;        /* listening UNIX socket; taken on success. -EBADF with an API server */
	uint16_t xds_port; /* with an API server: listened on once there is something to say */
	uint16_t webhook_port; /* with an API server; 0: none */
	/** on_leader() - in a cluster: we write, or no longer; NULL: nobody asks. */
	void (*on_leader)(void *arg, bool is_leader);
	bool (*is_allowed)(void *arg, const struct grpc_peer *peer); /* who may use it */
	void *arg;
};

/** control_new() - start reading; clients are answered from the first consistent state on. Strings
 * are copied or borrowed for good (argv). Return: 0; -errno of the folder, as source_folder_new();
 * -ENOMEM. */
_must_check_ int control_new(const struct control_config *config, struct control **ret);
struct control *control_free(struct control *c);
DEFINE_CLEANUP(struct control *, control_free);

/** control_stale() - why nodes are told nothing though the mesh was known: changes of a kind are no
 * longer heard of. NULL: they are. Borrowed until the loop's next turn. */
const char *control_stale(const struct control *c);
/** control_unready() - why nodes had better ask another replica: the mesh is not known yet, or as
 * control_stale(), but not where the API server refuses a kind: others it would refuse, too, while
 * certificates and the webhook want no more than what is known. NULL: they need not. Borrowed. */
const char *control_unready(const struct control *c);

/** control_release() - before the end, outside the loop's callbacks: what we hold for others is
 * given back. A second at most. */
void control_release(struct control *c);

/** control_set_ca() - other roots or another signer; borrowed from now on, the one before is not.
 * Nodes are told, and ask for their certificates again. */
void control_set_ca(struct control *c, struct ca *ca);

/** control_set_problem() - what stands beside the objects: does it hold? As problems_set(). */
void control_set_problem(struct control *c, const struct source_error *err, bool is_there);

/** control_status() - what the admin socket shows; a new reference; NULL on lack of memory. */
json_t *control_status(struct control *c);
