/* SPDX-License-Identifier: Apache-2.0 */
#include "stock.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"

/* A child that does not answer holds up the agent for as long as one may take: not again soon. */
#define AGAIN_US (60 * 1000 * 1000ULL)

struct call {
	const struct stock *stock;
	const struct zds_sockets *what;
	int *fds;
};

static int dial_in_namespace(void *arg)
{
	const struct call *c = arg;

	return sockets_dial(c->stock->marker, (enum cv_socket_kind)c->what->kind,
			    (enum zds_family)c->what->family, c->what->count, c->fds);
}

static void child_make(struct stock *s)
{
	int r = maker_new(s->program, s->home, s->mark_fd, s->ztunnel, &s->maker);

	s->again_us = now_monotonic_us() + AGAIN_US;
	if (r < 0)
		log_warn_errno("agent", r, "ztunnel's sockets are charged to the agent's cgroup");
}

void stock_ztunnel_connected(struct stock *s, pid_t ztunnel)
{
	s->maker = maker_free(s->maker);
	s->ztunnel = ztunnel;
	child_make(s);
}

void stock_ztunnel_lost(struct stock *s)
{
	s->maker = maker_free(s->maker);
	s->ztunnel = 0;
}

int stock_dial(struct stock *s, int netns_fd, const struct zds_sockets *what, int *ret)
{
	struct call call = {s, what, ret};
	int r;

	if (!s->maker && s->ztunnel > 0 && now_monotonic_us() >= s->again_us)
		child_make(s);
	if (s->maker) {
		r = maker_dial(s->maker, netns_fd, what, ret);
		if (r != -EPIPE)
			return r;
		log_warn("agent",
			 "the maker of ztunnel's sockets is gone: the agent makes them itself "
			 "for a minute");
		s->maker = maker_free(s->maker);
		s->again_us = now_monotonic_us() + AGAIN_US;
	}
	return netns_call(s->home, netns_fd, dial_in_namespace, &call);
}
