/* SPDX-License-Identifier: Apache-2.0 */
/* agent_past - GET /past: what the kernel refused, dropped or let past the mesh by itself. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "passed.h"

int agent_past_start(struct agent *a)
{
	uint64_t counters[CV_REASON_MAX];
	int r;

	r = datapath_counters(a->datapath, counters);
	if (r == 0)
		r = refusals_new(counters, now_realtime_us(), &a->refusals);
	if (r == 0)
		r = passed_start(datapath_map_fd(a->datapath, DATAPATH_PASSED));
	if (r < 0)
		return log_error_errno("agent", r, "cannot remember what the kernel refuses");
	return 0;
}

static enum recall_place place_of(const struct cv_event *ev)
{
	switch (ev->reason) {
	case CV_DROP_NO_STEER:
		return RECALL_ARRIVAL;
	case CV_UPLINK_PLAINTEXT:
	case CV_UPLINK_DENIED:
		return RECALL_UPLINK;
	case CV_GUARD_PLAINTEXT:
	case CV_GUARD_SOURCE:
	case CV_GUARD_FRAGMENT:
	case CV_GUARD_MALFORMED:
		return RECALL_LINK;
	case CV_GUARD_FORGED:
		return RECALL_ENTRY;
	case CV_DROP_MAP_FULL:
	case CV_DROP_NOT_DIRECT:
		return RECALL_HANDSHAKE;
	case CV_DROP_STORAGE:
	case CV_DROP_NO_ORIGIN: /* of a system call, or of an accept */
		return ev->pid ? RECALL_CONNECT : RECALL_HANDSHAKE;
	default:
		return RECALL_CONNECT;
	}
}

/* name_of() - of the workload or service that the mesh has there now. */
static void name_of(const struct agent *a, const struct cv_sockaddr *sa, char into[CV_NAME_LEN])
{
	struct cv_service_key key = {.addr = sa->addr, .port = sa->port};
	int services = datapath_map_fd(a->datapath, DATAPATH_SERVICES);
	struct cv_dest dest;

	if (bpf_map_lookup_elem(services, &key, &dest) < 0) {
		if (bpf_map_lookup_elem(datapath_map_fd(a->datapath, DATAPATH_WORKLOADS), &sa->addr,
					&dest) < 0)
			return;
		memset(&key.addr, 0, sizeof(key.addr)); /* a node port? */
		if (dest.flags & CV_DEST_NODE)
			(void)bpf_map_lookup_elem(services, &key, &dest);
	}
	(void)str_copy(into, CV_NAME_LEN, dest.name);
}

/* At connect(2) a socket mostly has no address yet: it would have got the pod's. */
static void source_fill(const struct agent *a, uint64_t cookie, struct recall *r)
{
	struct cv_pod pod;

	if (!cv_addr_is_any(&r->src.addr) || datapath_pod_get(a->datapath, cookie, &pod) < 0)
		return;
	r->src.addr = cv_addr_is_v4(&r->dst.addr) ? pod.addr4 : pod.addr6;
}

void agent_past_drop(struct agent *a, const struct cv_event *ev, const char *pod)
{
	struct recall r = {.reason = ev->reason, .place = place_of(ev), .pid = ev->pid};
	uint64_t age_us = now_monotonic_us() - ev->time_ns / 1000;
	bool is_inbound = recall_is_inbound(&r);

	r.last_us = now_realtime_us() - age_us;
	r.src = is_inbound ? ev->remote : ev->local;
	r.dst = is_inbound ? ev->local : ev->remote;
	memcpy(r.comm, ev->comm, sizeof(r.comm));
	(void)str_copy(is_inbound ? r.dst_name : r.src_name, CV_NAME_LEN, pod ? pod : "");
	name_of(a, &ev->remote, is_inbound ? r.src_name : r.dst_name);
	if (!is_inbound)
		source_fill(a, ev->netns_cookie, &r);
	refusals_add(a->refusals, &r);
	if (ev->reason == CV_DROP_POLICY)
		direct_refused(a->direct);
}

/* part() - {completeSinceUs, records}. Return: new reference; NULL. */
static json_t *part(int error, json_t *records, uint64_t since_us)
{
	if (error < 0) {
		json_decref(records);
		return NULL;
	}
	return json_pack("{s:I, s:o}", "completeSinceUs", (json_int_t)since_us, "records", records);
}

int agent_past_format(struct agent *a, struct buf *b)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	_cleanup_(freep) char *text = NULL;
	json_t *refused = json_array(), *let = json_array();
	uint64_t counters[CV_REASON_MAX], refused_us = 0, passed_us = 0;
	json_int_t lost;
	int r;

	r = datapath_counters(a->datapath, counters);
	events_flush(a->events);
	lost = r == 0 ? (json_int_t)refusals_lost(a->refusals, counters) : 0;
	r = refusals_to_json(a->refusals, refused, &refused_us);
	refused = part(r, refused, refused_us);
	r = passed_to_json(datapath_map_fd(a->datapath, DATAPATH_PASSED), let, &passed_us);
	let = part(r, let, passed_us);
	root = json_pack("{s:s, s:I, s:o, s:o}", "node", a->node, "lost", lost, "refused", refused,
			 "passed", let);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	return text ? buf_append_str(b, text) : -ENOMEM;
}
