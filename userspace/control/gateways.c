/* SPDX-License-Identifier: Apache-2.0 */
#include "gateways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "condition.h"
#include "gateway_classes.h"
#include "gateway_status.h"
#include "source/honoured.h"
#include "source/kube_json.h"
#include "source/kube_watch.h"
#include "writer.h"

#define MERGE       "application/merge-patch+json"
#define PAUSE_US    10000000ULL
#define TICK_US     50000ULL /* one write each */
#define TICK_LOOKS  200      /* and so many objects looked at */
#define REQUEST_US  10000000ULL
#define OBJECTS_MAX 100000
#define WRITES      5           /* of one object in a row */
#define REFILL_US   60000000ULL /* and one more after this */

enum { CLASSES, GATEWAYS, SETS, KINDS = 9 };

static const struct {
	const char *kind, *plural;
	enum gateway_form form;
} kinds[KINDS] = {
	[CLASSES] = {"GatewayClass", "gatewayclasses", GATEWAY_CLASS},
	[GATEWAYS] = {"Gateway", "gateways", GATEWAY_GATEWAY},
	[SETS] = {"ListenerSet", "listenersets", GATEWAY_LISTENERS},
	{"HTTPRoute", "httproutes", GATEWAY_ROUTE},
	{"GRPCRoute", "grpcroutes", GATEWAY_ROUTE},
	{"TLSRoute", "tlsroutes", GATEWAY_ROUTE},
	{"TCPRoute", "tcproutes", GATEWAY_ROUTE},
	{"UDPRoute", "udproutes", GATEWAY_ROUTE},
	{"BackendTLSPolicy", "backendtlspolicies", GATEWAY_POLICY},
};

/** struct thing - one object. */
struct thing {
	struct watched *of;
	struct list link; /* in the queue while it is to be looked at */
	char *path;       /* "/apis/.../NAME" */
	json_t *object;   /* what matters here of it */
	char *sent;       /* its resourceVersion when we wrote last; NULL: never */
	struct kube_request *request;
	uint64_t refilled_us;
	unsigned int writes; /* that it may still have */
	bool is_seen;        /* in this list */
	bool is_told;        /* that somebody else writes it, too */
};

/** struct watched - a kind, while the API server has it. */
struct watched {
	struct gateways *all;
	size_t kind;
	const char *version, *found; /* "GROUP/VERSION"; now, and by the look that goes on */
	struct kube_watch *watch;
	struct map *things; /* "NAMESPACE/NAME" -> struct thing */
	bool is_listed;
};

struct gateways {
	struct gateways_config config;
	struct watched watched[KINDS];
	struct gateway_classes *classes;
	struct list queue;
	struct loop_timer tick, look;
	struct kube_request *looking;
	const char *const *next_version; /* that is looked for; of each kind the first is taken */
	size_t n_written, n_things;
	bool is_leader, is_failing;
};

static const char *meta(const json_t *object, const char *key)
{
	return json_text(json_object_get(object, "metadata"), key, "");
}

static struct thing *thing_find(const struct gateways *g, size_t kind, const char *namespace_,
				const char *name)
{
	_cleanup_(freep) char *key = str_format("%s/%s", namespace_, name);

	return key ? map_get_str(g->watched[kind].things, key) : NULL;
}

static const char *spec_of(const struct thing *t, const char *key)
{
	return t ? json_text(json_object_get(t->object, "spec"), key, "") : NULL;
}

static const char *controller_of(void *arg, const char *class_name)
{
	return spec_of(thing_find(arg, CLASSES, "", class_name), "controllerName");
}

static bool is_class(void *arg, const char *name)
{
	return thing_find(arg, CLASSES, "", name) != NULL;
}

static const char *class_of(void *arg, const char *namespace_, const char *name)
{
	return spec_of(thing_find(arg, GATEWAYS, namespace_, name), "gatewayClassName");
}

static const json_t *parent_of(void *arg, const char *namespace_, const char *name)
{
	const struct thing *t = thing_find(arg, SETS, namespace_, name);

	return t ? json_object_get(json_object_get(t->object, "spec"), "parentRef") : NULL;
}

static bool is_selected(void *arg, const char *namespace_)
{
	const struct gateways *g = arg;

	return g->config.is_selected(g->config.arg, namespace_);
}

/* Whose a Gateway is, is known when all classes are, and whose a route, when all Gateways and
 * ListenerSets are. */
static bool is_ready(const struct gateways *g)
{
	for (size_t i = 0; i <= SETS; i++)
		if (g->watched[i].watch && !g->watched[i].is_listed)
			return false;
	return true;
}

