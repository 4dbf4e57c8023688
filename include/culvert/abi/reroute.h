/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* reroute - packets of a machine inside a pod that are to end at ztunnel's sockets there, or
 * nowhere: cv_reroute marks them, and rules of the pod's namespace, made by the agent, route what
 * is marked. Part of maps.h. */

#define CV_REROUTE_MARK_LOCAL  0x43560001 /* to this host, whatever the address */
#define CV_REROUTE_MARK_REFUSE 0x43560002 /* to nobody: the sender is told */

/* So many connections of one pod's cv_given remembers: none takes the others' room. */
#define CV_GIVEN_OF_POD 2048

/* cv_given_pods: __u64 netns cookie -> what cv_given has of a pod. */
struct cv_given_pod {
	__u32 count;     /* about so many */
	__u32 is_beyond; /* not all that ztunnel was given: any of the mesh may have been */
};
