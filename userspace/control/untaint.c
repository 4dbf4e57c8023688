/* SPDX-License-Identifier: Apache-2.0 */
#include "untaint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "source/pod_facts.h"
#include "writer.h"

#define JSON_PATCH "application/json-patch+json"
#define WRITE_US   10000000ULL
#define AGAIN_US   1000000ULL  /* after a failure */
#define LATER_US   60000000ULL /* at most, after failures in a row */
#define AT_ONCE    16

/** struct place - a node that has the taint, or a pod of ztunnel's that is ready. */
struct place {
	struct untaint *untaint;
	char *name;
	size_t n_ready;
	struct object *node; /* while it has the taint; else NULL */
	struct kube_request *request;
	uint64_t failed_us;
	uint64_t pause_us; /* from then until it is tried again; longer with each failure */
};

struct untaint {
	struct untaint_config config;
	struct map *places; /* name of a node -> struct place */
	struct map *pods;   /* name of a pod that is ready -> struct place */
	struct loop_timer again;
	size_t n_open, n_tainted;
	bool is_leader;
	bool is_failing; /* told */
};

static void place_stop(struct place *p)
{
	if (p->request)
		p->untaint->n_open--;
	p->request = kube_request_cancel(p->request);
}

static void place_free(struct place *p)
{
	place_stop(p);
	(void)object_unref(p->node);
	free(p->name);
	free(p);
}

static void place_check(struct place *p);

static void places_check(struct untaint *u)
{
	map_for_each (u->places, it)
		place_check(it.value);
}

static void on_again(struct loop_timer *t)
{
	places_check(container_of(t, struct untaint, again));
}

static void again_set(struct untaint *u)
{
	if (!u->again.loop)
		(void)loop_timer_set(u->config.loop, &u->again, AGAIN_US);
}

static void failed(struct place *p, const struct kube_answer *a)
{
	struct untaint *u = p->untaint;
	/* the node is gone, or its taints are others by now: the source is about to say so */
	bool is_late = !a->error && (a->status == 404 || a->status == 409 || a->status == 422);

	if (!u->is_failing && !is_late)
		log_warn("control", "taint %s not taken from node=%s status=%d: %.200s",
			 u->config.key, p->name, a->status, a->error ? a->message : a->body);
	u->is_failing |= !is_late;
	p->failed_us = loop_now_us(u->config.loop);
	p->pause_us = p->pause_us ? MIN(p->pause_us * 2, LATER_US) : AGAIN_US;
	again_set(u);
}

static void on_done(void *arg, const struct kube_answer *a)
{
	struct place *p = arg;
	struct untaint *u = p->untaint;

	p->request = NULL;
	u->n_open--;
	if (a->error || a->status / 100 != 2) {
		failed(p, a);
	} else {
		log_info("control", "the mesh is ready, taint %s taken from node=%s", u->config.key,
			 p->name);
		u->is_failing = false;
		p->pause_us = 0;
		p->node = object_unref(p->node);
		u->n_tainted--;
	}
	places_check(u);
}

/* The taints that stay. Return: a new reference; NULL: no memory. */
static json_t *others_of(const struct untaint *u, const json_t *taints)
{
	json_t *others = json_array(), *one;
	size_t i;

	json_array_foreach (taints, i, one)
		if (!streq(json_text(one, "key", ""), u->config.key) &&
		    json_array_append(others, one) < 0)
			return json_decref(others), NULL;
	return others;
}

/* Only if they are what we know: of another's change nothing is undone. */
static int write_one(struct place *p)
{
	const struct untaint *u = p->untaint;
	json_t *taints = object_value(p->node, "spec.taints");
	_cleanup_(freep) char *path = str_format("/api/v1/nodes/%s" WRITER_QUERY, p->name);
	json_t *body = json_pack("[{s:s,s:s,s:O},{s:s,s:s,s:o}]", "op", "test", "path",
				 "/spec/taints", "value", taints, "op", "replace", "path",
				 "/spec/taints", "value", others_of(u, taints));
	_cleanup_(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = JSON_PATCH,
		.body = text,
		.timeout_us = WRITE_US,
		.on_done = on_done,
		.arg = p,
	};

	json_decref(body);
	return path && text ? kube_request_new(u->config.kube, &config, &p->request) : -ENOMEM;
}