static void tick_soon(struct gateways *g)
{
	if (!g->tick.loop && !list_is_empty(&g->queue) && is_ready(g))
		(void)loop_timer_set(g->config.loop, &g->tick, TICK_US);
}

static void thing_queue(struct thing *t)
{
	if (list_is_empty(&t->link) && !t->request)
		list_add_tail(&t->of->all->queue, &t->link);
	tick_soon(t->of->all);
}

static void all_queue(struct gateways *g)
{
	for (size_t i = 0; i < KINDS; i++)
		map_for_each (g->watched[i].things, it)
			thing_queue(it.value);
}

static void thing_free(struct thing *t)
{
	list_del(&t->link);
	(void)kube_request_cancel(t->request);
	json_decref(t->object);
	t->of->all->n_things--;
	free(t->path);
	free(t->sent);
	free(t);
}

static void on_written(void *arg, const struct kube_answer *a)
{
	struct thing *t = arg;
	struct gateways *g = t->of->all;

	t->request = NULL;
	if (a->error == 0 && a->status / 100 == 2) {
		g->n_written++;
		g->is_failing = false;
	} else if (a->error == 0 && (a->status == 409 || a->status == 404)) {
		/* it has changed, or is gone: the watch brings it, and nothing is sent upon what
		 * was looked at again */
		t->writes++;
	} else {
		if (!g->is_failing)
			log_warn("control", "status not written resource=%s status=%d: %.200s",
				 t->path, a->status, a->error ? a->message : a->body);
		g->is_failing = true;
		t->writes++;
		/* the next look for kinds looks at all objects, too */
		free(t->sent);
		t->sent = NULL;
		return;
	}
	thing_queue(t); /* there may be news since it was sent */
}

/* Return: 0; -EAGAIN: it was written so often that somebody else must be writing, too. */
static int thing_take_turn(struct thing *t)
{
	uint64_t now = loop_now_us(t->of->all->config.loop);

	if (t->writes < WRITES && now - t->refilled_us >= REFILL_US) {
		t->writes++;
		t->refilled_us = now;
	}
	if (t->writes == 0)
		return -EAGAIN;
	if (--t->writes == 0 && !t->is_told)
		log_warn("control",
			 "another controller writes the status of %s, too: left to it but for once "
			 "a minute",
			 t->path);
	t->is_told |= t->writes == 0;
	return 0;
}

static int thing_send(struct thing *t, json_t *status)
{
	_cleanup_(freep) char *path = str_format("%s/status" WRITER_QUERY, t->path);
	_cleanup_(freep) char *text = NULL;
	struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = MERGE,
		.timeout_us = REQUEST_US,
		.on_done = on_written,
		.arg = t,
	};
	/* refused when it is no longer what we have looked at: a list is replaced as a whole */
	json_t *body = json_pack("{s:{s:s},s:O}", "metadata", "resourceVersion",
				 meta(t->object, "resourceVersion"), "status", status);

	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	config.body = text;
	free(t->sent);
	t->sent = strdup(meta(t->object, "resourceVersion"));
	return path && text && t->sent
		       ? kube_request_new(t->of->all->config.kube, &config, &t->request)
		       : -ENOMEM;
}

/* Return: has something been sent? */
static bool thing_look(struct thing *t)
{
	struct gateways *g = t->of->all;
	const struct gateway_view view = {.controller_of = controller_of,
					  .class_of = class_of,
					  .parent_of = parent_of,
					  .is_selected = is_selected,
					  .arg = g};
	json_t *status = NULL;
	char now[CONDITION_TIME_LEN];
	int r;

	/* what we wrote is on its way back to us */
	if (t->request || (t->sent && streq(t->sent, meta(t->object, "resourceVersion"))))
		return false;
	condition_time(time(NULL), now);
	r = gateway_status(t->object, kinds[t->of->kind].form, &view, now, &status);
	if (r == 0 && status)
		r = thing_take_turn(t);
	if (r == 0 && status)
		r = thing_send(t, status);
	json_decref(status);
	return r == 0 && t->request;
}

static void on_tick(struct loop_timer *timer)
{
	struct gateways *g = container_of(timer, struct gateways, tick);

	for (int i = 0; i < TICK_LOOKS && !list_is_empty(&g->queue); i++) {
		struct thing *t = list_entry(g->queue.next, struct thing, link);

		list_del(&t->link);
		if (thing_look(t))
			break;
	}
	tick_soon(g);
}

