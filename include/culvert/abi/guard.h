/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* guard - the links that connect pods with their host, and what takes the short way between them.
 * Part of maps.h. */
#include "addr.h"

/* cv_links: __u32 ifindex of the host's end of a pod's link -> __u64 netns cookie of the pod. */

enum cv_link_flags {
	CV_LINK_FORWARD = 1 << 0, /* established direct connections may skip the host's stack */
	CV_LINK_HANDSHAKE =
		1 << 1, /* from their first packet on: nothing in the host filters pods */
};

/* cv_pod_links: __u64 netns cookie -> the link that its addresses are reached by. */
struct cv_link {
	__u32 ifindex; /* of the host's end */
	__u32 flags;   /* enum cv_link_flags */
	__u8 macs[12]; /* as on a packet to the pod: the pod's, then the host's */
	__u32 zero;
};

enum cv_flow_flags {
	CV_FLOW_HANDSHAKE = 1 << 0,
	CV_FLOW_CLOSED = 1 << 1, /* its sender has closed */
};

/* cv_flows: struct cv_tuple as the sender sees it, with its cookie -> where the other pod is. */
struct cv_flow {
	__u32 ifindex; /* host's end of the receiver's link */
	__u32 flags;   /* enum cv_flow_flags */
	__u8 macs[12];
	__u32 zero;
	__u64 time_ns; /* of its beginning, for the sweep */
};

/* cv_exempt: struct cv_tuple -> __u64 bpf_ktime_get_ns(): was being opened when the pod was
 * enrolled. */

_Static_assert(sizeof(struct cv_link) == 24, "map value layout");
_Static_assert(sizeof(struct cv_flow) == 32, "map value layout");
