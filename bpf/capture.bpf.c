/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* capture - send outbound connections of enrolled pods to ztunnel. Hooks: cgroup/connect4,
 * cgroup/connect6, which also see TCP Fast Open, MPTCP subflows, io_uring and connected UDP. Reads:
 * cv_pods, cv_pod_addrs, cv_workloads, cv_services, cv_ranges, cv_fresh_until, cv_registered,
 * cv_outbound_rules, cv_frontends, cv_locals, cv_verdicts, cv_generation, cv_shares. Writes:
 * cv_sockets, cv_nameserver*, cv_passed, cv_refused, cv_counters, cv_events. On doubt: refuse. */
#include "bpf/lib/direct_tcp.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/kind.h"
#include "bpf/lib/nameserver.h"
#include "bpf/lib/passed.h"
#include "bpf/lib/redirect.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What neither cv_workloads nor cv_services has. */
static __noinline int capture_other(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				    struct attempt *a)
{
	if (!pod || !a)
		return VERDICT_REFUSE;
	if (dest_is_for_ztunnel(pod, &a->dst))
		return redirect_tcp(ctx, pod, a, 0);
	if ((pod->flags & CV_POD_REGISTRY_ONLY) && !dest_is_registered(&a->dst))
		return drop(ctx, a, CV_DROP_REGISTRY_ONLY);
	return passed(pod, a, CV_PASSTHROUGH);
}

/* But a link-local nameserver, which ztunnel could not ask. */
static __always_inline bool dns_is_ours(const struct cv_pod *pod, const struct cv_sockaddr *dst)
{
	return (pod->flags & CV_POD_DNS) && dst->port == bpf_htons(CV_DNS_PORT) &&
	       !addr_is_link_local6(&dst->addr);
}

static __always_inline int capture_tcp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				       struct attempt *a)
{
	int r = DIRECT_NO_MESH;

	if (pod_is_self(a->cookie, &a->dst.addr)) {
		if (pod_is_ztunnel_port(pod, bpf_ntohs(a->dst.port)))
			return drop(ctx, a, CV_DROP_NO_ORIGIN);
		if (pod_owns_addr(a->cookie, &a->dst.addr))
			return passed(pod, a, CV_SELF);
		count(CV_SELF);
		return VERDICT_ALLOW;
	}
	if (outbound_is_excluded(pod, a->cookie, &a->dst))
		return passed(pod, a, CV_EXCLUDED);
	if (!is_tunnel_only)
		r = direct_tcp(ctx, pod, a);
	else if (dest_is_mesh(&a->dst))
		r = DIRECT_NOT;
	if (r == DIRECT_NOT)
		return redirect_tcp(ctx, pod, a, 0);
	if (r != DIRECT_NO_MESH)
		return r;
	if (dns_is_ours(pod, &a->dst))
		return redirect_tcp(ctx, pod, a, pod->dns_tcp_port);
	return capture_other(ctx, pod, a);
}

/* Connected UDP: only port 53 is ours. The record makes getpeername name the nameserver. */
static __always_inline int capture_udp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				       struct attempt *a)
{
	struct cv_sockaddr asked = a->dst;
	struct cv_socket *st;
	__u32 reason;
	int r;

	if (!dns_is_ours(pod, &a->dst) || pod_is_self(a->cookie, &a->dst.addr))
		return VERDICT_ALLOW;
	st = redirect_begin(ctx, pod, a, &reason);
	if (!st)
		return drop(ctx, a, reason);
	r = nameserver_encode(ctx, pod, a);
	if (r == VERDICT_REWRITE)
		redirect_end(st, &asked);
	return r;
}

static __noinline int capture(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_socket *st;
	struct cv_pod *pod;

	if (!a || !ctx->sk)
		return VERDICT_REFUSE;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	if (st && st->kind != CV_SOCKET_APP)
		return kind_check(ctx, a, st->kind);
	if (st)
		redirect_forget(ctx, st, a);
	pod = pod_find(a->cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE))
		return VERDICT_ALLOW;
	if (ctx->protocol == CV_IPPROTO_TCP)
		return capture_tcp(ctx, pod, a);
	if (ctx->protocol == CV_IPPROTO_UDP)
		return capture_udp(ctx, pod, a);
	return VERDICT_ALLOW;
}

/* A refusal as ECONNREFUSED: said so where the kernel lets us, else by a connection to port 0 of
 * this host, where nothing can listen. A device binding would carry that away, so such a socket
 * gets EPERM. */
static __always_inline int refuse(struct bpf_sock_addr *ctx, struct attempt *a)
{
	if (!cfg.no_cgroup_helpers) {
		bpf_set_retval(-CV_ECONNREFUSED);
		return VERDICT_REFUSE;
	}
	if (!ctx->sk || ctx->sk->bound_dev_if || ctx->protocol != CV_IPPROTO_TCP)
		return VERDICT_REFUSE;
	if (addr_is_v4(&a->dst.addr))
		a->dst.addr = addr_from_v4(bpf_htonl(0x7f000001));
	else
		a->dst.addr = (struct cv_addr){.w = {0, 0, 0, bpf_htonl(1)}};
	a->dst.port = 0;
	return VERDICT_REWRITE;
}

SEC("cgroup/connect4")
int cv_connect4(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v4(ctx);
	int r = capture(ctx, &a);

	if (r == VERDICT_REFUSE)
		r = refuse(ctx, &a);
	if (r == VERDICT_REWRITE)
		sock_addr_store_v4(ctx, &a.dst);
	return r != VERDICT_REFUSE;
}

SEC("cgroup/connect6")
int cv_connect6(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v6(ctx);
	int r = capture(ctx, &a);

	if (r == VERDICT_REFUSE)
		r = refuse(ctx, &a);
	if (r == VERDICT_REWRITE)
		sock_addr_store_v6(ctx, &a.dst);
	return r != VERDICT_REFUSE;
}
