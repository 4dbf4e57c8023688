/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* exclude - what a pod's annotations take out of the capture. Only pods that have such annotations
 * pay for the look-ups. */
#include "bpf/lib/pod.h"

#define CV_ADDR_BITS 128

static __always_inline bool outbound_has_range(__u64 cookie, __u16 kind, const struct cv_addr *addr)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + CV_ADDR_BITS,
		.kind = kind,
		.is_v4 = addr_is_v4(addr),
		.netns_cookie = cookie,
		.addr = *addr,
	};

	return bpf_map_lookup_elem(&cv_outbound_rules, &key) != NULL;
}

static __always_inline bool outbound_has_port(__u64 cookie, __u16 kind, __be16 port)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + CV_ADDR_BITS,
		.kind = kind,
		.netns_cookie = cookie,
	};

	key.addr.w[0] = bpf_ntohs(port);
	return bpf_map_lookup_elem(&cv_outbound_rules, &key) != NULL;
}

/* Istio's order: excluded ports, excluded ranges, then what is listed. */
static __always_inline bool outbound_is_excluded(const struct cv_pod *pod, __u64 cookie,
						 const struct cv_sockaddr *dst)
{
	if (!(pod->flags & CV_POD_OUT_RULES))
		return false;
	if (outbound_has_port(cookie, CV_OUT_EXCLUDE_PORT, dst->port) ||
	    outbound_has_range(cookie, CV_OUT_EXCLUDE_RANGE, &dst->addr))
		return true;
	return (pod->flags & CV_POD_OUT_LISTED) &&
	       !outbound_has_port(cookie, CV_OUT_INCLUDE_PORT, dst->port) &&
	       !outbound_has_range(cookie, CV_OUT_INCLUDE_RANGE, &dst->addr);
}

static __always_inline bool inbound_has_range(const struct cv_addr *local,
					      const struct cv_addr *source)
{
	struct cv_inbound_range_key key = {
		.prefix_len = CV_INBOUND_RANGE_PREFIX + CV_ADDR_BITS,
		.local = *local,
		.source = *source,
	};

	return bpf_map_lookup_elem(&cv_inbound_ranges, &key) != NULL;
}

/* By address: sk_lookup cannot learn its namespace. `port` in network byte order. */
static __always_inline bool inbound_is_excluded(const struct cv_addr *local, __be16 port,
						const struct cv_addr *source)
{
	struct cv_service_key key = {.addr = *local};
	__u32 *others = bpf_map_lookup_elem(&cv_inbound_rules, &key), *rule;

	if (!others)
		return false;
	key.port = port;
	rule = bpf_map_lookup_elem(&cv_inbound_rules, &key);
	if ((rule ? *rule : *others) & CV_IN_EXCLUDE)
		return true;
	return (*others & CV_IN_RANGES) && inbound_has_range(local, source);
}
