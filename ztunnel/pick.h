/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pick - which endpoint of a service a connection takes: the best rank, then by weight or by
 * affinity. Pure functions of a snapshot, for resolve. */
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"

/** struct wish - what a connection wants of a service's endpoint. All borrowed. */
struct wish {
	const struct workload *src;
	const struct service *service;
	const struct cv_sockaddr *orig;
	const struct resolve_choice *choice;
	const char *node; /* asked for by a node port of this one; NULL: otherwise */
	bool is_any;      /* of nodes that say nothing, and whatever the choice is among, too */
};

/** pick_endpoint() - Return: NULL: none that is wanted serves this port. */
const struct endpoint *pick_endpoint(const struct wish *wish);

/** pick_port() - of an endpoint for a service's port: its own map first (@link; NULL: none), then
 * the service's. Return: 0: it does not serve this port. */
uint16_t pick_port(const struct service *v, const struct workload_service *link, uint16_t port);
/** pick_addr() - the exact address that was asked for, else one of an allowed family, the asked one
 * first. Return: NULL: it has none. */
const struct cv_addr *pick_addr(const struct workload *w, const struct cv_addr *asked,
				enum service_families families);
/** pick_at() - where an endpoint of @v with an address is dialled for @asked. */
struct cv_sockaddr pick_at(const struct service *v, const struct endpoint *e,
			   const struct cv_sockaddr *asked);
/** pick_is_named() - an endpoint that only DNS can lead to? */
bool pick_is_named(const struct workload *w);
/** pick_is_avoided() - has it failed this connection? */
bool pick_is_avoided(const struct resolve_choice *c, const struct cv_addr *addr, uint16_t port);
