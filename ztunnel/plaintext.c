/* SPDX-License-Identifier: Apache-2.0 */
/* plaintext - the half of inbound.h that has no tunnel: what was dialled in the clear. */
#include "ztunnel/inbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "net/tcp.h"
#include "ztunnel/conn.h"
#include "ztunnel/pod.h"
#include "ztunnel/relay.h"
#include "ztunnel/resolve.h"
#include "ztunnel/splice.h"
#include "ztunnel/state.h"

#define STATE_TIMEOUT_US (5 * 1000000ULL)
#define DIAL_TIMEOUT_US  (10 * 1000000ULL)

struct plaintext {
	struct conn conn;
	struct splice splice;
	struct state_wait state_wait;
	struct dial_wait dial_wait;
	int client_fd;
	int app_fd;
	struct loop_fd app_watch; /* while connecting */
};

static void destroy(struct conn *c)
{
	struct plaintext *p = container_of(c, struct plaintext, conn);

	state_wait_cancel(&p->state_wait);
	dial_wait_cancel(&p->dial_wait);
	splice_reset(&p->splice);
	loop_del(&p->app_watch);
	p->client_fd = relay_close_rst(p->client_fd);
	p->app_fd = close_fd(p->app_fd);
	conn_release(&p->conn);
	free(p);
}

static const struct conn_ops conn_ops = {
	.direction = CONN_INBOUND,
	.has_socket = true,
	.cut = conn_fail,
	.destroy = destroy,
};

static void on_splice_bytes(struct splice *s, uint64_t forward, uint64_t back)
{
	conn_count_bytes(&container_of(s, struct plaintext, splice)->conn, forward, back);
}

static void on_splice_done(struct splice *s, int error)
{
	struct plaintext *p = container_of(s, struct plaintext, splice);

	conn_fail(&p->conn, CONN_OK, error < 0 ? "connection reset" : NULL);
}

static const struct splice_ops splice_ops = {on_splice_bytes, on_splice_done};

static void on_app_connecting(struct loop_fd *w, uint32_t events)
{
	struct plaintext *p = container_of(w, struct plaintext, app_watch);
	int r = 0, fds[2];

	if (events & (EPOLLERR | EPOLLHUP))
		r = tcp_connect_result(w->fd);
	loop_del(w);
	if (r < 0) {
		conn_fail_errno(&p->conn, CONN_DIAL_FAILED, r);
		return;
	}
	loop_timer_del(&p->conn.timer);
	fds[0] = p->client_fd;
	fds[1] = p->app_fd;
	if (splice_start(&p->splice, p->conn.worker->loop, p->conn.worker->splice_scratch, fds,
			 &splice_ops) < 0) {
		conn_fail(&p->conn, CONN_CONNECT, "out of memory");
		return;
	}
	p->client_fd = -EBADF;
	p->app_fd = -EBADF;
	conn_opened(&p->conn);
}

static int dial_app(struct plaintext *p, int fd)
{
	const int one = 1;
	int r;

	p->app_fd = fd;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = conn_dial_app(&p->conn, fd, &p->conn.dst);
	if (r < 0)
		return r;
	p->app_watch.fd = fd;
	p->app_watch.on_event = on_app_connecting;
	return loop_add(p->conn.worker->loop, &p->app_watch, EPOLLOUT);
}

static void on_socket(struct dial_wait *wait, int fd)
{
	struct plaintext *p = container_of(wait, struct plaintext, dial_wait);
	int r = fd < 0 ? fd : dial_app(p, fd);

	if (r < 0)
		conn_fail_errno(&p->conn, CONN_DIAL_FAILED, r);
}

static void dial(struct plaintext *p)
{
	enum zds_family family = cv_addr_is_v4(&p->conn.dst.addr) ? ZDS_INET : ZDS_INET6;
	struct stock *stock = worker_pod_stock(p->conn.worker, p->conn.pod->netns_cookie,
					       CV_SOCKET_DIAL_APP, family);
	int r;

	if (!stock) {
		conn_fail(&p->conn, CONN_CONNECT, "the pod is gone");
		return;
	}
	(void)loop_timer_set(p->conn.worker->loop, &p->conn.timer, DIAL_TIMEOUT_US);
	p->dial_wait.on_socket = on_socket;
	r = stock_take(stock, &p->dial_wait);
	if (r != -EAGAIN)
		on_socket(&p->dial_wait, r);
}

static void decide(struct plaintext *p)
{
	const struct state *s = p->conn.worker->state;
	const struct workload *dst = pod_workload(s, p->conn.pod);
	struct authz_verdict v;

	if (!dst || !state_is_synced(s)) {
		worker_wait_state(p->conn.worker, &p->state_wait);
		return;
	}
	loop_timer_del(&p->conn.timer);
	conn_set_dst(&p->conn, dst);
	conn_set_src(&p->conn, state_workload_by_addr(s, &p->conn.src.addr));
	conn_set_service(&p->conn, resolve_served(s, dst, ntohs(p->conn.dst.port), NULL));
	if (pod_is_own_port(p->conn.pod, ntohs(p->conn.dst.port))) {
		conn_fail(&p->conn, CONN_CONNECT, "the destination is ztunnel itself");
		return;
	}
	conn_note(&p->conn, dst);
	conn_check(&p->conn, dst, &v);
	if (!v.is_allowed) {
		conn_denied(&p->conn, &v);
		destroy(&p->conn);
		return;
	}
	p->conn.is_checked = true;
	dial(p);
}

static void on_state(struct state_wait *wait)
{
	decide(container_of(wait, struct plaintext, state_wait));
}

static void on_timer(struct loop_timer *timer)
{
	struct plaintext *p = container_of(timer, struct plaintext, conn.timer);

	conn_fail(&p->conn, CONN_CONNECT,
		  state_wait_is_waiting(&p->state_wait) ? "no data about this pod in time"
							: CONN_DIAL_FAILED ": " CONN_TOO_LATE);
}

void inbound_plain_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *peer,
			 const struct cv_sockaddr *local)
{
	struct plaintext *p = calloc(1, sizeof(*p));

	if (!p) {
		(void)relay_close_rst(fd);
		return;
	}
	p->client_fd = fd;
	p->app_fd = -EBADF;
	conn_init(&p->conn, w, pod, &conn_ops);
	p->conn.src = *peer;
	p->conn.original_dst = *local;
	p->conn.dst = *local;
	p->conn.timer.on_timer = on_timer;
	p->state_wait.on_state = on_state;
	(void)loop_timer_set(w->loop, &p->conn.timer, STATE_TIMEOUT_US);
	decide(p);
}
