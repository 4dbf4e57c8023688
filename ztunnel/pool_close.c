/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/map.h"
#include "net/addr.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pool_internal.h"
#include "ztunnel/state.h"
#include "ztunnel/worker.h"

/* each_tunnel() - that has a socket; @fn may close but not free. */
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

void pool_on_sweep(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, sweep);

	each_tunnel(p, close_if_idle);
	(void)loop_timer_set(p->worker->loop, timer, POOL_SWEEP_US);
}

bool pool_is_gone(const struct entry *e)
{
	const struct workload *w;

	if (!e->workload_uid)
		return false;
	w = state_workload_by_uid(e->pool->worker->state, e->workload_uid);
	if (!w || w->incarnation != e->incarnation)
		return true;
	for (size_t i = 0; i < w->addrs_count; i++)
		if (cv_addr_equal(&w->addrs[i], &e->dial.addr))
			return false;
	return true;
}

static void close_if_gone(struct tunnel *t)
{
	if (!pool_is_gone(t->entry))
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
