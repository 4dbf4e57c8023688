/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"

#define LOG_PER_SECOND 20
#define LOG_BURST      40
#define SECOND_US      1000000u
#define AGAIN_US       (25 * 1000) /* later than the programs stay silent */

struct events {
	struct ring_buffer *ring;
	struct loop_fd watch;
	struct loop_timer again;
	struct limiter limiter;
	struct events_config config;
};

static const char *const labels[CV_REASON_MAX] = {
#define CV_REASON(name, label, sentence) [CV_##name] = (label),
	CV_REASON_LIST(CV_REASON)
#undef CV_REASON
};

static const char *const sentences[CV_REASON_MAX] = {
#define CV_REASON(name, label, sentence) [CV_##name] = (sentence),
	CV_REASON_LIST(CV_REASON)
#undef CV_REASON
};

const char *reason_label(uint32_t reason)
{
	return reason < CV_REASON_MAX ? labels[reason] : "unknown";
}

const char *reason_sentence(uint32_t reason)
{
	return reason < CV_REASON_MAX ? sentences[reason] : "unknown";
}

bool limiter_take(struct limiter *l, uint64_t now_us)
{
	uint64_t cost = SECOND_US / l->per_second;
	uint64_t full = (uint64_t)l->burst * cost;

	/* The level is kept as the time at which the bucket is full again. */
	if (l->used_at_us < now_us)
		l->used_at_us = now_us;
	if (l->used_at_us + cost > now_us + full) {
		l->suppressed++;
		return false;
	}
	l->used_at_us += cost;
	return true;
}

static void suppressed_log(struct limiter *l)
{
	if (l->suppressed == 0)
		return;
	log_warn("agent", "more connections were dropped than are logged count=%" PRIu64,
		 l->suppressed);
	l->suppressed = 0;
}

static void drop_tell(struct events *e, const struct cv_event *ev)
{
	char local[CV_SOCKADDR_STRLEN], remote[CV_SOCKADDR_STRLEN], comm[sizeof(ev->comm) + 1];
	const char *pod = e->config.pod_name(e->config.arg, ev);

	e->config.on_drop(e->config.arg, ev, pod);
	if (!limiter_take(&e->limiter, now_monotonic_us()))
		return;
	suppressed_log(&e->limiter);
	memcpy(comm, ev->comm, sizeof(ev->comm));
	comm[sizeof(ev->comm)] = '\0';
	/* A process chooses its name: it must not be able to forge a log line. */
	for (char *c = comm; *c; c++)
		if (*c < ' ' || *c == '"' || *c == 0x7f)
			*c = '?';
	log_warn("agent",
		 "connection dropped reason=%s pod=%s netns_cookie=%" PRIu64
		 " local=%s remote=%s pid=%u comm=\"%s\" meaning=\"%s\"",
		 reason_label(ev->reason), pod ? pod : "-", (uint64_t)ev->netns_cookie,
		 cv_sockaddr_format(&ev->local, local), cv_sockaddr_format(&ev->remote, remote),
		 ev->pid, comm, reason_sentence(ev->reason));
}

static int on_event(void *arg, void *data, size_t size)
{
	struct events *e = arg;
	struct cv_direct_event direct;
	struct cv_event ev;

	if (size == sizeof(direct)) {
		memcpy(&direct, data, sizeof(direct));
		e->config.on_direct(e->config.arg, &direct);
		return 0;
	}
	if (size < sizeof(ev))
		return 0;
	memcpy(&ev, data, sizeof(ev));
	if (ev.reason == CV_NAMESERVER_NEW)
		e->config.on_nameserver(e->config.arg, &ev);
	else
		drop_tell(e, &ev);
	return 0;
}

void events_flush(struct events *e)
{
	if (ring_buffer__consume(e->ring) > 0)
		e->config.on_read(e->config.arg);
}

/* Once more when the programs wake us again: see direct_wake() in bpf/lib/direct_tell.h. */
static void on_readable(struct loop_fd *w, uint32_t events)
{
	struct events *e = container_of(w, struct events, watch);

	events_flush(e);
	(void)loop_timer_set(e->config.loop, &e->again, AGAIN_US);
}

static void on_again(struct loop_timer *t)
{
	events_flush(container_of(t, struct events, again));
}

int events_new(const struct events_config *config, struct events **ret)
{
	_cleanup_(events_freep) struct events *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->config = *config;
	e->limiter.per_second = LOG_PER_SECOND;
	e->limiter.burst = LOG_BURST;
	e->ring = ring_buffer__new(config->ring_fd, on_event, e, NULL);
	if (!e->ring)
		return -errno;
	r = ring_buffer__add(e->ring, config->direct_fd, on_event, e);
	if (r < 0)
		return r;
	e->watch.fd = ring_buffer__epoll_fd(e->ring);
	e->watch.on_event = on_readable;
	e->again.on_timer = on_again;
	r = loop_add(config->loop, &e->watch, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(config->loop, &e->again, AGAIN_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(e);
	return 0;
}

struct events *events_free(struct events *e)
{
	if (!e)
		return NULL;
	loop_timer_del(&e->again);
	loop_del(&e->watch);
	ring_buffer__free(e->ring);
	free(e);
	return NULL;
}
