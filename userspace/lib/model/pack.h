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
/** service_is_external() - has it the type ExternalName, so no endpoints? */
bool service_is_external(const struct object *o);
/** slice_service() - the Service that it is of. Return: borrowed; NULL: unknown. */
struct service *slice_service(const struct model *m, const struct slice *s);

/** pack_service_key() - the name of a Service's resource, "ns/name.ns.svc.domain". Return: in @a;
 * NULL: no memory. */
const char *pack_service_key(const struct model *m, const struct object *service,
			     struct scratch *a);
/** pack_service() - an istio.workload.Address with the service. Return: in @a; NULL: no memory. */
const ProtobufCMessage *pack_service(const struct model *m, const struct service *s,
				     struct scratch *a);
/** pack_endpoint() - an istio.workload.Address with a workload that is an address and nothing else;
 * @uid: borrowed. Return: in @a; NULL: no memory. */
const ProtobufCMessage *pack_endpoint(const struct model *m, const struct slice *s,
				      const struct endpoint *e, const char *uid, struct scratch *a);

/** struct port_list - a list of ports in the making; all of it in scratch memory. */
struct port_list {
	struct Istio__Workload__Port **ports;
	size_t count;
};

/* entry.c */
/** service_entry_is_balanced() - is it ztunnel that chooses the endpoint? Not with resolution NONE.
 */
bool service_entry_is_balanced(const struct service_entry *s);
/** service_entry_is_named() - are endpoints names for DNS? */
bool service_entry_is_named(const struct service_entry *s);
/** service_entry_is_first() - of what DNS says, only the first address counts: DNS_ROUND_ROBIN. */
bool service_entry_is_first(const struct service_entry *s);
/** service_entry_selector() - Return: the labels, the object's; NULL: it selects nothing. */
const json_t *service_entry_selector(const struct service_entry *s);
/** service_entry_rival() - who else has this host: a Service, or an older ServiceEntry of the
 * namespace. Return: borrowed; NULL: nobody. */
const struct entity *service_entry_rival(const struct model *m, const struct service_entry *s,
					 const char *host);
/** service_entry_mark_host() - who has @host in namespace @ns, and the public ones anywhere: it has
 * changed hands. */
void service_entry_mark_host(struct model *m, const char *ns, const char *host);
/** service_entry_mark_hosts() - the same of each of its hosts. */
void service_entry_mark_hosts(struct model *m, struct service_entry *s);
/** service_entry_since() - its creationTimestamp. Return: borrowed; NULL: none. */
const char *service_entry_since(const struct service_entry *s);
/** service_entry_first() - who has a host for the namespaces that have none of their own: the
 * oldest that all of them see, as in Istio. Return: borrowed; NULL: a Service, or nobody. */
const struct service_entry *service_entry_first(struct model *m, const char *host);
/** entry_is_pods() - is it a pod's address? That is reached as itself or not at all: else an
 * enrolled one would be reached in plaintext. The reason is reported for @field. */
bool entry_is_pods(struct model *m, const char *field, const struct cv_addr *addr);
/** entry_is_socket() - is it no address but a UNIX socket? Reported at @field, as above. */
bool entry_is_socket(struct model *m, const char *field, const char *address);
/** service_entry_output() - output_set(), and remember that it came from @s. Return: as that. */
int service_entry_output(struct model *m, struct service_entry *s, const char *name,
			 const ProtobufCMessage *msg);

/* pack_entry.c */
/** pack_service_entry() - emit all that it becomes. Return: as output_set(). */
int pack_service_entry(struct model *m, struct service_entry *s);
/** pack_workload_entry() - the same; @addr: NULL: spec.address is a name. Return: as output_set().
 */
int pack_workload_entry(struct model *m, struct workload_entry *w, const struct cv_addr *addr);
/** pack_entry_ports() - the ports of a ServiceEntry at one endpoint: @entry's own `ports` by name,
 * else the targetPort; @entry: NULL: no endpoint. Return: 0; -ENOMEM. */
int pack_entry_ports(const struct service_entry *s, const json_t *entry, struct scratch *a,
		     struct port_list *ret);
/** pack_entry_pod_ports() - the same at a pod, whose own are those of its containers. Return: 0;
 * -ENOMEM. */
int pack_entry_pod_ports(const struct service_entry *s, const struct pod_facts *pod,
			 struct scratch *a, struct port_list *ret);

/* pack_service.c */
struct Istio__Workload__Service;
/** pack_visibility() - who sees a service, from a list of "*", ".", "~" and namespaces; NULL:
 * everybody. Return: 0; -ENOMEM. */
int pack_visibility(const json_t *export_to, struct Istio__Workload__Service *msg,
		    struct scratch *a);
/** export_is_public() - does everybody see it? */
bool export_is_public(const json_t *export_to);
/** export_is_nowhere() - does nobody see it? */
bool export_is_nowhere(const json_t *export_to);

/* visibility.c */
/** service_entry_is_hidden() - does nobody see it, by its exportTo and MeshConfig's
 * serviceEntryVisibility? */
