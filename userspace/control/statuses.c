/* SPDX-License-Identifier: Apache-2.0 */
#include "statuses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "condition.h"
#include "source/honoured.h"
#include "source/kube_call.h"
#include "source/kube_watch.h"
#include "source/schema.h"
#include "writer.h"

#define PAUSE_US     1000000ULL
#define TICK_US      50000ULL /* one write each */
#define REQUEST_US   10000000ULL
#define SUBJECTS_MAX 100000
#define WRITES_MAX   5 /* of the same in a row */
#define LEAVE_US     60000000ULL

/** struct subject - one resource. */
struct subject {
	struct statuses *all;
	struct list link; /* in the queue while it is to be written */
	char *path;       /* "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME" */
	char *kind, *namespace_, *name;
	json_t *labels; /* of its selector; NULL: it is for all */
	int64_t generation;
	struct condition have, want;
	struct condition sent; /* on its way */
	uint64_t written;      /* hash of what was written last; 0: nothing yet */
	uint64_t written_us;
	unsigned int n_same;           /* times in a row that this was */
	uint64_t refused_us, pause_us; /* when a write was, and for how long none is tried since */
	struct kube_request *request;
	bool is_there;  /* else only what is wrong with it is known */
	bool is_named;  /* by a problem, in this round */
	bool is_unread; /* of a kind that does nothing yet: @want is as its watch has set it */
};

/** struct watched - a kind that does nothing yet. */
struct watched {
	struct statuses *all;
	const struct honoured_kind *kind;
	struct kube_watch *watch;
};

struct statuses {
	struct statuses_config config;
	struct map *subjects; /* path -> struct subject */
	struct watched *watched;
	size_t n_watched, n_written;
	struct list queue;
	struct loop_timer round, tick;
	bool is_leader, is_failing;
};

static void subject_free(struct subject *u)
{
	list_del(&u->link);
	(void)kube_request_cancel(u->request);
	json_decref(u->labels);
	free(u->path);
	free(u->kind);
	free(u->namespace_);
	free(u->name);
	free(u);
}

static void subject_drop(struct statuses *s, const char *path)
{
	struct subject *u = map_del_str(s->subjects, path);

	if (u)
		subject_free(u);
}

/* Of Istio's resources in namespaces, as the source names their files. */
static bool is_ours(const char *path)
{
	const char *slash = strncmp(path, "/apis/", 6) == 0 ? strchr(path + 6, '/') : NULL;
	static const char suffix[] = ".istio.io";

	return slash && (size_t)(slash - path) > sizeof(suffix) + 6 &&
	       strncmp(slash - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) == 0 &&
	       strstr(path, "/namespaces/");
}

static struct subject *subject_get(struct statuses *s, const char *path, const char *kind,
				   const char *namespace_, const char *name)
{
	struct subject *u = map_get_str(s->subjects, path);

	if (u || map_count(s->subjects) >= SUBJECTS_MAX)
		return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->all = s;
	list_init(&u->link);
	u->path = strdup(path);
	u->kind = strdup(kind);
	u->namespace_ = strdup(namespace_);
	u->name = strdup(name);
	if (!u->path || !u->kind || !u->namespace_ || !u->name ||
	    map_put_str(s->subjects, path, u) < 0) {
		subject_free(u);
		return NULL;
	}
	return u;
}

static void tick_soon(struct statuses *s)
{
	if (!s->tick.loop && !list_is_empty(&s->queue))
		(void)loop_timer_set(s->config.loop, &s->tick, TICK_US);
}

static uint64_t hash_of(const struct condition *c)
{
	return map_hash(c->message, strlen(c->message)) + (uint64_t)c->generation * WRITES_MAX +
	       c->verdict;
}

/* A look at all of them, then or earlier. */
static void round_within(struct statuses *s, uint64_t us)
{
	if (!s->is_leader || (s->round.loop && s->round.at_us <= loop_now_us(s->config.loop) + us))
		return;
	(void)loop_timer_set(s->config.loop, &s->round, us);
}

/* Left to somebody else who writes what stands there, too, whenever we do, or because it was
 * refused: for so long from now on. */
static uint64_t rest_us(const struct subject *u)
{
	const struct statuses_config *config = &u->all->config;
	uint64_t now = loop_now_us(config->loop);
	uint64_t written = now - u->written_us, refused = now - u->refused_us;

	if (u->n_same >= WRITES_MAX && u->written == hash_of(&u->want) &&
	    written < config->leave_us)
		return config->leave_us - written;
	return refused < u->pause_us ? u->pause_us - refused : 0;
}

