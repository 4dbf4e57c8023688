/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* explain_find - pods and destinations by the names that people type. Pure functions of a snapshot;
 * what they return is borrowed from it. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"

struct service;
struct state;
struct workload;

#define EXPLAIN_NAME_MAX 512
/* How much of what words stand for is looked at. */
#define EXPLAIN_MEANT_MAX 64

/** struct explain_dest - a destination: an address and port, and what goes by it. */
struct explain_dest {
	struct cv_sockaddr addr;         /* what the client would connect to */
	const struct service *service;   /* asked for by name or VIP; NULL: none */
	const struct workload *workload; /* asked for by name, address or hostPort; NULL: none */
	bool is_host_port;               /* addr is its node's */
	/* all that the words stand for, addr first: each port where none was named, each pod of a
	 * headless service */
	struct cv_sockaddr meant[EXPLAIN_MEANT_MAX];
	size_t meant_count;
	size_t more_count; /* that found no room */
};

/**
 * explain_find_workload() - by address, UID, NAMESPACE/NAME, NAME.NAMESPACE, NAME
 * @err: a sentence on failure.
 * Return: 0; -ENOENT nothing goes by that name; -ENOTUNIQ several do.
 */
_must_check_ int explain_find_workload(const struct state *s, const char *name,
				       const struct workload **ret, char *err, size_t err_size);

/** struct explain_asker - for whom a destination is looked up. */
struct explain_asker {
	const struct state *state;
	const char *namespace_; /* breaks ties, hides other namespaces' private services */
	bool is_v4;             /* which family it would use where there is a choice */
};

/**
 * explain_find_dest() - DEST[:PORT]; without PORT: the service's ports, or those to which services
 * lead at the pod
 * Return: 0; -EINVAL no port; -ENOENT; -ENOTUNIQ. @ret untouched on failure, @err a sentence.
 */
_must_check_ int explain_find_dest(const struct explain_asker *a, const char *text,
				   struct explain_dest *ret, char *err, size_t err_size);
