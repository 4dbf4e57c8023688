/* SPDX-License-Identifier: Apache-2.0 */
/* dns_stock - sockets to ask nameservers with, made by the agent. */
#include <errno.h>

#include "net/addr.h"
#include "ztunnel/dns_internal.h"

#define ASK_AGAIN_US (1000 * 1000)

void dns_stock_drop(struct dns_stock *s)
{
	while (s->count)
		close_fd(s->fds[--s->count]);
}

/* A pod that leaves has what it has, then its heir's. */
static struct dns_stock *stock_find(struct dns_pod *pod, bool is_tcp, uint32_t family)
{
	struct dns_stock *s = is_tcp ? &pod->tcp_stock[family] : &pod->udp_stock[family];
	struct dns_pod *heir = s->count ? NULL : dns_pod_heir(pod);

	if (!heir)
		return s;
	return is_tcp ? &heir->tcp_stock[family] : &heir->udp_stock[family];
}

static bool may_ask(const struct dns_pod *pod)
{
	return !pod->is_leaving || dns_pod_heir(pod);
}

/* Filled up in time: before the last one is taken. */
static struct dns_stock *stock_of(struct dns_pod *pod, bool is_tcp,
				  const struct cv_addr *nameserver)
{
	uint32_t family = cv_addr_is_v4(nameserver) ? ZDS_INET : ZDS_INET6;
	struct dns_stock *s = stock_find(pod, is_tcp, family);
	struct dns *d = pod->dns;
	uint64_t now = loop_now_us(d->loop);

	if (may_ask(pod) && s->count <= 1 && (!s->asked_us || now - s->asked_us > ASK_AGAIN_US)) {
		s->asked_us = now ? now : 1;
		d->config.need_sockets(d->config.arg, pod->netns_cookie,
				       is_tcp ? CV_SOCKET_DIAL_PLAIN : CV_SOCKET_DNS, family,
				       is_tcp ? 2 : DNS_BATCH);
	}
	return s;
}

int dns_stock_take(struct dns_pod *pod, bool is_tcp, const struct cv_addr *nameserver)
{
	struct dns_stock *s = stock_of(pod, is_tcp, nameserver);

	if (s->count)
		return s->fds[--s->count];
	return may_ask(pod) ? -EAGAIN : -ENETDOWN;
}

bool dns_stock_has(struct dns_pod *pod, bool is_tcp, const struct cv_addr *nameserver)
{
	return stock_of(pod, is_tcp, nameserver)->count > 0 || !may_ask(pod);
}
