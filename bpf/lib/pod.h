/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* pod - questions about an enrolled pod and about destinations. */
#include "bpf/lib/addr.h"
#include "bpf/maps.h"

/* Of the verdicts that count: another one as soon as a policy or a pod changes. */
static __always_inline __u64 direct_generation(void)
{
	__u32 zero = 0;
	__u64 *g = bpf_map_lookup_elem(&cv_generation, &zero);

	return g ? *g : 0;
}

static __always_inline struct cv_pod *pod_find(__u64 cookie)
{
	return bpf_map_lookup_elem(&cv_pods, &cookie);
}

static __always_inline bool pod_owns_addr(__u64 cookie, const struct cv_addr *addr)
{
	struct cv_pod_addr_key key = {.netns_cookie = cookie, .addr = *addr};

	return bpf_map_lookup_elem(&cv_pod_addrs, &key) != NULL;
}

/* Loopback, any, or one of the pod's own addresses: never leaves the pod. */
static __always_inline bool pod_is_self(__u64 cookie, const struct cv_addr *addr)
{
	return addr_is_loopback(addr) || addr_is_any(addr) || pod_owns_addr(cookie, addr);
}

/* Is `port` (host order) a TCP listener of ztunnel's that expects redirected connections only? */
static __always_inline bool pod_is_ztunnel_port(const struct cv_pod *pod, __u32 port)
{
	int i;

	if (!port)
		return false;
#pragma unroll
	for (i = 0; i < CV_OUTBOUND_PORTS; i++)
		if (pod->outbound_ports[i] == port)
			return true;
	return pod->dns_tcp_port == port;
}

static __always_inline bool dest_is_mesh_workload(const struct cv_addr *addr)
{
	struct cv_dest *d = bpf_map_lookup_elem(&cv_workloads, addr);

	return d && (d->flags & CV_DEST_MESH);
}

static __always_inline struct cv_dest *dest_range(const struct cv_sockaddr *dst)
{
	struct cv_range_key key = {
		.prefix_len = CV_RANGE_PREFIX + 8 * sizeof(dst->addr),
		.port = dst->port,
		.is_v4 = addr_is_v4(&dst->addr),
		.addr = dst->addr,
	};

	return bpf_map_lookup_elem(&cv_ranges, &key);
}

/* As cv_frontend.refused_s. */
static __always_inline __u16 frontend_now(void)
{
	__u16 now = (__u16)(bpf_ktime_get_ns() / 1000000000);

	return now ? now : 1;
}

/* Within what nodes give their pods addresses from. */
static __always_inline bool dest_is_of_pods(const struct cv_addr *addr)
{
	const struct cv_sockaddr any_port = {.addr = *addr};
	struct cv_dest *d = dest_range(&any_port);

	return d && (d->flags & CV_DEST_NODE);
}

/* Does the agent run, and does its control plane tell it what there is? */
static __always_inline bool dests_are_fresh(void)
{
	__u32 zero = 0;
	__u64 *until = bpf_map_lookup_elem(&cv_fresh_until, &zero);

	return until && bpf_ktime_get_ns() < *until;
}

/* What neither cv_workloads nor cv_services has: is it ztunnel's all the same? An address of pods
 * may belong to one of the mesh that nobody has told us of; those outside it are in cv_workloads,
 * too.
 */
static __always_inline bool dest_is_for_ztunnel(const struct cv_pod *pod,
						const struct cv_sockaddr *dst)
{
	struct cv_dest *range = dest_range(dst);

	if ((range && (range->flags & CV_DEST_MESH)) || (pod->flags & CV_POD_UNKNOWN_TO_TUNNEL))
		return true;
	return !dests_are_fresh() && !bpf_map_lookup_elem(&cv_workloads, &dst->addr) &&
	       dest_is_of_pods(&dst->addr);
}

/* Not a mesh destination, but one that the registry names. */
static __always_inline bool dest_is_registered(const struct cv_sockaddr *dst)
{
	struct cv_service_key key = {.addr = dst->addr, .port = dst->port};

	if (bpf_map_lookup_elem(&cv_registered, &key))
		return true;
	key.port = 0;
	return bpf_map_lookup_elem(&cv_registered, &key) || dest_range(dst);
}

/* A port of every node's that leads to a service: one entry, however many nodes there are. */
static __always_inline bool dest_is_node_port(__be16 port)
{
	struct cv_service_key key = {.port = port};
	struct cv_dest *d = bpf_map_lookup_elem(&cv_services, &key);

	return d && (d->flags & CV_DEST_MESH);
}

/* A service with one of the flags `but` does not count. */
static __always_inline bool dest_is_mesh_but(const struct cv_sockaddr *dst, __u32 but)
{
	struct cv_service_key key = {.addr = dst->addr, .port = dst->port};
	struct cv_dest *d = bpf_map_lookup_elem(&cv_services, &key);

	if (d && (d->flags & (CV_DEST_MESH | but)) == CV_DEST_MESH)
		return true;
	d = bpf_map_lookup_elem(&cv_workloads, &dst->addr);
	if (!d || (d->flags & CV_DEST_MESH))
		return d;
	return (d->flags & CV_DEST_NODE) && dest_is_node_port(dst->port);
}

/* For what an application dials. */
static __always_inline bool dest_is_mesh(const struct cv_sockaddr *dst)
{
	return dest_is_mesh_but(dst, 0);
}

/* For what goes out as it is, ztunnel's own. An endpoint outside the mesh may lie in a range of
 * frontends, and have the address of its entry: only exact ones count, and no entry's. */
static __always_inline bool dest_takes_no_plaintext(const struct cv_sockaddr *dst)
{
	return dest_is_mesh_but(dst, CV_DEST_OURS);
}
