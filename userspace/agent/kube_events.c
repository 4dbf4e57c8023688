/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_events.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/str.h"

#define AGAIN_US  (600ULL * 1000 * 1000) /* the same of the same pod */
#define BURST     20
#define REFILL_US (5ULL * 1000 * 1000) /* then one in this time */
#define TOLD_MAX  1024
#define TEXT_MAX  1000 /* the API server takes 1,024 bytes */

struct told {
	uint64_t at_us;
};

struct kube_events {
	struct loop *loop;
	struct kube_write *write;
	char *node;
	struct map *told; /* UID, reason and message -> struct told */
	size_t told_count;
	uint64_t full_us; /* when the bucket was full; the difference to now is what is in it */
	uint64_t serial;
};

static void told_forget(struct kube_events *e)
{
	map_for_each (e->told, it)
		free(map_del_str(e->told, it.key));
	e->told_count = 0;
}

static bool is_new(struct kube_events *e, const char *what)
{
	uint64_t now_us = loop_now_us(e->loop);
	struct told *t = map_get_str(e->told, what);

	if (t && now_us - t->at_us < AGAIN_US)
		return false;
	if (!t && e->told_count == TOLD_MAX)
		told_forget(e);
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t || map_put_str(e->told, what, t) < 0) {
			free(t);
			return false;
		}
		e->told_count++;
	}
	t->at_us = now_us;
	return true;
}

/* A bucket of BURST, by the time at which it will be full again. */
static bool is_within_rate(struct kube_events *e)
{
	uint64_t now_us = loop_now_us(e->loop);
	uint64_t from_us = MAX(e->full_us, now_us);

	if (from_us - now_us > (BURST - 1) * REFILL_US)
		return false;
	e->full_us = from_us + REFILL_US;
	return true;
}

static json_t *event_json(struct kube_events *e, const struct object *pod, const char *reason,
			  const char *message)
{
	const char *uid = object_string(pod, "metadata.uid");
	char at[32], name[300], text[TEXT_MAX];
	time_t now = (time_t)(now_realtime_us() / 1000000);
	struct tm tm;

	(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	(void)snprintf(name, sizeof(name), "%.200s.%llx%02llx", pod->name,
		       (unsigned long long)now_realtime_us(),
		       (unsigned long long)e->serial++ % 256);
	(void)snprintf(text, sizeof(text), "%.*s", TEXT_MAX - 1, message);
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, "
			 "s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:i}",
			 "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace",
			 pod->namespace_, "involvedObject", "apiVersion", "v1", "kind", "Pod",
			 "namespace", pod->namespace_, "name", pod->name, "uid", uid ? uid : "",
			 "reason", reason, "message", str_utf8(text), "type", "Warning", "source",
			 "component", "culvert-agent", "host", e->node, "reportingComponent",
			 "culvert-agent", "reportingInstance", e->node, "firstTimestamp", at,
			 "lastTimestamp", at, "count", 1);
}

void kube_events_warn(struct kube_events *e, const struct object *pod, const char *reason,
		      const char *message)
{
	_cleanup_(freep) char *what = NULL, *path = NULL, *body = NULL;
	json_t *event;
	struct kube_write_request q = {
		.method = "POST", .content_type = "application/json", .right = "create events"};

	/* what is missing of a pod that goes has gone, as it should */
	if (!e || !pod || object_string(pod, "metadata.deletionTimestamp"))
		return;
	what = str_format("%s/%s %s %s", pod->namespace_, pod->name, reason, message);
	if (!what || !is_new(e, what) || !is_within_rate(e))
		return;
	event = event_json(e, pod, reason, message);
	q.body = body = event ? json_dumps(event, JSON_COMPACT) : NULL;
	json_decref(event);
	q.path = path = str_format("/api/v1/namespaces/%s/events", pod->namespace_);
	if (body && path)
		(void)!kube_write_send(e->write, &q);
}

int kube_events_new(struct loop *loop, struct kube_write *write, const char *node,
		    struct kube_events **ret)
{
	_cleanup_(kube_events_freep) struct kube_events *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->loop = loop;
	e->write = write;
	e->node = strdup(node);
	if (!e->node)
		return -ENOMEM;
	r = map_new(&e->told);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(e);
	return 0;
}

struct kube_events *kube_events_free(struct kube_events *e)
{
	if (!e)
		return NULL;
	if (e->told)
		told_forget(e);
	(void)map_free(e->told);
	free(e->node);
	free(e);
	return NULL;
}
