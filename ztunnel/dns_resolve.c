/* SPDX-License-Identifier: Apache-2.0 */
/* dns_resolve - names that a connection itself needs (endpoints that a ServiceEntry gives by name):
 * c-ares asks the pod's own nameservers, with sockets of the pod's own. An answer is kept for its
 * TTL and not a moment longer; a failure is not kept. */
#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/map.h"
#include "net/addr.h"
#include "net/resolve.h"
#include "ztunnel/dns_internal.h"

#define TRY_MS       1500
#define TRIES        2
#define DEADLINE_US  (5 * 1000 * 1000)
#define SOCKETS_MAX  16
#define NAMES_MAX    1024
#define ADDRS_MAX    64
#define SECOND_US    1000000ULL
#define SWEEP_FROM   32
#define NS_TEXT_SIZE (ZDS_NAMESERVERS * (CV_ADDR_STRLEN + 4))

/* One host. */
struct name {
	struct dns_resolver *resolver;
	struct list waiting; /* struct dns_ask */
	struct list queued;  /* in resolver->queued, until there are sockets */
	struct loop_timer deadline;
	bool is_asked;       /* c-ares has it */
	bool is_failing;     /* being answered: not to be asked again */
	uint64_t expires_us; /* of addrs; 0: none */
	struct cv_addr addrs[ADDRS_MAX];
	size_t count;
	char host[DNS_NAME_SIZE + 2];
};

struct watch {
	struct loop_fd w;
	struct dns_resolver *resolver;
};

struct dns_resolver {
	struct dns_pod *pod;
	ares_channel channel;
	struct map *names; /* host -> struct name */
	struct list queued;
	struct watch watches[SOCKETS_MAX];
	struct loop_timer timer;
	struct ares_socket_functions functions;
	bool is_ending;
};

static uint64_t now_us(const struct dns_resolver *r)
{
	return loop_now_us(r->pod->dns->loop);
}

/* ---- sockets: from the pod's stock ---- */

static ares_socket_t on_socket(int domain, int type, int protocol, void *arg)
{
	struct dns_resolver *r = arg;
	struct cv_addr like = {0};
	int fd;

	if (domain == AF_INET)
		like.w[2] = htonl(0xffff);
	fd = dns_stock_take(r->pod, type == SOCK_STREAM, &like);
	if (fd >= 0)
		return fd;
	errno = EMFILE;
	return -1;
}

static int on_close(ares_socket_t fd, void *arg)
{
	return close(fd);
}

static int on_connect(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len, void *arg)
{
	return connect(fd, to, len);
}

static ares_ssize_t on_receive(ares_socket_t fd, void *into, size_t len, int flags,
			       struct sockaddr *from, ares_socklen_t *from_len, void *arg)
{
	return recvfrom(fd, into, len, flags, from, from_len);
}

static ares_ssize_t on_send(ares_socket_t fd, const struct iovec *v, int n, void *arg)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n};

	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
	.asocket = on_socket,
	.aclose = on_close,
	.aconnect = on_connect,
	.arecvfrom = on_receive,
	.asendv = on_send,
};

/* ---- the loop ---- */

static void timer_arm(struct dns_resolver *r)
{
	struct timeval tv, *next = ares_timeout(r->channel, NULL, &tv);

	if (next)
		(void)loop_timer_set(r->pod->dns->loop, &r->timer,
				     (uint64_t)tv.tv_sec * SECOND_US + (uint64_t)tv.tv_usec + 1);
	else
		loop_timer_del(&r->timer);
}

static void on_timer(struct loop_timer *t)
{
	struct dns_resolver *r = container_of(t, struct dns_resolver, timer);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	timer_arm(r);
}

static void on_ready(struct loop_fd *w, uint32_t events)
{
	struct dns_resolver *r = container_of(w, struct watch, w)->resolver;
	bool is_error = events & (EPOLLERR | EPOLLHUP);

	ares_process_fd(r->channel, events & EPOLLIN || is_error ? w->fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? w->fd : ARES_SOCKET_BAD);
	timer_arm(r);
}

static struct watch *watch_find(struct dns_resolver *r, int fd)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (r->watches[i].w.fd == fd)
			return &r->watches[i];
	return NULL;
}

