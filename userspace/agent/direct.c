/* SPDX-License-Identifier: Apache-2.0 */
#include "direct.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"
#include "direct_bytes.h"
#include "direct_denials.h"
#include "direct_news.h"
#include "direct_told.h"
#include "directs.h"
#include "earlier.h"
#include "pods.h"
#include "rules.h"
#include "sockdestroy.h"
#include "verdicts.h"
#include "zds.h"

#define RECHECK_US (1000 * 1000)
/* A connection that passed the check just before a change enters cv_directs just after it: one more
 * look finds it. And what is plaintext and older than its pod is asked about in one, closed in the
 * next. */
#define RECHECK_AGAIN 3
/* Questions without an answer, and half of what may wait for ztunnel: who fills that is dropped.
 * What is beyond asks again with its next connection, and what is open with the next look; it has
 * half of these for itself. */
#define ASKED_MAX 2048
/* Closed here, and their ends not told of yet. What is beyond is told of as any reset. */
#define CUTS_MAX 4096

/* What ztunnel is asked. */
struct question {
	struct cv_verdict_key key;
	struct cv_addr src;
	uint64_t open; /* enum zds_open */
};

struct direct {
	struct direct_config config;
	struct verdicts verdicts;
	struct direct_bytes *bytes;
	struct direct_denials *denials;
	struct earlier *earlier;
	struct map *cuts;        /* struct direct_told_key -> this: see CUTS_MAX */
	struct map *asked;       /* struct question -> itself: no answer yet */
	unsigned int unanswered; /* by this ztunnel, also of what is forgotten here */
	bool is_short;           /* this look had more to ask about */
	uint32_t check_at;       /* where the next one goes on in cv_directs */
	struct loop_timer timer;
	unsigned int rechecks; /* to be done */
	struct direct_news news;
};

bool direct_is_wanted(const char *mode)
{
	const struct cv_sockaddr nowhere = {.addr.w = {0, 0, htonl(0xffff), htonl(0x7f000001)},
					    .port = htons(1)};
	int r;

	if (!streq(mode, "direct"))
		return false;
	r = sockdestroy_tcp(&nowhere, &nowhere);
	if (r == -ENOENT)
		return true;
	log_warn_errno("agent", r,
		       "this kernel cannot close connections for us (CONFIG_INET_DIAG_DESTROY): "
		       "--same-node=direct is off, pods of this node use tunnels");
	return false;
}

static int map_fd(const struct direct *d, enum datapath_map map)
{
	return datapath_map_fd(d->config.datapath, map);
}

/* ---- verdicts ---- */

/* Full is full, also where it was others' verdicts that went. */
static void verdict_keep(struct direct *d, const struct cv_verdict_key *key,
			 enum zds_verdict_kind kind)
{
	if (verdicts_keep(&d->verdicts, key, kind, now_monotonic_us()) != 0)
		datapath_no_room(d->config.datapath, DATAPATH_VERDICTS);
}

static bool denied_find(const struct direct *d, const struct cv_denied_key *key)
{
	uint64_t generation;

	return bpf_map_lookup_elem(map_fd(d, DATAPATH_DENIED), key, &generation) == 0 &&
	       generation == d->verdicts.generation;
}

/* Of one source's address: only a denial is worth its room. */
static void denied_keep(struct direct *d, const struct zds_verdict *v)
{
	const struct cv_denied_key key = {
		.src = v->src, .dst_cookie = v->dst_cookie, .port = v->dst.port};

	if (v->verdict == ZDS_VERDICT_DENY)
		(void)bpf_map_update_elem(map_fd(d, DATAPATH_DENIED), &key, &d->verdicts.generation,
					  BPF_ANY);
}

static void asked_clear(struct direct *d)
{
	map_for_each (d->asked, it) {
		free(it.value);
		(void)map_del(d->asked, it.key, it.key_len);
	}
}

/* What is asked of whom, beside the key. */
struct about {
	struct cv_addr dst; /* the address that was asked for */
	struct cv_addr src; /* of anyone, or of an open one: who came */
	enum zds_open open;
};

static void ask(struct direct *d, const struct cv_verdict_key *key, const struct about *about)
{
	struct zds_verdict q = {.h.type = ZDS_VERDICT_ASK,
				.src_cookie = key->src_cookie,
				.dst_cookie = key->dst_cookie,
				.generation = d->verdicts.generation,
				.dst = {.addr = about->dst, .port = key->port},
				.open = about->open};
	struct question is = {.key = *key, .open = about->open}, *copy;

	if (key->src_cookie == CV_SRC_ANYONE || about->open)
		is.src = q.src = about->src;
	if (map_get(d->asked, &is, sizeof(is)))
		return;
	if (d->unanswered >= (about->open ? ASKED_MAX : ASKED_MAX / 2)) {
		d->is_short = true;
		return;
	}
	copy = malloc(sizeof(*copy));
	if (!copy)
		return;
	*copy = is;
	if (zds_send(d->config.zds, &q.h, sizeof(q), NULL, 0) < 0) {
		free(copy);
		return;
	}
	d->unanswered++;
	if (map_put(d->asked, &is, sizeof(is), copy) < 0)
		free(copy);
}

