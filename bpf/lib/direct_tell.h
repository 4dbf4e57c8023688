/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct_tell - what the agent is told of direct connections, for metrics and the access log. */
#include "bpf/lib/conn.h"
#include "bpf/lib/entry.h"
#include "bpf/lib/event.h"
#include "bpf/lib/tcp.h"

/* Bytes of data that the peer has had, or has given. The kernel's own counters in the context count
 * SYN and FIN too. And its error: ECONNREFUSED where connect got a reset. */
static __always_inline void direct_socket(struct bpf_sock_ops *ctx, struct cv_direct_event *ev)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock___cv *tp;
	__u64 received;

	if (!sk)
		return;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	ev->sent = tp->bytes_sent - tp->bytes_retrans;
	received = tp->bytes_received;
	if (received && (((struct sock_common___cv *)tp)->skc_flags & (1UL << CV_SOCK_DONE)))
		received--;
	ev->received = received;
	ev->error = ((struct sock___cv *)tp)->sk_err;
}

/* From the state that the client's socket was in before CLOSE. A reset that came has left an error
 * before that; one that the client sends itself (SO_LINGER 0, bytes that it has not read, or that
 * came after its close) leaves none yet: it comes from a state that nothing but an abort leaves for
 * CLOSE. What its server does once the client has closed, and that was acknowledged, is not seen:
 * the end has been told. */
static __always_inline bool direct_is_aborted(struct bpf_sock_ops *ctx)
{
	__u32 was = ctx->args[0];

	return was == BPF_TCP_ESTABLISHED || was == BPF_TCP_CLOSE_WAIT || was == BPF_TCP_FIN_WAIT1;
}

#define WAKE_EVERY_NS (20 * 1000 * 1000)
#define WAKE_SOON_NS  (1000 * 1000)
#define WAKE_BYTES    (64 * 1024) /* of unread events */

static __u64 woken_ns;

/* Telemetry can wait a moment: one wake-up of agent and ztunnel per connection would cost more than
 * the connection. The agent looks once more when this time is over. While it is on its way to many
 * events, it is not called again at each of them: a call is an interrupt. */
static __always_inline __u64 direct_wake(__u64 now_ns)
{
	__u64 quiet_ns = now_ns - woken_ns;

	if (quiet_ns < WAKE_SOON_NS ||
	    (quiet_ns < WAKE_EVERY_NS &&
	     bpf_ringbuf_query(&cv_direct_events, BPF_RB_AVAIL_DATA) < WAKE_BYTES))
		return BPF_RB_NO_WAKEUP;
	woken_ns = now_ns;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline struct cv_untold *untold_find(const struct cv_direct_event *ev)
{
	struct cv_untold_key key = {
		.src_cookie = ev->netns_cookie,
		.dst_cookie = ev->dst_cookie,
		.dst = ev->remote,
		.asked = ev->asked,
	};
	const struct cv_untold none = {};

	return entry_of(&cv_direct_untold, &key, &none);
}

/* What has been counted of it while it was open is not to be counted again. */
static __always_inline void untold_bytes(struct cv_untold *n, const struct cv_tuple *t,
					 const struct cv_direct_event *ev)
{
	struct cv_direct_told *told;
	__u64 sent = 0, received = 0;
	struct cv_tuple key;

	tuple_pair(t, &key);
	told = bpf_map_lookup_elem(&cv_direct_told, &key);
	if (told && told->time_ns == ev->connect_ns) {
		sent = told->sent;
		received = told->received;
	}
	if (ev->sent > sent)
		__sync_fetch_and_add(&n->sent, ev->sent - sent);
	if (ev->received > received)
		__sync_fetch_and_add(&n->received, ev->received - received);
}

/* No room for the event: what remains of it are numbers, for the metrics. */
static __always_inline void direct_untold(const struct cv_tuple *t,
					  const struct cv_direct_event *ev)
{
	struct cv_untold *n;

	count(CV_DIRECT_UNTOLD);
	n = untold_find(ev);
	if (!n) {
		count(CV_DROP_MAP_FULL);
	} else if (ev->reason == CV_DIRECT_OPEN) {
		__sync_fetch_and_add(&n->opened, 1);
	} else if (ev->flags & CV_DIRECT_ESTABLISHED) {
		__sync_fetch_and_add(&n->closed, 1);
		untold_bytes(n, t, ev);
	} else {
		__sync_fetch_and_add(&n->failed, 1);
	}
}

static __noinline void direct_tell(struct bpf_sock_ops *ctx, const struct cv_tuple *t,
				   const struct cv_direct *d, __u32 reason)
{
	struct cv_direct_event ev = {.reason = reason};

	if (!t || !d)
		return;
	ev.time_ns = bpf_ktime_get_ns();
	ev.netns_cookie = t->netns_cookie;
	ev.flags = d->flags & (CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED);
	ev.local.addr = t->local;
	ev.local.port = t->local_port;
	ev.remote.addr = t->remote;
	ev.remote.port = t->remote_port;
	ev.asked = d->asked;
	ev.dst_cookie = d->dst_cookie;
	ev.connect_ns = d->time_ns;
	direct_socket(ctx, &ev);
	if (reason == CV_DIRECT_CLOSE && (ev.flags & CV_DIRECT_ESTABLISHED) &&
	    (ev.error || direct_is_aborted(ctx)))
		ev.flags |= CV_DIRECT_RESET;
	count(reason);
	if (bpf_ringbuf_output(&cv_direct_events, &ev, sizeof(ev), direct_wake(ev.time_ns)))
		direct_untold(t, &ev);
}
