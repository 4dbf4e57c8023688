/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* state_internal - the inside of a snapshot and its builder, for state, its builder and authz
 * alone.
 */
#include "base/hamt.h"
#include "base/list.h"
#include "ztunnel/mesh_nodes.h"
#include "ztunnel/policy.h"
#include "ztunnel/policy_groups.h"
#include "ztunnel/policy_set.h"
#include "ztunnel/reflist.h"
#include "ztunnel/stand_in.h"
#include "ztunnel/state.h"
#include "ztunnel/state_builder.h"

struct state_tables {
	struct hamt *workloads; /* uid -> struct workload */
	struct hamt
		*addrs; /* struct cv_addr -> one or several of struct workload, the best first */
	struct hamt *services; /* "ns/host" -> struct service */
	struct hamt
		*vips; /* struct cv_addr -> one or several of struct service_def, canonical first */
	struct hamt *node_ports;  /* uint16_t -> the same */
	struct hamt *nodes;       /* struct cv_addr -> one or several of struct mesh_node */
	struct hamt *pod_ranges;  /* struct pod_range -> the same */
	struct hamt *host_ports;  /* struct cv_sockaddr -> one or several of struct workload */
	struct hamt *hostnames;   /* host name -> one or several of struct service_def */
	struct hamt *policies;    /* "ns/name" -> struct policy */
	struct hamt *ns_policies; /* namespace -> struct policy_set: namespace scope */
	struct hamt *groups;      /* workload.policy_group -> struct policy_group */
	struct hamt *identities;  /* SPIFFE ID -> struct tls_identity */
	struct hamt *stand_ins;   /* uid -> struct workload: state_client() */
	struct policy_set *global_policies;
	struct reflist *cidr_vips; /* struct service_def with a CIDR among its VIPs */
};

struct state {
	atomic_uint refs;
	uint64_t policy_generation;
	struct state_flags flags;
	struct state_tables t;
	struct state *base; /* whose tables these are, but for identities and stand_ins; counted;
			     * NULL: all are its own */
};

struct state_builder {
	struct state_tables t;
	struct map *services; /* key -> struct service_entry */
	struct list dirty;
	struct map *pods; /* uid -> how many pods of this node bear it */
	struct policy_groups *groups;
	struct mesh_nodes *nodes;
	uint64_t policy_generation;
	struct state_flags flags;
	bool is_looser; /* since the last snapshot */
	char node[256];
};

/** state_tables_init() - all empty. Return: 0; -ENOMEM (then freed again). */
_must_check_ int state_tables_init(struct state_tables *t);
/** state_tables_publish() - to be read only; O(1) each. Return: 0; -ENOMEM, @ret zeroed. */
_must_check_ int state_tables_publish(const struct state_tables *t, struct state_tables *ret);
void state_tables_release(struct state_tables *t);

/** state_new_aside() - @last with the identities and stand-ins of @now. Return: 0; -ENOMEM. */
_must_check_ int state_new_aside(const struct state *last, const struct state_tables *now,
				 struct state **ret);

/** service_name_pods() - so that a question about one pod of a headless service compares numbers,
 * not names. Return: 0; -ENOMEM. */
_must_check_ int service_name_pods(struct service *s);
/** state_is_here() - a workload of this node: its control plane says so, or the agent, which has a
 * pod of that name. */
bool state_is_here(const struct state_builder *b, const struct workload *w);
/** state_is_judged_anew() - do verdicts on this node follow from something that is another now?
 * They are about its own pods: a peer shows who it is, and without a tunnel both ends are here.
 * @old: NULL: none. */
bool state_is_judged_anew(const struct state_builder *b, const struct workload *old,
			  const struct workload *now);
/** state_addr_change() - have @edit made to who has @addr. Where it is another workload than before
 * that is found there, and either is of this node, verdicts are others: a workload that is still
 * listed somewhere else under a pod's address keeps it from connections without a tunnel. Return:
 * 0; -ENOMEM. */
_must_check_ int state_addr_change(struct state_builder *b, const struct cv_addr *addr,
				   const struct reflist_edit *edit);

/* For tries whose values are one of them or several: see several_of(). */
extern const struct hamt_ops workloads_hamt_ops;
extern const struct hamt_ops service_defs_hamt_ops;
extern const struct hamt_ops workload_hamt_ops;
extern const struct hamt_ops service_hamt_ops;
extern const struct hamt_ops service_def_hamt_ops;
extern const struct hamt_ops policy_hamt_ops;
extern const struct hamt_ops identity_hamt_ops;
