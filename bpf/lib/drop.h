/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* drop - the one exit for refusals at the socket address hooks. */
#include "bpf/lib/attempt.h"

/* Counter, event, verdict. */
static __noinline int drop(struct bpf_sock_addr *ctx, const struct attempt *a, __u32 reason)
{
	struct cv_event ev = {.reason = reason};

	if (a) {
		ev.netns_cookie = a->cookie;
		ev.remote = a->dst;
	}
	ev.local = sock_local(ctx);
	event_send_task(&ev);
	return VERDICT_REFUSE;
}
