/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/map.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "tls/identity.h"
#include "ztunnel/conn.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pod.h"
#include "ztunnel/pool_key.h"
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker.h"

#define SWEEP_US (30 * 1000000ULL)
#define KEY_MAX  (128 * 1024)

struct pool {
	struct worker *worker;
	struct map *entries; /* key -> struct entry */
	struct buf key;      /* of the look-up that runs */
	struct loop_timer sweep;
	bool is_draining; /* tunnels take no more streams than wait for them */
	bool is_closed;
};

/* One destination as one source sees it. */
struct entry {
	struct pool *pool;
	struct list tunnels; /* struct tunnel.link */
	struct list waiters; /* struct pool_wait.link */
	uint32_t tunnel_count;
	uint32_t dialing_count;
	uint32_t waiter_count;
	struct cv_sockaddr dial;
	char *workload_uid; /* NULL: unknown, not watched */
	uint32_t incarnation;
	void *key;
	size_t key_len;
};

struct tunnel {
	struct list link;
	struct entry *entry;
	struct pod *pod;            /* counted */
	SSL *ssl;                   /* until the tunnel has it */
	struct hbone_tunnel *hbone; /* NULL while waiting for a socket */
	struct dial_wait dial_wait;
	struct loop_timer deadline; /* of the wait for a socket */
	struct loop_task fail;      /* a dial that failed at once is reported from the loop */
	int fail_error;
	uint64_t used_us;
	bool is_ready;
	bool is_leaving; /* takes no new streams */
};

static void on_sweep(struct loop_timer *t);

