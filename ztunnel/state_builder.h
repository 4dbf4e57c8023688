/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* state_builder - collects what xDS sends and makes snapshots of it. The cost of a change does not
 * grow with the mesh: tables are shared between snapshots. Thread: the main loop. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct mesh_nodes;
struct policy;
struct service_def;
struct state;
struct state_builder; /* opaque */
struct tls_identity;
struct workload;

/** struct state_flags - what holds for all of a snapshot. */
struct state_flags {
	bool is_synced, is_registry_only, is_alone;
};

/** state_builder_new() - @node: whose workloads must not miss a policy; copied. Return: 0; -ENOMEM.
 */
_must_check_ int state_builder_new(const char *node, struct state_builder **ret);
/**
 * state_builder_renew() - an empty one, after a change that ended in the middle: some of it is left
 * in places where nobody would find it again. Certificates, stand-ins, flags and the numbers of
 * snapshots go on. @io: replaced on success, the old one is freed. Return: 0; -ENOMEM.
 */
_must_check_ int state_builder_renew(struct state_builder **io);
struct state_builder *state_builder_free(struct state_builder *b);
DEFINE_CLEANUP(struct state_builder *, state_builder_free);

/** state_builder_put_workload() - add or replace by uid. @w: counted. Return: 0; -ENOMEM (it may
 * then be missing). */
_must_check_ int state_builder_put_workload(struct state_builder *b, struct workload *w);
/** state_builder_put_service() - add or replace by "ns/host". @d: counted. Return: 0; -ENOMEM. */
_must_check_ int state_builder_put_service(struct state_builder *b, struct service_def *d);
/** state_builder_del_address() - a workload's uid or a service's "ns/host"; unknown ones are
 * ignored. Return: 0; -ENOMEM. */
int state_builder_del_address(struct state_builder *b, const char *name);

/** state_builder_put_policy() - add or replace by "ns/name". @p: counted. Return: 0; -ENOMEM. */
_must_check_ int state_builder_put_policy(struct state_builder *b, struct policy *p);
int state_builder_del_policy(struct state_builder *b, const char *name);

/** state_builder_for_each_address(), state_builder_for_each_policy() - call @fn with the name of
 * each, as it would be deleted; borrowed until it changes. Return: 0; what @fn returned, if not 0.
 */
int state_builder_for_each_address(const struct state_builder *b,
				   int (*fn)(void *arg, const char *name), void *arg);
int state_builder_for_each_policy(const struct state_builder *b,
				  int (*fn)(void *arg, const char *name), void *arg);

/** state_builder_set_identity() - @t: counted; NULL takes it out. Return: 0; -ENOMEM. */
_must_check_ int state_builder_set_identity(struct state_builder *b, const char *identity,
					    const struct tls_identity *t);

/** state_builder_set_stand_in() - for state_client(). @w: counted; NULL takes it out. Return: 0;
 * -ENOMEM. */
_must_check_ int state_builder_set_stand_in(struct state_builder *b, const char *uid,
					    struct workload *w);

/** state_builder_add_pod(), state_builder_del_pod() - the agent has a pod of this name here,
 * whatever node the control plane says that it is on; as often as there are pods of that name at a
 * time. A workload that was put before, and said to be elsewhere, has its policies looked at one by
 * one until it is put again, and none of them waited for: the verdict is the same. Return: 0;
 * -ENOMEM. */
_must_check_ int state_builder_add_pod(struct state_builder *b, const char *uid);
void state_builder_del_pod(struct state_builder *b, const char *uid);

/** state_builder_nodes() - what is changed there is in the next snapshot; borrowed. */
struct mesh_nodes *state_builder_nodes(struct state_builder *b);

/** state_builder_flags() - snapshots say so from now on; borrowed. */
struct state_flags *state_builder_flags(struct state_builder *b);
static inline void state_builder_set_synced(struct state_builder *b)
{
	state_builder_flags(b)->is_synced = true;
}

/** state_builder_is_missing_policies() - a workload of this node names a policy that has not come
 * (or is already gone): soon the other half of the change will be here. */
bool state_builder_is_missing_policies(const struct state_builder *b);

/** state_builder_is_looser() - since the last state_builder_build() something has come that by
 * itself takes a policy from a workload of this node, and that may be one half of a change that
 * does not: see looser.h. */
bool state_builder_is_looser(const struct state_builder *b);

/** state_builder_build_aside() - @last with the identities and what stands in of now, whatever else
 * has come; and alone if it is now. Return: 0; -ENOMEM. */
_must_check_ int state_builder_build_aside(struct state_builder *b, const struct state *last,
					   struct state **ret);

/** state_builder_build() - a snapshot of everything so far. Return: 0; -ENOMEM, the builder is
 * unchanged. */
_must_check_ int state_builder_build(struct state_builder *b, struct state **ret);