/* What matters of an object: its parts are shared with it. */
static json_t *reduce(const struct watched *w, json_t *body)
{
	const json_t *spec = json_object_get(body, "spec");
	static const char *const keys[] = {"controllerName", "gatewayClassName", "listeners",
					   "parentRef",      "parentRefs",       "targetRefs"};
	json_t *kept = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_object_get(spec, keys[i]))
			(void)json_object_set(kept, keys[i], json_object_get(spec, keys[i]));
	return json_pack("{s:s,s:{s:s,s:s,s:s,s:I},s:o,s:O*}", "kind", kinds[w->kind].kind,
			 "metadata", "name", meta(body, "name"), "namespace",
			 meta(body, "namespace"), "resourceVersion", meta(body, "resourceVersion"),
			 "generation",
			 json_integer_value(
				 json_object_get(json_object_get(body, "metadata"), "generation")),
			 "spec", kept, "status", json_object_get(body, "status"));
}

static char *path_of(const struct watched *w, const json_t *body)
{
	const char *namespace_ = meta(body, "namespace");

	return str_format("/apis/%s/%s%s%s%s/%s", w->version, *namespace_ ? "namespaces/" : "",
			  namespace_, *namespace_ ? "/" : "", kinds[w->kind].plural,
			  meta(body, "name"));
}

static struct thing *thing_new(struct watched *w, const json_t *body, const char *key)
{
	struct thing *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->of = w;
	w->all->n_things++;
	list_init(&t->link);
	t->writes = WRITES;
	t->refilled_us = loop_now_us(w->all->config.loop);
	t->path = path_of(w, body);
	if (!t->path || map_put_str(w->things, key, t) < 0) {
		thing_free(t);
		return NULL;
	}
	return t;
}

static int on_object(void *arg, json_t *body)
{
	struct watched *w = arg;
	_cleanup_(freep) char *key =
		str_format("%s/%s", meta(body, "namespace"), meta(body, "name"));
	json_t *object = reduce(w, body);
	bool is_other;
	struct thing *t;

	t = key ? map_get_str(w->things, key) : NULL;
	if (!t && w->all->n_things >= OBJECTS_MAX) {
		json_decref(object);
		return 0;
	}
	if (!t && key)
		t = thing_new(w, body, key);
	if (!t || !object) {
		json_decref(object);
		return -ENOMEM;
	}
	/* what hangs on it may be ours now, or not any more */
	is_other = w->kind <= SETS &&
		   !json_equal(json_object_get(t->object, "spec"), json_object_get(object, "spec"));
	json_decref(t->object);
	t->object = object;
	t->is_seen = true;
	if (is_other && w->is_listed)
		all_queue(w->all);
	thing_queue(t);
	return 0;
}

static void things_drop(struct watched *w, bool is_unseen_only)
{
	map_for_each (w->things, it) {
		struct thing *t = it.value;

		if (is_unseen_only && t->is_seen)
			continue;
		(void)map_del_str(w->things, it.key);
		thing_free(t);
	}
}

static void on_deleted(void *arg, json_t *body)
{
	const struct watched *w = arg;
	_cleanup_(freep) char *key =
		str_format("%s/%s", meta(body, "namespace"), meta(body, "name"));
	struct thing *t = key ? map_del_str(w->things, key) : NULL;

	if (t)
		thing_free(t);
}

static void on_list_begin(void *arg)
{
	const struct watched *w = arg;

	map_for_each (w->things, it)
		((struct thing *)it.value)->is_seen = false;
}

static void classes_make(struct gateways *g)
{
	if (g->watched[CLASSES].is_listed)
		gateway_classes_make(g->classes, g->watched[CLASSES].version);
}

static void on_list_end(void *arg)
{
	struct watched *w = arg;

	things_drop(w, true);
	w->is_listed = true;
	if (w->kind <= SETS)
		all_queue(w->all);
	classes_make(w->all);
	tick_soon(w->all);
}

