/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct - connections between two enrolled pods of this node without a tunnel. Only where the
 * control plane and this node agree on whose address it is, both ends want it, and ztunnel's
 * verdict is known for the policy of now. On doubt: not direct. */
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

/* Cookie of the pod of this node that serves `to`, 0: none may be reached without a tunnel. The
 * name tells whether the control plane still means that pod by this address: it may have moved. */
static __noinline __u64 direct_destination(const struct cv_sockaddr *to)
{
	struct cv_dest *dest;
	struct cv_pod *pod;
	__u64 *cookie;

	if (!to || to->port == bpf_htons(CV_HBONE_PORT))
		return 0;
	cookie = bpf_map_lookup_elem(&cv_locals, &to->addr);
	dest = bpf_map_lookup_elem(&cv_workloads, &to->addr);
	if (!cookie || !dest || !(dest->flags & CV_DEST_MESH))
		return 0;
	pod = pod_find(*cookie);
	if (!pod ||
	    (pod->flags & (CV_POD_DIRECT | CV_POD_CAPTURE)) != (CV_POD_DIRECT | CV_POD_CAPTURE))
		return 0;
	if (!pod_owns_addr(*cookie, &to->addr) || !direct_is_same_name(dest->name, pod->name) ||
	    pod_is_ztunnel_port(pod, bpf_ntohs(to->port)))
		return 0;
	return *cookie;
}
