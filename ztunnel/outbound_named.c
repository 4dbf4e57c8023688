/* SPDX-License-Identifier: Apache-2.0 */
/* outbound_named - an endpoint that its ServiceEntry gives by name: ask, choose, dial. */
#include "ztunnel/outbound_internal.h"

#include <string.h>

#include "ztunnel/pod.h"
#include "ztunnel/state.h"

/* no_name() - another endpoint of the service, if there is one left. */
static void no_name(struct outbound *o, int error)
{
	o->name_error = error;
	if (o->conn.service && o->conn.service->endpoints_count > 1 &&
	    o->avoid_named_count < AVOID_MAX) {
		o->avoid_named[o->avoid_named_count++] = o->conn.dst_workload;
		outbound_resolve(o);
		return;
	}
	outbound_fail(o, CONN_CONNECT, names_error(error));
}

static void on_names(struct name_wait *wait, int error, const struct cv_addr *addrs, size_t count)
{
	struct outbound *o = container_of(wait, struct outbound, name_wait);
	const struct resolve_choice choice = outbound_choice(o);
	struct upstream u = {
		.kind = UPSTREAM_NAMED,
		.workload = o->conn.dst_workload,
		.service = o->conn.service,
		.target = {.addr = o->conn.original_dst.addr, .port = o->named_port},
		.dial = {.port = o->named_port},
	};

	if (error) {
		no_name(o, error);
		return;
	}
	resolve_named(&u, addrs, count, &choice);
	if (u.kind == UPSTREAM_REFUSE) {
		outbound_fail(o, CONN_CONNECT, u.error);
		return;
	}
	o->endpoint = u.endpoint;
	o->has_endpoint = true;
	o->has_others = u.has_others;
	outbound_dial(o, &u);
}

void outbound_dial_named(struct outbound *o, const struct upstream *u)
{
	int r;

	o->named_port = u->dial.port;
	o->name_wait.on_names = on_names;
	r = names_ask(o->conn.worker, o->conn.pod->netns_cookie, u->workload->hostname,
		      &o->name_wait);
	if (r < 0)
		outbound_fail(o, CONN_CONNECT, strerror(-r));
}
