/* SPDX-License-Identifier: Apache-2.0 */
/* node_drain - the end: nothing new, what is open goes on. What came before may still need sockets,
 * so that the agent is left when the workers have taken it all and have what they asked for. */
#include <errno.h>

#include "base/log.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/admin.h"
#include "ztunnel/dns.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/pod.h"

#define TARGET "ztunnel"
/* As long as a connection waits for a socket. An agent that answers takes a few milliseconds, where
 * it and the workers get the processor; one that is gone is told of by its socket. */
#define LEAVE_US (10 * 1000 * 1000ULL)
/* For what pods have asked: the nameserver that helps out a silent one is asked after 1.5 s. */
#define ANSWER_US (2 * 1000 * 1000ULL)
#define LOOK_US   (10 * 1000)

static void on_drain_timer(struct loop_timer *t)
{
	struct node *n = container_of(t, struct node, drain_timer);

	log_info(TARGET, "drain deadline passed, cutting what is left");
	loop_stop(n->loop, 0);
}

/* With its socket closed the agent refuses new connections of our pods. */
static void leave(struct node *n)
{
	if (!n->agent)
		return;
	loop_timer_del(&n->leave_timer);
	n->agent = agent_link_free(n->agent);
	node_direct_lost(n);
	node_needs_refuse(n, -ENETDOWN);
}

static void on_leave(struct loop_timer *t)
{
	leave(container_of(t, struct node, leave_timer));
}

static void collect_none(void *arg, const struct conn *c)
{
}

static void round_begin(struct node *n);

/* What a worker had asked for when the round began has come here before this. One that has got
 * sockets since may have found that others wait, and ask again. */
static void on_round(void *main, void *arg)
{
	struct node *n = main;

	if (--n->rounds > 0 || n->needs.count > 0)
		return;
	if (n->is_answered)
		round_begin(n);
	else
		leave(n);
}

static void leave_soon(struct node *n)
{
	(void)loop_timer_set(n->loop, &n->leave_timer, 0);
}

/* The agent may have called: it is not left here. */
static void round_begin(struct node *n)
{
	n->is_answered = false;
	for (unsigned int i = 0; i < n->config.workers; i++)
		if (worker_post_collect(&n->workers[i], collect_none, on_round, NULL) == 0)
			n->rounds++;
	if (n->rounds == 0)
		leave_soon(n);
}

void node_drain_answered(struct node *n)
{
	n->is_answered = true;
	if (n->is_draining && n->agent && n->rounds == 0 && n->needs.count == 0)
		round_begin(n);
}

/* Not here: it is who says so. */
void node_drain_lost(struct node *n)
{
	node_needs_refuse(n, -ENETDOWN);
	leave_soon(n);
}

static void on_look(struct loop_timer *t)
{
	struct node *n = container_of(t, struct node, answer_timer);

	if (dns_is_idle(n->dns) || loop_now_us(n->loop) >= n->answer_until_us ||
	    loop_timer_set(n->loop, t, LOOK_US) < 0)
		loop_stop(n->loop, 0);
}

void node_drain_done(struct node *n)
{
	n->answer_until_us = loop_now_us(n->loop) + ANSWER_US;
	n->answer_timer.on_timer = on_look;
	on_look(&n->answer_timer);
}

void node_drain(struct node *n)
{
	uint64_t us = n->settings.has_drain ? n->settings.drain_us : n->config.drain_us;

	if (n->is_draining)
		return;
	n->is_draining = true;
	log_info(TARGET, "draining workers=%u deadline_ms=%zu", n->config.workers, us / 1000);
	for (unsigned int i = 0; i < n->config.workers; i++)
		worker_post_drain(&n->workers[i]);
	/* until the agent is left the pods are led here, and to no other ztunnel's listeners */
	map_for_each (n->pods, it) {
		dns_pod_leave(n->dns, ((struct node_pod *)it.value)->pod->netns_cookie);
	}
	admin_set_ready(n->admin, ADMIN_TASK_PROXY, false);
	n->drain_timer.on_timer = on_drain_timer;
	(void)loop_timer_set(n->loop, &n->drain_timer, us);
	n->leave_timer.on_timer = on_leave;
	if (n->agent && agent_link_is_connected(n->agent) &&
	    loop_timer_set(n->loop, &n->leave_timer, LEAVE_US) == 0) {
		round_begin(n);
		/* After it nothing is handed from one worker to another any more, but what was
		 * before may not have asked for anything yet. */
		n->is_answered = true;
	} else {
		leave(n);
	}
}
