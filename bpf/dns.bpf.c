/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* dns - datagrams of enrolled pods to port 53 go to ztunnel's resolver and seem to come back from
 * the nameserver that was asked. Hooks: cgroup/sendmsg4, sendmsg6, recvmsg4, recvmsg6 (unconnected
 * UDP; connected: capture). Reads: cv_pods, cv_sockets. Writes: cv_nameserver*, cv_counters,
 * cv_events. On doubt: refuse; every other port is untouched. */
#include "bpf/lib/kind.h"
#include "bpf/lib/nameserver.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __noinline int dns_send(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_socket *st;
	struct cv_pod *pod;

	if (!a || !ctx->sk)
		return VERDICT_REFUSE;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	if (st && st->kind != CV_SOCKET_APP)
		return kind_check(ctx, a, st->kind);
	if (a->dst.port != bpf_htons(CV_DNS_PORT))
		return VERDICT_ALLOW;
	pod = pod_find(a->cookie);
	if (!pod || (pod->flags & (CV_POD_CAPTURE | CV_POD_DNS)) != (CV_POD_CAPTURE | CV_POD_DNS))
		return VERDICT_ALLOW;
	/* Loopback is not reachable through a device, and a datagram's binding cannot be lifted for
	 * one send. A link-local nameserver ztunnel could not ask. */
	if (pod_is_self(a->cookie, &a->dst.addr) || ctx->sk->bound_dev_if ||
	    addr_is_link_local6(&a->dst.addr))
		return VERDICT_ALLOW;
	if (!(pod->flags & CV_POD_ALIVE))
		return drop(ctx, a, CV_DROP_ZTUNNEL_DEAD);
	return nameserver_encode(ctx, pod, a);
}

static __always_inline int dns_refuse(void)
{
	if (!cfg.no_cgroup_helpers)
		bpf_set_retval(-CV_ECONNREFUSED);
	return 0;
}

SEC("cgroup/sendmsg4")
int cv_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v4(ctx);
	int r = dns_send(ctx, &a);

	if (r == VERDICT_REFUSE)
		return dns_refuse();
	if (r == VERDICT_REWRITE)
		sock_addr_store_v4(ctx, &a.dst);
	return 1;
}

SEC("cgroup/sendmsg6")
int cv_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v6(ctx);
	int r = dns_send(ctx, &a);

	if (r == VERDICT_REFUSE)
		return dns_refuse();
	if (r == VERDICT_REWRITE)
		sock_addr_store_v6(ctx, &a.dst);
	return 1;
}

/* Every datagram of the machine comes by here: the cheapest question first. */
static __noinline int dns_receive(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_socket *st;

	if (!a || !ctx->sk || !addr_is_loopback(&a->dst.addr))
		return false;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	if (st && st->kind != CV_SOCKET_APP)
		return false;
	return nameserver_decode(a->cookie, &a->dst);
}

SEC("cgroup/recvmsg4")
int cv_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v4(ctx);

	if (dns_receive(ctx, &a))
		sock_addr_store_v4(ctx, &a.dst);
	return 1;
}

SEC("cgroup/recvmsg6")
int cv_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v6(ctx);

	if (dns_receive(ctx, &a))
		sock_addr_store_v6(ctx, &a.dst);
	return 1;
}
