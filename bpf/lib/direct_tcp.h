/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct_tcp - connect(2) of an enrolled pod to one of this node: may it go at all, and without a
 * tunnel? See lib/direct.h. */
#include "bpf/lib/direct.h"
#include "bpf/lib/drop.h"
#include "bpf/lib/entry.h"
#include "bpf/lib/share.h"
#include "bpf/lib/tcp.h"

#define DIRECT_NOT     (-1) /* to the mesh: try the tunnel */
#define DIRECT_NO_MESH (-2) /* to anywhere else */

static __always_inline void direct_ask(const struct attempt *a, const struct destination *d)
{
	struct cv_direct_event ev = {
		.reason = CV_VERDICT_MISS,
		.netns_cookie = a->cookie,
		.dst_cookie = d->cookie,
		.remote = d->to,
		.asked = a->dst,
	};

	event_ask(&ev);
}

/* What a direct connection cannot have: a device, an address that is not the pod's, MPTCP (whose
 * later subflows nobody vouches for), data that travels with the SYN: that may take the host's way.
 */
static __always_inline bool direct_is_plain_socket(struct bpf_sock_addr *ctx,
						   const struct attempt *a)
{
	struct cv_sockaddr local = sock_local(ctx);

	if (!ctx->sk || ctx->sk->bound_dev_if || tcp_is_mptcp(ctx->sk) || tcp_is_fast_open(ctx->sk))
		return false;
	return addr_is_any(&local.addr) || pod_owns_addr(a->cookie, &local.addr);
}

/* By a frontend, and not the pod's own address that the application has asked for. */
static __always_inline bool direct_is_chosen(const struct attempt *a, const struct cv_sockaddr *to)
{
	return a->dst.port != to->port || a->dst.addr.w[0] != to->addr.w[0] ||
	       a->dst.addr.w[1] != to->addr.w[1] || a->dst.addr.w[2] != to->addr.w[2] ||
	       a->dst.addr.w[3] != to->addr.w[3];
}

/* What cv_sockops cannot find out for itself: what the application has asked for, and what was not
 * direct but excluded. Else a record, whose memory costs more than all the rest, says nothing. */
static __always_inline bool direct_needs_record(const struct cv_pod *pod, const struct attempt *a,
						const struct cv_sockaddr *to)
{
	return (pod->flags & CV_POD_OUT_RULES) || direct_is_chosen(a, to);
}

/* Without a ztunnel the cached verdicts are all there is. */
static __always_inline bool frontend_rests(struct cv_frontend *f, __u32 is_alive)
{
	if (!f->refused_s)
		return false;
	if ((__u16)(frontend_now() - f->refused_s) >= CV_FRONTEND_REST_S) {
		f->refused_s = 0;
		return false;
	}
	return is_alive;
}

/* What its endpoints on this node weigh. */
static __always_inline __u32 frontend_here(const struct cv_frontend *f)
{
	__u32 last = f->count - 1;

	return last < CV_FRONTEND_ENDS ? f->ends[last].weight_end : 0;
}

/* The frontend `to` becomes one of its endpoints on this node, by weight, where the lot falls on
 * these or no ztunnel reaches another. Returns what ztunnel is to be told (enum cv_choice); ALL: it
 * is none that the programs may choose for. Global, as destination_find(), and without the attempt:
 * of what such a function is given the verifier forgets all. */
__noinline int direct_choose(struct cv_sockaddr *to, __u32 is_alive)
{
	struct cv_service_key key = {};
	struct cv_frontend *f;
	__u32 at, i;

	if (is_tunnel_only || !to)
		return CV_CHOICE_ALL;
	key.addr = to->addr;
	key.port = to->port;
	f = bpf_map_lookup_elem(&cv_frontends, &key);
	if (!f || frontend_rests(f, is_alive))
		return CV_CHOICE_ALL;
	at = ((__u64)bpf_get_prandom_u32() * (is_alive ? f->weight : frontend_here(f))) >> 32;
	for (i = 0; i < CV_FRONTEND_ENDS && i < f->count; i++)
		if (at < f->ends[i].weight_end)
			break;
	if (i >= CV_FRONTEND_ENDS || i >= f->count)
		return CV_CHOICE_ELSEWHERE;
	*to = f->ends[i].to;
	/* an entry that was replaced meanwhile may be another frontend's by now */
	return bpf_map_lookup_elem(&cv_frontends, &key) == f ? cv_choice_here(to) : CV_CHOICE_ALL;
}

