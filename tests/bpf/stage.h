/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stage - what a run and each test need around them: cgroup, namespaces, the enrolled pod. */
#include "harness.h"
#include "userspace/agent/datapath_load.h"

/** stage_cgroup() - make a child cgroup of the cgroup2 root for this run and move there. Return: 0;
 * -errno. */
int stage_cgroup(const char *name);
/** stage_cgroup_leave() - back to the root, and remove it. */
void stage_cgroup_leave(void);
/** stage_cgroup_open() - a descriptor of that cgroup; -1, errno. */
int stage_cgroup_open(void);
/* The node's own namespace, of which no test has a socket. */
#define STAGE_HOST_COOKIE 0x7ffffff0

/** stage_load() - load the programs and attach them to that cgroup. Return: 0; -errno. */
int stage_load(bool no_cgroup_helpers, struct culvert_bpf **ret);
/** stage_load_extent() - load so much of the programs as the agent would, attach nothing. Return:
 * 0; -errno. */
int stage_load_extent(bool no_cgroup_helpers, enum datapath_extent extent,
		      struct culvert_bpf **ret);
/** stage_load_for() - `skel` anew, with the maps that it has, attached to the cgroup of now: the
 * namespace of this cookie is the node's own. Return: 0; -errno. */
int stage_load_for(uint64_t host_cookie);
/** stage_pod() - fill `pod`: namespaces, links, listeners, map entries. Leaves the process in the
 * pod. */
void stage_pod(void);

/** service_key() - of a frontend. */
struct cv_service_key service_key(const char *frontend);
/** dest_put() - an entry "test/range" of a map of struct cv_dest. */
void dest_put(const struct bpf_map *map, const void *key, uint32_t flags);
/** inbound_put() - of a port of an address, until the test ends. @port: host order; 0: all others.
 * inbound_range_put() - of a range of sources, in cv_inbound_ranges alone. */
void inbound_put(const char *addr, uint16_t port, uint32_t rule);
void inbound_range_put(const char *addr, const char *range);
/** range_put() - in cv_ranges, until the test ends. @range: as cidr_parse(). @port: host order. */
void range_put(const char *range, uint16_t port, uint32_t flags);