/* ---- live connections ---- */

struct doomed {
	struct cv_sockaddr local, remote;
};

static int doom(void *arg)
{
	const struct doomed *c = arg;

	return sockdestroy_tcp(&c->local, &c->remote);
}

/* @t: as the end in the namespace of its cookie sees it. Return: whether it was open, and is not
 * now. */
static bool connection_close(struct direct *d, const struct cv_tuple *t, const char *why)
{
	struct doomed c = {.local = {.addr = t->local, .port = t->local_port},
			   .remote = {.addr = t->remote, .port = t->remote_port}};
	const char *pod = pods_name(d->config.pods, t->netns_cookie);
	char local[CV_SOCKADDR_STRLEN], remote[CV_SOCKADDR_STRLEN];
	int fd = pods_netns_fd(d->config.pods, t->netns_cookie), r;

	r = fd < 0 ? fd : netns_call(d->config.home, fd, doom, &c);
	if (r == -ENOENT)
		return false; /* it has ended by itself */
	(void)cv_sockaddr_format(&c.local, local);
	(void)cv_sockaddr_format(&c.remote, remote);
	if (r < 0)
		log_error_errno("agent", r,
				"cannot close a connection that a policy denies now pod=%s "
				"local=%s remote=%s reason=\"%s\"",
				pod ? pod : "-", local, remote, why);
	else
		log_info("agent",
			 "closed a connection that a policy denies now pod=%s local=%s remote=%s "
			 "reason=\"%s\"",
			 pod ? pod : "-", local, remote, why);
	return r == 0;
}

/* Its client's namespace may be none of ours any more. What drains is still in the mesh. */
static bool has_left(const struct direct *d, uint64_t cookie)
{
	struct cv_pod pod;

	return datapath_pod_get(d->config.datapath, cookie, &pod) == -ENOENT;
}

static struct direct_told_key key_of(const struct cv_tuple *t, uint64_t time_ns)
{
	struct direct_told_key k = {.key = cv_tuple_is_first(t) ? *t : cv_tuple_turned(t),
				    .time_ns = time_ns};

	k.key.netns_cookie = 0;
	return k;
}

/* One end is enough. */
static void direct_close(struct direct *d, const struct cv_tuple *t, const struct cv_direct *c)
{
	const struct direct_told_key k = key_of(t, c->time_ns);
	struct cv_tuple turned = cv_tuple_turned(t);
	bool is_closed;

	turned.netns_cookie = c->dst_cookie;
	if (has_left(d, c->src_cookie))
		is_closed = connection_close(d, &turned, "direct, its client has left the mesh");
	else
		is_closed = connection_close(d, t, "direct");
	if (is_closed && map_count(d->cuts) < CUTS_MAX && map_put(d->cuts, &k, sizeof(k), d) < 0)
		log_debug("agent", "out of memory: that it was cut is not told");
}

/* To the application as it comes: by an annotation that asks for no policy. */
static bool is_excluded(const struct direct *d, const struct cv_tuple *t)
{
	const struct cv_sockaddr at = {.addr = t->remote, .port = t->remote_port};

	return rules_leave_alone(d->config.datapath, &at, &t->local);
}

static void connection_check(struct direct *d, const struct cv_tuple *t, const struct cv_direct *c)
{
	struct cv_verdict_key key = {
		.src_cookie = t->netns_cookie, .dst_cookie = c->dst_cookie, .port = t->remote_port};
	struct about about = {.dst = t->remote, .src = t->local, .open = ZDS_OPEN_LIVE};
	enum zds_verdict_kind kind = ZDS_VERDICT_NONE;

	if (has_left(d, c->src_cookie))
		about.open =
			c->flags & CV_DIRECT_SELF_GIVEN ? ZDS_OPEN_LEFT_NAMELESS : ZDS_OPEN_LEFT;
	if (about.open != ZDS_OPEN_LIVE && is_excluded(d, t))
		return;
	if (about.open == ZDS_OPEN_LIVE)
		kind = verdicts_find(&d->verdicts, &key);
	if (kind == ZDS_VERDICT_NONE || kind == ZDS_VERDICT_ZTUNNELS)
		ask(d, &key, &about);
	else if (kind == ZDS_VERDICT_DENY)
		direct_close(d, t, c);
}