bool service_entry_is_hidden(const struct model *m, const struct service_entry *s);
/** service_entry_is_locked() - is that so whatever it says itself: NONE? */
bool service_entry_is_locked(const struct model *m, const struct service_entry *s);
/** service_entry_is_public() - does everybody see it? */
bool service_entry_is_public(const struct model *m, const struct service_entry *s);
/** service_entry_pack_visibility() - who sees one that is not hidden. Return: 0; -ENOMEM. */
int service_entry_pack_visibility(const struct model *m, const struct service_entry *s,
				  struct Istio__Workload__Service *msg, struct scratch *a);

/* distribution.c */
struct Istio__Workload__LoadBalancing;
/** pack_distribution() - which endpoints of a Service or ServiceEntry are preferred, into @lb: by
 * its internalTrafficPolicy, trafficDistribution, annotation, or its namespace's. Untouched where
 * nobody says anything. */
void pack_distribution(const struct model *m, const struct object *o,
		       struct Istio__Workload__LoadBalancing *lb);
/** distribution_report() - words of its own that nobody knows. A namespace's is not told of. */
void distribution_report(struct model *m, const struct object *o);

/* pack_workload.c: a workload in the making, and its services */
struct Istio__Workload__Workload;
/** pack_workload_new() - an empty one. @ret: the Address around it, set only on success. Return: in
 * @a; NULL: no memory. */
struct Istio__Workload__Workload *pack_workload_new(struct scratch *a,
						    const ProtobufCMessage **ret);
/** pack_addresses() - its addresses, instead of those before. Return: 0; -ENOMEM. */
int pack_addresses(struct Istio__Workload__Workload *msg, const struct cv_addr *addrs, size_t n,
		   struct scratch *a);
/** pack_serves() - it is an endpoint of the service with this key, borrowed; @ports, whose memory
 * is the message's then, come on top of those that it has there. Return: 0; -ENOMEM. */
int pack_serves(struct Istio__Workload__Workload *msg, const char *key,
		const struct port_list *ports, struct scratch *a);
/** pack_sort_services() - by key: equal workloads are to be equal bytes. */
void pack_sort_services(struct Istio__Workload__Workload *msg);
/** pack_workload_name() - by Istio's label, borrowed from @labels. Return: NULL when there is none.
 */
const char *pack_workload_name(const json_t *labels);
/** pack_canonical_names() - by Istio's labels; without them its workload_name, which is set before,
 * and "latest". Borrowed from @labels. */
void pack_canonical_names(const json_t *labels, struct Istio__Workload__Workload *msg);
/** pack_canonical_name(), _revision() - by Istio's labels, borrowed from them. Return: NULL when
 * they name none; without a revision "latest". */
const char *pack_canonical_name(const json_t *labels);
const char *pack_canonical_revision(const json_t *labels);

/* pack_node.c */
/** pack_node() - emit a culvert.node.Node, if it has an address. Return: as output_set(). */
int pack_node(struct model *m, const struct object *node);
struct Culvert__Node__Workload;
/** pack_host_ports() - where the hostPorts of a pod are, into its extension. Return: 0; -ENOMEM. */
int pack_host_ports(const struct model *m, const struct pod_facts *pod,
		    struct Culvert__Node__Workload *x, struct scratch *a);

/* ports.c */
bool service_port_is_tcp(const json_t *port);
/** service_has_named_targets() - does a port lead where a name says, which each pod may have its
 * own number for? */
bool service_has_named_targets(const struct object *service);
/** pack_service_ports(), _pod_, _slice_, _named_ - a Service's TCP ports, and where they lead: from
 * anywhere; at a pod; at the addresses of an EndpointSlice; at a WorkloadEntry, @named: its port
 * numbers by the targetPort's name or, where that is a number, by the port's. One that leads
 * nowhere is left out. Return: 0; -ENOMEM. */
int pack_service_ports(const struct object *service, struct scratch *a, struct port_list *ret);
int pack_pod_ports(const struct object *service, const struct pod_facts *pod, struct scratch *a,
		   struct port_list *ret);
int pack_slice_ports(const struct object *service, const struct object *slice, struct scratch *a,
		     struct port_list *ret);
int pack_named_ports(const struct object *service, const json_t *named, struct scratch *a,
		     struct port_list *ret);

/* policy.c */
/** policy_selector() - Return: the labels that a policy is for, the object's; NULL: all of its
 * namespace, as also where an invalid one's cannot be read. */
const json_t *policy_selector(const struct object *o);
/** pod_policies() - the names of the selector-scoped policies that hold for a pod, sorted. Return:
 * 0; -ENOMEM. */
int pod_policies(const struct model *m, const struct pod *p, struct scratch *a, char ***ret,
		 size_t *ret_count);

/* peer.c */
/** pod_peer_policy() - the policy that a pod's effective PeerAuthentication became. Return: in @a;
 * NULL: none, or no memory (a->error). */
char *pod_peer_policy(const struct model *m, const struct pod *pod, struct scratch *a);
