/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* state - what ztunnel knows of the mesh at one moment: workloads, services, policies, and the
 * certificates of this node's identities. Immutable and atomically reference-counted: a worker
 * holds one and reads it without locks; what it returns is borrowed for as long as that reference
 * (or one on the object itself) is held. Made by state_builder. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"
#include "ztunnel/rare.h"
#include "ztunnel/share.h"

struct arena;
struct node_port;
struct policy;
struct signal_rules;
struct state;
struct tls_identity;

enum workload_protocol {
	WORKLOAD_TCP,
	WORKLOAD_HBONE,
};

enum workload_type {
	WORKLOAD_DEPLOYMENT,
	WORKLOAD_CRONJOB,
	WORKLOAD_POD,
	WORKLOAD_JOB,
};

/** struct service_port - one entry of a port map. target_port 0: named, each endpoint has its own
 * map. */
struct service_port {
	uint16_t service_port;
	uint16_t target_port;
};

/** struct workload_service - a service that a workload is an endpoint of. */
struct workload_service {
	const char *key; /* "namespace/hostname" */
	const struct service_port *ports;
	size_t ports_count;
};

/** struct gateway_ref - a waypoint, by hostname or by address; port 0: none. */
struct gateway_ref {
	const char *key; /* "namespace/hostname", or NULL: addr */
	struct cv_addr addr;
	uint16_t hbone_port;
};

/** struct workload_app - what the pods of one deployment have in common, held once. */
struct workload_app {
	struct shared shared;
	const char *namespace_;
	const char *trust_domain;
	const char *service_account;
	const char *identity; /* "spiffe://<td>/ns/<ns>/sa/<sa>" */
	const char *network;
	const char *cluster;
	const char *canonical_name;
	const char *canonical_revision;
	const struct workload_service *services;
	size_t services_count;
	const char *const *policies; /* "namespace/name" of the selector-scoped ones */
	size_t policies_count;
	struct gateway_ref waypoint;
	/* Of the connections that they make, and that they get; NULL: nothing is said. */
	const struct signal_rules *client_rules, *server_rules;
};

/** struct workload_place - where a workload runs; shared by those of one node. */
struct workload_place {
	struct shared shared;
	const char *node;
	const char *region, *zone, *subzone;
};

/** struct workload - a pod or an external endpoint. Strings are never NULL; "" where xDS left the
 * field out. Small: there may be a hundred thousand. */
struct workload {
	atomic_uint refs;  /* it lies in an arena, the first thing there */
	uint32_t capacity; /* weight, >= 1 unless the control plane said 0 */
	const struct workload_app *app;
	const struct workload_place *place;
	const char *uid;                  /* "<cluster>//Pod/<ns>/<name>" */
	const char *name;                 /* often the end of uid */
	const char *workload_name;        /* of the deployment; for a pod alone its own name */
	const struct workload_rare *rare; /* never NULL */
	const struct cv_addr *addrs;
	uint32_t incarnation;  /* another one: another pod with the same uid; 0: not known */
	uint32_t policy_group; /* the builder's index of them; 0: none, look at them one by one */
	uint16_t addrs_count;
	uint8_t type;     /* enum workload_type */
	uint8_t protocol; /* enum workload_protocol */
	bool is_healthy;
	bool is_host_network;
	bool is_native_tunnel;
	bool is_first_address; /* of what DNS says of hostname only the first counts */
};

enum service_lb_mode {
	SERVICE_LB_ANY,
	SERVICE_LB_STRICT,
	SERVICE_LB_FAILOVER,
	SERVICE_LB_PASSTHROUGH,
};

enum service_scope {
	SERVICE_SCOPE_REGION = 1,
	SERVICE_SCOPE_ZONE,
	SERVICE_SCOPE_SUBZONE,
	SERVICE_SCOPE_NODE,
	SERVICE_SCOPE_CLUSTER,
	SERVICE_SCOPE_NETWORK,
};

enum service_families {
	SERVICE_FAMILIES_ANY,
	SERVICE_FAMILIES_IPV4,
	SERVICE_FAMILIES_IPV6,
	SERVICE_FAMILIES_DUAL,
};

/** struct service_vip - a frontend address; len 128 is one host (IPv4 counts as ::ffff:0:0/96). */
struct service_vip {
	struct cv_addr addr;
	uint8_t len;
	bool is_external; /* not its cluster's: its name does not lead there */
};

