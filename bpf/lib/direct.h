/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct - connections between two enrolled pods of this node. Without a tunnel only where the
 * control plane and this node agree on whose address it is, both ends want it, and ztunnel's
 * verdict is known for the policy of now; on doubt: not direct. What it denies is refused however
 * it would go. */
#include "bpf/lib/pod.h"
#include "bpf/lib/verdict.h"

/* Both are "namespace/name", padded with zeroes. */
static __always_inline bool direct_is_same_name(const char *a, const char *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;
	__u64 differ = 0;

#pragma unroll
	for (int i = 0; i < CV_NAME_LEN / 8; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/* The captured pod of this node that serves an address. */
struct destination {
	struct cv_sockaddr to;
	__u32 flags;  /* that pod's: enum cv_pod_flags */
	__u64 cookie; /* 0: none is known to */
};

/* Fills the rest by d->to; returns 0 when there is none. The name tells whether the control plane
 * still means that pod by this address: it may have moved. Global, like the next: the verifier
 * walks it once, and not at each call. */
__noinline int destination_find(struct destination *d)
{
	struct cv_sockaddr to; /* before Linux 6.2 a key must be on the stack */
	struct cv_dest *dest;
	struct cv_pod *pod;
	__u64 *cookie;

	if (is_tunnel_only || !d)
		return 0;
	to = d->to;
	cookie = bpf_map_lookup_elem(&cv_locals, &to.addr);
	dest = bpf_map_lookup_elem(&cv_workloads, &to.addr);
	if (!cookie || !dest || !(dest->flags & CV_DEST_MESH) ||
	    to.port == bpf_htons(CV_HBONE_PORT))
		return 0;
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE))
		return 0;
	if (!pod_owns_addr(*cookie, &to.addr) || !direct_is_same_name(dest->name, pod->name) ||
	    pod_is_ztunnel_port(pod, bpf_ntohs(to.port)))
		return 0;
	d->flags = pod->flags;
	d->cookie = *cookie;
	return 1;
}

/* Is that known of an endpoint? */
__noinline int direct_is_denied_at(__u64 src, const struct cv_sockaddr *to)
{
	struct destination d = {};

	if (is_tunnel_only || !to)
		return 0;
	d.to = *to;
	return destination_find(&d) && direct_verdict(src, d.cookie, to->port) == DIRECT_DENIED;
}
