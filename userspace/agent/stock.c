/* SPDX-License-Identifier: Apache-2.0 */
#include "stock.h"

#include <errno.h>

#include "base/log.h"

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

void stock_ztunnel_connected(struct stock *s, pid_t ztunnel)
{
	int r;

	s->maker = maker_free(s->maker);
	r = maker_new(s->home, s->mark_fd, ztunnel, &s->maker);
	if (r < 0)
		log_warn_errno("agent", r, "ztunnel's sockets are charged to the agent's cgroup");
}

void stock_ztunnel_lost(struct stock *s)
{
	s->maker = maker_free(s->maker);
}

int stock_dial(struct stock *s, int netns_fd, const struct zds_sockets *what, int *ret)
{
	struct call call = {s, what, ret};
	int r;

	if (s->maker) {
		r = maker_dial(s->maker, netns_fd, what, ret);
		if (r != -EPIPE)
			return r;
		log_warn("agent",
			 "the maker of ztunnel's sockets is gone: the agent makes them itself");
		s->maker = maker_free(s->maker);
	}
	return netns_call(s->home, netns_fd, dial_in_namespace, &call);
}
