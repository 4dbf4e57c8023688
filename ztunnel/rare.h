/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* rare - what few of a hundred thousand workloads have, in their arena: the others share a common
 * nothing. Part of state.h. */

struct host_ports; /* ztunnel/node_port.h */

/** struct workload_rare - texts are never NULL; "" where there is none. */
struct workload_rare {
	const char *hostname; /* of an external endpoint that is found by DNS */
	const char *dns_name; /* "<hostname>.<subdomain>" of a pod: below its headless service */
	const struct host_ports *host_ports; /* at its node's addresses; NULL: none */
};
