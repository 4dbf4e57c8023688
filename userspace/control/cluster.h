/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cluster - what a control plane does for a whole cluster beyond what it does for one node: the
 * gate of its port and its certificate, and as the leader of all replicas of all revisions what is
 * written to the API server; its revision's webhook is written by that revision's leader. Owner:
 * control. Thread: its loop. */
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "ca.h"
#include "discovery.h"
#include "gate.h"
#include "http/grpc.h"
#include "problems.h"
#include "source/kube_client.h"
#include "source/object.h"
#include "validations.h"

struct cluster; /* opaque */

struct cluster_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	struct ca *ca;            /* borrowed */
	const char *more_roots;   /* PEM; borrowed; to be trusted beside those of @ca; NULL: none */
	const struct problems *problems;         /* borrowed; what statuses tell */
	const struct discovery *discovery;       /* borrowed; which namespaces are the mesh's */
	const char *namespace_, *cluster_domain; /* borrowed; where the mesh is installed */
	const char *revision;                    /* borrowed; "" the default one */
	const char *untaint_key;                 /* borrowed; as untaint's; NULL: not our matter */
	uint16_t webhook_port;                   /* 0: none */
	/** is_xds_allowed() - may it see the whole mesh? */
	bool (*is_xds_allowed)(void *arg, const struct caller *caller);
	/** xds_shut() - as gate's. */
	const char *(*xds_shut)(void *arg);
	/** on_leader() - we write, or no longer; NULL: nobody asks. */
	void (*on_leader)(void *leader_arg, bool is_leader);
	void *leader_arg;
	/** has_workloads() - as model_has_workloads(). */
	bool (*has_workloads)(void *arg, const char *namespace_, const json_t *labels);
	void *arg;
};

/** cluster_new() - Return: 0; -errno of listening; -ENOMEM. */
_must_check_ int cluster_new(const struct cluster_config *config, struct cluster **ret);
/** cluster_release() - before the end: another may lead at once. Outside the loop's callbacks,
 * which it runs for a second at most. */
void cluster_release(struct cluster *c);
/** cluster_free() - after the gRPC server that serves its methods. Takes NULL. Return: NULL. */
struct cluster *cluster_free(struct cluster *c);
DEFINE_CLEANUP(struct cluster *, cluster_free);

/** cluster_method() - @inner for those whom the API server knows; as gate_method(). */
struct grpc_method cluster_method(struct cluster *c, const struct grpc_method *inner, bool is_xds);
/** cluster_ssl_new() - for grpc_server_config; @arg: struct cluster. */
SSL *cluster_ssl_new(void *arg);

/** cluster_put(), cluster_delete() - every object that the source has. */
void cluster_put(struct cluster *c, struct object *obj);
void cluster_delete(struct cluster *c, const struct object *obj);
/** cluster_settled() - a consistent point: problems and pods may be others. */
void cluster_settled(struct cluster *c);
/** cluster_check_namespaces() - other namespaces may be the mesh's now. */
void cluster_check_namespaces(struct cluster *c);
/** cluster_set_ca() - other roots or another signer; borrowed. Return: 0; -errno: what is written
 * and shown is behind. */
_must_check_ int cluster_set_ca(struct cluster *c, struct ca *ca);
/** cluster_validations(), cluster_gate() - for metrics; borrowed. */
const struct validations *cluster_validations(const struct cluster *c);
const struct gate *cluster_gate(const struct cluster *c);
/** cluster_status() - a new reference; NULL on lack of memory. */
json_t *cluster_status(const struct cluster *c);
