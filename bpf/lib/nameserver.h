/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* nameserver - numbers nameservers, so that a redirected datagram still says which one was asked.
 * IPv4: the number is in the destination 127.64.0.0 + number. IPv6 has one loopback address: up to
 * CV_DNS_PORTS nameservers per pod, by port. No room: DNS to that nameserver is left alone. */
#include "bpf/lib/attempt.h"

static __always_inline void nameserver_announce(struct bpf_sock_addr *ctx, const struct attempt *a,
						__u32 number, __u32 slot_plus_1)
{
	struct cv_event ev = {
		.reason = CV_NAMESERVER_NEW,
		.netns_cookie = a->cookie,
		.remote = a->dst,
		.arg = number,
		.arg2 = slot_plus_1,
	};

	ev.local = sock_local(ctx);
	event_send_task(&ev);
}

/* A new number for `addr`, or another CPU's if that was faster (ours is then lost). 0: no room. */
static __noinline __u32 nameserver_add(const struct cv_addr *addr)
{
	__u32 zero = 0, number, *last, *found;

	if (!addr)
		return 0;
	last = bpf_map_lookup_elem(&cv_nameserver_last, &zero);
	if (!last || *last >= CV_MAX_NAMESERVERS - 1)
		return 0;
	number = __sync_fetch_and_add(last, 1) + 1;
	if (bpf_map_update_elem(&cv_nameserver_addrs, &number, addr, BPF_ANY))
		return 0;
	if (!bpf_map_update_elem(&cv_nameservers, addr, &number, BPF_NOEXIST))
		return number;
	found = bpf_map_lookup_elem(&cv_nameservers, addr);
	return found ? *found : 0;
}

/* Number of a->dst, given now if it has none; 0: no room. */
static __always_inline __u32 nameserver_number(struct bpf_sock_addr *ctx, const struct attempt *a)
{
	__u32 number, *found = bpf_map_lookup_elem(&cv_nameservers, &a->dst.addr);

	if (found)
		return *found;
	number = nameserver_add(&a->dst.addr);
	if (number && addr_is_v4(&a->dst.addr))
		nameserver_announce(ctx, a, number, 0);
	return number;
}

/* Slot that stands for `number` in this pod, taken now if none does; CV_DNS_PORTS: no room. */
static __always_inline __u32 nameserver_slot(struct bpf_sock_addr *ctx, const struct attempt *a,
					     __u32 number)
{
	struct cv_nameserver_slot key = {.netns_cookie = a->cookie};
	__u32 *found;

#pragma unroll
	for (__u32 slot = 0; slot < CV_DNS_PORTS; slot++) {
		key.slot = slot;
		found = bpf_map_lookup_elem(&cv_nameserver_slots, &key);
		if (!found &&
		    !bpf_map_update_elem(&cv_nameserver_slots, &key, &number, BPF_NOEXIST)) {
			nameserver_announce(ctx, a, number, slot + 1);
			return slot;
		}
		if (!found)
			found = bpf_map_lookup_elem(&cv_nameserver_slots, &key);
		if (found && *found == number)
			return slot;
	}
	return CV_DNS_PORTS;
}

/* Points a->dst at ztunnel's resolver. VERDICT_ALLOW: no room, nothing changed. */
static __noinline int nameserver_encode(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
					struct attempt *a)
{
	__u32 number, slot = 0;

	if (!pod || !a)
		return VERDICT_REFUSE;
	number = nameserver_number(ctx, a);
	if (number && !addr_is_v4(&a->dst.addr))
		slot = nameserver_slot(ctx, a, number);
	if (!number || slot >= CV_DNS_PORTS || !pod->dns_udp_ports[slot]) {
		count(CV_NAMESERVER_FULL);
		return VERDICT_ALLOW;
	}
	if (addr_is_v4(&a->dst.addr))
		a->dst.addr = addr_from_v4(bpf_htonl(cfg.loopback_base + number));
	else
		a->dst.addr = (struct cv_addr){.w = {0, 0, 0, bpf_htonl(1)}};
	a->dst.port = bpf_htons(pod->dns_udp_ports[slot]);
	count(CV_DNS);
	return VERDICT_REWRITE;
}

/* The reverse, for what arrives from `from`. Returns false when that is no encoded nameserver. */
static __always_inline bool nameserver_decode(__u64 cookie, struct cv_sockaddr *from)
{
	struct cv_pod *pod = pod_find(cookie);
	struct cv_nameserver_slot key = {.netns_cookie = cookie};
	__u32 number = bpf_ntohl(from->addr.w[3]) - cfg.loopback_base, *found;
	struct cv_addr *addr;

	if (!pod)
		return false;
	if (!addr_is_v4(&from->addr)) {
		while (key.slot < CV_DNS_PORTS &&
		       pod->dns_udp_ports[key.slot] != bpf_ntohs(from->port))
			key.slot++;
		found = bpf_map_lookup_elem(&cv_nameserver_slots, &key);
		number = found ? *found : 0;
	} else if (pod->dns_udp_ports[0] != bpf_ntohs(from->port)) {
		return false;
	}
	addr = bpf_map_lookup_elem(&cv_nameserver_addrs, &number);
	if (!addr || addr_is_any(addr))
		return false;
	from->addr = *addr;
	from->port = bpf_htons(CV_DNS_PORT);
	return true;
}