static void on_trouble(void *arg, const char *message)
{
	const struct watched *w = arg;

	if (message)
		log_warn("control", "kind=%s of the Gateway API is not followed: %s",
			 kinds[w->kind].kind, message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
};

static void watched_stop(struct watched *w)
{
	w->watch = kube_watch_free(w->watch);
	w->version = NULL;
	w->is_listed = false;
	things_drop(w, false);
}

/* As the look has found it. */
static int watched_set(struct watched *w)
{
	_cleanup_(freep) char *path = NULL;
	struct kube_watch_config config = {.loop = w->all->config.loop,
					   .client = w->all->config.kube,
					   .ops = &watch_ops,
					   .arg = w};

	if (w->version == w->found)
		return 0;
	watched_stop(w);
	if (!w->found)
		return 0;
	path = str_format("/apis/%s/%s", w->found, kinds[w->kind].plural);
	if (!path)
		return -ENOMEM;
	w->version = w->found;
	config.path = path;
	return kube_watch_new(&config, &w->watch);
}

static void look_end(struct gateways *g)
{
	int r = 0;

	for (size_t i = 0; i < KINDS && r == 0; i++)
		r = watched_set(&g->watched[i]);
	/* what has failed is tried again, and other namespaces may be the mesh's now */
	all_queue(g);
	classes_make(g);
	(void)loop_timer_set(g->config.loop, &g->look, g->config.pause_us);
}

static void resources_take(struct gateways *g, const json_t *answer)
{
	const json_t *one;
	size_t n;

	json_array_foreach (json_object_get(answer, "resources"), n, one)
		for (size_t i = 0; i < KINDS; i++)
			if (!g->watched[i].found &&
			    streq(json_text(one, "name", ""), kinds[i].plural))
				g->watched[i].found = *g->next_version;
}

static void look_next(struct gateways *g);

static void on_looked(void *arg, const struct kube_answer *a)
{
	struct gateways *g = arg;
	json_t *answer;

	g->looking = NULL;
	if (a->error || (a->status != 200 && a->status != 404)) {
		/* not known: all stays as it is */
		(void)loop_timer_set(g->config.loop, &g->look, g->config.pause_us);
		return;
	}
	answer = a->status == 200 ? kube_json_load(a->body, a->len) : NULL;
	resources_take(g, answer);
	json_decref(answer);
	g->next_version++;
	look_next(g);
}

static void look_next(struct gateways *g)
{
	_cleanup_(freep) char *path = NULL;
	struct kube_request_config config = {
		.method = "GET", .timeout_us = REQUEST_US, .on_done = on_looked, .arg = g};

	if (!*g->next_version) {
		look_end(g);
		return;
	}
	path = str_format("/apis/%s", *g->next_version);
	config.path = path;
	if (!path || kube_request_new(g->config.kube, &config, &g->looking) < 0)
		(void)loop_timer_set(g->config.loop, &g->look, g->config.pause_us);
}

static void on_look(struct loop_timer *timer)
{
	struct gateways *g = container_of(timer, struct gateways, look);

	for (size_t i = 0; i < KINDS; i++)
		g->watched[i].found = NULL;
	g->next_version = honoured_find(HONOURED_GATEWAY_API, kinds[GATEWAYS].kind)->versions;
	look_next(g);
}

static void stop(struct gateways *g)
{
	loop_timer_del(&g->tick);
	loop_timer_del(&g->look);
	g->looking = kube_request_cancel(g->looking);
	gateway_classes_stop(g->classes);
	for (size_t i = 0; i < KINDS; i++)
		if (g->watched[i].things)
			watched_stop(&g->watched[i]);
}

int gateways_lead(struct gateways *g, bool is_leader)
{
	if (is_leader == g->is_leader)
		return 0;
	g->is_leader = is_leader;
	if (is_leader)
		return loop_timer_set(g->config.loop, &g->look, 0);
	stop(g);
	return 0;
}

size_t gateways_count(const struct gateways *g)
{
	return g->n_written;
}

int gateways_new(const struct gateways_config *config, struct gateways **ret)
{
	_cleanup_(gateways_freep) struct gateways *g = calloc(1, sizeof(*g));
	const struct gateway_classes_config classes = {
		.kube = config->kube, .is_there = is_class, .arg = g};
	int r;

	if (!g)
		return -ENOMEM;
	g->config = *config;
	g->config.pause_us = config->pause_us ? config->pause_us : PAUSE_US;
	g->tick.on_timer = on_tick;
	g->look.on_timer = on_look;
	list_init(&g->queue);
	r = gateway_classes_new(&classes, &g->classes);
	for (size_t i = 0; i < KINDS && r == 0; i++) {
		g->watched[i] = (struct watched){.all = g, .kind = i};
		r = map_new(&g->watched[i].things);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

struct gateways *gateways_free(struct gateways *g)
{
	if (!g)
		return NULL;
	stop(g);
	for (size_t i = 0; i < KINDS; i++)
		(void)map_free(g->watched[i].things);
	(void)gateway_classes_free(g->classes);
	free(g);
	return NULL;
}
