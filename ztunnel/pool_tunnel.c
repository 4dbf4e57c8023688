/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "net/tcp.h"
#include "ztunnel/conn.h"
#include "ztunnel/pod.h"
#include "ztunnel/pool_internal.h"
#include "ztunnel/pool_key.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker.h"

void pool_tunnel_release(struct tunnel *t)
{
	if (!t->is_ready)
		t->entry->dialing_count--;
	t->entry->tunnel_count--;
	list_del(&t->link);
	loop_timer_del(&t->deadline);
	loop_task_del(&t->fail);
	dial_wait_cancel(&t->dial_wait);
	SSL_free(t->ssl);
	(void)pod_unref(t->pod);
	free(t);
}

/* tunnel_gone() - closed or never opened. Those who wait lose hope only when nothing else is being
 * dialled. */
static void tunnel_gone(struct tunnel *t, enum hbone_stage stage, int error, const char *text)
{
	struct entry *e = t->entry;

	pool_tunnel_release(t);
	pool_waiters_serve(e);
	if (e->dialing_count == 0)
		pool_waiters_fail(e, stage, error < 0 ? error : -ECONNRESET, text);
	pool_entry_free_if_unused(e);
}

static void on_ready(void *arg)
{
	struct tunnel *t = arg;

	t->is_ready = true;
	t->entry->dialing_count--;
	t->used_us = loop_now_us(t->entry->pool->worker->loop);
	pool_waiters_serve(t->entry);
	if (t->entry->pool->is_draining) {
		t->is_leaving = true;
		hbone_tunnel_drain(t->hbone);
	}
	/* The peer takes fewer streams than were waiting. */
	if (t->entry->dialing_count == 0)
		pool_waiters_fail(t->entry, HBONE_STAGE_OPEN, -EAGAIN, "");
}

static void on_goaway(void *arg)
{
	((struct tunnel *)arg)->is_leaving = true;
}

static void on_closed(void *arg, enum hbone_stage stage, int error, const char *text)
{
	const struct tunnel *t = arg;

	if (error == -EKEYREVOKED)
		telemetry_crl_rejected(t->entry->pool->worker->telemetry, CONN_OUTBOUND);
	tunnel_gone(arg, stage, error, text);
}

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	return -EPROTO; /* a server that asks its client: no */
}

static const struct hbone_tunnel_ops tunnel_ops = {
	.on_connect = on_connect,
	.on_ready = on_ready,
	.on_goaway = on_goaway,
	.on_closed = on_closed,
};

static int tunnel_connect(struct tunnel *t, int fd)
{
	struct worker *w = t->entry->pool->worker;
	struct hbone_tunnel_config config = {
		.loop = w->loop,
		.scratch = w->scratch,
		.desk = w->desk,
		.share = t->pod->netns_cookie * 2 + 1, /* not with those that dial the pod */
		.fd = fd,
		.ssl = t->ssl,
		.ops = &tunnel_ops,
		.arg = t,
	};
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = cv_sockaddr_to_native(&t->entry->dial, AF_UNSPEC, &ss, &len);
	if (r < 0)
		return r;
	(void)socket_set_nodelay_keepalive(fd);
	if (connect(fd, (const struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	r = hbone_tunnel_new(&config, &t->hbone);
	if (r == 0)
		t->ssl = NULL;
	return r;
}

static void fail_later(struct tunnel *t, int error)
{
	t->fail_error = error;
	loop_timer_del(&t->deadline);
	loop_task_queue(t->entry->pool->worker->loop, &t->fail);
}

static void on_fail(struct loop_task *task)
{
	struct tunnel *t = container_of(task, struct tunnel, fail);

	tunnel_gone(t, HBONE_STAGE_CONNECT, t->fail_error, strerror(-t->fail_error));
}

static void on_deadline(struct loop_timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, deadline);

	tunnel_gone(t, HBONE_STAGE_CONNECT, -ENOBUFS, "the agent gives no sockets");
}

static void got_socket(struct tunnel *t, int fd)
{
	int r = fd;

	loop_timer_del(&t->deadline);
	if (fd >= 0) {
		/* pool_on_state() closes those that there are; its address may be another pod's. */
		r = pool_is_gone(t->entry) ? -ECONNRESET : tunnel_connect(t, fd);
		if (r < 0)
			(void)close_fd(fd);
	}
	if (r < 0)
		fail_later(t, r);
}

static void on_socket(struct dial_wait *wait, int fd)
{
	got_socket(container_of(wait, struct tunnel, dial_wait), fd);
}

static int ssl_new(const struct pool_want *want, SSL **ret)
{
	const char *ids[POOL_IDENTITIES_MAX];
	size_t n = pool_identities(want, ids);
	SSL *ssl;
	int r;

	ssl = SSL_new(want->identity->client_ctx);
	if (!ssl)
		return -ENOMEM;
	r = tls_expect_identities(ssl, ids, n);
	if (r < 0) {
		SSL_free(ssl);
		return r;
	}
	*ret = ssl;
	return 0;
}

static struct tunnel *tunnel_make(struct entry *e, const struct pool_want *want, SSL *ssl)
{
	struct tunnel *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->entry = e;
	t->ssl = ssl;
	t->pod = pod_ref(want->pod);
	t->dial_wait.on_socket = on_socket;
	t->deadline.on_timer = on_deadline;
	t->fail.on_task = on_fail;
	list_add_tail(&e->tunnels, &t->link);
	e->tunnel_count++;
	e->dialing_count++;
	return t;
}

int pool_dial(struct entry *e, const struct pool_want *want)
{
	enum zds_family family = cv_addr_is_v4(&e->dial.addr) ? ZDS_INET : ZDS_INET6;
	struct worker *w = e->pool->worker;
	struct stock *stock;
	struct tunnel *t;
	SSL *ssl;
	int r;

	if (e->tunnel_count >= POOL_TUNNELS_MAX)
		return -EBUSY;
	r = ssl_new(want, &ssl);
	if (r < 0)
		return r;
	t = tunnel_make(e, want, ssl);
	if (!t) {
		SSL_free(ssl);
		return -ENOMEM;
	}
	stock = worker_pod_stock(w, want->pod->netns_cookie, CV_SOCKET_DIAL_HBONE, family);
	if (!stock) {
		fail_later(t, -ENETDOWN);
		return 0;
	}
	(void)loop_timer_set(w->loop, &t->deadline, HBONE_CONNECT_TIMEOUT_US);
	r = stock_take(stock, &t->dial_wait);
	if (r != -EAGAIN)
		got_socket(t, r);
	return 0;
}
