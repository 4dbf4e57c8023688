/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sockopt - ztunnel names the client that an application is to see. Hook: cgroup/setsockopt,
 * private level CV_SOL_CULVERT, on DIAL_APP sockets only. Reads, writes: cv_sockets. On doubt: left
 * to the kernel, which knows no such option. */
#include "bpf/maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Kernels before 6.5 fail a longer option with EFAULT unless the program says "as the caller gave
 * it" (0). */
#define CV_LONGEST_OPTION 4096

/* Returns true when the option was ours and is set. */
static __always_inline int sockopt_set_client(struct bpf_sockopt *ctx)
{
	struct cv_sockaddr *client = ctx->optval;
	struct cv_socket *st;

	if ((void *)(client + 1) > ctx->optval_end || !ctx->sk)
		return 0;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	if (!st || st->kind != CV_SOCKET_DIAL_APP)
		return 0;
	st->shown = *client;
	st->shown.zero = 0;
	st->flags |= CV_SOCKET_SHOWN;
	return 1;
}

SEC("cgroup/setsockopt")
int cv_setsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level == CV_SOL_CULVERT && ctx->optname == CV_SO_CLIENT &&
	    ctx->optlen == sizeof(struct cv_sockaddr) && sockopt_set_client(ctx))
		ctx->optlen = -1; /* done, not for the kernel */
	else if (ctx->optlen > CV_LONGEST_OPTION)
		ctx->optlen = 0;
	return 1;
}
