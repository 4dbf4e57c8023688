/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* uplink - plaintext that policy refuses from anyone does not cost the node an skb. Hook: XDP on
 * the interface that other nodes are reached by, where the operator names it; never on pods' links,
 * which would lose their segmentation offload. Reads: cv_locals, cv_pods, cv_inbound_rules,
 * cv_inbound_ranges, cv_verdicts, cv_denied, cv_generation. Writes: cv_counters, cv_events. On
 * doubt: pass. It saves work only: whatever passes is decided on in the pod, by cv_lookup and
 * ztunnel. */
#include "bpf/lib/event.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/frame.h"
#include "bpf/lib/verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define UPLINK_EVENT_EVERY 64 /* drops: a flood must not fill the ring */

/* Source and destination of a packet that begins a connection. */
struct uplink_syn {
	struct cv_sockaddr from, to;
};

static __always_inline bool uplink_read(struct xdp_md *ctx, struct uplink_syn *s)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct cv_tuple t = {};
	struct tcp_start *tcp = frame_read(data, end, &t);

	if (!tcp || (tcp->flags & (CV_TCP_SYN | CV_TCP_ACK)) != CV_TCP_SYN)
		return false;
	s->from = (struct cv_sockaddr){.addr = t.local, .port = t.local_port};
	s->to = (struct cv_sockaddr){.addr = t.remote, .port = t.remote_port};
	return true;
}

/* The pod of this node that it is for, 0: none that is captured, or not in plaintext. */
static __always_inline __u64 uplink_pod(const struct uplink_syn *s)
{
	__u64 *cookie = bpf_map_lookup_elem(&cv_locals, &s->to.addr);
	struct cv_pod *pod;

	if (!cookie || s->to.port == bpf_htons(CV_HBONE_PORT))
		return 0;
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE) ||
	    inbound_is_excluded(&s->to.addr, s->to.port, &s->from.addr))
		return 0;
	return *cookie;
}

static __noinline int uplink_drop(const struct uplink_syn *s, __u64 cookie, __u32 reason)
{
	struct cv_event ev = {.reason = reason, .netns_cookie = cookie};
	__u64 *n = bpf_map_lookup_elem(&cv_counters, &reason);

	if (s && n && *n % UPLINK_EVENT_EVERY == 0) {
		ev.local = s->to;
		ev.remote = s->from;
		event_send(&ev);
	} else {
		count(reason);
	}
	return XDP_DROP;
}

/* By its address, as ztunnel said when it came before. */
static __always_inline bool uplink_is_denied(const struct uplink_syn *s, __u64 cookie)
{
	struct cv_denied_key key = {.src = s->from.addr, .dst_cookie = cookie, .port = s->to.port};
	__u64 *generation = bpf_map_lookup_elem(&cv_denied, &key);

	return generation && *generation == direct_generation();
}

SEC("xdp")
int cv_uplink(struct xdp_md *ctx)
{
	struct uplink_syn s = {};
	__u64 cookie;

	if (!uplink_read(ctx, &s))
		return XDP_PASS;
	cookie = uplink_pod(&s);
	if (!cookie)
		return XDP_PASS;
	if (direct_verdict(CV_SRC_ANYONE, cookie, s.to.port) == DIRECT_DENIED)
		return uplink_drop(&s, cookie, CV_UPLINK_PLAINTEXT);
	if (uplink_is_denied(&s, cookie))
		return uplink_drop(&s, cookie, CV_UPLINK_DENIED);
	return XDP_PASS;
}
