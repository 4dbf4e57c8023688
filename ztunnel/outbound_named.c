/* SPDX-License-Identifier: Apache-2.0 */
/* outbound_named - an endpoint that its ServiceEntry gives by name: ask, choose, dial. */
#include "ztunnel/outbound_internal.h"

#include <string.h>

#include "ztunnel/pod.h"
#include "ztunnel/state.h"

/* no_name() - another endpoint of the service, if there is one left. */
static void no_name(struct outbound *o, int error)
{
	struct attempt *a = o->attempt;

	a->name_error = error;
	if (o->conn.service && o->conn.service->endpoints_count > 1 &&
	    a->avoid_named_count < OUTBOUND_AVOID_MAX) {
		a->avoid_named[a->avoid_named_count++] = o->conn.dst_workload;
		outbound_resolve(o);
		return;
	}
	conn_fail(&o->conn, CONN_CONNECT, names_error(error));
}

static void on_names(struct name_wait *wait, int error, const struct cv_addr *addrs, size_t count)
{
	struct attempt *a = container_of(wait, struct attempt, name_wait);
	struct outbound *o = a->owner;
	const struct resolve_choice choice = outbound_choice(o);
	const struct resolve_addrs of_name = {addrs, count};
	const struct workload *src = outbound_client(o);
	struct upstream u = {
		.kind = UPSTREAM_NAMED,
		.workload = o->conn.dst_workload,
		.service = o->conn.service,
		.is_chosen = true,
		.target = {.addr = o->conn.original_dst.addr, .port = a->named_port},
		.dial = {.port = a->named_port},
	};

	if (error) {
		no_name(o, error);
		return;
	}
	if (src)
		resolve_named(o->conn.worker->state, src, &of_name, &choice, &u);
	/* else it waits for its pod to be known again */
	outbound_follow(o, &u);
}

void outbound_dial_named(struct outbound *o, const struct upstream *u)
{
	struct attempt *a = o->attempt;
	const struct name_ask ask = {
		.netns_cookie = o->conn.pod->netns_cookie,
		.host = u->workload->rare->hostname,
		.addr = o->conn.original_dst.addr,
	};
	int r;

	a->named_port = u->dial.port;
	a->name_wait.on_names = on_names;
	r = names_ask(o->conn.worker, &ask, &a->name_wait);
	if (r < 0)
		conn_fail_errno(&o->conn, CONN_IO_ERROR, r);
}
