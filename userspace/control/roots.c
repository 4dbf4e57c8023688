/* SPDX-License-Identifier: Apache-2.0 */
#include "roots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "source/kube_call.h"
#include "source/kube_watch.h"
#include "writer.h"

#define MAP_NAME "istio-ca-root-cert"
#define SELECTOR "fieldSelector=metadata.name%3D" MAP_NAME
#define WRITE_US 10000000ULL
#define AGAIN_US 1000000ULL  /* between two writes to one namespace */
#define LATER_US 60000000ULL /* at most, after failures in a row */
#define AT_ONCE  16

/** struct place - one namespace. */
struct place {
	struct roots *roots;
	struct list link; /* in the queue while it is to be written */
	struct kube_request *request;
	uint64_t written_us; /* when it was last written; 0: never */
	uint64_t pause_us;   /* until it is written again; longer with each failure */
	char *name;
	bool is_going;   /* being deleted: it takes nothing any more */
	bool is_right;   /* the ConfigMap is as it should be */
	bool is_touched; /* by another, while our write was on its way */
};

struct roots {
	struct roots_config config;
	struct map *places;       /* name -> struct place */
	struct kube_watch *watch; /* while we are the leader */
	struct list queue;
	struct loop_timer again;
	size_t n_open;
	char *text;
	bool is_listed;  /* what others wrote is known */
	bool is_failing; /* told */
};

/* Istio leaves these alone, too. */
static bool is_ignored(const char *name)
{
	static const char *const ignored[] = {"kube-system", "kube-public", "kube-node-lease",
					      "local-path-storage"};

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (streq(name, ignored[i]))
			return true;
	return false;
}

static void place_drop(struct place *p)
{
	if (p->request)
		p->roots->n_open--;
	p->request = kube_request_cancel(p->request);
	list_del(&p->link);
}

static void place_free(struct place *p)
{
	place_drop(p);
	free(p->name);
	free(p);
}

static void queue_run(struct roots *r);

static void place_check(struct place *p)
{
	const struct roots *r = p->roots;

	if (!r->is_listed || !r->text || p->is_right || p->is_going || p->request ||
	    !list_is_empty(&p->link) || is_ignored(p->name) ||
	    !r->config.is_selected(r->config.arg, p->name))
		return;
	list_add_tail(&p->roots->queue, &p->link);
	queue_run(p->roots);
}

static void failed(struct place *p, const struct kube_answer *a)
{
	struct roots *r = p->roots;

	if (!r->is_failing)
		log_warn("control",
			 "ConfigMap " MAP_NAME " not written namespace=%s status=%d: %.200s",
			 p->name, a->status, a->error ? a->message : a->body);
	r->is_failing = true;
	/* a quota that is full for days, say, in many namespaces: each try is work for the API
	 * server */
	p->pause_us = MIN(p->pause_us * 2, LATER_US);
	list_add_tail(&r->queue, &p->link);
	if (!r->again.loop)
		(void)loop_timer_set(r->config.loop, &r->again, AGAIN_US);
}

static void on_written(void *arg, const struct kube_answer *a)
{
	struct place *p = arg;
	struct roots *r = p->roots;

	p->request = NULL;
	p->written_us = loop_now_us(r->config.loop);
	r->n_open--;
	if (a->error == 0 && a->status / 100 == 2) {
		p->is_right = !p->is_touched;
		p->pause_us = AGAIN_US;
		r->is_failing = false;
		place_check(p);
	} else if (a->error != 0 || a->status != 404) {
		failed(p, a);
		return;
	}
	queue_run(r);
}

static int write_one(struct place *p)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/configmaps/" MAP_NAME WRITER_APPLY, p->name);
	json_t *body =
		json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:{s:s}}", "apiVersion", "v1", "kind",
			  "ConfigMap", "metadata", "name", MAP_NAME, "namespace", p->name, "labels",
			  "istio.io/config", "true", "data", "root-cert.pem", p->roots->text);
	_cleanup_(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = KUBE_APPLY,
		.body = text,
		.timeout_us = WRITE_US,
		.on_done = on_written,
		.arg = p,
	};

	json_decref(body);
	p->is_touched = false;
	return path && text ? kube_request_new(p->roots->config.kube, &config, &p->request)
			    : -ENOMEM;
}

/* Two who write against each other must not do so as fast as they can. */
static bool is_too_soon(const struct place *p)
{
	return p->written_us && loop_now_us(p->roots->config.loop) - p->written_us < p->pause_us;
}

