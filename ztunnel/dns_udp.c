/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "ztunnel/dns_internal.h"

#define BATCH_MAX 64 /* datagrams of one wake-up: the loop has others to serve */

/* From where a datagram came and to which address: the answer goes back the same way. */
struct path {
	struct sockaddr_storage client;
	socklen_t client_len;
	struct cv_addr local;
	bool has_local;
	bool is_to_many; /* multicast, broadcast */
};

/* One nameserver that has been asked. */
struct udp_try {
	struct loop_fd w; /* connected to it; fd < 0: not yet, or it refused */
	struct udp_query *query;
};

struct udp_query {
	struct list link; /* in pod->queries */
	struct dns_pod *pod;
	struct dns_listener *listener;
	struct udp_try tries[DNS_TRIES]; /* whichever answers first is right */
	unsigned int tries_count, tries_max;
	bool is_waiting;         /* the last try, for a socket or for its nameserver's address */
	struct loop_timer timer; /* for the next try */
	struct path path;
	uint64_t started_us;
	size_t len;
	uint8_t packet[];
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void try_end(struct udp_try *t)
{
	loop_del(&t->w);
	t->w.fd = close_fd(t->w.fd);
}

static void query_free(struct udp_query *q)
{
	loop_timer_del(&q->timer);
	for (size_t i = 0; i < DNS_TRIES; i++)
		try_end(&q->tries[i]);
	list_del(&q->link);
	q->pod->queries_count--;
	q->pod->dns->queries--;
	dns_let_go(q->pod, sizeof(*q) + q->len);
	free(q);
}

static void path_read_control(struct msghdr *m, struct path *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			p->local = cv_addr_from_v6(&info.ipi6_addr);
			p->has_local = true;
			if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
				p->is_to_many = true;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			p->local = cv_addr_from_v4(info.ipi_addr.s_addr);
			p->has_local = true;
			if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr)
				p->is_to_many = true;
		}
	}
}

