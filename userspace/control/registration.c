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
#include "source/schema.h"

#define CONFIGURATIONS "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
#define TRY_KIND       "AuthorizationPolicy"
#define TRY_PATH       "/apis/%s/namespaces/%s/authorizationpolicies?dryRun=All"
/* DENY without rules: the schema takes it, the webhook does not */
#define TRY_BODY                                                                                   \
	"{\"apiVersion\":\"%s\",\"kind\":\"" TRY_KIND "\",\"metadata\":{"                          \
	"\"name\":\"culvert-webhook-check\"%s},\"spec\":{\"action\":\"DENY\"}}"
#define TRY_LABELS ",\"labels\":{\"istio.io/rev\":\"%s\"}"
#define REFUSAL    "configuration is invalid: spec.rules"
#define REQUEST_US 10000000ULL
#define RETRY_US   1000000ULL

struct registration {
	struct registration_config config;
	struct kube_watch *watch;           /* while we lead */
	struct kube_request *request, *try; /* a patch; a wrong object on its way */
	json_t *webhooks;                   /* as they were seen last; NULL: it is not there */
	struct loop_timer again;
	const char *const *try_as; /* NULL-ended: versions still to be tried */
	char *name, *try_labels;
	char *bundle; /* base64 of the roots */
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
static json_t *patch_make(const struct registration *r)
{
	json_t *list = json_array(), *webhook;
	size_t i;

	json_array_foreach (r->webhooks, i, webhook) {
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
static bool is_done(struct registration *r, const struct kube_answer *a)
{
	bool is_good = a->error == 0 && a->status / 100 == 2;

	if (!is_good && !r->is_failing)
		log_warn("control", "webhook configuration not written name=%s status=%d: %.200s",
			 r->name, a->status, a->error ? a->message : a->body);
	r->is_failing = !is_good;
	return is_good;
}

static void on_patched(void *arg, const struct kube_answer *a)
{
	struct registration *r = arg;

	r->request = NULL;
	/* the watch says what there is now; not written: tried again */
	if (is_done(r, a))
		log_info("control", "webhook configuration written name=%s failing=%s", r->name,
			 r->is_seen ? "closed" : "as it was");
	again_soon(r);
}

static void check(struct registration *r)
{
	_cleanup_(freep) char *path = str_format(CONFIGURATIONS "/%s", r->name);
	_cleanup_(freep) char *text = NULL;
	struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = "application/strategic-merge-patch+json",
		.timeout_us = REQUEST_US,
		.on_done = on_patched,
		.arg = r,
	};
	json_t *patch;

	if (!r->webhooks || !r->bundle || r->request || r->again.loop)
		return;
	patch = patch_make(r);
	if (!patch)
		return;
	text = json_dumps(patch, JSON_COMPACT);
	json_decref(patch);
	config.body = text;
	if (!path || !text || kube_request_new(r->config.kube, &config, &r->request) < 0)
		again_soon(r);
}

static void try_it(struct registration *r);

static const char *const *try_newest(void)
{
	return schema_kind_find(TRY_KIND)->api_versions;
}

/* An older server may have the kind in an older version only. */
static void try_next(struct registration *r)
{
	if (*++r->try_as) {
		try_it(r);
		return;
	}
	r->try_as = try_newest();
	again_soon(r);
}

static void on_tried(void *arg, const struct kube_answer *a)
{
	struct registration *r = arg;

	r->try = NULL;
	if (a->error == 0 && strstr(a->body, REFUSAL)) {
		log_info("control", "webhook works: a wrong object was refused name=%s", r->name);
		r->is_seen = true;
		check(r);
		return;
	}
	if (a->error == 0 && a->status == 404)
		try_next(r);
	else
		again_soon(r);
}

/* Does the API server ask for this configuration, and do what is said? Nothing is stored by this.
 */
static void try_it(struct registration *r)
{
	_cleanup_(freep) char *path = str_format(TRY_PATH, *r->try_as, r->config.namespace_);
	_cleanup_(freep) char *body = str_format(TRY_BODY, *r->try_as, r->try_labels);
	const struct kube_request_config config = {
		.method = "POST",
		.path = path,
		.body = body,
		.timeout_us = REQUEST_US,
		.on_done = on_tried,
		.arg = r,
	};

	if (r->is_seen || r->try || !r->webhooks)
		return;
	if (!path || !body || kube_request_new(r->config.kube, &config, &r->try) < 0)
		again_soon(r);
}

static void on_again(struct loop_timer *t)
{
	struct registration *r = container_of(t, struct registration, again);

	check(r);
	try_it(r);
}

static void webhooks_set(struct registration *r, json_t *webhooks)
{
	json_decref(r->webhooks);
	r->webhooks = json_incref(webhooks);
	check(r);
	try_it(r);
}

static void on_list_begin(void *arg)
{
	struct registration *r = arg;

	json_decref(r->webhooks);
	r->webhooks = NULL;
}

static int on_object(void *arg, json_t *object)
{
	webhooks_set(arg, json_object_get(object, "webhooks"));
	return 0;
}

static void on_deleted(void *arg, json_t *object)
{
	webhooks_set(arg, NULL);
}

static void on_list_end(void *arg)
{
}

static void on_trouble(void *arg, const char *message)
{
	const struct registration *r = arg;

	if (message)
		log_warn("control", "webhook configuration not followed name=%s: %s", r->name,
			 message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list_begin,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list_end,
	.on_trouble = on_trouble,
};

static int start(struct registration *r)
{
	_cleanup_(freep) char *selector = str_format("fieldSelector=metadata.name%%3D%s", r->name);
	const struct kube_watch_config config = {.loop = r->config.loop,
						 .client = r->config.kube,
						 .path = CONFIGURATIONS,
						 .selector = selector,
						 .ops = &watch_ops,
						 .arg = r};

	return selector ? kube_watch_new(&config, &r->watch) : -ENOMEM;
}

static void stop(struct registration *r)
{
	r->watch = kube_watch_free(r->watch);
	r->request = kube_request_cancel(r->request);
	r->try = kube_request_cancel(r->try);
	loop_timer_del(&r->again);
	json_decref(r->webhooks);
	r->webhooks = NULL;
}

int registration_lead(struct registration *r, bool is_leader)
{
	if (is_leader == r->is_leader)
		return 0;
	r->is_leader = is_leader;
	if (is_leader)
		return start(r);
	stop(r);
	return 0;
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
	check(r);
	return 0;
}

bool registration_is_seen(const struct registration *r)
{
	return r->is_seen;
}

int registration_new(const struct registration_config *config, struct registration **ret)
{
	_cleanup_(registration_freep) struct registration *r = calloc(1, sizeof(*r));
	const char *revision = config->revision;

	if (!r)
		return -ENOMEM;
	r->config = *config;
	r->config.retry_us = config->retry_us ? config->retry_us : RETRY_US;
	r->again.on_timer = on_again;
	/* Istio's names */
	if (!revision)
		r->name = strdup("istiod-default-validator");
	else if (*revision)
		r->name = str_format("istio-validator-%s-%s", revision, config->namespace_);
	else
		r->name = str_format("istio-validator-%s", config->namespace_);
	/* the object must be one that this configuration is asked about */
	r->try_as = try_newest();
	r->try_labels =
		revision ? str_format(TRY_LABELS, *revision ? revision : "default") : strdup("");
	if (!r->name || !r->try_labels)
		return -ENOMEM;
	*ret = TAKE_PTR(r);
	return 0;
}

struct registration *registration_free(struct registration *r)
{
	if (!r)
		return NULL;
	stop(r);
	free(r->name);
	free(r->try_labels);
	free(r->bundle);
	free(r);
	return NULL;
}
