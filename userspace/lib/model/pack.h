/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pack - entities to istio.workload messages. For the files of this folder only. Everything that a
 * message points to is in scratch memory or in the objects; NULL means no memory. */
#include "model/impl.h"

struct Istio__Workload__Extension;

/** pack_extension() - add one of ours (node.proto, types.h) to the `extensions` of a message that
 * has none. Return: 0; -ENOMEM. */
int pack_extension(const char *name, const ProtobufCMessage *msg, struct scratch *a,
		   struct Istio__Workload__Extension ***ret, size_t *ret_count);

/* service.c */
bool service_is_external(const struct object *o);
struct service *slice_service(const struct model *m, const struct slice *s);

/** pack_service_key() - the name of a Service's resource, "ns/name.ns.svc.domain". */
const char *pack_service_key(const struct model *m, const struct object *service,
			     struct scratch *a);
/** pack_service() - an istio.workload.Address with the service. */
const ProtobufCMessage *pack_service(const struct model *m, const struct service *s,
				     struct scratch *a);
/** pack_endpoint() - an istio.workload.Address with a workload that is an address and nothing else.
 */
const ProtobufCMessage *pack_endpoint(const struct model *m, const struct slice *s,
				      const struct endpoint *e, const char *uid, struct scratch *a);

/** struct port_list - a list of ports in the making. */
struct port_list {
	struct Istio__Workload__Port **ports;
	size_t count;
};

/* entry.c */
/* Is it ztunnel that chooses the endpoint? Not with resolution NONE. Are endpoints names for DNS?
 */
bool service_entry_is_balanced(const struct service_entry *s);
bool service_entry_is_named(const struct service_entry *s);
/* Of what DNS says, only the first address counts: DNS_ROUND_ROBIN. */
bool service_entry_is_first(const struct service_entry *s);
const json_t *service_entry_selector(const struct service_entry *s);
/* Who else has this host: a Service, or an older ServiceEntry of the namespace; NULL: nobody. */
const struct entity *service_entry_rival(const struct model *m, const struct service_entry *s,
					 const char *host);
/* A pod is reached as itself or not at all: else an enrolled one would be reached in plaintext. The
 * reason is reported for @field. */
bool entry_is_pods(struct model *m, const char *field, const struct cv_addr *addr);
/* Emit, and remember that it came from @s. */
int service_entry_output(struct model *m, struct service_entry *s, const char *name,
			 const ProtobufCMessage *msg);

/* pack_entry.c: emit all that they become */
int pack_service_entry(struct model *m, struct service_entry *s);
/* @addr: NULL: spec.address is a name. */
int pack_workload_entry(struct model *m, struct workload_entry *w, const struct cv_addr *addr);
/* pack_service.c: who sees a service, from a list of "*", ".", "~" and namespaces. Return: 0;
 * -ENOMEM.
 */
struct Istio__Workload__Service;
int pack_visibility(const json_t *export_to, struct Istio__Workload__Service *msg,
		    struct scratch *a);
/* Does nobody see it? */
bool export_is_nowhere(const json_t *export_to);
/* The ports of a ServiceEntry at one endpoint: @entry's own `ports` by name, else the targetPort;
 * NULL: no endpoint. */
int pack_entry_ports(const struct service_entry *s, const json_t *entry, struct scratch *a,
		     struct port_list *ret);

/* pack_workload.c: a workload in the making, and its services */
struct Istio__Workload__Workload;
struct Istio__Workload__Workload *pack_workload_new(struct scratch *a,
						    const ProtobufCMessage **ret);
int pack_addresses(struct Istio__Workload__Workload *msg, const struct cv_addr *addrs, size_t n,
		   struct scratch *a);
int pack_serves(struct Istio__Workload__Workload *msg, const char *key,
		const struct port_list *ports, struct scratch *a);
void pack_sort_services(struct Istio__Workload__Workload *msg);
/* By Istio's labels; without them its workload_name, which is set before, and "latest". Borrowed
 * from @labels. */
void pack_canonical_names(const json_t *labels, struct Istio__Workload__Workload *msg);
/* By Istio's labels; NULL when they name none; without a revision "latest". */
const char *pack_canonical_name(const json_t *labels);
const char *pack_canonical_revision(const json_t *labels);

/* pack_node.c: emit a culvert.node.Node, if it has an address */
int pack_node(struct model *m, const struct object *node);
/* where the hostPorts of a pod are, into its extension */
struct Culvert__Node__Workload;
int pack_host_ports(const struct model *m, const struct pod_facts *pod,
		    struct Culvert__Node__Workload *x, struct scratch *a);

/* ports.c */
bool service_port_is_tcp(const json_t *port);
/* Does a port lead where a name says, which each pod may have its own number for? */
bool service_has_named_targets(const struct object *service);
int pack_service_ports(const struct object *service, struct scratch *a, struct port_list *ret);
int pack_pod_ports(const struct object *service, const struct pod_facts *pod, struct scratch *a,
		   struct port_list *ret);
int pack_slice_ports(const struct object *service, const struct object *slice, struct scratch *a,
		     struct port_list *ret);

/* @named: port numbers by name, of a WorkloadEntry. */
int pack_named_ports(const struct object *service, const json_t *named, struct scratch *a,
		     struct port_list *ret);

/* policy.c */
const json_t *policy_selector(const struct object *o);
/* The names of the selector-scoped policies that hold for a pod, sorted. */
int pod_policies(const struct model *m, const struct pod *p, struct scratch *a, char ***ret,
		 size_t *ret_count);

/* peer.c: the policy that a pod's effective PeerAuthentication became; NULL: none, or no memory
 * (a->error) */
char *pod_peer_policy(const struct model *m, const struct pod *pod, struct scratch *a);