/* Is every endpoint of the frontend that a->dst is known to be denied? */
static __noinline bool direct_all_denied(const struct attempt *a)
{
	struct cv_service_key key = {};
	struct cv_frontend *f;

	if (!a)
		return false;
	key.addr = a->dst.addr;
	key.port = a->dst.port;
	f = bpf_map_lookup_elem(&cv_frontends, &key);
	if (!f || frontend_here(f) != f->weight)
		return false;
	for (__u32 i = 0; i < CV_FRONTEND_ENDS && i < f->count; i++)
		if (!direct_is_denied_at(a->cookie, &f->ends[i].to))
			return false;
	return true;
}

/* A record of what the application asked for, and a->dst becomes the endpoint. */
static __always_inline int direct_record(struct bpf_sock_addr *ctx, struct attempt *a,
					 const struct destination *d)
{
	struct cv_socket *st = NULL;

	if (ctx->sk)
		st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st)
		return drop(ctx, a, CV_DROP_STORAGE);
	st->flags = CV_SOCKET_DIRECT | CV_SOCKET_SHOWN;
	st->shown = a->dst;
	st->dst_port = d->to.port;
	st->dst_cookie = d->cookie;
	a->dst = d->to;
	count(CV_DIRECT);
	return VERDICT_REWRITE;
}

/* Where a->dst leads on this node: a pod's own address, or a frontend's endpoint. Returns false,
 * with `r`, when it leads elsewhere. */
static __always_inline bool direct_resolve(const struct cv_pod *pod, struct attempt *a,
					   struct destination *d, int *r)
{
	d->to = a->dst;
	*r = DIRECT_NOT;
	if (destination_find(d))
		return true;
	if (!dest_is_mesh(&a->dst)) {
		*r = DIRECT_NO_MESH;
		return false;
	}
	a->choice = direct_choose(&d->to, pod->flags & CV_POD_ALIVE);
	return (a->choice & CV_CHOICE_MASK) == CV_CHOICE_HERE && destination_find(d);
}

/* A pod that has its share of what is remembered of direct connections has tunnels beside. */
static __always_inline bool direct_is_wanted(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
					     const struct attempt *a, const struct destination *d)
{
	return (pod->flags & d->flags & CV_POD_DIRECT) && direct_is_plain_socket(ctx, a) &&
	       share_is_left(a->cookie, CV_SHARE_DIRECTS);
}

/* ztunnel, which counts what it denies itself, sees nothing of it. */
static __noinline void direct_count_refused(const struct attempt *a, const struct destination *d)
{
	struct cv_untold_key key = {};
	__u64 none = 0, *n;

	if (!a || !d)
		return;
	key.src_cookie = a->cookie;
	key.dst_cookie = d->cookie;
	key.dst = d->to;
	key.asked = a->dst;
	n = entry_of(&cv_refused, &key, &none);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		count(CV_DROP_MAP_FULL);
}

/* DIRECT_NOT, DIRECT_NO_MESH, or the verdict: VERDICT_ALLOW, _REWRITE, or refused by policy. In a
 * tunnel ztunnel would choose the endpoint anew, so there one that is denied says nothing yet. */
static __noinline int direct_tcp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				 struct attempt *a)
{
	struct destination d = {};
	bool is_direct;
	int r;

	if (!pod || !a || !ctx->sk)
		return VERDICT_REFUSE;
	if (!direct_resolve(pod, a, &d, &r))
		return r;
	r = direct_verdict(a->cookie, d.cookie, d.to.port);
	if (r == DIRECT_UNKNOWN) {
		direct_ask(a, &d);
		return DIRECT_NOT;
	}
	if (r == DIRECT_ZTUNNELS)
		return DIRECT_NOT;
	is_direct = direct_is_wanted(ctx, pod, a, &d);
	if (r == DIRECT_DENIED &&
	    (is_direct || !direct_is_chosen(a, &d.to) || direct_all_denied(a))) {
		direct_count_refused(a, &d);
		return drop(ctx, a, CV_DROP_POLICY);
	}
	if (r == DIRECT_DENIED || !is_direct)
		return DIRECT_NOT;
	if (direct_needs_record(pod, a, &d.to))
		return direct_record(ctx, a, &d);
	count(CV_DIRECT);
	return VERDICT_ALLOW;
}
