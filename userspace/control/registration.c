/* SPDX-License-Identifier: Apache-2.0 */
#include "registration.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "base/str.h"
#include "source/kube_watch.h"

#define CONFIGURATIONS "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
#define TRY_PATH       "/apis/security.istio.io/v1/namespaces/%s/authorizationpolicies?dryRun=All"
/* DENY without rules: the schema takes it, the webhook does not */
#define TRY_BODY                                                                                   \
	"{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"AuthorizationPolicy\",\"metadata\":"  \
	"{\"name\":\"culvert-webhook-check\"},\"spec\":{\"action\":\"DENY\"}}"
#define REFUSAL    "configuration is invalid: spec.rules"
#define REQUEST_US 10000000ULL
#define RETRY_US   1000000ULL
#define NAMES      2

/** struct one - one configuration. */
struct one {
	struct registration *all;
	char *name;
	struct kube_watch *watch; /* while we lead */
	struct kube_request *request;
	json_t *webhooks; /* as they were seen last; NULL: it is not there */
};

struct registration {
	struct registration_config config;
	struct one ones[NAMES];
	struct loop_timer again;
	struct kube_request *try; /* a wrong object on its way */
	char *bundle;             /* base64 of the roots */
	bool is_leader, is_seen, is_failing;
};

static void again_soon(struct registration *r)
{
	if (!r->again.loop)
		(void)loop_timer_set(r->config.loop, &r->again, r->config.retry_us);
}

static bool is_right(const struct registration *r, const json_t *webhook)
{
	const char *bundle = json_string_value(
		json_object_get(json_object_get(webhook, "clientConfig"), "caBundle"));
	const char *policy = json_string_value(json_object_get(webhook, "failurePolicy"));

	return bundle && streq(bundle, r->bundle) &&
	       (!r->is_seen || (policy && streq(policy, "Fail")));
}

/* What is to change, by name. Return: NULL: nothing. */
static json_t *patch_make(const struct one *o)
{
	const struct registration *r = o->all;
	json_t *list = json_array(), *webhook;
	size_t i;

	json_array_foreach (o->webhooks, i, webhook) {
		if (!is_right(r, webhook))
			(void)json_array_append_new(
				list, json_pack("{s:O,s:{s:s},s:s*}", "name",
						json_object_get(webhook, "name"), "clientConfig",
						"caBundle", r->bundle, "failurePolicy",
						r->is_seen ? "Fail" : NULL));
	}
	if (json_array_size(list) > 0)
		return json_pack("{s:o}", "webhooks", list);
	json_decref(list);
	return NULL;
}

/* Each failure is told once, until something works again. */
static bool is_done(struct registration *r, const char *name, const struct kube_answer *a)
{
	bool is_good = a->error == 0 && a->status / 100 == 2;

	if (!is_good && !r->is_failing)
		log_warn("control", "webhook configuration not written name=%s status=%d: %.200s",
			 name, a->status, a->error ? a->message : a->body);
	r->is_failing = !is_good;
	return is_good;
}

static void on_patched(void *arg, const struct kube_answer *a)
{
	struct one *o = arg;

	o->request = NULL;
	/* the watch says what there is now; not written: tried again */
	if (is_done(o->all, o->name, a))
		log_info("control", "webhook configuration written name=%s failing=%s", o->name,
			 o->all->is_seen ? "closed" : "as it was");
	again_soon(o->all);
}

static void one_check(struct one *o)
{
	_cleanup_(freep) char *path = str_format(CONFIGURATIONS "/%s", o->name);
	_cleanup_(freep) char *text = NULL;
	struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = "application/strategic-merge-patch+json",
		.timeout_us = REQUEST_US,
		.on_done = on_patched,
		.arg = o,
	};
	json_t *patch;

	if (!o->webhooks || !o->all->bundle || o->request || o->all->again.loop)
		return;
	patch = patch_make(o);
	if (!patch)
		return;
	text = json_dumps(patch, JSON_COMPACT);
	json_decref(patch);
	config.body = text;
	if (!path || !text || kube_request_new(o->all->config.kube, &config, &o->request) < 0)
		again_soon(o->all);
}

static void on_tried(void *arg, const struct kube_answer *a)
{
	struct registration *r = arg;

	r->try = NULL;
	if (a->error == 0 && strstr(a->body, REFUSAL)) {
		log_info("control", "webhook works: a wrong object was refused");
		r->is_seen = true;
		for (size_t i = 0; i < NAMES; i++)
			one_check(&r->ones[i]);
		return;
	}
	again_soon(r);
}

