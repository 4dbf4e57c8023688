/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_bytes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/map.h"
#include "direct.h"
#include "direct_news.h"
#include "direct_told.h"
#include "direct_untold.h"
#include "directs.h"
#include "net/addr.h"
#include "netlink.h"
#include "pods.h"
#include "sockdump.h"
#include "zds.h"

/* tcp(7)'s states in which data may still be on its way. */
#define CLOSE_WAIT 8
#define STATES     (1u << 1 | 1u << 4 | 1u << 5 | 1u << CLOSE_WAIT)

struct direct_bytes {
	const struct direct_config *config;
	struct direct_news *news;
	struct loop_timer timer;
};

/* One look into a client's namespace. */
struct look {
	const struct direct_bytes *bytes;
	uint64_t cookie;
	uint64_t before_ns; /* only what was open then: its beginning has been told */
};

static void tell(const struct look *l, const struct direct_told_key *k, const struct cv_direct *c,
		 const struct direct_amount *now)
{
	const struct direct_bytes *b = l->bytes;
	const struct cv_tuple t = directs_tuple(&k->key, c);
	struct direct_amount new = direct_told_raise(
		datapath_map_fd(b->config->datapath, DATAPATH_DIRECT_TOLD), k, now);
	const struct zds_direct m = {.src_cookie = c->src_cookie,
				     .dst_cookie = c->dst_cookie,
				     .opened_us = c->time_ns / 1000,
				     .sent = now->sent,
				     .received = now->received,
				     .new_sent = new.sent,
				     .new_received = new.received,
				     .src = {.addr = t.local, .port = t.local_port},
				     .dst = {.addr = t.remote, .port = t.remote_port},
				     .asked = c->asked,
				     .what = ZDS_DIRECT_PROGRESS};

	if (new.sent > 0 || new.received > 0)
		direct_news_add(b->news, &m);
}

/* The kernel counts the peer's FIN as a byte. */
static struct direct_amount amount_of(const struct inet_diag_msg *m, const struct tcp_info *info)
{
	uint64_t fin = m->idiag_state == CLOSE_WAIT && info->tcpi_bytes_received > 0;

	return (struct direct_amount){.sent = info->tcpi_bytes_sent - info->tcpi_bytes_retrans,
				      .received = info->tcpi_bytes_received - fin};
}

/* Where a pod has asked for a service and was led to itself, both ends are in its namespace. */
static bool is_client(const struct cv_tuple *t, const struct cv_direct *c)
{
	return cv_tuple_is_first(t) == !(c->flags & CV_DIRECT_TURNED);
}

static int on_socket(void *arg, const struct cv_tuple *of, const struct nlmsghdr *h)
{
	const size_t enough = offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(__u64);
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	const struct look *l = arg;
	struct direct_told_key k = {.key = cv_tuple_is_first(of) ? *of : cv_tuple_turned(of)};
	const struct tcp_info *info;
	struct direct_amount now;
	struct cv_direct c;

	info = netlink_attr((const struct rtattr *)(m + 1), h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)),
			    INET_DIAG_INFO, enough);
	if (!info ||
	    bpf_map_lookup_elem(datapath_map_fd(l->bytes->config->datapath, DATAPATH_DIRECTS),
				&k.key, &c) < 0 ||
	    c.src_cookie != l->cookie || !is_client(of, &c) || c.time_ns >= l->before_ns)
		return 0;
	k.time_ns = c.time_ns;
	now = amount_of(m, info);
	tell(l, &k, &c, &now);
	return 0;
}

/* In the client's namespace. Mapped addresses are among the IPv6 ones. */
static int look(void *arg)
{
	return sockdump_tcp(STATES, INET_DIAG_INFO, on_socket, arg);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The namespaces with connections that are open for longer than a round: others end soon, and their
 * end tells. */
struct clients {
	struct map *cookies;
	uint64_t before_ns;
	int error;
};

static bool on_direct(void *arg, const struct cv_tuple *key, const struct cv_direct *c)
{
	struct clients *l = arg;

	(void)key;
	if (directs_is_open(c) && c->time_ns < l->before_ns)
		l->error = map_put(l->cookies, &c->src_cookie, sizeof(c->src_cookie), l->cookies);
	return l->error == 0;
}

static int clients_find(const struct direct_bytes *b, uint64_t before_ns, struct map *into)
{
	struct clients l = {.cookies = into, .before_ns = before_ns};
	int r = directs_each(datapath_map_fd(b->config->datapath, DATAPATH_DIRECTS), on_direct, &l);

	return r < 0 ? r : l.error;
}

static void on_round(struct loop_timer *t)
{
	struct direct_bytes *b = container_of(t, struct direct_bytes, timer);
	_cleanup_(map_freep) struct map *clients = NULL;
	struct look l = {.bytes = b, .before_ns = now_ns() - DIRECT_BYTES_ROUND_US * 1000};
	int r = map_new(&clients);

	if (r == 0 && zds_is_connected(b->config->zds))
		r = clients_find(b, l.before_ns, clients);
	if (r == 0)
		map_for_each (clients, it) {
			int fd;

			memcpy(&l.cookie, it.key, sizeof(l.cookie));
			fd = pods_netns_fd(b->config->pods, l.cookie);
			r = fd < 0 ? 0 : netns_call(b->config->home, fd, look, &l);
			if (r < 0)
				log_debug("agent", "no byte counts cookie=%llu error=%d",
					  (unsigned long long)l.cookie, r);
		}
	if (zds_is_connected(b->config->zds))
		direct_untold_tell(datapath_map_fd(b->config->datapath, DATAPATH_DIRECT_UNTOLD),
				   b->news);
	direct_news_flush(b->news);
	(void)loop_timer_set(b->config->loop, t, DIRECT_BYTES_ROUND_US);
}

int direct_bytes_new(const struct direct_config *config, struct direct_news *news,
		     struct direct_bytes **ret)
{
	_cleanup_(direct_bytes_freep) struct direct_bytes *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->config = config;
	b->news = news;
	b->timer.on_timer = on_round;
	r = loop_timer_set(config->loop, &b->timer, DIRECT_BYTES_ROUND_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(b);
	return 0;
}

struct direct_bytes *direct_bytes_free(struct direct_bytes *b)
{
	if (!b)
		return NULL;
	loop_timer_del(&b->timer);
	free(b);
	return NULL;
}
