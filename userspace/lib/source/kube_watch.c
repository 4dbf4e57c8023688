/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "source/kube_frames.h"
#include "source/kube_json.h"
#include "source/kube_list.h"

#define PAGE_OBJECTS   500
#define LIST_US        60000000ULL
#define WATCH_S        300 /* then the server ends it, and it begins anew from where it was */
#define WATCH_SLACK_US 30000000ULL
/* A server that is well writes a bookmark about once a minute. One that does not, because nothing
 * has ever changed, is asked for a list, which is empty or short. */
#define SILENCE_US     90000000ULL
#define BACKOFF_MIN_US 100000ULL
#define BACKOFF_MAX_US 10000000ULL
#define WORKS_US       5000000ULL /* a watch that lasts so long was none in vain */
#define ABSENT_US      2000000ULL /* the API server does not know the kind (yet) */
#define GROUPS_US      10000000ULL
#define MESSAGE_MAX    512

/* Of what kind an answer is to be; a server that cannot make one gives whole objects. */
#define METADATA(kind) "application/json;as=" kind ";g=meta.k8s.io;v=v1,application/json"

struct kube_watch {
	struct loop *loop;
	struct kube_client *client;
	char *path, *selector;
	const char *const *versions; /* NULL: that of the path only */
	size_t version_at;           /* of them: that is read */
	const struct kube_watch_ops *ops;
	void *arg;
	struct loop_timer again;
	struct loop_timer silence; /* while a watch is on */
	struct kube_request *request;
	struct kube_frames frames;
	struct kube_list list;
	char *version; /* where the next watch begins; NULL: list first */
	char *next;    /* of a list's next page; NULL: the first */
	uint64_t backoff_us;
	uint64_t started_us; /* this watch */
	uint64_t heard_us;   /* and the last of it */
	bool is_metadata_only;
	bool has_data;   /* of this page */
	bool is_vouched; /* who says that there is no such kind is an API server */
	bool is_refused; /* since a watch was open last, and nothing else stood in the way since */
	int trouble;     /* that was told: -errno or a status; 0: none */
};

static void start(struct kube_watch *w);

static void again_after(struct kube_watch *w, uint64_t delay_us)
{
	uint32_t noise;

	/* many clients lose their server at once: they need not come back at once */
	random_bytes(&noise, sizeof(noise));
	delay_us += delay_us * (noise % 256) / 1024;
	(void)loop_timer_set(w->loop, &w->again, delay_us);
}

static void forget(char **s)
{
	free(*s);
	*s = NULL;
}

/* Told when it begins or becomes another one, not with each attempt: the text of the same trouble
 * has times in it. */
static void trouble(struct kube_watch *w, int what, const char *message)
{
	if (w->trouble == what)
		return;
	w->trouble = what;
	w->ops->on_trouble(w->arg, message);
}

static void trouble_over(struct kube_watch *w)
{
	if (w->trouble == 0)
		return;
	w->trouble = 0;
	w->ops->on_trouble(w->arg, NULL);
}

static void current_is(const struct kube_watch *w, bool is_current)
{
	if (w->ops->on_current)
		w->ops->on_current(w->arg, is_current);
}

static void retry(struct kube_watch *w)
{
	current_is(w, false);
	again_after(w, w->backoff_us);
	w->backoff_us = MIN(w->backoff_us * 2, BACKOFF_MAX_US);
}

static void start_over(struct kube_watch *w)
{
	forget(&w->version);
	forget(&w->next);
}

/* An older server may have the kind in an older version only. Return: is there one left to try? */
static bool version_next(struct kube_watch *w)
{
	if (w->versions && w->versions[w->version_at + 1]) {
		w->version_at++;
		return true;
	}
	w->version_at = 0;
	return false;
}

const char *kube_watch_version(const struct kube_watch *w)
{
	return w->versions ? w->versions[w->version_at] : NULL;
}

bool kube_watch_is_refused(const struct kube_watch *w)
{
	return w->is_refused;
}

/* Return: the caller's; NULL: out of memory. */
static char *path_now(const struct kube_watch *w)
{
	const char *version = kube_watch_version(w);

	return version ? str_format("/apis/%s%s", version, strrchr(w->path, '/')) : strdup(w->path);
}