static void subject_check(struct subject *u)
{
	struct statuses *s = u->all;
	uint64_t rest;

	if (condition_is_same(&u->want, &u->have) || u->request || !list_is_empty(&u->link))
		return;
	rest = rest_us(u);
	if (rest) {
		/* nothing else says when it is over */
		round_within(s, rest);
		return;
	}
	list_add_tail(&s->queue, &u->link);
	tick_soon(s);
}

/* An object that its definition's schema takes no more, say, whose status can be written by nobody:
 * it is tried less and less. */
static void refused_note(struct subject *u)
{
	const struct statuses_config *config = &u->all->config;

	u->refused_us = loop_now_us(config->loop);
	u->pause_us = u->pause_us ? MIN(u->pause_us * 2, config->leave_us) : config->pause_us;
	round_within(u->all, u->pause_us);
}

static void written_note(struct subject *u)
{
	uint64_t hash = hash_of(&u->sent);

	u->n_same = hash == u->written ? u->n_same + 1 : 1;
	u->written = hash;
	u->written_us = loop_now_us(u->all->config.loop);
	if (u->n_same == WRITES_MAX)
		log_warn("control",
			 "another controller writes the status of %s, too: left to it but for once "
			 "a minute",
			 u->path);
}

static void on_written(void *arg, const struct kube_answer *a)
{
	struct subject *u = arg;
	struct statuses *s = u->all;

	u->request = NULL;
	if (a->error == 0 && a->status / 100 == 2) {
		u->have = u->sent;
		u->pause_us = 0;
		written_note(u);
		s->n_written++;
		s->is_failing = false;
		subject_check(u); /* there may be other news since it was sent */
	} else if (a->error != 0 || a->status != 404) {
		if (!s->is_failing)
			log_warn("control", "status not written resource=%s status=%d: %.200s",
				 u->path, a->status, a->error ? a->message : a->body);
		s->is_failing = true;
		refused_note(u);
	}
}

/* "/apis/GROUP/VERSION/...": the version that it is written in. */
static json_t *api_version_of(const char *path)
{
	const char *group = path + strlen("/apis/"), *version = strchr(group, '/');

	return json_stringn(group, (size_t)(version + 1 + strcspn(version + 1, "/") - group));
}

static int subject_write(struct subject *u)
{
	_cleanup_(freep) char *path = str_format("%s/status" WRITER_APPLY, u->path);
	_cleanup_(freep) char *text = NULL;
	struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = KUBE_APPLY,
		.timeout_us = REQUEST_US,
		.on_done = on_written,
		.arg = u,
	};
	char now[CONDITION_TIME_LEN];
	json_t *body;

	condition_time(time(NULL), now);
	u->sent = u->want;
	body = json_pack("{s:o,s:s,s:{s:s,s:s},s:o}", "apiVersion", api_version_of(u->path), "kind",
			 u->kind, "metadata", "name", u->name, "namespace", u->namespace_, "status",
			 condition_patch(&u->want, &u->have, u->kind, now));
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	config.body = text;
	return path && text ? kube_request_new(u->all->config.kube, &config, &u->request) : -ENOMEM;
}

static void on_tick(struct loop_timer *t)
{
	struct statuses *s = container_of(t, struct statuses, tick);
	struct subject *u;

	if (list_is_empty(&s->queue))
		return;
	u = list_entry(s->queue.next, struct subject, link);
	list_del(&u->link);
	if (!u->request && subject_write(u) < 0)
		statuses_changed(s);
	tick_soon(s);
}

/* In front, where nothing cuts it. */
static void version_add(struct condition *c)
{
	char before[CONDITION_MESSAGE_MAX];

	(void)str_copy(before, sizeof(before), c->message);
	(void)str_concat(c->message, sizeof(c->message), HONOURED_AS_OF, before);
	(void)str_utf8(c->message);
}

