/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* event - counters, and the ring buffer that says why something was refused. */
#include "bpf/maps.h"

/* One more of `reason`. Never fails. */
static __always_inline void count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&cv_counters, &reason);

	if (n)
		__sync_fetch_and_add(n, 1); /* a softirq may come in between */
}

/* Counts ev->reason and hands ev to the agent. A full ring buffer loses the event, never the count.
 */
static __always_inline void event_send(struct cv_event *ev)
{
	count(ev->reason);
	ev->time_ns = bpf_ktime_get_ns();
	bpf_ringbuf_output(&cv_events, ev, sizeof(*ev), 0);
}

/* The same from a system call's context, with the process that made it. */
static __always_inline void event_send_task(struct cv_event *ev)
{
	if (!cfg.no_cgroup_helpers) {
		ev->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(ev->comm, sizeof(ev->comm));
	}
	event_send(ev);
}
