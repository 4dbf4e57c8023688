/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node_port - Services at the addresses of nodes. Part of state. */
#include <stdbool.h>
#include <stdint.h>

#include "culvert/abi/addr.h"

struct service;
struct state;

/** struct node_port - of a service_def: a port of every node's, host order. */
struct node_port {
	uint16_t node_port;
	uint16_t service_port;
};

/** struct node_port_hit - what an address and port lead to. Borrowed from the snapshot. */
struct node_port_hit {
	const struct service *service;
	uint16_t port;    /* of the service; host order */
	const char *node; /* whose address was asked for */
};

/** state_node_port() - is @at a node port of a service that @client_namespace sees? @ret: set if it
 * is. */
bool state_node_port(const struct state *s, const struct cv_sockaddr *at,
		     const char *client_namespace, struct node_port_hit *ret);
