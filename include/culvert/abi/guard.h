/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* guard - the links that connect pods with their host. Part of maps.h. */
#include "direct.h"

/* cv_links: __u32 ifindex of the host's end of a pod's link -> __u64 netns cookie of the pod. */

enum cv_link_flags {
	CV_LINK_HANDSHAKE = 1 << 1, /* SYNs, too, skip the host's stack: it filters no pods */
};

/* cv_pod_links: __u64 netns cookie -> the link that its addresses are reached by. */
struct cv_link {
	struct cv_way way;
	__u32 flags; /* enum cv_link_flags */
};

/* cv_exempt: struct cv_tuple -> __u64 bpf_ktime_get_ns(): was being opened when the pod was
 * enrolled. */

_Static_assert(sizeof(struct cv_link) == 20, "map value layout");
