/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resource - what the agent keeps of an istio.workload.Address: a workload or a service, as last
 * put. One struct, since both go by resource name. Immutable. Owner: dests. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"
#include "net/cidr.h"

/** struct port_map - what a service's port leads to; target 0: not said here. */
struct port_map {
	uint16_t port, target;
};

/** struct service_link - a workload serves this service, at its own ports where it has some. */
struct service_link {
	char *key; /* "namespace/hostname" */
	struct port_map *ports;
	size_t port_count;
};

/** enum resource_families - of a service's endpoints, as istio.workload.IPFamilies. */
enum resource_families {
	RESOURCE_FAMILIES_ANY,
	RESOURCE_FAMILIES_V4,
	RESOURCE_FAMILIES_V6,
};

/** struct host_port - a port of its node's that leads to a workload. */
struct host_port {
	struct cv_addr addr;
	uint16_t port;
};

struct resource {
	bool is_service;
	bool has_waypoint;
	char label[CV_NAME_LEN]; /* "namespace/name", cut where it must be: for people */
	struct cv_addr *addrs;
	size_t addr_count;

	/* workload */
	/* of the host's network: its node's, or nobody's, not its to claim; addrs is then empty */
	struct cv_addr *host_addrs;
	size_t host_addr_count;
	bool is_hbone, is_healthy;
	uint32_t capacity; /* weight; 0: gets no connection */
	uint64_t network;  /* a number for its name */
	char *node;
	struct host_port *host_ports; /* TCP */
	size_t host_port_count;
	struct service_link *services;
	size_t service_count;

	/* service */
	bool is_ours;            /* a ServiceEntry, which nobody but ztunnel balances */
	bool is_passthrough;     /* the application's address is the endpoint's */
	bool is_open;            /* of any host besides, at its TCP ports */
	bool is_sticky;          /* a client keeps its endpoint */
	bool selects_mesh;       /* of its pods some are enrolled: ready or not */
	bool is_namespace_only;  /* not everyone sees it */
	bool is_allow_unhealthy; /* unhealthy endpoints count too */
	bool is_node_first;      /* endpoints of the client's node beat all others */
	bool is_zone_first;      /* or those that are near in another way */
	enum resource_families families;
	struct port_map *ports;
	size_t port_count;
	struct cidr *ranges; /* frontends that are no single addresses */
	size_t range_count;
	uint16_t *node_ports; /* of every node, TCP */
	size_t node_port_count;
	/* ports at which every address is its own (resolution NONE, protocol TCP) */
	uint16_t *open_ports;
	size_t open_port_count;
};

/**
 * resource_read() - unpack an istio.workload.Address
 * @packed: borrowed.
 * Return: 0; -EBADMSG does not parse or is no sensible Address; -ENOMEM.
 */
_must_check_ int resource_read(const void *packed, size_t len, struct resource **ret);
/** resource_free() - takes NULL. Return: NULL. */
struct resource *resource_free(struct resource *r);
DEFINE_CLEANUP(struct resource *, resource_free);
