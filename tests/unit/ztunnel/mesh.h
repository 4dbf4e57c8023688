/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mesh - small meshes for the tests of ztunnel: packed xDS resources from a few words, through the
 * real decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "culvert/abi/addr.h"
#include "userspace/lib/xds/authorization.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"
#include "ztunnel/state_builder.h"

#define TEST(name)       static void name(void **cmocka_state _unused_)
#define MESH_LIST_MAX    8
#define MESH_PACKED_SIZE 8192

/* A workload in namespace "demo" of node "n1", tunnel and all, unless said otherwise. */
struct mesh_workload {
	const char *name;
	const char *namespace_;
	const char *owner; /* what has made it; NULL: named as it */
	const char *account;
	const char *node;
	const char *zone;
	const char *addrs[MESH_LIST_MAX];
	const char *services[MESH_LIST_MAX]; /* "ns/host" */
	uint32_t ports[2]; /* service port, target port: in each service; zero: none */
	const char *policies[MESH_LIST_MAX];
	const char *waypoint; /* "ns/host" */
	const char *hostname, *subdomain;
	const char *dns_host; /* where the endpoint is, for DNS to say */
	bool is_first_address;
	struct Culvert__Node__Telemetry *client, *server;
	uint32_t incarnation;
	const char *host_ports[MESH_LIST_MAX]; /* "ADDRESS:PORT" of its node */
	uint32_t host_target;                  /* where each leads to */
	uint32_t capacity;                     /* 0: 1 */
	bool is_weightless;                    /* capacity 0 */
	bool is_tcp;
	bool is_unhealthy;
	bool is_host_network;
};

struct mesh_service {
	const char *name;
	const char *namespace_; /* NULL: "demo" */
	const char *hostname;   /* NULL: "<name>.<ns>.svc.cluster.local" */
	const char *vips[MESH_LIST_MAX];
	uint32_t vip_bits;                   /* of the first VIP; 0: all */
	const char *external[MESH_LIST_MAX]; /* of the VIPs */
	uint32_t ports[2], more_ports[2];
	uint32_t node_port; /* leads to ports[0] */
	bool is_external_local;
	const char *waypoint;
	const char *san;
	Istio__Workload__LoadBalancing__Mode mode;
	Istio__Workload__LoadBalancing__Scope scopes[2];
	bool is_canonical;
	bool is_first; /* a ServiceEntry, for who has none of its own */
	bool is_namespace_only;
	bool is_sticky;
	bool is_tcp;  /* its port says so */
	bool is_open; /* and is one of any host */
};

struct cv_addr mesh_addr(const char *text);
struct cv_sockaddr mesh_sockaddr(const char *text);
size_t mesh_pack_workload(const struct mesh_workload *w, uint8_t into[MESH_PACKED_SIZE]);
size_t mesh_pack_service(const struct mesh_service *s, uint8_t into[MESH_PACKED_SIZE]);
void mesh_put_workload(struct state_builder *b, const struct mesh_workload *w);
void mesh_put_service(struct state_builder *b, const struct mesh_service *s);
/** mesh_put_node() - @ips: NULL ends them. */
void mesh_put_node(struct state_builder *b, const char *name, const char *const *ips);
/** mesh_policy() - decode a message; asserts that it is understood. */
struct policy *mesh_policy(Istio__Security__Authorization *m);
void mesh_put_policy(struct state_builder *b, Istio__Security__Authorization *m);
struct state *mesh_build(struct state_builder *b);
