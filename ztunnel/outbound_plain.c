/* SPDX-License-Identifier: Apache-2.0 */
/* outbound_plain - the half of outbound that has no tunnel: destinations outside the mesh. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "net/tcp.h"
#include "ztunnel/outbound_internal.h"
#include "ztunnel/pod.h"

struct plain {
	struct splice splice;
	struct outbound *owner;
};

static void on_splice_bytes(struct splice *s, uint64_t forward, uint64_t back)
{
	conn_count_bytes(&container_of(s, struct plain, splice)->owner->conn, forward, back);
}

static void on_splice_done(struct splice *s, int error)
{
	conn_fail(&container_of(s, struct plain, splice)->owner->conn, CONN_OK,
		  error < 0 ? "connection reset" : NULL);
}

static const struct splice_ops splice_ops = {on_splice_bytes, on_splice_done};

/* take_over() - a tunnel refused what the application had said, and the destination has left the
 * mesh since: it gets everything from the beginning, and it is counted when it does. */
static void take_over(struct outbound *o, struct splice *s)
{
	struct buf said = {0};

	relay_take_said(&o->relay, &said);
	splice_said(s, &said, o->relay.is_app_eof);
	o->conn.bytes_to_server = 0;
}

static int plain_splice(struct outbound *o)
{
	const int fds[2] = {o->relay.app.fd, o->attempt->plain_fd};
	struct plain *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->owner = o;
	take_over(o, &p->splice);
	loop_del(&o->relay.app);
	r = splice_start(&p->splice, o->conn.worker->loop, o->conn.worker->splice_scratch, fds,
			 &splice_ops);
	if (r < 0) {
		free(p);
		return r;
	}
	o->plain = p;
	o->relay.app.fd = -EBADF;
	o->attempt->plain_fd = -EBADF;
	return 0;
}

static void on_plain_event(struct loop_fd *w, uint32_t events)
{
	struct attempt *a = container_of(w, struct attempt, plain_watch);
	struct outbound *o = a->owner;
	int r = 0;

	if (events & (EPOLLERR | EPOLLHUP))
		r = tcp_connect_result(w->fd);
	loop_del(w);
	if (r < 0) {
		a->plain_fd = close_fd(a->plain_fd);
		if (!outbound_try_next(o))
			conn_fail_errno(&o->conn, CONN_IO_ERROR, r);
		return;
	}
	if (plain_splice(o) < 0)
		conn_fail(&o->conn, CONN_CONNECT, "out of memory");
	else
		outbound_opened(o);
}

static int plain_connect(struct attempt *a)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = cv_sockaddr_to_native(&a->plain_dial, AF_UNSPEC, &ss, &len);
	if (r < 0)
		return r;
	(void)socket_set_nodelay_keepalive(a->plain_fd);
	relay_reset_on_close(a->plain_fd, true);
	if (connect(a->plain_fd, (const struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	a->plain_watch.fd = a->plain_fd;
	a->plain_watch.on_event = on_plain_event;
	return loop_add(a->owner->conn.worker->loop, &a->plain_watch, EPOLLOUT);
}

static void on_plain_socket(struct dial_wait *wait, int fd)
{
	struct attempt *a = container_of(wait, struct attempt, dial_wait);
	struct outbound *o = a->owner;
	int r = fd;

	if (fd >= 0) {
		a->plain_fd = fd;
		r = plain_connect(a);
	}
	if (r >= 0)
		return;
	a->plain_fd = close_fd(a->plain_fd);
	if (fd >= 0 && outbound_try_next(o))
		return;
	/* connect(2) itself refuses: the agent knows by now that the mesh has this destination, our
	 * snapshot is about to */
	if (r == -ECONNREFUSED && outbound_may_retry(o))
		outbound_retry_later(o);
	else
		conn_fail_errno(&o->conn, CONN_IO_ERROR, r);
}

void outbound_dial(struct outbound *o, const struct upstream *u)
{
	enum zds_family family = cv_addr_is_v4(&u->dial.addr) ? ZDS_INET : ZDS_INET6;
	struct stock *stock = worker_pod_stock(o->conn.worker, o->conn.pod->netns_cookie,
					       CV_SOCKET_DIAL_PLAIN, family);
	int r;

	o->attempt->plain_dial = u->dial;
	o->conn.dst = u->dial;
	o->conn.is_plain = true;
	if (!stock) {
		conn_fail(&o->conn, CONN_CONNECT, "the pod is gone");
		return;
	}
	o->attempt->dial_wait.on_socket = on_plain_socket;
	r = stock_take(stock, &o->attempt->dial_wait);
	if (r != -EAGAIN)
		on_plain_socket(&o->attempt->dial_wait, r);
}

void outbound_dial_stop(struct outbound *o)
{
	struct attempt *a = o->attempt;

	if (a) {
		loop_del(&a->plain_watch);
		a->plain_fd = close_fd(a->plain_fd);
	}
	if (o->plain)
		splice_reset(&o->plain->splice);
	free(o->plain);
	o->plain = NULL;
}
