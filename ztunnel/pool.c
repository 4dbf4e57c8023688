/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "ztunnel/pool_internal.h"
#include "ztunnel/pool_key.h"
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"
#include "ztunnel/worker.h"

#define KEY_MAX (128 * 1024)

int pool_new(struct worker *w, struct pool **ret)
{
	_cleanup_(pool_freep) struct pool *p = NULL;
	int r;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->worker = w;
	p->key.limit = KEY_MAX;
	p->sweep.on_timer = pool_on_sweep;
	r = map_new(&p->entries);
	if (r < 0)
		return r;
	r = loop_timer_set(w->loop, &p->sweep, POOL_SWEEP_US);
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

void pool_entry_free_if_unused(struct entry *e)
{
	if (list_is_empty(&e->tunnels) && list_is_empty(&e->waiters))
		entry_free(e);
}

void pool_waiters_fail(struct entry *e, enum hbone_stage stage, int error, const char *text)
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

void pool_waiters_serve(struct entry *e)
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
		r = pool_dial(e, want);
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
			(void)pool_dial(e, want);
		return 0;
	}
	r = wait_for_dial(e, want, wait);
	if (r != -EAGAIN)
		pool_entry_free_if_unused(e);
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

struct pool *pool_free(struct pool *p)
{
	if (!p)
		return NULL;
	p->is_closed = true;
	loop_timer_del(&p->sweep);
	map_for_each (p->entries, it) {
		struct entry *e = it.value;

		pool_waiters_fail(e, HBONE_STAGE_CONNECT, -ESHUTDOWN, "shutting down");
		while (!list_is_empty(&e->tunnels)) {
			struct tunnel *t = list_entry(e->tunnels.next, struct tunnel, link);

			if (t->hbone)
				hbone_tunnel_abandon(t->hbone);
			pool_tunnel_release(t);
		}
		entry_free(e);
	}
	p->entries = map_free(p->entries);
	buf_reset(&p->key);
	free(p);
	return NULL;
}
