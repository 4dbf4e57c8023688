/* SPDX-License-Identifier: Apache-2.0 */
#include "cni_fresh.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "model/enrol.h"

#define TIMEOUT_US  (2ULL * 1000 * 1000)
#define ANSWERS_MAX 1024

/* The last question about one namespace. */
struct answer {
	struct cni_fresh *owner;
	struct kube_request *request; /* NULL: answered */
	uint64_t asked_us;
	bool is_inside;
};

struct cni_fresh {
	struct loop *loop;
	struct kube_client *client;
	void (*on_answer)(void *arg);
	void *arg;
	struct map *answers; /* namespace -> struct answer */
};

static bool is_inside(const struct kube_answer *a)
{
	struct object *ns = NULL;
	bool is_yes;

	if (a->error || a->status != 200 ||
	    object_new_json(json_loadb(a->body, a->len, 0, NULL), &ns) < 0)
		return false;
	is_yes = enrol_namespace_is_yes(ns);
	object_unref(ns);
	return is_yes;
}

static void on_done(void *arg, const struct kube_answer *a)
{
	struct answer *one = arg;

	one->request = NULL;
	one->is_inside = is_inside(a);
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

	if (!one || one->request)
		return CNI_FRESH_LATER;
	if (one->asked_us && one->asked_us >= since_us)
		return one->is_inside ? CNI_FRESH_INSIDE : CNI_FRESH_OUTSIDE;
	return question_put(f, one, namespace_) == 0 ? CNI_FRESH_LATER : CNI_FRESH_OUTSIDE;
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