/* One look at what is open. */
struct check {
	struct direct *direct;
	const struct zds_verdict *denied; /* what is to be closed; NULL: look at all */
};

static bool is_about(const struct zds_verdict *v, const struct cv_tuple *t,
		     const struct cv_direct *c)
{
	bool is_nameless = c->flags & CV_DIRECT_SELF_GIVEN;

	if (v->open >= ZDS_OPEN_LEFT && is_nameless != (v->open == ZDS_OPEN_LEFT_NAMELESS))
		return false;
	return c->src_cookie == v->src_cookie && c->dst_cookie == v->dst_cookie &&
	       t->remote_port == v->dst.port &&
	       (!v->is_of_src || cv_addr_equal(&t->local, &v->src));
}

static bool on_check(void *arg, const struct cv_tuple *key, const struct cv_direct *c)
{
	const struct check *k = arg;
	struct cv_tuple t = directs_tuple(key, c);

	if (c->flags & CV_DIRECT_CLIENT_CLOSED)
		return true;
	if (!k->denied)
		connection_check(k->direct, &t, c);
	else if (is_about(k->denied, &t, c))
		direct_close(k->direct, &t, c);
	return true;
}

static void connections_close(struct direct *d, const struct zds_verdict *denied)
{
	struct check k = {.direct = d, .denied = denied};
	int r = directs_each(map_fd(d, DATAPATH_DIRECTS), on_check, &k);

	if (r < 0)
		log_error_errno("agent", r, "cannot look at the direct connections");
}

/* A page at a time, and one that had more to ask about once more, so that all have their turn:
 * answers about one source are kept nowhere. */
static void connections_check(struct direct *d)
{
	struct check k = {.direct = d};
	uint32_t next;
	int r;

	d->is_short = false;
	do {
		r = directs_page(map_fd(d, DATAPATH_DIRECTS), d->check_at, on_check, &k, &next);
		if (r == 0 && !d->is_short)
			d->check_at = next;
	} while (r == 0 && !d->is_short && d->check_at != 0);
	if (r < 0)
		log_error_errno("agent", r, "cannot look at the direct connections");
}

/* Asked now, closed when the timer comes again: those that ztunnel itself holds it has ended by
 * then. */
static void on_earlier(void *arg, const struct cv_tuple *t)
{
	struct cv_verdict_key key = {
		.src_cookie = CV_SRC_ANYONE, .dst_cookie = t->netns_cookie, .port = t->local_port};
	struct cv_denied_key of_src = {
		.src = t->remote, .dst_cookie = t->netns_cookie, .port = t->local_port};
	struct about about = {.dst = t->local, .src = t->remote};
	struct direct *d = arg;
	enum zds_verdict_kind kind = verdicts_find(&d->verdicts, &key);

	if (kind == ZDS_VERDICT_NONE && denied_find(d, &of_src))
		kind = ZDS_VERDICT_DENY;
	if (kind == ZDS_VERDICT_NONE)
		ask(d, &key, &about);
	else if (kind == ZDS_VERDICT_DENY)
		(void)connection_close(d, t, "plaintext, open since before it was captured");
}

static void on_recheck(struct loop_timer *t)
{
	struct direct *d = container_of(t, struct direct, timer);

	asked_clear(d); /* of a ztunnel that does not answer */
	if (d->rechecks == 1)
		map_clear(d->cuts); /* of which no end has come in all this time */
	connections_check(d);
	earlier_walk(d->earlier, on_earlier, d);
	if (zds_is_connected(d->config.zds) && !d->is_short)
		d->rechecks--;
	if (d->rechecks > 0)
		(void)loop_timer_set(d->config.loop, t, RECHECK_US);
}

void direct_void(struct direct *d)
{
	uint32_t zero = 0;
	int r;

	if (!d)
		return;
	d->verdicts.generation++;
	r = bpf_map_update_elem(map_fd(d, DATAPATH_GENERATION), &zero, &d->verdicts.generation,
				BPF_ANY);
	if (r < 0)
		log_error_errno("agent", r, "cannot void the cached verdicts");
	asked_clear(d);
	d->check_at = 0;
	connections_check(d);
	d->rechecks = RECHECK_AGAIN;
	(void)loop_timer_set(d->config.loop, &d->timer, RECHECK_US);
}

void direct_verdict(struct direct *d, const struct zds_verdict *v)
{
	struct cv_verdict_key key = {
		.src_cookie = v->src_cookie, .dst_cookie = v->dst_cookie, .port = v->dst.port};
	struct question is = {.key = key, .src = v->src, .open = v->open};

	d->unanswered -= d->unanswered > 0;
	/* Asked before something changed: the answer may be about what was. */
	if (v->generation != d->verdicts.generation)
		return;
	free(map_del(d->asked, &is, sizeof(is)));
	if (v->verdict == ZDS_VERDICT_NONE)
		return;
	if (!v->is_of_src)
		verdict_keep(d, &key, (enum zds_verdict_kind)v->verdict);
	else if (v->src_cookie == CV_SRC_ANYONE)
		denied_keep(d, v);
	if (v->verdict == ZDS_VERDICT_DENY)
		connections_close(d, v);
}