static bool is_too_soon(const struct place *p)
{
	return p->pause_us && loop_now_us(p->untaint->config.loop) - p->failed_us < p->pause_us;
}

static void place_check(struct place *p)
{
	struct untaint *u = p->untaint;

	if (!u->is_leader || !p->node || !p->n_ready || p->request || u->n_open >= AT_ONCE)
		return;
	if (is_too_soon(p) || write_one(p) < 0)
		again_set(u);
	else
		u->n_open++;
}

/* Made where there is none. Return: borrowed; NULL: no memory. */
static struct place *place_of(struct untaint *u, const char *node)
{
	void **at = map_at_str(u->places, node, NULL);
	struct place *p;

	if (!at || *at)
		return at ? *at : NULL;
	p = calloc(1, sizeof(*p));
	if (p)
		p->name = strdup(node);
	if (!p || !p->name) {
		(void)map_del_str(u->places, node);
		free(p);
		return NULL;
	}
	p->untaint = u;
	return *at = p;
}

/* Nothing is known of it any more? */
static void place_settle(struct place *p)
{
	if (p->node || p->n_ready) {
		place_check(p);
		return;
	}
	(void)map_del_str(p->untaint->places, p->name);
	place_free(p);
}

static bool has_taint(const struct untaint *u, const struct object *node)
{
	const json_t *one;
	size_t i;

	json_array_foreach (object_value(node, "spec.taints"), i, one)
		if (streq(json_text(one, "key", ""), u->config.key))
			return true;
	return false;
}

/* @node: NULL: it has no such taint, or is gone. */
static void node_set(struct untaint *u, const char *name, const struct object *node)
{
	struct place *p = node ? place_of(u, name) : map_get_str(u->places, name);

	if (!p)
		return;
	u->n_tainted += !!node;
	u->n_tainted -= !!p->node;
	(void)object_unref(p->node);
	p->node = node ? object_ref(node) : NULL;
	place_settle(p);
}

static bool is_ztunnel(const struct untaint *u, const struct object *pod)
{
	const char *app = object_label(pod, "app");

	return app && streq(app, "ztunnel") && streq(pod->namespace_, u->config.namespace_);
}

static void pod_forget(struct untaint *u, const struct object *pod)
{
	struct place *p = is_ztunnel(u, pod) ? map_del_str(u->pods, pod->name) : NULL;

	if (!p)
		return;
	p->n_ready--;
	place_settle(p);
}

static void pod_put(struct untaint *u, const struct object *pod)
{
	struct place *p;

	pod_forget(u, pod);
	if (!is_ztunnel(u, pod) || !pod->pod->is_said_ready)
		return;
	p = place_of(u, pod->pod->node);
	if (!p)
		return;
	p->n_ready += map_put_str(u->pods, pod->name, p) == 0;
	place_settle(p);
}

void untaint_put(struct untaint *u, const struct object *obj)
{
	if (streq(obj->kind, "Node"))
		node_set(u, obj->name, has_taint(u, obj) ? obj : NULL);
	else if (streq(obj->kind, "Pod"))
		pod_put(u, obj);
}

void untaint_delete(struct untaint *u, const struct object *obj)
{
	if (streq(obj->kind, "Node"))
		node_set(u, obj->name, NULL);
	else if (streq(obj->kind, "Pod"))
		pod_forget(u, obj);
}

void untaint_lead(struct untaint *u, bool is_leader)
{
	u->is_leader = is_leader;
	if (is_leader) {
		places_check(u);
		return;
	}
	loop_timer_del(&u->again);
	map_for_each (u->places, it)
		place_stop(it.value);
}

size_t untaint_count(const struct untaint *u)
{
	return u->n_tainted;
}

int untaint_new(const struct untaint_config *config, struct untaint **ret)
{
	_cleanup_(untaint_freep) struct untaint *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->config = *config;
	u->again.on_timer = on_again;
	r = map_new(&u->places);
	if (r == 0)
		r = map_new(&u->pods);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(u);
	return 0;
}

struct untaint *untaint_free(struct untaint *u)
{
	if (!u)
		return NULL;
	loop_timer_del(&u->again);
	if (u->places)
		map_for_each (u->places, it)
			place_free(it.value);
	(void)map_free(u->places);
	(void)map_free(u->pods);
	free(u);
	return NULL;
}