static void want_settle(struct subject *u)
{
	const struct statuses *s = u->all;

	if (!s->config.is_selected(s->config.arg, u->namespace_)) {
		u->want.verdict = CONDITION_UNBOUND;
		u->want.message[0] = '\0';
		condition_add(&u->want, "",
			      "discoverySelectors leave its namespace out of the mesh");
	}
	if (u->want.verdict == CONDITION_ACCEPTED && u->labels &&
	    !s->config.has_workloads(s->config.arg, u->namespace_, u->labels)) {
		u->want.verdict = CONDITION_UNBOUND;
		condition_add(&u->want, "", "its selector matches no pod of the mesh");
	}
	if (u->want.verdict == CONDITION_ACCEPTED)
		condition_add(&u->want, "", "in force");
	if (u->want.verdict == CONDITION_UNSUPPORTED)
		version_add(&u->want);
}

static void on_problem(void *arg, const struct source_error *err)
{
	struct statuses *s = arg;
	struct subject *u;

	/* of selectors has_workloads() knows more: what is in the mesh, and now */
	if (!*err->name || !is_ours(err->file) ||
	    (err->is_warning && str_has_prefix(err->message, "matches no pod")))
		return;
	u = subject_get(s, err->file, err->kind, err->namespace_, err->name);
	if (!u)
		return;
	u->is_named = true;
	u->want.is_there = true;
	/* what is refused is not put: the one before is what is known of it */
	if (err->generation)
		u->want.generation = err->generation;
	u->want.verdict =
		err->is_warning ? MAX(u->want.verdict, CONDITION_UNSUPPORTED) : CONDITION_INVALID;
	condition_add(&u->want, err->field, err->message);
}

static void want_begin(struct subject *u)
{
	u->is_named = false;
	if (u->is_unread)
		return;
	u->want = (struct condition){.is_there = u->is_there, .generation = u->generation};
}

static void on_round(struct loop_timer *t)
{
	struct statuses *s = container_of(t, struct statuses, round);

	if (!s->is_leader)
		return;
	map_for_each (s->subjects, it)
		want_begin(it.value);
	s->config.for_each_problem(s->config.arg, on_problem, s);
	map_for_each (s->subjects, it) {
		struct subject *u = it.value;

		if (!u->is_there && !u->is_named) {
			(void)map_del_str(s->subjects, it.key);
			subject_free(u);
			continue;
		}
		if (!u->is_unread)
			want_settle(u);
		subject_check(u);
	}
}

void statuses_changed(struct statuses *s)
{
	round_within(s, s->config.pause_us);
}

static json_t *labels_of(const json_t *body)
{
	const json_t *selector = json_object_get(json_object_get(body, "spec"), "selector");
	json_t *labels = json_object_get(selector, "matchLabels");

	return json_object_size(labels) > 0 ? labels : NULL;
}

static void subject_take(struct subject *u, const json_t *body)
{
	int64_t generation = json_integer_value(
		json_object_get(json_object_get(body, "metadata"), "generation"));

	u->is_there = true;
	if (generation != u->generation)
		u->pause_us = 0;
	u->generation = generation;
	condition_read(body, u->kind, &u->have);
	json_decref(u->labels);
	u->labels = json_incref(labels_of(body));
}

void statuses_put(struct statuses *s, struct object *obj)
{
	struct subject *u;

	if (!is_ours(obj->file))
		return;
	u = subject_get(s, obj->file, obj->kind, obj->namespace_, obj->name);
	if (u)
		subject_take(u, obj->body);
}

void statuses_delete(struct statuses *s, const struct object *obj)
{
	if (is_ours(obj->file))
		subject_drop(s, obj->file);
}

/* Of a kind that does nothing yet, in the version that the server has it in. */
static char *path_of(const struct watched *w, const json_t *body)
{
	const json_t *metadata = json_object_get(body, "metadata");
	const char *namespace_ = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));

	return namespace_ && name
		       ? str_format("/apis/%s/namespaces/%s/%s/%s", kube_watch_version(w->watch),
				    namespace_, w->kind->plural, name)
		       : NULL;
}

static void on_mistake(void *arg, const char *field, const char *message)
{
	struct subject *u = arg;

	u->want.verdict = CONDITION_INVALID;
	condition_add(&u->want, field, message);
}

/* What is wrong with it comes first, and makes it as invalid as one of any other kind. */
static void unread_settle(struct subject *u, const struct honoured_kind *kind, const json_t *body)
{
	struct schema_report report = {.on_problem = on_mistake, .arg = u, .is_lenient = true};

	u->is_unread = true;
	u->want = (struct condition){
		.is_there = true, .verdict = CONDITION_NOT_YET, .generation = u->generation};
	(void)schema_check(schema_kind_of(kind->versions[0], kind->kind), body, &report);
	condition_add(&u->want, "", kind->message);
	if (u->want.verdict == CONDITION_NOT_YET)
		version_add(&u->want);
}