void direct_ztunnel_connected(struct direct *d)
{
	if (d)
		d->unanswered = 0;
	direct_void(d);
}

/* ---- events ---- */

void direct_flush(struct direct *d)
{
	direct_news_flush(&d->news);
}

/* Of a connection that has ended. Most have before the first round comes by. */
static struct direct_amount bytes_uncounted(const struct direct *d,
					    const struct cv_direct_event *ev,
					    const struct direct_told_key *k)
{
	const struct direct_amount all = {.sent = ev->sent, .received = ev->received};

	if (ev->time_ns - ev->connect_ns < DIRECT_BYTES_ROUND_US * 1000)
		return all;
	return direct_told_end(map_fd(d, DATAPATH_DIRECT_TOLD), k, &all);
}

static void end_fill(struct direct *d, const struct cv_direct_event *ev, struct zds_direct *m)
{
	const struct cv_tuple t = {.local = ev->local.addr,
				   .remote = ev->remote.addr,
				   .local_port = ev->local.port,
				   .remote_port = ev->remote.port};
	const struct direct_told_key k = key_of(&t, ev->connect_ns);
	struct direct_amount new = bytes_uncounted(d, ev, &k);

	m->what = direct_news_end(ev, map_del(d->cuts, &k, sizeof(k)));
	m->new_received = new.received;
	if (m->what == ZDS_DIRECT_FAILED)
		m->error = ev->error;
	else
		m->new_sent = new.sent;
}

static void telemetry_add(struct direct *d, const struct cv_direct_event *ev)
{
	struct zds_direct m = {.src_cookie = ev->netns_cookie,
			       .dst_cookie = ev->dst_cookie,
			       .opened_us = ev->connect_ns / 1000,
			       .sent = ev->sent,
			       .received = ev->received,
			       .src = ev->local,
			       .dst = ev->remote,
			       .asked = ev->asked};

	if (ev->reason == CV_DIRECT_OPEN)
		m.what = ZDS_DIRECT_OPENED;
	else
		end_fill(d, ev, &m);
	direct_news_add(&d->news, &m);
}

void direct_event(struct direct *d, const struct cv_direct_event *ev)
{
	struct cv_verdict_key key = {.src_cookie = ev->netns_cookie,
				     .dst_cookie = ev->dst_cookie,
				     .port = ev->remote.port};
	struct about about = {.dst = ev->remote.addr, .src = ev->local.addr};

	if (ev->reason != CV_VERDICT_MISS)
		telemetry_add(d, ev);
	else if (verdicts_find(&d->verdicts, &key) == ZDS_VERDICT_NONE)
		ask(d, &key, &about);
}

/* ---- life ---- */

void direct_refused(struct direct *d)
{
	if (d)
		direct_denials_soon(d->denials);
}

int direct_new(const struct direct_config *config, struct direct **ret)
{
	_cleanup_(direct_freep) struct direct *d = calloc(1, sizeof(*d));
	struct earlier_config earlier = {.datapath = config->datapath,
					 .home = config->home,
					 .pods = config->pods,
					 .is_host_vouched = config->is_host_vouched};
	uint32_t zero = 0;
	int r;

	if (!d)
		return -ENOMEM;
	d->config = *config;
	d->news.zds = config->zds;
	d->timer.on_timer = on_recheck;
	r = map_new(&d->asked);
	if (r == 0)
		r = map_new(&d->cuts);
	if (r == 0)
		r = direct_bytes_new(&d->config, &d->news, &d->bytes);
	if (r == 0)
		r = direct_denials_new(&d->config, &d->news, &d->denials);
	if (r == 0)
		r = earlier_new(&earlier, &d->earlier);
	if (r < 0)
		return r;
	d->verdicts.fd = map_fd(d, DATAPATH_VERDICTS);
	r = bpf_map_lookup_elem(map_fd(d, DATAPATH_GENERATION), &zero, &d->verdicts.generation);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct direct *direct_free(struct direct *d)
{
	if (!d)
		return NULL;
	loop_timer_del(&d->timer);
	d->bytes = direct_bytes_free(d->bytes);
	d->denials = direct_denials_free(d->denials);
	d->earlier = earlier_free(d->earlier);
	if (d->asked)
		asked_clear(d);
	map_free(d->asked);
	map_free(d->cuts);
	free(d);
	return NULL;
}