/** struct service_def - a service as the control plane sent it, without its endpoints. */
struct service_def {
	atomic_uint refs;
	struct arena *arena;
	const char *key; /* "namespace/hostname" */
	const char *name;
	const char *namespace_;
	const char *hostname;
	const struct service_vip *vips;
	size_t vips_count;
	const struct service_port *ports;
	size_t ports_count;
	const struct node_port *node_ports;
	size_t node_ports_count;
	const uint16_t *open_ports; /* TCP ports that it registers of any host */
	size_t open_ports_count;
	const char *const *sans; /* further identities that its endpoints may show */
	size_t sans_count;
	struct gateway_ref waypoint;
	enum service_lb_mode lb_mode;
	const uint8_t *lb_scopes; /* enum service_scope, most important first */
	size_t lb_scopes_count;
	bool is_allow_unhealthy, is_canonical;
	bool is_namespace_only; /* hidden from other namespaces, but from visible_to, if any; then
				   from its own too, unless it is there */
	const char *const *visible_to;
	size_t visible_to_count;
	bool is_sticky;         /* one client, one endpoint: sessionAffinity ClientIP */
	bool is_open;           /* its TCP ports are of any host, though it has addresses */
	bool is_external_local; /* at a node port: endpoints of that node before others */
	enum service_families families;
};

/** struct endpoint - a workload as one service sees it. */
struct endpoint {
	struct workload *workload;           /* counted */
	const struct workload_service *link; /* inside the workload: the port map */
	uint64_t weight_end;                 /* running sum of capacities, this one included */
};

/** struct service - a definition and the endpoints it has at this moment. */
struct service {
	atomic_uint refs;
	struct service_def *def; /* counted */
	struct endpoint *endpoints;
	size_t endpoints_count;
	/* hash of each endpoint's dns_name; NULL where none has one, or where it has addresses */
	uint32_t *pod_names;
};

struct workload *workload_ref(struct workload *w);
/** workload_unref() - takes NULL. Return: NULL. Any thread. */
struct workload *workload_unref(struct workload *w);
DEFINE_CLEANUP(struct workload *, workload_unref);
struct service_def *service_def_ref(struct service_def *d);
struct service_def *service_def_unref(struct service_def *d);
DEFINE_CLEANUP(struct service_def *, service_def_unref);
struct service *service_ref(struct service *s);
struct service *service_unref(struct service *s);
DEFINE_CLEANUP(struct service *, service_unref);

struct state *state_ref(struct state *s);
/** state_unref() - takes NULL. Return: NULL. Any thread: the last one frees. */
struct state *state_unref(struct state *s);
DEFINE_CLEANUP(struct state *, state_unref);

/** state_workload_by_uid() - Return: borrowed; NULL when unknown. */
const struct workload *state_workload_by_uid(const struct state *s, const char *uid);

/** state_workload_by_addr() - the workload that owns an address (host-network ones own none).
 * Return: borrowed; NULL. */
const struct workload *state_workload_by_addr(const struct state *s, const struct cv_addr *addr);

/**
 * state_service_by_addr() - the service of a frontend address; _vip(): no range counts
 * @client_namespace: breaks ties and hides namespace-only services of others; "" for nobody.
 * Return: borrowed; NULL.
 */
const struct service *state_service_by_addr(const struct state *s, const struct cv_addr *addr,
					    const char *client_namespace);
const struct service *state_service_by_vip(const struct state *s, const struct cv_addr *addr,
					   const char *client_namespace);

/** state_service_by_hostname() - the same by host name (lower case, no final dot). */
const struct service *state_service_by_hostname(const struct state *s, const char *hostname,
						const char *client_namespace);
/** state_service_by_key() - by "namespace/hostname". Return: borrowed; NULL. */
const struct service *state_service_by_key(const struct state *s, const char *key);

/**
 * state_tls_identity() - the certificate for one of this node's identities
 * Return: borrowed, take tls_identity_ref() to outlive the snapshot; NULL while not fetched.
 */
const struct tls_identity *state_tls_identity(const struct state *s, const char *identity);

/** state_policy_generation() - changes only when a verdict may have: then live connections want a
 * new check. */
uint64_t state_policy_generation(const struct state *s);
/** state_is_synced() - the control plane has sent everything once. */
bool state_is_synced(const struct state *s);
/** state_is_registry_only() - what is neither a workload nor a service is refused. */
bool state_is_registry_only(const struct state *s);
/** state_is_open_port() - does a service that this namespace sees register the port of any host?
 * Looks at every service: for what the kernel's maps have no room for. */
bool state_is_open_port(const struct state *s, uint16_t port, const char *client_namespace);

/* For the admin endpoint: in no order; @fn returns 0 to go on. */
int state_visit_workloads(const struct state *s, int (*fn)(void *arg, const struct workload *w),
			  void *arg);
int state_visit_services(const struct state *s, int (*fn)(void *arg, const struct service *v),
			 void *arg);
int state_visit_policies(const struct state *s, int (*fn)(void *arg, const struct policy *p),
			 void *arg);
