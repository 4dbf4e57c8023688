/* SPDX-License-Identifier: Apache-2.0 */
#include "redirection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

#define ANNOTATION "ambient.istio.io/redirection"
#define LOOK_US    (50ULL * 1000) /* changes come in bursts */
#define PENDING_US (1000ULL * 1000)
#define AGAIN_US   (5000ULL * 1000) /* the watch tells of what was written sooner than that */
#define UID_MAX    64

/* A pod whose annotation is not as it should be. */
struct change {
	struct redirection *owner;
	char *key;
	char uid[UID_MAX];
	const char *want; /* static; NULL: none */
	uint64_t not_before_us;
	bool is_under_way, is_needed;
};

struct redirection {
	struct loop *loop;
	struct kube_write *write;
	const struct objects *objects;
	const struct pods *pods;
	struct map *changes; /* key -> struct change */
	struct loop_timer look;
};

static void look_in(struct redirection *r, uint64_t delay_us)
{
	if (!r->look.at_us || r->look.at_us > loop_now_us(r->loop) + delay_us)
		(void)loop_timer_set(r->loop, &r->look, delay_us);
}

static const char *want_of(const struct redirection *r, const char *key)
{
	const char *why;
	bool is_soon;

	if (!objects_is_enrolled(r->objects, key))
		return NULL;
	return pods_hold(r->pods, key, &is_soon, &why) == PODS_HOLD_SERVED ? "enabled" : "pending";
}

static void change_free(struct redirection *r, struct change *c)
{
	(void)map_del_str(r->changes, c->key);
	free(c->key);
	free(c);
}

static struct change *change_get(struct redirection *r, const char *key, const char *uid)
{
	struct change *c = map_get_str(r->changes, key);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->owner = r;
	c->key = strdup(key);
	if (!c->key || str_copy(c->uid, sizeof(c->uid), uid) < 0 ||
	    map_put_str(r->changes, key, c) < 0) {
		free(c->key);
		free(c);
		return NULL;
	}
	c->want = "";
	return c;
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && streq(a, b));
}

/* Most are pending for a moment only. And while the runtime makes a pod, a change of its object
 * keeps the kubelet from its work, which delays the pod. */
static bool is_early(const struct object *pod, const char *want)
{
	const char *phase = object_string(pod, "status.phase");

	return want && (streq(want, "pending") || (phase && streq(phase, "Pending")));
}

static void on_pod(void *arg, const char *key, const struct object *pod)
{
	struct redirection *r = arg;
	const char *have = object_annotation(pod, ANNOTATION), *want = want_of(r, key);
	const char *uid = object_string(pod, "metadata.uid");
	struct change *c;

	if (is_same(have, want) || !uid || object_string(pod, "metadata.deletionTimestamp"))
		return;
	c = change_get(r, key, uid);
	if (!c)
		return;
	c->is_needed = true;
	if (is_same(c->want, want) && streq(c->uid, uid))
		return;
	c->not_before_us = loop_now_us(r->loop) + (is_early(pod, want) ? PENDING_US : 0);
	c->want = want;
	(void)str_copy(c->uid, sizeof(c->uid), uid);
}

static void on_written(void *arg, int status)
{
	struct change *c = arg;

	c->is_under_way = false;
	look_in(c->owner, LOOK_US);
}

/* With its UID, so that a pod of the same name that has come since is left alone. */
static void change_send(struct redirection *r, struct change *c)
{
	_cleanup_(freep) char *path = NULL, *body = NULL;
	const char *slash = strchr(c->key, '/');
	struct kube_write_request q = {
		.method = "PATCH",
		.content_type = "application/merge-patch+json",
		.right = "patch pods/status",
		.on_done = on_written,
		.arg = c,
	};

	q.path = path = str_format("/api/v1/namespaces/%.*s/pods/%s/status", (int)(slash - c->key),
				   c->key, slash + 1);
	q.body = body = str_format(
		"{\"metadata\":{\"uid\":\"%s\",\"annotations\":{\"" ANNOTATION "\":%s%s%s}}}",
		c->uid, c->want ? "\"" : "", c->want ? c->want : "null", c->want ? "\"" : "");
	c->not_before_us = loop_now_us(r->loop) + AGAIN_US;
	if (path && body)
		c->is_under_way = kube_write_send(r->write, &q) == 0;
	if (!c->is_under_way)
		c->not_before_us = loop_now_us(r->loop) + PENDING_US;
}

static void on_look(struct loop_timer *t)
{
	struct redirection *r = container_of(t, struct redirection, look);
	uint64_t now_us = loop_now_us(r->loop);

	map_for_each (r->changes, it)
		((struct change *)it.value)->is_needed = false;
	objects_for_each_pod(r->objects, on_pod, r);
	map_for_each (r->changes, it) {
		struct change *c = it.value;

		if (c->is_under_way)
			continue;
		if (!c->is_needed) {
			change_free(r, c);
			continue;
		}
		if (c->not_before_us <= now_us)
			change_send(r, c);
		if (!c->is_under_way || c->not_before_us > now_us)
			look_in(r, c->not_before_us > now_us ? c->not_before_us - now_us : LOOK_US);
	}
}

void redirection_changed(struct redirection *r)
{
	if (r)
		look_in(r, LOOK_US);
}

int redirection_new(struct loop *loop, struct kube_write *write, const struct objects *objects,
		    const struct pods *pods, struct redirection **ret)
{
	_cleanup_(redirection_freep) struct redirection *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	*r = (struct redirection){.loop = loop, .write = write, .objects = objects, .pods = pods};
	r->look.on_timer = on_look;
	e = map_new(&r->changes);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

struct redirection *redirection_free(struct redirection *r)
{
	if (!r)
		return NULL;
	loop_timer_del(&r->look);
	if (r->changes)
		map_for_each (r->changes, it)
			change_free(r, it.value);
	(void)map_free(r->changes);
	free(r);
	return NULL;
}