/* What the server's Status says, else the number. */
static void answer_text(const struct kube_watch *w, const struct kube_answer *a, char *buf)
{
	json_t *status = a->error ? NULL : kube_json_load(a->body, a->len);
	const char *text = json_string_value(json_object_get(status, "message"));

	if (a->error)
		(void)snprintf(buf, MESSAGE_MAX, "the API server cannot be reached: %s",
			       a->message);
	else if (a->status == 403)
		(void)snprintf(buf, MESSAGE_MAX,
			       "the API server refuses list and watch (RBAC), give our "
			       "ServiceAccount that right, as the chart does: %s",
			       text ? text : "403");
	else if (a->status == 401)
		(void)snprintf(buf, MESSAGE_MAX, "the API server does not accept our token: %s",
			       text ? text : "401");
	else
		(void)snprintf(buf, MESSAGE_MAX, "the API server answers %d: %s", a->status,
			       text ? text : "no reason given");
	json_decref(status);
}

static void fail(struct kube_watch *w, const struct kube_answer *a)
{
	char text[MESSAGE_MAX];

	w->is_vouched = false;
	w->is_refused = !a->error && a->status == 403;
	answer_text(w, a, text);
	trouble(w, a->error ? a->error : a->status, text);
	retry(w);
}

static const char *version_text(const json_t *object)
{
	return json_string_value(
		json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
}

/* Is what the server says older than what we have seen of it? Then its data was restored from an
 * older state: a watch from where we are would be silent until it has caught up. */
static bool is_older(const struct kube_watch *w, const json_t *object)
{
	const char *s = version_text(object);
	uint64_t theirs, ours;

	return s && w->version && str_parse_u64(s, 1, UINT64_MAX, &theirs) == 0 &&
	       str_parse_u64(w->version, 1, UINT64_MAX, &ours) == 0 && theirs < ours;
}

static int version_keep(struct kube_watch *w, const json_t *object)
{
	const char *s = version_text(object);
	char *copy;

	if (!s || !*s)
		return -EBADMSG;
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	free(w->version);
	w->version = copy;
	return 0;
}

/* Part of a page of a list came. */
static int on_list_data(void *arg, const char *data, size_t len)
{
	struct kube_watch *w = arg;

	if (!w->next && !w->has_data)
		w->ops->on_list_begin(w->arg);
	w->has_data = true;
	return kube_list_feed(&w->list, data, len, w->ops->on_object, w->arg);
}

/* A page of a list is whole. */
static int page_end(struct kube_watch *w)
{
	json_t *page = kube_list_end(&w->list);
	const char *more;
	int r = 0;

	if (!page)
		return -EBADMSG;
	forget(&w->next);
	more = json_string_value(json_object_get(json_object_get(page, "metadata"), "continue"));
	if (more && *more) {
		w->next = strdup(more);
		r = w->next ? 0 : -ENOMEM;
	} else {
		r = version_keep(w, page);
	}
	json_decref(page);
	if (r == 0 && w->version)
		w->ops->on_list_end(w->arg);
	return r;
}

/* Return: -errno where it is the list that cannot be used, not its way here. */
static int list_error(const struct kube_answer *a)
{
	switch (a->error) {
	case -EBADMSG:
	case -EMSGSIZE:
	case -ENOMEM:
		return a->error;
	default:
		return 0;
	}
}

/* It lists the groups of its kinds, or says that we may not see them. */
static bool is_api_server(const struct kube_answer *a)
{
	json_t *body = a->error ? NULL : kube_json_load(a->body, a->len);
	const char *kind = json_string_value(json_object_get(body, "kind"));
	bool is_one = kind && ((a->status == 200 && streq(kind, "APIGroupList")) ||
			       (a->status == 403 && streq(kind, "Status")));

	json_decref(body);
	return is_one;
}

/* Its word counts if it still says so. */
static void on_groups(void *arg, const struct kube_answer *a)
{
	struct kube_watch *w = arg;
	const struct kube_answer not_found = {.status = 404, .message = "", .body = ""};

	w->request = NULL;
	w->is_vouched = is_api_server(a);
	if (w->is_vouched)
		start(w);
	else
		fail(w, a->error ? a : &not_found);
}

static int groups_ask(struct kube_watch *w)
{
	const struct kube_request_config config = {
		.method = "GET",
		.path = "/apis",
		.timeout_us = GROUPS_US,
		.on_done = on_groups,
		.arg = w,
	};

	return kube_request_new(w->client, &config, &w->request);
}

/* What stands before an API server says 404, too, while it has none to ask, in the same words; then
 * all that is known would go at once. Kubernetes' own kinds are always there. */
static void on_not_found(struct kube_watch *w, const struct kube_answer *a)
{
	start_over(w);
	if (version_next(w)) {
		start(w);
		return;
	}
	if (!w->is_vouched) {
		if (!w->versions || groups_ask(w) < 0)
			fail(w, a);
		return;
	}
	w->ops->on_list_begin(w->arg);
	w->ops->on_list_end(w->arg);
	w->backoff_us = BACKOFF_MIN_US;
	trouble_over(w);
	current_is(w, true);
	again_after(w, ABSENT_US);
}

static void on_listed(void *arg, const struct kube_answer *a)
{
	struct kube_watch *w = arg;
	int r = list_error(a);

	w->request = NULL;
	if (a->error == 0 && a->status == 410) {
		/* a page of a list that is too old */
		start_over(w);
		retry(w);
		return;
	}
	if (a->error == 0 && a->status == 404) {
		on_not_found(w, a);
		return;
	}
	w->is_vouched = false;
	if (r == 0 && (a->error || a->status != 200)) {
		forget(&w->next);
		fail(w, a);
		return;
	}
	if (r == 0)
		r = page_end(w);
	if (r < 0) {
		start_over(w);
		trouble(w, r,
			r == -ENOMEM ? "out of memory" : "the API server's list is malformed");
		retry(w);
		return;
	}
	/* the back-off stays until a watch has lasted: one that is refused each time, or ends at
	 * once, lists anew */
	trouble_over(w);
	start(w);
}

static int on_event(void *arg, enum kube_event event, json_t *object)
{
	struct kube_watch *w = arg;
	int r;

	if (event == KUBE_ERROR)
		return json_integer_value(json_object_get(object, "code")) == 410 ? -ESTALE
										  : -EREMOTEIO;
	if (event == KUBE_BOOKMARK && is_older(w, object))
		return -ESTALE;
	trouble_over(w);
	/* first: what hears of the object may take it apart. A failure lists anew. */
	r = version_keep(w, object);
	if (r == 0 && event == KUBE_DELETED)
		w->ops->on_deleted(w->arg, object);
	else if (r == 0 && event != KUBE_BOOKMARK)
		r = w->ops->on_object(w->arg, object);
	return r;
}

static int on_watch_data(void *arg, const char *data, size_t len)
{
	struct kube_watch *w = arg;

	w->heard_us = loop_now_us(w->loop);
	return kube_frames_feed(&w->frames, data, len, on_event, w);
}

static void on_watch_begin(void *arg)
{
	struct kube_watch *w = arg;

	w->heard_us = loop_now_us(w->loop);
	w->is_refused = false;
	current_is(w, true);
}

static void silence_set(struct kube_watch *w, uint64_t delay_us)
{
	(void)loop_timer_set(w->loop, &w->silence, delay_us);
}

/* Its connection may live on while nobody is behind it. */
static void on_silence(struct loop_timer *t)
{
	struct kube_watch *w = container_of(t, struct kube_watch, silence);
	uint64_t quiet_us = loop_now_us(w->loop) - w->heard_us;

	if (quiet_us < SILENCE_US) {
		silence_set(w, SILENCE_US - quiet_us);
		return;
	}
	w->request = kube_request_cancel(w->request);
	kube_frames_reset(&w->frames);
	start_over(w);
	current_is(w, false);
	start(w);
}

static void on_watch_end(void *arg, const struct kube_answer *a)
{
	struct kube_watch *w = arg;
	bool is_cut = buf_len(&w->frames.line) > 0;
	bool has_lasted = loop_now_us(w->loop) - w->started_us >= WORKS_US;

	w->request = NULL;
	loop_timer_del(&w->silence);
	current_is(w, false);
	if (has_lasted && a->status == 200)
		w->backoff_us = BACKOFF_MIN_US;
	/* It may have been restored meanwhile from an older state, and be past where we are by now:
	 * no watch tells of what was undone, a list does. A stream that was cut is no better: the
	 * next one may have waited for the server to come back. */
	if (a->error || a->status >= 500)
		start_over(w);
	kube_frames_reset(&w->frames);
	if (a->error == 0 && a->status == 200) {
		/* its time was over; a frame that was cut comes again. One that ends at once must
		 * not make a busy loop. */
		if (is_cut || !has_lasted)
			retry(w);
		else
			start(w);
		return;
	}
	switch (a->error) {
	case -ESTALE:
	case -EBADMSG:
	case -EMSGSIZE:
	case -EREMOTEIO:
	case -ENOMEM:
		retry(w);
		return;
	case 0:
		if (a->status == 410 || a->status == 404)
			start_over(w);
		if (a->status == 404)
			w->version_at = 0;
		fail(w, a);
		return;
	default:
		fail(w, a);
	}
}

static int list_start(struct kube_watch *w)
{
	_cleanup_(freep) char *base = path_now(w);
	_cleanup_(freep) char *path =
		str_format("%s?limit=%d%s%s%s%s", base, PAGE_OBJECTS, *w->selector ? "&" : "",
			   w->selector, w->next ? "&continue=" : "", w->next ? w->next : "");
	const struct kube_request_config config = {
		.method = "GET",
		.path = path,
		.accept = w->is_metadata_only ? METADATA("PartialObjectMetadataList") : NULL,
		.timeout_us = LIST_US,
		.on_data = on_list_data,
		.on_done = on_listed,
		.arg = w,
	};

	kube_list_reset(&w->list);
	w->has_data = false;
	return base && path ? kube_request_new(w->client, &config, &w->request) : -ENOMEM;
}

static int watch_start(struct kube_watch *w)
{
	_cleanup_(freep) char *base = path_now(w);
	_cleanup_(freep) char *path =
		str_format("%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=%d"
			   "&resourceVersion=%s%s%s",
			   base, WATCH_S, w->version, *w->selector ? "&" : "", w->selector);
	const struct kube_request_config config = {
		.method = "GET",
		.path = path,
		.accept = w->is_metadata_only ? METADATA("PartialObjectMetadata") : NULL,
		.timeout_us = WATCH_S * 1000000ULL + WATCH_SLACK_US,
		.on_begin = on_watch_begin,
		.on_data = on_watch_data,
		.on_done = on_watch_end,
		.arg = w,
	};

	w->started_us = w->heard_us = loop_now_us(w->loop);
	silence_set(w, SILENCE_US);
	return base && path ? kube_request_new(w->client, &config, &w->request) : -ENOMEM;
}

static void start(struct kube_watch *w)
{
	int r = w->version ? watch_start(w) : list_start(w);

	if (r < 0)
		retry(w);
}

static void on_again(struct loop_timer *t)
{
	start(container_of(t, struct kube_watch, again));
}

int kube_watch_new(const struct kube_watch_config *config, struct kube_watch **ret)
{
	_cleanup_(kube_watch_freep) struct kube_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->loop = config->loop;
	w->client = config->client;
	w->list.kind = config->kind;
	w->ops = config->ops;
	w->arg = config->arg;
	w->versions = config->versions;
	w->is_metadata_only = config->is_metadata_only;
	w->backoff_us = BACKOFF_MIN_US;
	w->again.on_timer = on_again;
	w->silence.on_timer = on_silence;
	w->path = strdup(config->path);
	w->selector = strdup(config->selector ? config->selector : "");
	if (!w->path || !w->selector)
		return -ENOMEM;
	r = loop_timer_set(w->loop, &w->again, 0);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct kube_watch *kube_watch_free(struct kube_watch *w)
{
	if (!w)
		return NULL;
	loop_timer_del(&w->again);
	loop_timer_del(&w->silence);
	w->request = kube_request_cancel(w->request);
	kube_frames_reset(&w->frames);
	kube_list_reset(&w->list);
	free(w->path);
	free(w->selector);
	free(w->version);
	free(w->next);
	free(w);
	return NULL;
}
