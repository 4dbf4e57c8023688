/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lookup - an inbound connection of an enrolled pod goes to the application when it is vouched for
 * or annotations leave its port or its source alone, else to ztunnel. Hook: sk_lookup, one link per
 * pod namespace. Reads: cv_asking, cv_vouched, cv_directs, cv_inbound_rules, cv_inbound_ranges,
 * cv_steer, cv_locals, cv_pod_addrs, cv_verdicts, cv_generation. Writes: cv_counters, cv_events. On
 * doubt: drop. Deletes nothing: with SYN cookies the same connection is looked up again. */
#include "bpf/lib/conn.h"
#include "bpf/lib/event.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define CV_IPPROTO_TCP 6

/* As the dialling end sees it: our local address is its remote one. Volatile: see sock_local(). */
static __always_inline struct cv_tuple tuple_from_lookup(struct bpf_sk_lookup *lookup)
{
	volatile struct bpf_sk_lookup *ctx = lookup;
	__be32 local4 = ctx->remote_ip4, remote4 = ctx->local_ip4;
	struct cv_tuple t = {};

	t.local.w[0] = ctx->remote_ip6[0];
	t.local.w[1] = ctx->remote_ip6[1];
	t.local.w[2] = ctx->remote_ip6[2];
	t.local.w[3] = ctx->remote_ip6[3];
	t.remote.w[0] = ctx->local_ip6[0];
	t.remote.w[1] = ctx->local_ip6[1];
	t.remote.w[2] = ctx->local_ip6[2];
	t.remote.w[3] = ctx->local_ip6[3];
	if (ctx->family == CV_AF_INET) {
		t.local = addr_from_v4(local4);
		t.remote = addr_from_v4(remote4);
	}
	t.local_port = ctx->remote_port;
	t.remote_port = bpf_htons(ctx->local_port);
	return t;
}

/* cv_reroute wants to know whether there is a socket for a packet, not to have one steered. */
static __always_inline bool lookup_is_asked(void)
{
	__u32 zero = 0, *is_asking = bpf_map_lookup_elem(&cv_asking, &zero);

	return is_asking && *is_asking;
}

static __always_inline int lookup_drop(const struct cv_tuple *t)
{
	struct cv_event ev = {
		.reason = CV_DROP_NO_STEER,
		.local = {.addr = t->remote, .port = t->remote_port},
		.remote = {.addr = t->local, .port = t->local_port},
	};

	event_send(&ev);
	return SK_DROP;
}

/* Would anyone be let in here in plaintext, and if that depends, who came? If not, cv_uplink spares
 * us the next one. */
static __noinline void lookup_ask(const struct cv_tuple *t)
{
	struct cv_direct_event ev = {.reason = CV_VERDICT_MISS, .netns_cookie = CV_SRC_ANYONE};
	__u64 *cookie;

	if (!t)
		return;
	cookie = bpf_map_lookup_elem(&cv_locals, &t->remote);
	if (!cookie || direct_verdict(CV_SRC_ANYONE, *cookie, t->remote_port) != DIRECT_UNKNOWN)
		return;
	ev.dst_cookie = *cookie;
	ev.local.addr = t->local;
	ev.remote.addr = t->remote;
	ev.remote.port = t->remote_port;
	ev.asked = ev.remote;
	event_ask(&ev);
}

/* A pod vouches for what it dials at its own addresses, and those change: what it has begun at one
 * that it had given itself must not reach the pod that the address belongs to now. Who dialled is
 * not told by the address it came from: it may have given itself that, too. */
static __always_inline bool vouch_still_holds(const struct cv_vouch *v, const struct cv_tuple *t)
{
	if (addr_is_loopback(&t->local)) /* ztunnel's own dial */
		return true;
	if (v->time_s & CV_VOUCH_CLOSED)
		return false;
	return vouch_is_hosts(v) || pod_owns_addr(v->netns_cookie, &t->remote);
}

/* For a direct connection, until it is accepted; else by cv_vouched. */
static __noinline bool lookup_is_vouched(const struct cv_tuple *t)
{
	struct cv_direct *d;
	struct cv_vouch *v;
	bool is_client;

	if (!t)
		return false;
	d = direct_find(t, &is_client);
	if (d)
		return is_client && !(__sync_fetch_and_or(&d->flags, CV_DIRECT_LET_IN) &
				      (CV_DIRECT_ACCEPTED | CV_DIRECT_CLIENT_CLOSED));
	v = bpf_map_lookup_elem(&cv_vouched, t);
	return v && vouch_still_holds(v, t);
}

/* Inlined, what comes after it would be walked by the verifier for each of its ways. */
static __noinline bool lookup_is_excluded(const struct cv_tuple *t)
{
	return t && inbound_is_excluded(&t->remote, t->remote_port, &t->local);
}

static __always_inline int lookup_steer(struct bpf_sk_lookup *ctx, const struct cv_tuple *t)
{
	struct cv_steer_key key = {
		.local = t->remote,
		.kind = ctx->local_port == CV_HBONE_PORT ? CV_STEER_HBONE : CV_STEER_PLAIN,
	};
	struct bpf_sock *sk = bpf_map_lookup_elem(&cv_steer, &key);
	long r;

	if (!sk)
		return lookup_drop(t);
	r = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_REPLACE);
	bpf_sk_release(sk);
	if (r)
		return lookup_drop(t);
	if (cfg.is_uplink_guarded && key.kind == CV_STEER_PLAIN)
		lookup_ask(t);
	count(CV_STEERED);
	return SK_PASS;
}

SEC("sk_lookup")
int cv_lookup(struct bpf_sk_lookup *ctx)
{
	struct cv_tuple t;

	if (ctx->protocol != CV_IPPROTO_TCP)
		return SK_PASS;
	if (lookup_is_asked())
		return SK_DROP;
	t = tuple_from_lookup(ctx);
	if (addr_is_loopback(&t.remote))
		return SK_PASS;
	if (ctx->local_port != CV_HBONE_PORT && lookup_is_vouched(&t)) {
		count(CV_VOUCHED);
		return SK_PASS;
	}
	/* Only ztunnel dials from loopback to a pod's address. Not vouched: steering would hand
	 * ztunnel its own connection, which it would dial again. No event: that the map was full,
	 * cv_sockops has told; all else is no dial but what comes late, a FIN or a reset, for an
	 * application's socket that is gone. */
	if (addr_is_loopback(&t.local))
		return SK_DROP;
	if (ctx->local_port != CV_HBONE_PORT && lookup_is_excluded(&t)) {
		count(CV_EXCLUDED);
		return SK_PASS;
	}
	return lookup_steer(ctx, &t);
}
