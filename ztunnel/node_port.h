/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node_port - what addresses that are no workload's own lead to, those of nodes among them. Part of
 * state. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"

struct hamt;
struct service;
struct state;
struct workload;

/** state_is_in_doubt() - may a pod that nobody has told of have @addr, which is no workload's: one
 * of a node's pods, and the control plane is away? */
bool state_is_in_doubt(const struct state *s, const struct cv_addr *addr);

/** struct node_port - of a service_def: a port of every node's, host order. */
struct node_port {
	uint16_t node_port;
	uint16_t service_port;
};

/** struct host_port - of a workload: an address and port of its node's that lead to it. */
struct host_port {
	struct cv_sockaddr at;
	uint16_t target_port; /* its own; host order */
};

/** struct host_ports - of one workload. */
struct host_ports {
	size_t count;
	struct host_port items[];
};

/** host_ports_change() - the workload @added takes the place of @gone in @table: struct cv_sockaddr
 * -> one or several of struct workload, those of the mesh alone. Either may be NULL. Return: 0;
 * -ENOMEM. */
_must_check_ int host_ports_change(struct hamt *table, const struct workload *gone,
				   struct workload *added);

struct frontend;
/** host_ports_find() - the workload of such a table to which @at leads. Return: whether there is
 * one; else @ret is untouched. */
bool host_ports_find(const struct hamt *table, const struct cv_sockaddr *at, struct frontend *ret);

/** struct frontend - what an address and port lead to. Borrowed from the snapshot. */
struct frontend {
	const struct service *service;   /* NULL: none */
	const struct workload *workload; /* whose hostPort it is; NULL: none */
	struct cv_sockaddr to;           /* the workload's own; else the address asked for, at the
					    service's port */
	const char *node;                /* whose node port it is; NULL: none */
};

/** state_frontend() - what @at is, if no workload has that address: a service that
 * @client_namespace sees with that very port, else a node port, else a hostPort, else a service
 * with other ports. */
void state_frontend(const struct state *s, const struct cv_sockaddr *at,
		    const char *client_namespace, struct frontend *ret);

/** service_has_port() - @port: host order; @service may be NULL: false. */
bool service_has_port(const struct service *service, uint16_t port);