/* What finds no watch is not heard: its query runs into its time limit. */
static void on_socket_state(void *arg, ares_socket_t fd, int wants_read, int wants_write)
{
	struct dns_resolver *r = arg;
	uint32_t events = (wants_read ? EPOLLIN : 0) | (wants_write ? EPOLLOUT : 0);
	struct watch *watch = watch_find(r, fd);

	if (watch && events) {
		loop_set(&watch->w, events);
		return;
	}
	if (watch) {
		loop_del(&watch->w);
		watch->w.fd = -EBADF;
		return;
	}
	watch = events ? watch_find(r, -EBADF) : NULL;
	if (!watch)
		return;
	watch->w.fd = fd;
	watch->w.on_event = on_ready;
	watch->resolver = r;
	if (loop_add(r->pod->dns->loop, &watch->w, events) < 0)
		watch->w.fd = -EBADF;
}

/* ---- names ---- */

static void name_free(struct name *n)
{
	loop_timer_del(&n->deadline);
	list_del(&n->queued);
	free(n);
}

static void answer(struct dns_ask *ask, const struct name *n, int error)
{
	list_del(&ask->link);
	ask->on_answer(ask, error, error ? NULL : n->addrs, error ? 0 : n->count);
}

static void answer_all(struct name *n, int error)
{
	loop_timer_del(&n->deadline);
	n->is_failing = true;
	while (!list_is_empty(&n->waiting))
		answer(list_entry(n->waiting.next, struct dns_ask, link), n, error);
	n->is_failing = false;
}

/* The smallest TTL of all that led here. */
static uint64_t addresses_take(struct name *n, const struct ares_addrinfo *info)
{
	uint64_t ttl_s = UINT32_MAX;
	struct cv_sockaddr sa;

	n->count = 0;
	for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
		ttl_s = MIN(ttl_s, (uint64_t)MAX(c->ttl, 0));
	for (const struct ares_addrinfo_node *a = info->nodes; a && n->count < ADDRS_MAX;
	     a = a->ai_next) {
		if (cv_sockaddr_from_native(a->ai_addr, a->ai_addrlen, &sa) < 0)
			continue;
		n->addrs[n->count++] = sa.addr;
		ttl_s = MIN(ttl_s, (uint64_t)MAX(a->ai_ttl, 0));
	}
	return ttl_s;
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct name *n = arg;
	struct dns *d = n->resolver->pod->dns;
	uint64_t ttl_s = 0;
	int error = resolve_error(status);

	n->is_asked = false;
	n->expires_us = 0;
	if (info && error == 0)
		ttl_s = addresses_take(n, info);
	ares_freeaddrinfo(info);
	if (error == 0 && n->count == 0)
		error = -ENOENT;
	if (error == 0)
		n->expires_us = now_us(n->resolver) + ttl_s * SECOND_US;
	d->stats.own_failures += error && error != -ENOENT && error != -ECANCELED;
	answer_all(n, error);
}

/* c-ares goes on, and what it finds is kept; those who wait do so no longer. */
static void on_deadline(struct loop_timer *t)
{
	struct name *n = container_of(t, struct name, deadline);

	list_del(&n->queued);
	answer_all(n, -ETIMEDOUT);
}

/* For any of its nameservers: to one whose family the pod cannot have c-ares goes in vain, and then
 * to the next. For TCP, too: an answer that UDP has cut c-ares asks for again at once, and gives up
 * where it gets no socket. */
static bool has_sockets(struct dns_resolver *r)
{
	bool has_any = false;

	for (size_t i = 0; i < r->pod->nameservers_count; i++) {
		bool has_udp = dns_stock_has(r->pod, false, &r->pod->nameservers[i]);
		bool has_tcp = dns_stock_has(r->pod, true, &r->pod->nameservers[i]);

		has_any |= has_udp && has_tcp;
	}
	return has_any;
}

static void name_ask(struct name *n)
{
	static const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT,
							 .ai_family = AF_UNSPEC};

	list_del(&n->queued);
	n->is_asked = true;
	n->resolver->pod->dns->stats.own++;
	ares_getaddrinfo(n->resolver->channel, n->host, NULL, &hints, on_addresses, n);
}

void dns_resolver_retry(struct dns_pod *pod)
{
	struct dns_resolver *r = pod->resolver;

	if (!r)
		return;
	while (!list_is_empty(&r->queued) && has_sockets(r))
		name_ask(list_entry(r->queued.next, struct name, queued));
	timer_arm(r);
}

static bool name_is_idle(const struct dns_resolver *r, const struct name *n)
{
	return !n->is_asked && !n->is_failing && list_is_empty(&n->waiting) &&
	       now_us(r) >= n->expires_us;
}

