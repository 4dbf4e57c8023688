/* SPDX-License-Identifier: Apache-2.0 */
#include "sweep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "direct_told.h"
#include "guard.h"
#include "links.h"
#include "map_keys.h"
#include "passed.h"
#include "shares.h"

#define SWEEP_EVERY_US (1000 * 1000)

struct sweep {
	struct loop *loop;
	struct datapath *datapath;
	struct loop_timer timer;
	struct sweep_cursor conns, vouched, exempt, given, directs, told;
	uint32_t link; /* as guard_sweep() wants it */
	uint64_t shares_again_ns;
};

/* An MPTCP connection's entry lives as long as the connection: it ends with its client's close, or
 * with its pod. */
static bool is_conn_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			  uint64_t now_ns)
{
	struct cv_conn conn;
	struct cv_pod pod;

	if (bpf_map_lookup_elem(fd, key, &conn) < 0 || !sweep_is_old(conn.time_ns, now_ns))
		return false;
	return !(conn.flags & CV_CONN_MPTCP) ||
	       datapath_pod_get(s->datapath, key->netns_cookie, &pod) < 0;
}

/* Nothing but its entry tells that a connection by a Service is the node's: it stays as long as the
 * pod's end, whose close takes it out. */
static bool is_vouch_held(const struct sweep *s, const struct cv_tuple *key,
			  const struct cv_vouch *vouch)
{
	uint64_t cookie;

	return sweep_is_vouch_led(vouch) &&
	       bpf_map_lookup_elem(datapath_map_fd(s->datapath, DATAPATH_LOCALS), &key->remote,
				   &cookie) == 0;
}

static bool is_vouch_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			   uint64_t now_ns)
{
	struct cv_vouch vouch;

	return bpf_map_lookup_elem(fd, key, &vouch) == 0 && sweep_is_vouch_old(&vouch, now_ns) &&
	       !is_vouch_held(s, key, &vouch);
}

static bool is_exempt_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			    uint64_t now_ns)
{
	uint64_t time_ns;

	return bpf_map_lookup_elem(fd, key, &time_ns) == 0 && sweep_is_old(time_ns, now_ns);
}

/* A marked pod's stay, too: what is no destination of the mesh's any more is known by them alone.
 */
static bool is_given_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			   uint64_t now_ns)
{
	struct cv_pod pod;

	return datapath_pod_get(s->datapath, key->netns_cookie, &pod) < 0;
}

static void given_pods_sweep(const struct sweep *s)
{
	int fd = datapath_map_fd(s->datapath, DATAPATH_GIVEN_PODS);
	uint64_t cookie, next;
	struct cv_pod pod;

	map_keys_each (fd, cookie, next)
		if (datapath_pod_get(s->datapath, cookie, &pod) < 0)
			(void)bpf_map_delete_elem(fd, &cookie);
}

/* A server may keep its end for long, and what it still says then has to skip the host's stack: the
 * entry goes with the server's link at the earliest. */
static bool is_direct_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			    uint64_t now_ns)
{
	struct cv_direct d;

	if (bpf_map_lookup_elem(fd, key, &d) < 0 || !(d.flags & CV_DIRECT_CLIENT_CLOSED) ||
	    !sweep_is_old(d.time_ns, now_ns))
		return false;
	return !(d.flags & CV_DIRECT_ACCEPTED) || link_is_gone(d.to_server.ifindex);
}

static bool is_told_stale(const struct sweep *s, int fd, const struct cv_tuple *key,
			  uint64_t now_ns)
{
	return direct_told_is_stale(fd, datapath_map_fd(s->datapath, DATAPATH_DIRECTS), key,
				    now_ns);
}

void sweep_walk(const struct sweep *s, int fd, struct sweep_cursor *c, sweep_stale_fn *is_stale)
{
	uint64_t now_ns = now_monotonic_us() * 1000;

	if (now_ns < c->again_ns)
		return;
	for (int i = 0; i < SWEEP_BATCH; i++) {
		struct cv_tuple next;

		if (bpf_map_get_next_key(fd, c->is_inside ? &c->key : NULL, &next) < 0) {
			if (i == 0 && !c->is_inside)
				c->again_ns = now_ns + SWEEP_EMPTY_NS;
			c->is_inside = false;
			return;
		}
		if (is_stale(s, fd, &next, now_ns)) {
			(void)bpf_map_delete_elem(fd, &next);
			continue;
		}
		/* A place to go on from, while it is there. When somebody else removes it the walk
		 * starts over, which only costs time. */
		c->key = next;
		c->is_inside = true;
	}
}

static void walk(const struct sweep *s, enum datapath_map map, struct sweep_cursor *c,
		 sweep_stale_fn *is_stale)
{
	sweep_walk(s, datapath_map_fd(s->datapath, map), c, is_stale);
}

static void on_sweep(struct loop_timer *t)
{
	struct sweep *s = container_of(t, struct sweep, timer);

	walk(s, DATAPATH_CONNS, &s->conns, is_conn_stale);
	walk(s, DATAPATH_VOUCHED, &s->vouched, is_vouch_stale);
	walk(s, DATAPATH_EXEMPT, &s->exempt, is_exempt_stale);
	walk(s, DATAPATH_GIVEN, &s->given, is_given_stale);
	given_pods_sweep(s);
	walk(s, DATAPATH_DIRECTS, &s->directs, is_direct_stale);
	walk(s, DATAPATH_DIRECT_TOLD, &s->told, is_told_stale);
	shares_sweep(s->datapath, &s->shares_again_ns);
	guard_sweep(s->datapath, &s->link);
	passed_sweep(datapath_map_fd(s->datapath, DATAPATH_PASSED));
	(void)loop_timer_set(s->loop, t, SWEEP_EVERY_US);
}

int sweep_new(struct loop *loop, struct datapath *d, struct sweep **ret)
{
	_cleanup_(sweep_freep) struct sweep *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->datapath = d;
	s->timer.on_timer = on_sweep;
	r = loop_timer_set(loop, &s->timer, SWEEP_EVERY_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct sweep *sweep_free(struct sweep *s)
{
	if (!s)
		return NULL;
	loop_timer_del(&s->timer);
	free(s);
	return NULL;
}
