/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* packet_drop - say why a packet is not let through. */
#include <linux/pkt_cls.h>

#include "bpf/lib/event.h"
#include "bpf/lib/packet.h"

static __noinline void packet_tell(const struct packet *p, __u32 reason)
{
	struct cv_event ev = {.reason = reason};

	if (p) {
		ev.netns_cookie = p->tuple.netns_cookie;
		ev.local.addr = p->tuple.local;
		ev.local.port = p->tuple.local_port;
		ev.remote.addr = p->tuple.remote;
		ev.remote.port = p->tuple.remote_port;
	}
	event_send(&ev);
}

static __always_inline int packet_drop(const struct packet *p, __u32 reason)
{
	packet_tell(p, reason);
	return TC_ACT_SHOT;
}
