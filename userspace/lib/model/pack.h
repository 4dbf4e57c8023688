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

/* ports.c */
int pack_service_ports(const struct object *service, struct scratch *a, struct port_list *ret);
int pack_pod_ports(const struct object *service, const struct object *pod, struct scratch *a,
		   struct port_list *ret);
int pack_slice_ports(const struct object *service, const struct object *slice, struct scratch *a,
		     struct port_list *ret);

/* policy.c */
const json_t *policy_selector(const struct object *o);
/* The names of the selector-scoped policies that hold for a pod, sorted. */
int pod_policies(const struct model *m, const struct pod *p, struct scratch *a, char ***ret,
		 size_t *ret_count);

/* peer.c: the policy that a pod's effective PeerAuthentication became; NULL: none, or no memory
 * (a->error) */
char *pod_peer_policy(const struct model *m, const struct pod *pod, struct scratch *a);
