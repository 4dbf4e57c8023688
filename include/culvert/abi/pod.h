/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* pod - enrolled pods of this node. Part of maps.h. */
#include "addr.h"

/* Listeners of ztunnel in a pod's namespace. [0] of outbound takes IPv4 and IPv6, the others spread
 * IPv6 (which has one loopback address only) over more ephemeral ports. */
#define CV_OUTBOUND_PORTS 4
/* IPv6 nameservers are told apart by port: one UDP listener each. [0] also takes IPv4. */
#define CV_DNS_PORTS  3
#define CV_NAME_LEN   64
#define CV_HBONE_PORT 15008

enum cv_pod_flags {
	CV_POD_ALIVE = 1 << 0,   /* a ztunnel holds this pod's listeners */
	CV_POD_CAPTURE = 1 << 1, /* outbound connections are captured */
	CV_POD_DNS = 1 << 2,     /* port 53 is captured */
	/* cv_workloads and cv_services lack destinations: what is in neither goes to ztunnel, which
	 * knows them all */
	CV_POD_UNKNOWN_TO_TUNNEL = 1 << 3,
	/* may talk to pods of this node without a tunnel: its packets may go past the host's stack,
	 * from link to link; both ends need it */
	CV_POD_DIRECT = 1 << 4,
	/* what the registry does not know is refused: cv_registered, cv_ranges */
	CV_POD_REGISTRY_ONLY = 1 << 8,
	CV_POD_OUT_RULES = 1 << 9,   /* cv_outbound_rules has something of this pod's */
	CV_POD_OUT_LISTED = 1 << 10, /* of outbound connections only what is listed there is
				      * captured */
	CV_POD_REROUTE = 1 << 11,    /* cv_reroute is in its namespace, on interfaces of machines */
};

/* cv_pods: __u64 netns cookie -> an enrolled pod of this node. */
struct cv_pod {
	char name[CV_NAME_LEN]; /* "namespace/pod", for people */
	__u32 flags;            /* enum cv_pod_flags */
	__u32 zero;
	struct cv_addr addr4; /* pod's IPv4 address, all zero when it has none */
	struct cv_addr addr6;
	__u16 outbound_ports[CV_OUTBOUND_PORTS];
	__u16 dns_udp_ports[CV_DNS_PORTS];
	__u16 dns_tcp_port;
};

/* cv_pod_addrs: every address of an enrolled pod, link-local ones too -> 1. */
struct cv_pod_addr_key {
	__u64 netns_cookie;
	struct cv_addr addr;
};

/* Maps that every pod's connections are written to. So many entries of each may be one pod's, and
 * no more than are left: the fuller a map, the less of it may be one's, so that it is never full,
 * however many pods take what they can. */
enum cv_share_of { CV_SHARE_CONNS, CV_SHARE_VOUCHED, CV_SHARE_DIRECTS, CV_SHARES };
#define CV_SHARED_MOST  65536 /* entries of such a map */
#define CV_SHARE_OF_POD 16384
#define CV_SHARE_OF_ALL 0ull /* the key of what all have together */

/* cv_shares: __u64 netns cookie of who dialled -> how many it has, about. */
struct cv_share {
	__u32 count[CV_SHARES]; /* by enum cv_share_of */
	__u32 zero;
};

_Static_assert(sizeof(struct cv_share) == 16, "map value layout");
_Static_assert(sizeof(struct cv_pod) == 120, "map value layout");
_Static_assert(sizeof(struct cv_pod_addr_key) == 24, "map key layout");