static int on_object(void *arg, json_t *body)
{
	const json_t *metadata = json_object_get(body, "metadata");
	struct watched *w = arg;
	_cleanup_(freep) char *path = path_of(w, body);
	struct subject *u;

	if (!path)
		return 0;
	u = subject_get(w->all, path, w->kind->kind,
			json_string_value(json_object_get(metadata, "namespace")),
			json_string_value(json_object_get(metadata, "name")));
	if (!u)
		return -ENOMEM;
	subject_take(u, body);
	unread_settle(u, w->kind, body);
	subject_check(u);
	return 0;
}

static void on_deleted(void *arg, json_t *body)
{
	const struct watched *w = arg;
	_cleanup_(freep) char *path = path_of(w, body);

	if (path)
		subject_drop(w->all, path);
}

static void watched_forget(const struct watched *w)
{
	map_for_each (w->all->subjects, it) {
		struct subject *u = it.value;

		if (!streq(u->kind, w->kind->kind))
			continue;
		(void)map_del_str(w->all->subjects, it.key);
		subject_free(u);
	}
}

static void on_list_begin(void *arg)
{
	watched_forget(arg);
}

static void on_list_end(void *arg)
{
}

static void on_trouble(void *arg, const char *message)
{
	const struct watched *w = arg;

	if (message)
		log_warn("control", "kind=%s is not followed: %s", w->kind->kind, message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
};

static int watched_lead(struct watched *w)
{
	_cleanup_(freep) char *path =
		str_format("/apis/%s/%s", w->kind->versions[0], w->kind->plural);
	const struct kube_watch_config config = {.loop = w->all->config.loop,
						 .client = w->all->config.kube,
						 .path = path,
						 .versions = w->kind->versions,
						 .ops = &watch_ops,
						 .arg = w};

	return path ? kube_watch_new(&config, &w->watch) : -ENOMEM;
}

static void stop(struct statuses *s)
{
	loop_timer_del(&s->round);
	loop_timer_del(&s->tick);
	for (size_t i = 0; i < s->n_watched; i++) {
		s->watched[i].watch = kube_watch_free(s->watched[i].watch);
		watched_forget(&s->watched[i]);
	}
	map_for_each (s->subjects, it) {
		struct subject *u = it.value;

		list_del(&u->link);
		u->request = kube_request_cancel(u->request);
	}
}

int statuses_lead(struct statuses *s, bool is_leader)
{
	int r = 0;

	if (is_leader == s->is_leader)
		return 0;
	s->is_leader = is_leader;
	if (!is_leader) {
		stop(s);
		return 0;
	}
	for (size_t i = 0; i < s->n_watched && r == 0; i++)
		r = watched_lead(&s->watched[i]);
	statuses_changed(s);
	return r;
}

size_t statuses_count(const struct statuses *s)
{
	return s->n_written;
}

/* The Gateway API's statuses have forms of their own, for whoever claims an object. */
static int watched_fill(struct statuses *s)
{
	size_t n;
	const struct honoured_kind *kinds = honoured_none(&n);

	s->watched = calloc(n, sizeof(*s->watched));
	if (!s->watched)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!strstr(kinds[i].versions[0], ".istio.io/"))
			continue;
		s->watched[s->n_watched++] = (struct watched){.all = s, .kind = &kinds[i]};
	}
	return 0;
}

int statuses_new(const struct statuses_config *config, struct statuses **ret)
{
	_cleanup_(statuses_freep) struct statuses *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.pause_us = config->pause_us ? config->pause_us : PAUSE_US;
	s->config.leave_us = config->leave_us ? config->leave_us : LEAVE_US;
	s->round.on_timer = on_round;
	s->tick.on_timer = on_tick;
	list_init(&s->queue);
	r = map_new(&s->subjects);
	if (r == 0)
		r = watched_fill(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct statuses *statuses_free(struct statuses *s)
{
	if (!s)
		return NULL;
	if (s->subjects)
		stop(s);
	if (s->subjects)
		map_for_each (s->subjects, it)
			subject_free(it.value);
	(void)map_free(s->subjects);
	free(s->watched);
	free(s);
	return NULL;
}
