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
};

struct udp_query {
	struct list link; /* in pod->queries */
	struct dns_pod *pod;
	struct dns_listener *listener;
	struct loop_fd w; /* connected to the nameserver; fd < 0 while waiting for a socket or its
			     address */
	struct loop_timer deadline;
	struct path path;
	size_t len;
	uint8_t packet[];
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void query_free(struct udp_query *q)
{
	loop_timer_del(&q->deadline);
	loop_del(&q->w);
	close_fd(q->w.fd);
	list_del(&q->link);
	q->pod->queries_count--;
	q->pod->dns->queries--;
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
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
			   !p->has_local) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			p->local = cv_addr_from_v4(info.ipi_addr.s_addr);
			p->has_local = true;
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

static void query_fail(struct udp_query *q)
{
	size_t len = dns_fail(q->pod->dns, q->packet, q->len);

	if (len)
		reply(q->listener->w.fd, &q->path, q->pod->dns->answer, len);
	query_free(q);
}

static void on_deadline(struct loop_timer *t)
{
	struct udp_query *q = container_of(t, struct udp_query, deadline);

	/* silence, as the nameserver kept it */
	q->pod->dns->stats.failures++;
	query_free(q);
}

static void on_upstream(struct loop_fd *w, uint32_t events _unused_)
{
	struct udp_query *q = container_of(w, struct udp_query, w);
	struct dns *d = q->pod->dns;
	ssize_t n = recv(w->fd, d->packet, sizeof(d->packet), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		query_fail(q);
		return;
	}
	/* not the answer to this question: go on waiting */
	if ((size_t)n < DNS_HEADER_LEN || q->len < DNS_HEADER_LEN ||
	    memcmp(d->packet, q->packet, 2) != 0)
		return;
	reply(q->listener->w.fd, &q->path, d->packet, (size_t)n);
	query_free(q);
}

/* Send it when nameserver and socket are there. Return: 0 sent or still waiting; -errno. */
static int query_try(struct udp_query *q)
{
	const struct cv_addr *ns = dns_nameserver_of(q->pod, &q->path.local, q->listener->slot);
	struct cv_sockaddr to = {.port = htons(DNS_PORT)};
	struct sockaddr_storage native;
	socklen_t len;
	int r;

	if (!ns)
		return 0;
	r = dns_stock_take(q->pod, false, ns);
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	q->w.fd = r;
	to.addr = *ns;
	r = cv_sockaddr_to_native(&to, AF_UNSPEC, &native, &len);
	if (r < 0)
		return r;
	if (connect(q->w.fd, (struct sockaddr *)&native, len) < 0)
		return -errno;
	if (send(q->w.fd, q->packet, q->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	q->pod->dns->stats.forwarded++;
	q->w.on_event = on_upstream;
	return loop_add(q->pod->dns->loop, &q->w, EPOLLIN);
}

static void query_start(struct dns_listener *l, const struct path *p, const uint8_t *packet,
			size_t len)
{
	struct dns_pod *pod = l->pod;
	struct dns *d = pod->dns;
	struct udp_query *q = NULL;

	if (pod->queries_count < DNS_POD_QUERIES && d->queries < DNS_ALL_QUERIES)
		q = calloc(1, sizeof(*q) + len);
	if (!q) {
		d->stats.dropped++;
		return;
	}
	q->pod = pod;
	q->listener = l;
	q->w.fd = -EBADF;
	q->path = *p;
	q->len = len;
	memcpy(q->packet, packet, len);
	q->deadline.on_timer = on_deadline;
	list_add_tail(&pod->queries, &q->link);
	pod->queries_count++;
	d->queries++;
	if (loop_timer_set(d->loop, &q->deadline, DNS_DEADLINE_US) < 0 || query_try(q) < 0)
		query_fail(q);
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
	size_t len;
	int r;

	if (n < 0)
		return errno == EINTR;
	p.client_len = m.msg_namelen;
	path_read_control(&m, &p);
	d->stats.requests++;
	r = p.has_local ? dns_try_answer(l->pod, d->packet, (size_t)n, false, &len) : -EBADMSG;
	if (r == 0)
		reply(l->w.fd, &p, d->answer, len);
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
		if (q->w.fd < 0 && query_try(q) < 0)
			query_fail(q);
}

void dns_udp_drop_all(struct dns_pod *pod)
{
	struct udp_query *q, *tmp;

	list_for_each_entry_safe (q, tmp, &pod->queries, link)
		query_free(q);
}
