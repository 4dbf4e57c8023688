/* SPDX-License-Identifier: Apache-2.0 */
/* outbound_named - an endpoint that its ServiceEntry gives by name: ask, choose, dial. */
#include "ztunnel/outbound_internal.h"

#include <errno.h>
#include <string.h>

#include "ztunnel/pod.h"
#include "ztunnel/state.h"

/* try_another() - endpoint of the service, since this name leads nowhere. May end and free @o.
 * Return: false: there is none left. */
static bool try_another(struct outbound *o, int error)
{
	struct attempt *a = o->attempt;

	if (!o->conn.service || o->conn.service->endpoints_count <= 1 ||
	    a->avoid_named_count == OUTBOUND_AVOID_MAX)
		return false;
	a->name_error = error;
	a->avoid_named[a->avoid_named_count++] = o->conn.dst_workload;
	outbound_resolve(o);
	return true;
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
		if (!try_another(o, error))
			conn_fail(&o->conn, CONN_CONNECT, names_error(error));
		return;
	}
	if (src)
		resolve_named(o->conn.worker->state, src, &of_name, &choice, &u);
	/* all its addresses have failed; else it waits for its pod to be known again */
	if (u.kind == UPSTREAM_REFUSE && !u.is_in_doubt && try_another(o, -EHOSTUNREACH))
		return;
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