/* Does the API server ask us, and do what we say? Nothing is stored by this. */
static void try_it(struct registration *r)
{
	_cleanup_(freep) char *path = str_format(TRY_PATH, r->config.namespace_);
	const struct kube_request_config config = {
		.method = "POST",
		.path = path,
		.body = TRY_BODY,
		.timeout_us = REQUEST_US,
		.on_done = on_tried,
		.arg = r,
	};
	bool is_there = false;

	for (size_t i = 0; i < NAMES; i++)
		is_there |= r->ones[i].webhooks != NULL;
	if (r->is_seen || r->try || !is_there)
		return;
	if (!path || kube_request_new(r->config.kube, &config, &r->try) < 0)
		again_soon(r);
}

static void on_again(struct loop_timer *t)
{
	struct registration *r = container_of(t, struct registration, again);

	for (size_t i = 0; i < NAMES; i++)
		one_check(&r->ones[i]);
	try_it(r);
}

static void one_set(struct one *o, json_t *webhooks)
{
	json_decref(o->webhooks);
	o->webhooks = json_incref(webhooks);
	one_check(o);
	try_it(o->all);
}

static void on_list_begin(void *arg)
{
	struct one *o = arg;

	json_decref(o->webhooks);
	o->webhooks = NULL;
}

static int on_object(void *arg, json_t *object)
{
	one_set(arg, json_object_get(object, "webhooks"));
	return 0;
}

static void on_deleted(void *arg, json_t *object)
{
	one_set(arg, NULL);
}

static void on_list_end(void *arg)
{
}

static void on_trouble(void *arg, const char *message)
{
	const struct one *o = arg;

	if (message)
		log_warn("control", "webhook configuration not followed name=%s: %s", o->name,
			 message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
};

static int one_lead(struct one *o)
{
	_cleanup_(freep) char *selector = str_format("fieldSelector=metadata.name%%3D%s", o->name);
	const struct kube_watch_config config = {.loop = o->all->config.loop,
						 .client = o->all->config.kube,
						 .path = CONFIGURATIONS,
						 .selector = selector,
						 .ops = &watch_ops,
						 .arg = o};

	return selector ? kube_watch_new(&config, &o->watch) : -ENOMEM;
}

static void one_stop(struct one *o)
{
	o->watch = kube_watch_free(o->watch);
	o->request = kube_request_cancel(o->request);
	json_decref(o->webhooks);
	o->webhooks = NULL;
}

int registration_lead(struct registration *r, bool is_leader)
{
	int rc = 0;

	if (is_leader == r->is_leader)
		return 0;
	r->is_leader = is_leader;
	for (size_t i = 0; i < NAMES && rc == 0; i++)
		if (is_leader)
			rc = one_lead(&r->ones[i]);
		else
			one_stop(&r->ones[i]);
	if (!is_leader) {
		r->try = kube_request_cancel(r->try);
		loop_timer_del(&r->again);
	}
	return rc;
}

int registration_set_roots(struct registration *r, const char *pem)
{
	size_t len = strlen(pem);
	char *text = malloc(len / 3 * 4 + 5);

	if (!text)
		return -ENOMEM;
	(void)EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)pem, (int)len);
	free(r->bundle);
	r->bundle = text;
	for (size_t i = 0; i < NAMES; i++)
		one_check(&r->ones[i]);
	return 0;
}

bool registration_is_seen(const struct registration *r)
{
	return r->is_seen;
}

int registration_new(const struct registration_config *config, struct registration **ret)
{
	_cleanup_(registration_freep) struct registration *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->config = *config;
	r->config.retry_us = config->retry_us ? config->retry_us : RETRY_US;
	r->again.on_timer = on_again;
	/* Istio's names: for objects of our revision, and for those that name none */
	r->ones[0].name = str_format("istio-validator-%s", config->namespace_);
	r->ones[1].name = strdup("istiod-default-validator");
	for (size_t i = 0; i < NAMES; i++) {
		r->ones[i].all = r;
		if (!r->ones[i].name)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(r);
	return 0;
}

struct registration *registration_free(struct registration *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < NAMES; i++) {
		one_stop(&r->ones[i]);
		free(r->ones[i].name);
	}
	(void)kube_request_cancel(r->try);
	loop_timer_del(&r->again);
	free(r->bundle);
	free(r);
	return NULL;
}
