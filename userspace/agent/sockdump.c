/* SPDX-License-Identifier: Apache-2.0 */
#include "sockdump.h"

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

struct dump {
	sockdump_fn *fn;
	void *arg;
};

static struct cv_addr addr_of(const struct inet_diag_msg *m, const __be32 raw[4])
{
	struct cv_addr a;

	if (m->idiag_family == AF_INET)
		return cv_addr_from_v4(raw[0]);
	memcpy(a.w, raw, sizeof(a.w));
	return a;
}

static int on_socket(void *arg, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	const struct dump *d = arg;
	struct cv_tuple t = {0};

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return -EBADMSG;
	t.local = addr_of(m, m->id.idiag_src);
	t.remote = addr_of(m, m->id.idiag_dst);
	t.local_port = m->id.idiag_sport;
	t.remote_port = m->id.idiag_dport;
	return d->fn(d->arg, &t, h);
}

static struct request request_of(int family, unsigned int flags)
{
	return (struct request){
		.h = {.nlmsg_len = sizeof(struct request),
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
		.diag = {.sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP},
	};
}

int sockdump_tcp(uint32_t states, unsigned int with, sockdump_fn *fn, void *arg)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct dump d = {.fn = fn, .arg = arg};
	int r = 0, one;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct request q = request_of(families[i], NLM_F_DUMP);

		q.diag.idiag_states = states;
		q.diag.idiag_ext = with ? (uint8_t)(1u << (with - 1)) : 0;
		one = netlink_call(NETLINK_SOCK_DIAG, &q.h, on_socket, &d);
		r = r < 0 ? r : one;
	}
	return r;
}

static int on_any(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h)
{
	bool *is_there = arg;

	(void)t;
	(void)h;
	*is_there = true;
	return 0;
}

bool sockdump_has(const struct cv_tuple *t)
{
	bool is_v4 = cv_addr_is_v4(&t->local), is_there = false;
	struct request q = request_of(is_v4 ? AF_INET : AF_INET6, 0);
	struct dump d = {.fn = on_any, .arg = &is_there};

	q.diag.idiag_states = ~0u;
	q.diag.id.idiag_sport = t->local_port;
	q.diag.id.idiag_dport = t->remote_port;
	q.diag.id.idiag_cookie[0] = q.diag.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	memcpy(q.diag.id.idiag_src, is_v4 ? &t->local.w[3] : t->local.w, is_v4 ? 4 : 16);
	memcpy(q.diag.id.idiag_dst, is_v4 ? &t->remote.w[3] : t->remote.w, is_v4 ? 4 : 16);
	return netlink_call(NETLINK_SOCK_DIAG, &q.h, on_socket, &d) == 0 && is_there;
}
