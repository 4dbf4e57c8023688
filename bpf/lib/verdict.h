/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* verdict - what ztunnel has said of the policy, as far as it holds now. */
#include "bpf/lib/event.h"
#include "bpf/lib/pod.h"

enum direct_verdict {
	DIRECT_UNKNOWN,
	DIRECT_ALLOWED,
	DIRECT_DENIED,
	DIRECT_ZTUNNELS, /* asked anew it would say the same */
};

/* Asks ztunnel, through the agent. A full ring loses the question: the next connection asks. */
static __always_inline void event_ask(struct cv_direct_event *ev)
{
	ev->time_ns = bpf_ktime_get_ns();
	ev->generation = direct_generation();
	count(ev->reason);
	bpf_ringbuf_output(&cv_events, ev, sizeof(*ev), 0);
}

static __noinline int direct_verdict(__u64 src, __u64 dst, __be16 port)
{
	struct cv_verdict_key key = {.src_cookie = src, .dst_cookie = dst, .port = port};
	struct cv_verdict *v;

	if (is_tunnel_only)
		return DIRECT_UNKNOWN;
	v = bpf_map_lookup_elem(&cv_verdicts, &key);
	if (!v || v->generation != direct_generation())
		return DIRECT_UNKNOWN;
	if (v->is_ztunnels)
		return DIRECT_ZTUNNELS;
	return v->is_allowed ? DIRECT_ALLOWED : DIRECT_DENIED;
}