static void queue_run(struct roots *r)
{
	struct place *p, *tmp;

	list_for_each_entry_safe (p, tmp, &r->queue, link) {
		if (r->n_open >= AT_ONCE)
			return;
		if (p->is_going) {
			list_del(&p->link);
			continue;
		}
		if (is_too_soon(p) || write_one(p) < 0) {
			if (!r->again.loop)
				(void)loop_timer_set(r->config.loop, &r->again, AGAIN_US);
			continue;
		}
		list_del(&p->link);
		r->n_open++;
	}
}

static void on_again(struct loop_timer *t)
{
	queue_run(container_of(t, struct roots, again));
}

void roots_check(struct roots *r)
{
	map_for_each (r->places, it)
		place_check(it.value);
}

static struct place *place_of(const struct roots *r, const json_t *map)
{
	const char *name =
		json_string_value(json_object_get(json_object_get(map, "metadata"), "namespace"));

	return name ? map_get_str(r->places, name) : NULL;
}

static void place_seen(struct place *p, bool is_right)
{
	p->is_right = is_right;
	p->is_touched = !is_right;
	place_check(p);
}

static void on_list_begin(void *arg)
{
	const struct roots *r = arg;

	map_for_each (r->places, it)
		((struct place *)it.value)->is_right = false;
}

static int on_object(void *arg, json_t *map)
{
	struct roots *r = arg;
	struct place *p = place_of(r, map);
	const char *text =
		json_string_value(json_object_get(json_object_get(map, "data"), "root-cert.pem"));

	if (!p)
		return 0;
	place_seen(p, text && r->text && streq(text, r->text));
	return 0;
}

static void on_deleted(void *arg, json_t *map)
{
	struct place *p = place_of(arg, map);

	if (p)
		place_seen(p, false);
}

static void on_list_end(void *arg)
{
	struct roots *r = arg;

	r->is_listed = true;
	roots_check(r);
}

static void on_trouble(void *arg, const char *message)
{
	if (message)
		log_warn("control", "ConfigMaps " MAP_NAME " are not followed: %s", message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
};

int roots_lead(struct roots *r, bool is_leader)
{
	const struct kube_watch_config config = {.loop = r->config.loop,
						 .client = r->config.kube,
						 .path = "/api/v1/configmaps",
						 .selector = SELECTOR,
						 .ops = &watch_ops,
						 .arg = r};

	if (is_leader)
		return r->watch ? 0 : kube_watch_new(&config, &r->watch);
	r->watch = kube_watch_free(r->watch);
	r->is_listed = false;
	loop_timer_del(&r->again);
	map_for_each (r->places, it)
		place_drop(it.value);
	return 0;
}

int roots_set_text(struct roots *r, const char *pem)
{
	char *text = strdup(pem);

	if (!text)
		return -ENOMEM;
	free(r->text);
	r->text = text;
	map_for_each (r->places, it) {
		struct place *p = it.value;

		/* what is on its way holds the text before */
		place_drop(p);
		p->is_right = false;
		p->written_us = 0;
		p->pause_us = AGAIN_US;
		place_check(p);
	}
	return 0;
}

static struct place *place_new(struct roots *r, const char *name)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->roots = r;
	p->pause_us = AGAIN_US;
	list_init(&p->link);
	p->name = strdup(name);
	if (!p->name || map_put_str(r->places, name, p) < 0) {
		place_free(p);
		return NULL;
	}
	return p;
}

void roots_put_namespace(struct roots *r, const struct object *ns)
{
	struct place *p = map_get_str(r->places, ns->name);

	if (!p)
		p = place_new(r, ns->name);
	if (!p)
		return;
	p->is_going = object_value(ns, "metadata.deletionTimestamp");
	place_check(p);
}

void roots_delete_namespace(struct roots *r, const char *name)
{
	struct place *p = map_del_str(r->places, name);

	if (p)
		place_free(p);
}

size_t roots_count(const struct roots *r)
{
	size_t n = 0;

	map_for_each (r->places, it)
		n += ((const struct place *)it.value)->is_right;
	return n;
}

int roots_new(const struct roots_config *config, struct roots **ret)
{
	_cleanup_(roots_freep) struct roots *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->config = *config;
	r->again.on_timer = on_again;
	list_init(&r->queue);
	rc = map_new(&r->places);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(r);
	return 0;
}

struct roots *roots_free(struct roots *r)
{
	if (!r)
		return NULL;
	(void)kube_watch_free(r->watch);
	loop_timer_del(&r->again);
	if (r->places)
		map_for_each (r->places, it)
			place_free(it.value);
	(void)map_free(r->places);
	free(r->text);
	free(r);
	return NULL;
}
