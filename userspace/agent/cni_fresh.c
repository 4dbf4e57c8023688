/* SPDX-License-Identifier: Apache-2.0 */
#include "cni_fresh.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "model/enrol.h"
#include "source/kube_json.h"

#define TIMEOUT_US  (2ULL * 1000 * 1000)
#define PATIENCE_US (10ULL * 1000 * 1000) /* less than a plugin is let wait */
#define AGAIN_US    (500ULL * 1000)
#define ANSWERS_MAX 1024

/* The last question about one namespace. */
struct answer {
	struct cni_fresh *owner;
	struct kube_request *request; /* NULL: answered */
	uint64_t asked_us;
	enum cni_fresh_says says; /* LATER: the API server did not say */
};

struct cni_fresh {
	struct loop *loop;
	struct kube_client *client;
	void (*on_answer)(void *arg);
	void *arg;
	struct map *answers; /* namespace -> struct answer */
};

/* The API server's own word, not that of something before it. */
static bool is_gone(const struct kube_answer *a)
{
	json_t *status = a->status == 404 ? kube_json_load(a->body, a->len) : NULL;
	const char *reason = json_string_value(json_object_get(status, "reason"));
	const json_t *details = json_object_get(status, "details");
	const char *kind = json_string_value(json_object_get(details, "kind"));
	bool is_yes = reason && streq(reason, "NotFound") && kind && streq(kind, "namespaces");

	json_decref(status);
	return is_yes;
}

static enum cni_fresh_says answer_read(const struct kube_answer *a)
{
	struct object *ns = NULL;
	enum cni_fresh_says says;

	if (a->error)
		return CNI_FRESH_LATER;
	if (is_gone(a))
		return CNI_FRESH_OUTSIDE;
	if (a->status != 200 || object_new_json(kube_json_load(a->body, a->len), &ns) < 0)
		return CNI_FRESH_LATER;
	says = enrol_namespace_is_yes(ns) ? CNI_FRESH_INSIDE : CNI_FRESH_OUTSIDE;
	object_unref(ns);
	return says;
}

static void on_done(void *arg, const struct kube_answer *a)
{
	struct answer *one = arg;

	one->request = NULL;
	one->says = answer_read(a);
	one->owner->on_answer(one->owner->arg);
}

static void answers_forget(struct cni_fresh *f)
{
	map_for_each (f->answers, it) {
		struct answer *one = map_del_str(f->answers, it.key);

		kube_request_cancel(one->request);
		free(one);
	}
}

static struct answer *answer_get(struct cni_fresh *f, const char *namespace_)
{
	struct answer *one = map_get_str(f->answers, namespace_);

	if (one)
		return one;
	if (map_count(f->answers) >= ANSWERS_MAX)
		answers_forget(f);
	one = calloc(1, sizeof(*one));
	if (!one || map_put_str(f->answers, namespace_, one) < 0) {
		free(one);
		return NULL;
	}
	one->owner = f;
	return one;
}

static int question_put(struct cni_fresh *f, struct answer *one, const char *namespace_)
{
	_cleanup_(freep) char *path = str_format("/api/v1/namespaces/%s", namespace_);
	const struct kube_request_config q = {.method = "GET",
					      .path = path,
					      .timeout_us = TIMEOUT_US,
					      .on_done = on_done,
					      .arg = one};
	int r = path ? kube_request_new(f->client, &q, &one->request) : -ENOMEM;

	if (r == 0)
		one->asked_us = loop_now_us(f->loop);
	return r;
}

enum cni_fresh_says cni_fresh_ask(struct cni_fresh *f, const char *namespace_, uint64_t since_us)
{
	struct answer *one = answer_get(f, namespace_);
	uint64_t now_us = loop_now_us(f->loop);

	if (!one || one->request)
		return CNI_FRESH_LATER;
	if (one->asked_us && one->asked_us >= since_us && one->says != CNI_FRESH_LATER)
		return one->says;
	if (now_us - since_us >= PATIENCE_US)
		return CNI_FRESH_OUTSIDE;
	/* one that cannot be put now can be later */
	if (!one->asked_us || one->asked_us < since_us || now_us - one->asked_us >= AGAIN_US)
		(void)question_put(f, one, namespace_);
	return CNI_FRESH_LATER;
}

int cni_fresh_new(struct loop *loop, struct kube_client *client, void (*on_answer)(void *arg),
		  void *arg, struct cni_fresh **ret)
{
	_cleanup_(cni_fresh_freep) struct cni_fresh *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = (struct cni_fresh){.loop = loop, .client = client, .on_answer = on_answer, .arg = arg};
	r = map_new(&f->answers);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f);
	return 0;
}

struct cni_fresh *cni_fresh_free(struct cni_fresh *f)
{
	if (!f)
		return NULL;
	if (f->answers)
		answers_forget(f);
	(void)map_free(f->answers);
	free(f);
	return NULL;
}
