/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* rules - keys of what is told of addresses and ports: service frontends, the registry, and what
 * annotations leave alone. Part of maps.h. */
#include "addr.h"

struct cv_service_key {
	struct cv_addr addr;
	__be16 port;
	__u16 zero;
};

/* cv_registered: struct cv_service_key -> a destination outside the mesh that the registry has;
 * port 0: every port. Filled only under REGISTRY_ONLY. */

/* cv_ranges (LPM_TRIE) -> struct cv_dest: one port of a range of frontends, CV_DEST_MESH or only
 * registered. An IPv4 address is never in an IPv6 range, not even in ::/0. */
struct cv_range_key {
	__u32 prefix_len; /* CV_RANGE_PREFIX and the bits of `addr` */
	__be16 port;
	__u16 is_v4;
	struct cv_addr addr;
};

#define CV_RANGE_PREFIX 32

/* cv_outbound_rules (LPM_TRIE) -> 1: what a pod's annotations say of its outbound connections.
 * Exclusions win. */
enum cv_outbound_kind {
	CV_OUT_EXCLUDE_RANGE = 0,
	CV_OUT_INCLUDE_RANGE = 1,
	CV_OUT_EXCLUDE_PORT = 2, /* the port, host order, is in addr.w[0] */
	CV_OUT_INCLUDE_PORT = 3,
};

struct cv_outbound_key {
	__u32 prefix_len; /* CV_OUTBOUND_PREFIX and the bits of `addr`; ports: all 128 */
	__u16 kind;       /* enum cv_outbound_kind */
	__u16 is_v4;      /* 0 for ports */
	__u64 netns_cookie;
	struct cv_addr addr;
};

#define CV_OUTBOUND_PREFIX 96

/* cv_inbound_rules: struct cv_service_key (an address of the pod's; port 0: the rule of all others)
 * -> __u32 enum cv_inbound_rule. No entry at all: captured. Port 15008 always is. */
enum cv_inbound_rule {
	CV_IN_CAPTURE = 0,
	CV_IN_EXCLUDE = 1 << 0, /* left to the application as it comes */
	/* port 0 only: so is, at every port, what comes from a range in cv_inbound_ranges */
	CV_IN_RANGES = 1 << 1,
};

/* cv_inbound_ranges (LPM_TRIE) -> 1: a range of sources, of the family of `local`. */
struct cv_inbound_range_key {
	__u32 prefix_len;     /* CV_INBOUND_RANGE_PREFIX and the bits of `source` */
	struct cv_addr local; /* an address of the pod's */
	struct cv_addr source;
};

#define CV_INBOUND_RANGE_PREFIX 128

_Static_assert(sizeof(struct cv_service_key) == 20, "map key layout");
_Static_assert(sizeof(struct cv_range_key) == 24, "map key layout");
_Static_assert(sizeof(struct cv_outbound_key) == 32, "map key layout");
_Static_assert(sizeof(struct cv_inbound_range_key) == 36, "map key layout");
