/* SPDX-License-Identifier: Apache-2.0 */
#include "recall.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "events.h"
#include "net/addr.h"

static const char *const places[RECALL_PLACE_MAX] = {"connect", "handshake", "link",
						     "arrival", "entry",     "uplink"};

bool recall_is_inbound(const struct recall *r)
{
	return r->place == RECALL_ARRIVAL || r->place == RECALL_ENTRY || r->place == RECALL_UPLINK;
}

/* What annotations leave alone, and the pod itself, are words of their own. */
static const char *path_of(const struct recall *r)
{
	switch (r->reason) {
	case CV_PASSTHROUGH:
	case CV_EXCLUDED:
	case CV_SELF:
		return reason_label(r->reason);
	default:
		return "none";
	}
}

static const char *verdict_of(const struct recall *r)
{
	if (path_of(r)[0] != 'n')
		return "passed";
	return r->place == RECALL_CONNECT || r->place == RECALL_ARRIVAL ? "refused" : "dropped";
}

/* name_set() - "namespace/name" as two keys; a name without a "/" is nobody's. */
static int name_set(json_t *o, const char *name, const char *ns_key, const char *name_key)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;
	int r = json_object_set_new(o, ns_key, json_stringn(name, n));

	return r < 0 ? r : json_object_set_new(o, name_key, json_string(slash ? slash + 1 : ""));
}

/* A process chooses its name, and a terminal will show it: nothing but ASCII. */
static int process_set(json_t *o, const struct recall *r)
{
	char comm[sizeof(r->comm) + 1] = {0};

	memcpy(comm, r->comm, sizeof(r->comm));
	for (char *c = comm; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (json_object_set_new(o, "pid", json_integer(r->pid)) < 0)
		return -1;
	return json_object_set_new(o, "process", json_string(comm));
}

int recall_to_json(const struct recall *r, json_t *into)
{
	char src[CV_SOCKADDR_STRLEN], dst[CV_SOCKADDR_STRLEN];
	json_t *o = json_pack(
		"{s:s, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "by", "kernel",
		"endedUs", (json_int_t)r->last_us, "firstUs", (json_int_t)r->first_us, "count",
		(json_int_t)r->count, "toldOneIn",
		r->place == RECALL_UPLINK ? RECALL_UPLINK_SAMPLE : 1, "place", places[r->place],
		"direction", recall_is_inbound(r) ? "inbound" : "outbound", "path", path_of(r),
		"verdict", verdict_of(r), "reason", reason_label(r->reason), "src",
		cv_sockaddr_format(&r->src, src), "dst", cv_sockaddr_format(&r->dst, dst));

	if (o && json_object_set_new(o, "error", json_string(reason_sentence(r->reason))) == 0 &&
	    json_object_set_new(o, "asked", json_string(dst)) == 0 &&
	    name_set(o, r->src_name, "srcNamespace", "srcName") == 0 &&
	    name_set(o, r->dst_name, "dstNamespace", "dstName") == 0 && process_set(o, r) == 0)
		return json_array_append_new(into, o) < 0 ? -ENOMEM : 0;
	json_decref(o);
	return -ENOMEM;
}