static void names_sweep(struct dns_resolver *r)
{
	map_for_each (r->names, it) {
		struct name *n = it.value;

		if (!name_is_idle(r, n))
			continue;
		(void)map_del_str(r->names, n->host);
		name_free(n);
	}
}

static int name_get(struct dns_resolver *r, const char *host, struct name **ret)
{
	struct name *n = map_get_str(r->names, host);
	int e;

	if (n) {
		*ret = n;
		return 0;
	}
	if (map_count(r->names) >= SWEEP_FROM)
		names_sweep(r);
	if (map_count(r->names) >= NAMES_MAX)
		return -ENOSPC;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->resolver = r;
	n->deadline.on_timer = on_deadline;
	list_init(&n->waiting);
	list_init(&n->queued);
	(void)snprintf(n->host, sizeof(n->host), "%s", host);
	e = map_put_str(r->names, host, n);
	if (e < 0) {
		free(n);
		return e;
	}
	*ret = n;
	return 0;
}

/* ---- one per pod ---- */

static int servers_set(struct dns_resolver *r)
{
	char text[NS_TEXT_SIZE] = "", addr[CV_ADDR_STRLEN];
	size_t at = 0;

	for (size_t i = 0; i < r->pod->nameservers_count; i++) {
		const struct cv_addr *a = &r->pod->nameservers[i];
		bool is_v4 = cv_addr_is_v4(a);

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s%s", i ? "," : "",
				       is_v4 ? "" : "[", cv_addr_format(a, addr), is_v4 ? "" : "]");
	}
	return ares_set_servers_ports_csv(r->channel, text) == ARES_SUCCESS ? 0 : -EINVAL;
}

static int channel_new(struct dns_resolver *r)
{
	struct ares_options o = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = TRY_MS,
		.tries = TRIES,
		.lookups = (char *)(uintptr_t) "b",
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
		   ARES_OPT_SOCK_STATE_CB;

	if (ares_init_options(&r->channel, &o, mask) != ARES_SUCCESS)
		return -ENOMEM;
	ares_set_socket_functions(r->channel, &socket_functions, r);
	return servers_set(r);
}

static int resolver_new(struct dns_pod *pod)
{
	struct dns_resolver *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->pod = pod;
	list_init(&r->queued);
	r->timer.on_timer = on_timer;
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		r->watches[i].w.fd = -EBADF;
	e = map_new(&r->names);
	if (e == 0)
		e = channel_new(r);
	if (e < 0) {
		(void)dns_resolver_free(r);
		return e;
	}
	pod->resolver = r;
	return 0;
}

struct dns_resolver *dns_resolver_free(struct dns_resolver *r)
{
	if (!r)
		return NULL;
	r->is_ending = true;
	if (r->channel)
		ares_destroy(r->channel);
	loop_timer_del(&r->timer);
	if (r->names)
		map_for_each (r->names, it) {
			answer_all(it.value, -ECANCELED);
			name_free(it.value);
		}
	map_free(r->names);
	free(r);
	return NULL;
}

static int resolver_ask(struct dns_resolver *r, struct dns_ask *ask)
{
	struct name *n;
	int e = r->is_ending ? -ECANCELED : name_get(r, ask->host, &n);

	if (e < 0)
		return e;
	list_add_tail(&n->waiting, &ask->link);
	if (now_us(r) < n->expires_us) {
		answer(ask, n, 0);
		return 0;
	}
	if (!n->deadline.loop)
		(void)loop_timer_set(r->pod->dns->loop, &n->deadline, DEADLINE_US);
	if (!n->is_asked && list_is_empty(&n->queued))
		list_add_tail(&r->queued, &n->queued);
	dns_resolver_retry(r->pod);
	return 0;
}

void dns_resolve(struct dns *d, uint64_t netns_cookie, struct dns_ask *ask)
{
	struct dns_pod *pod = map_get(d->pods, &netns_cookie, sizeof(netns_cookie));
	int e = pod ? 0 : -ECANCELED;

	list_init(&ask->link);
	if (pod && pod->nameservers_count == 0)
		e = -ENETDOWN;
	if (e == 0 && !pod->resolver)
		e = resolver_new(pod);
	if (e == 0)
		e = resolver_ask(pod->resolver, ask);
	if (e < 0)
		ask->on_answer(ask, e, NULL, 0);
}