static size_t path_write_control(const struct path *p, union control *into)
{
	struct cmsghdr *c = &into->align;

	memset(into, 0, sizeof(*into));
	if (p->client.ss_family == AF_INET) {
		struct in_pktinfo info = {.ipi_spec_dst.s_addr = p->local.w[3]};

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	struct in6_pktinfo info = {0};

	memcpy(&info.ipi6_addr, &p->local, sizeof(p->local));
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	return CMSG_SPACE(sizeof(info));
}

static void reply(int fd, const struct path *p, const void *packet, size_t len)
{
	struct iovec iov = {.iov_base = (void *)packet, .iov_len = len};
	union control control;
	struct msghdr m = {
		.msg_name = (void *)&p->client,
		.msg_namelen = p->client_len,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = path_write_control(p, &control),
	};
	/* a full buffer loses the datagram, as a network would: the client asks again */
	ssize_t sent _unused_ = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Whether a client hears a listener that has been replaced, or the one in its place, depends on
 * where the agent leads the pod by now, and on whether the client's socket is connected: so both
 * say it. */
static void answer(const struct dns_listener *l, const struct path *p, const void *packet,
		   size_t len)
{
	const struct dns_pod *heir = dns_pod_heir(l->pod);

	reply(l->w.fd, p, packet, len);
	if (heir)
		reply(heir->udp[l->slot].w.fd, p, packet, len);
}

static void answer_failure(const struct dns_listener *l, const struct path *p,
			   const uint8_t *packet, size_t packet_len)
{
	const struct dns_request request = dns_request_of(l->pod, packet, packet_len, false);
	size_t len = dns_fail(l->pod->dns, &request);

	if (len)
		answer(l, p, l->pod->dns->answer, len);
}

static void query_fail(struct udp_query *q)
{
	answer_failure(q->listener, &q->path, q->packet, q->len);
	query_free(q);
}

static void query_next(struct udp_query *q);

static bool has_open_try(const struct udp_query *q)
{
	for (size_t i = 0; i < DNS_TRIES; i++)
		if (q->tries[i].w.fd >= 0)
			return true;
	return q->is_waiting;
}

/* This nameserver will not answer: the next one at once. */
static void try_fail(struct udp_try *t)
{
	struct udp_query *q = t->query;

	try_end(t);
	if (q->tries_count < q->tries_max)
		query_next(q);
	else if (!has_open_try(q))
		query_fail(q);
}

static void on_upstream(struct loop_fd *w, uint32_t events _unused_)
{
	struct udp_try *t = container_of(w, struct udp_try, w);
	struct udp_query *q = t->query;
	struct dns *d = q->pod->dns;
	ssize_t n = recv(w->fd, d->packet, sizeof(d->packet), MSG_DONTWAIT);
	struct dns_request request;
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		try_fail(t);
		return;
	}
	/* not the answer to this question: go on waiting */
	if (!dns_is_reply(q->packet, q->len, d->packet, (size_t)n))
		return;
	request = dns_request_of(q->pod, q->packet, q->len, false);
	dns_metrics_took(d->metrics, &request, loop_now_us(d->loop) - q->started_us);
	len = dns_substitute(q->pod, &request, d->packet);
	answer(q->listener, &q->path, len ? d->answer : d->packet, len ? len : (size_t)n);
	query_free(q);
}

static int try_send(struct udp_try *t, const struct cv_addr *nameserver)
{
	struct cv_sockaddr to = {.addr = *nameserver, .port = htons(DNS_PORT)};
	struct udp_query *q = t->query;
	struct sockaddr_storage native;
	socklen_t len;
	int r = cv_sockaddr_to_native(&to, AF_UNSPEC, &native, &len);

	if (r < 0)
		return r;
	if (connect(t->w.fd, (struct sockaddr *)&native, len) < 0)
		return -errno;
	if (send(t->w.fd, q->packet, q->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	t->w.on_event = on_upstream;
	return loop_add(q->pod->dns->loop, &t->w, EPOLLIN);
}

/* Send the last try when nameserver and socket are there. */
static void try_start(struct udp_query *q)
{
	const struct cv_addr *ns = dns_nameserver_of(q->pod, &q->path.local, q->listener->slot);
	struct udp_try *t = &q->tries[q->tries_count - 1];
	int r = -EAGAIN;

	if (ns) {
		ns = dns_server(q->pod, ns, q->tries_count - 1);
		r = dns_stock_take(q->pod, false, ns);
	}
	q->is_waiting = r == -EAGAIN;
	if (q->is_waiting)
		return;
	t->w.fd = r;
	if (r < 0 || try_send(t, ns) < 0)
		try_fail(t);
}

static void query_next(struct udp_query *q)
{
	bool is_last = ++q->tries_count == q->tries_max;

	/* what is asked once may take all the time */
	if (loop_timer_set(q->pod->dns->loop, &q->timer,
			   is_last ? DNS_TRY_US * (DNS_TRIES - q->tries_max + 1) : DNS_TRY_US) < 0)
		query_fail(q);
	else
		try_start(q);
}

static void on_timer(struct loop_timer *t)
{
	struct udp_query *q = container_of(t, struct udp_query, timer);

	if (q->tries_count < q->tries_max)
		query_next(q);
	else
		query_fail(q);
}

/* A new query of @len bytes, if there may be one. Return: NULL: none now. */
static struct udp_query *query_new(struct dns_pod *pod, size_t len)
{
	struct udp_query *q;

	if (pod->queries_count >= DNS_POD_SHARE &&
	    (pod->queries_count >= DNS_POD_QUERIES || pod->dns->queries >= DNS_ALL_QUERIES))
		return NULL;
	if (dns_hold_new(pod, sizeof(*q) + len) < 0)
		return NULL;
	q = calloc(1, sizeof(*q) + len);
	if (!q) {
		dns_let_go(pod, sizeof(*q) + len);
		return NULL;
	}
	q->pod = pod;
	q->len = len;
	list_add_tail(&pod->queries, &q->link);
	pod->queries_count++;
	pod->dns->queries++;
	return q;
}

static void query_start(struct dns_listener *l, const struct path *p, const uint8_t *packet,
			size_t len)
{
	struct dns_pod *pod = l->pod;
	struct dns *d = pod->dns;
	struct udp_query *q = query_new(pod, len);
	struct dns_request request;

	if (!q) {
		d->stats.dropped++;
		answer_failure(l, p, packet, len);
		return;
	}
	q->listener = l;
	for (size_t i = 0; i < DNS_TRIES; i++) {
		q->tries[i].query = q;
		q->tries[i].w.fd = -EBADF;
	}
	q->tries_max = dns_tries(packet, len);
	q->started_us = loop_now_us(d->loop);
	q->path = *p;
	memcpy(q->packet, packet, len);
	request = dns_request_of(pod, q->packet, len, false);
	dns_metrics_count(d->metrics, &request, DNS_FORWARDED);
	q->timer.on_timer = on_timer;
	query_next(q);
}

/* The pod's own questions come to loopback, those of a machine in it to its nameserver's address.
 * To the pod's address, its link or a group only somebody outside can have sent, who may neither
 * use the pod's nameservers nor take the room of its questions. */
static bool is_from_within(const struct dns_pod *pod, const struct path *p)
{
	if (!p->has_local || p->is_to_many)
		return false;
	for (size_t i = 0; i < pod->addrs_count; i++)
		if (cv_addr_equal(&pod->addrs[i], &p->local))
			return false;
	/* of IPv4 some nameservers have such addresses */
	return cv_addr_is_v4(&p->local) || !cv_addr_is_link_local(&p->local);
}

/* One datagram. Return: false when there is no more. */
static bool serve_one(struct dns_listener *l)
{
	struct dns *d = l->pod->dns;
	struct path p = {.client_len = sizeof(p.client)};
	struct iovec iov = {.iov_base = d->packet, .iov_len = sizeof(d->packet)};
	union control control;
	struct msghdr m = {
		.msg_name = &p.client,
		.msg_namelen = sizeof(p.client),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(l->w.fd, &m, MSG_DONTWAIT);
	struct dns_request request;
	size_t len;
	int r;

	if (n < 0)
		return errno == EINTR;
	p.client_len = m.msg_namelen;
	path_read_control(&m, &p);
	if (!is_from_within(l->pod, &p)) {
		d->stats.dropped++;
		return true;
	}
	request = dns_request_of(l->pod, d->packet, (size_t)n, false);
	dns_metrics_count(d->metrics, &request, DNS_ASKED);
	r = dns_try_answer(l->pod, &request, &len);
	if (r == 0)
		answer(l, &p, d->answer, len);
	else if (r == -ENOENT)
		query_start(l, &p, d->packet, (size_t)n);
	else
		d->stats.dropped++;
	return true;
}

void dns_udp_on_event(struct loop_fd *w, uint32_t events _unused_)
{
	struct dns_listener *l = container_of(w, struct dns_listener, w);

	for (int i = 0; i < BATCH_MAX; i++)
		if (!serve_one(l))
			return;
}

void dns_udp_retry(struct dns_pod *pod)
{
	struct udp_query *q, *tmp;

	list_for_each_entry_safe (q, tmp, &pod->queries, link)
		if (q->is_waiting)
			try_start(q);
}

void dns_udp_fail_all(struct dns_pod *pod)
{
	struct udp_query *q, *tmp;

	list_for_each_entry_safe (q, tmp, &pod->queries, link)
		query_fail(q);
}