int pool_new(struct worker *w, struct pool **ret)
{
	_cleanup_(pool_freep) struct pool *p = NULL;
	int r;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->worker = w;
	p->key.limit = KEY_MAX;
	p->sweep.on_timer = on_sweep;
	r = map_new(&p->entries);
	if (r < 0)
		return r;
	r = loop_timer_set(w->loop, &p->sweep, SWEEP_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

static void entry_free(struct entry *e)
{
	(void)map_del(e->pool->entries, e->key, e->key_len);
	free(e->workload_uid);
	free(e->key);
	free(e);
}

static void entry_free_if_unused(struct entry *e)
{
	if (list_is_empty(&e->tunnels) && list_is_empty(&e->waiters))
		entry_free(e);
}

static void waiters_fail(struct entry *e, enum hbone_stage stage, int error, const char *text)
{
	struct pool_wait *w;
	struct list batch;

	list_init(&batch);
	if (list_is_empty(&e->waiters))
		return;
	/* Whoever asks again in the callback waits for the next dial, not for this list. */
	list_add(&e->waiters, &batch);
	list_del(&e->waiters);
	e->waiter_count = 0;
	list_for_each_entry (w, &batch, link) {
		w->_entry = NULL;
	}
	while (!list_is_empty(&batch)) {
		w = list_entry(batch.next, struct pool_wait, link);
		list_del(&w->link);
		w->on_tunnel(w, NULL, stage, error, text);
	}
}

static struct hbone_session *usable_session(struct tunnel *t)
{
	struct hbone_session *s;

	if (!t->is_ready || t->is_leaving)
		return NULL;
	s = hbone_tunnel_session(t->hbone);
	return s && hbone_session_is_usable(s) ? s : NULL;
}

/* best_tunnel() - the one with the fewest streams; one whose socket is full counts as busier. */
static struct tunnel *best_tunnel(struct entry *e)
{
	struct tunnel *t, *best = NULL;
	uint32_t best_load = 0;

	list_for_each_entry (t, &e->tunnels, link) {
		struct hbone_session *s = usable_session(t);
		uint32_t load;

		if (!s)
			continue;
		load = hbone_session_stream_count(s) * 2 +
		       (hbone_tunnel_is_blocked(t->hbone) ? 3 : 0);
		if (!best || load < best_load) {
			best = t;
			best_load = load;
		}
	}
	return best;
}

static void tunnel_release(struct tunnel *t)
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

static void waiters_serve(struct entry *e);

/* tunnel_gone() - closed or never opened. Those who wait lose hope only when nothing else is being
 * dialled. */
static void tunnel_gone(struct tunnel *t, enum hbone_stage stage, int error, const char *text)
{
	struct entry *e = t->entry;

	tunnel_release(t);
	waiters_serve(e);
	if (e->dialing_count == 0)
		waiters_fail(e, stage, error < 0 ? error : -ECONNRESET, text);
	entry_free_if_unused(e);
}

static void on_ready(void *arg)
{
	struct tunnel *t = arg;

	t->is_ready = true;
	t->entry->dialing_count--;
	t->used_us = loop_now_us(t->entry->pool->worker->loop);
	waiters_serve(t->entry);
	if (t->entry->pool->is_draining) {
		t->is_leaving = true;
		hbone_tunnel_drain(t->hbone);
	}
	/* The peer takes fewer streams than were waiting. */
	if (t->entry->dialing_count == 0)
		waiters_fail(t->entry, HBONE_STAGE_OPEN, -EAGAIN, "");
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
		r = tunnel_connect(t, fd);
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

/* dial() - start one more tunnel. Its failure comes later, from the loop. */
static int dial(struct entry *e, const struct pool_want *want)
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

/* waiters_serve() - as many as the tunnels take. A waiter may ask again, or open no stream, in its
 * callback. */
static void waiters_serve(struct entry *e)
{
	struct pool *p = e->pool;

	while (!list_is_empty(&e->waiters)) {
		struct pool_wait *w = list_entry(e->waiters.next, struct pool_wait, link);
		struct tunnel *t = best_tunnel(e);

		if (!t)
			return;
		list_del(&w->link);
		w->_entry = NULL;
		e->waiter_count--;
		t->used_us = loop_now_us(p->worker->loop);
		w->on_tunnel(w, hbone_tunnel_session(t->hbone), HBONE_STAGE_OPEN, 0, "");
	}
}

static int entry_new(struct pool *p, const struct upstream *u, struct entry **ret)
{
	struct entry *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (!e)
		return -ENOMEM;
	e->pool = p;
	e->dial = u->dial;
	list_init(&e->tunnels);
	list_init(&e->waiters);
	e->key_len = buf_len(&p->key);
	e->key = malloc(e->key_len);
	if (u->workload) {
		e->workload_uid = strdup(u->workload->uid);
		e->incarnation = u->workload->incarnation;
	}
	if (e->key && (!u->workload || e->workload_uid)) {
		memcpy(e->key, buf_head(&p->key), e->key_len);
		r = map_put(p->entries, e->key, e->key_len, e);
	}
	if (r < 0) {
		free(e->key);
		free(e->workload_uid);
		free(e);
		return r;
	}
	*ret = e;
	return 0;
}

static bool wants_spread(const struct entry *e, const struct hbone_session *s)
{
	return e->tunnel_count < POOL_SPREAD_TUNNELS && e->dialing_count == 0 &&
	       hbone_session_stream_count(s) >= POOL_SPREAD_STREAMS;
}

static int wait_for_dial(struct entry *e, const struct pool_want *want, struct pool_wait *wait)
{
	int r;

	if (e->waiter_count >= POOL_WAITERS_MAX)
		return -EBUSY;
	/* One dial serves as many as a tunnel takes. */
	if (e->waiter_count >= e->dialing_count * HBONE_CLIENT_STREAMS_MAX) {
		r = dial(e, want);
		if (r < 0)
			return r;
	}
	list_add_tail(&e->waiters, &wait->link);
	wait->_entry = e;
	e->waiter_count++;
	return -EAGAIN;
}

int pool_get(struct pool *p, const struct pool_want *want, struct pool_wait *wait,
	     struct hbone_session **ret)
{
	struct entry *e;
	struct tunnel *t;
	int r;

	if (p->is_closed)
		return -ESHUTDOWN;
	r = pool_key_make(&p->key, want);
	if (r < 0)
		return r;
	e = map_get(p->entries, buf_head(&p->key), buf_len(&p->key));
	if (!e) {
		r = entry_new(p, want->upstream, &e);
		if (r < 0)
			return r;
	}
	t = best_tunnel(e);
	if (t) {
		*ret = hbone_tunnel_session(t->hbone);
		t->used_us = loop_now_us(p->worker->loop);
		if (wants_spread(e, *ret))
			(void)dial(e, want);
		return 0;
	}
	r = wait_for_dial(e, want, wait);
	if (r != -EAGAIN)
		entry_free_if_unused(e);
	return r;
}

void pool_wait_cancel(struct pool_wait *w)
{
	struct entry *e = w->_entry;

	if (w->link.next)
		list_del(&w->link);
	if (e)
		e->waiter_count--;
	w->_entry = NULL;
}

/* tunnels_of() - walk every tunnel; @fn may close but not free. */
static void each_tunnel(struct pool *p, void (*fn)(struct tunnel *t))
{
	map_for_each (p->entries, it) {
		struct entry *e = it.value;
		struct tunnel *t, *next;

		list_for_each_entry_safe (t, next, &e->tunnels, link) {
			if (t->hbone)
				fn(t);
		}
	}
}

static void close_if_idle(struct tunnel *t)
{
	struct hbone_session *s = hbone_tunnel_session(t->hbone);
	uint64_t now = loop_now_us(t->entry->pool->worker->loop);

	if (!s)
		return;
	if (hbone_session_stream_count(s) > 0) {
		t->used_us = now;
		return;
	}
	if (t->is_leaving || now - t->used_us >= POOL_IDLE_US) {
		t->is_leaving = true;
		hbone_tunnel_drain(t->hbone);
	}
}

static void on_sweep(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, sweep);

	each_tunnel(p, close_if_idle);
	(void)loop_timer_set(p->worker->loop, timer, SWEEP_US);
}

static void close_if_gone(struct tunnel *t)
{
	const struct entry *e = t->entry;
	const struct workload *w;

	if (!e->workload_uid)
		return;
	w = state_workload_by_uid(e->pool->worker->state, e->workload_uid);
	if (w && w->incarnation != e->incarnation)
		w = NULL;
	for (size_t i = 0; w && i < w->addrs_count; i++)
		if (cv_addr_equal(&w->addrs[i], &e->dial.addr))
			return;
	t->is_leaving = true;
	hbone_tunnel_close(t->hbone, -ECONNRESET, "the workload is gone");
}

void pool_on_state(struct pool *p)
{
	each_tunnel(p, close_if_gone);
}

static void close_if_refused(struct tunnel *t)
{
	const char *text;
	int error = hbone_tunnel_refusal(t->hbone, &text);

	if (error == 0)
		return;
	t->is_leaving = true;
	outbound_cut_session(hbone_tunnel_session(t->hbone), error, text);
	hbone_tunnel_close(t->hbone, error, text);
}

void pool_on_trust(struct pool *p)
{
	each_tunnel(p, close_if_refused);
}

/* drain_tunnel() - connections that were taken before still wait for one that is being dialled. */
static void drain_tunnel(struct tunnel *t)
{
	if (!t->is_ready && t->entry->waiter_count > 0)
		return;
	t->is_leaving = true;
	hbone_tunnel_drain(t->hbone);
}

void pool_drain(struct pool *p)
{
	p->is_draining = true;
	each_tunnel(p, drain_tunnel);
}

struct pool *pool_free(struct pool *p)
{
	if (!p)
		return NULL;
	p->is_closed = true;
	loop_timer_del(&p->sweep);
	map_for_each (p->entries, it) {
		struct entry *e = it.value;

		waiters_fail(e, HBONE_STAGE_CONNECT, -ESHUTDOWN, "shutting down");
		while (!list_is_empty(&e->tunnels)) {
			struct tunnel *t = list_entry(e->tunnels.next, struct tunnel, link);

			if (t->hbone)
				hbone_tunnel_abandon(t->hbone);
			tunnel_release(t);
		}
		entry_free(e);
	}
	p->entries = map_free(p->entries);
	buf_reset(&p->key);
	free(p);
	return NULL;
}
