/* SPDX-License-Identifier: Apache-2.0 */
#include "sockdestroy.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "netlink.h"

struct request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 diag;
};

static void request_fill(struct request *q, const struct cv_sockaddr *local,
			 const struct cv_sockaddr *remote, int family)
{
	memset(q, 0, sizeof(*q));
	q->h.nlmsg_len = sizeof(*q);
	q->h.nlmsg_type = SOCK_DESTROY;
	q->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	q->diag.sdiag_family = (uint8_t)family;
	q->diag.sdiag_protocol = IPPROTO_TCP;
	q->diag.idiag_states = ~0u;
	q->diag.id.idiag_sport = local->port;
	q->diag.id.idiag_dport = remote->port;
	q->diag.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	q->diag.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (family == AF_INET) {
		q->diag.id.idiag_src[0] = local->addr.w[3];
		q->diag.id.idiag_dst[0] = remote->addr.w[3];
		return;
	}
	memcpy(q->diag.id.idiag_src, local->addr.w, sizeof(local->addr.w));
	memcpy(q->diag.id.idiag_dst, remote->addr.w, sizeof(remote->addr.w));
}

static int destroy(const struct cv_sockaddr *local, const struct cv_sockaddr *remote, int family)
{
	struct request q;

	request_fill(&q, local, remote, family);
	return netlink_call(NETLINK_SOCK_DIAG, &q.h, NULL, NULL);
}

int sockdestroy_tcp(const struct cv_sockaddr *local, const struct cv_sockaddr *remote)
{
	int r;

	if (!cv_addr_is_v4(&local->addr))
		return destroy(local, remote, AF_INET6);
	/* The kernel looks IPv4 up for either family: an IPv6 socket with mapped addresses too. */
	r = destroy(local, remote, AF_INET);
	return r == -ENOENT ? destroy(local, remote, AF_INET6) : r;
}
