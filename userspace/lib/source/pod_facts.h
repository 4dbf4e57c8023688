/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pod_facts - what the mesh reads of a Pod, read once: a tenth of its tree. Owner: its creator, or
 * the object that was reduced to it. Immutable. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

struct object; /* source/object.h */

#define POD_ADDRESSES_MAX  16
#define POD_PORTS_MAX      1024
#define POD_HOST_PORTS_MAX 1024

/** struct pod_port - a named TCP port of a container, in their order; those of init containers
 * last. */
struct pod_port {
	uint16_t port;
	uint16_t name; /* where it begins, see pod_facts_port() */
};

/** struct pod_host_port - a TCP port of its node's that leads to one of the pod's. */
struct pod_host_port {
	struct cv_addr host_ip; /* 0.0.0.0 or ::: any of that family */
	uint16_t host_port, port;
};

/** struct pod_facts - texts are "" where the pod says nothing. */
struct pod_facts {
	const char *node, *service_account; /* "default" */
	const char *uid, *hostname, *subdomain;
	const char *owner_kind, *owner_name; /* of the controller, else of the first owner */
	const char *port_names;
	const struct cv_addr *addrs; /* as status tells them; none that is any or loopback */
	const struct pod_host_port
		*host_ports; /* as kubelet has them: of those that keep running */
	const struct pod_port *ports;
	uint32_t size; /* of all that follows this struct */
	uint16_t addrs_count, host_ports_count, ports_count;
	bool is_host_network, is_ready;
	bool is_said_ready; /* its kubelet says so; @is_ready is also who says nothing of it */
	bool has_ended;     /* Succeeded or Failed */
};

/** pod_facts_read() - from the tree of a Pod of any shape. Return: 0; -ENOMEM. */
_must_check_ int pod_facts_read(const struct object *pod, struct pod_facts **ret);
/** pod_facts_free() - takes NULL. Return: NULL. */
struct pod_facts *pod_facts_free(struct pod_facts *f);
DEFINE_CLEANUP(struct pod_facts *, pod_facts_free);

/** pod_facts_is_equal() - do both say the same? */
bool pod_facts_is_equal(const struct pod_facts *a, const struct pod_facts *b);
/** pod_incarnation() - @uid: metadata.uid as a number, the same in every process. 0: there is none.
 */
uint32_t pod_incarnation(const char *uid);
/** pod_facts_port() - the port of that name; 0: none. */
uint16_t pod_facts_port(const struct pod_facts *f, const char *name);
