/* SPDX-License-Identifier: Apache-2.0 */
/* install_apply - objects to the API server, and those away that are no longer wanted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/str.h"
#include "cli.h"
#include "install.h"
#include "json.h"
#include "kube_kinds.h"
#include "revisions.h"
#include "source/kube_call.h"
#include "source/object.h"

#define TRIES         4
#define POLL_US       500000u
#define NS_PER_US     1000
#define US_PER_S      1000000u
#define US_PER_MS     1000u
#define MS_PER_S      1000u
#define TIMEOUT_MAX_S 86400u
#define RECORD_KEY    "spec"

void install_sleep(const struct install_run *run)
{
	uint64_t us = run->poll_us ? run->poll_us : POLL_US;
	struct timespec t = {.tv_sec = (time_t)(us / US_PER_S),
			     .tv_nsec = (long)(us % US_PER_S) * NS_PER_US};

	(void)nanosleep(&t, NULL);
}

static bool is_transient(int r)
{
	return r == -ETIMEDOUT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EIO;
}

/* say_object() - what the API server says of an object, and what can be done. */
static int say_object(const struct install_run *run, const json_t *object, int error)
{
	_cleanup_(freep) char *title = kube_title(object);
	const char *why = kube_why(run->kube);
	const char *hint = "";

	if (error == -EEXIST)
		hint = "\n  Somebody else manages these fields; --force takes them over.";
	else if (strstr(why, "failed calling webhook"))
		hint = "\n  That webhook is down: start what serves it, or delete its "
		       "configuration.";
	else if (error == -EACCES)
		hint = "\n  \"culvert precheck\" lists every permission that is missing.";
	return cli_fail("%s: %s%s", title ? title : "object", why, hint);
}

/* What all revisions share keeps the label of who made it: nobody's purge but that of all takes it.
 */
static const char *label_of(const struct install_run *run, const json_t *object,
			    const json_t *before)
{
	const char *old = before ? kube_meta(before, "labels", INSTALL_LABEL) : NULL;

	return old && kube_kind_of(object)->is_kept ? old : run->revision;
}

static int label_add(const struct install_run *run, json_t *object, const json_t *before)
{
	json_t *meta = json_object_get(object, "metadata");
	json_t *labels = json_object_get(meta, "labels");

	if (!labels) {
		labels = json_object();
		if (json_object_set_new(meta, "labels", labels) < 0)
			return -ENOMEM;
	}
	return json_object_set_new(labels, INSTALL_LABEL,
				   json_string(label_of(run, object, before))) < 0
		       ? -ENOMEM
		       : 0;
}

static const char *version_of(const json_t *object)
{
	return json_text(json_object_get(object, "metadata"), "resourceVersion", "");
}

/* What the control plane has set of a webhook stays: it makes a failure count once it answers. */
static void webhooks_keep(const json_t *before, json_t *object)
{
	static const char key[] = "failurePolicy";
	json_t *one, *old;
	size_t i, k;

	json_array_foreach (json_object_get(object, "webhooks"), i, one)
		json_array_foreach (json_object_get(before, "webhooks"), k, old) {
			if (json_object_get(old, key) &&
			    streq(json_text(one, "name", ""), json_text(old, "name", "?")))
				(void)json_object_set(one, key, json_object_get(old, key));
		}
}

/* ask() - about @object; a failure that may pass is tried again. */
static int ask(struct install_run *run, const struct kube_ask *call, const json_t *object,
	       json_t **ret)
{
	int r = -ENOMEM;

	for (int i = 0; call->path && i < TRIES; i++) {
		r = kube_do(run->kube, call, ret);
		if (!is_transient(r))
			break;
		progress_wait(&run->progress, "%s %s: trying again: %s",
			      json_text(object, "kind", ""), kube_name(object),
			      kube_why(run->kube));
		install_sleep(run);
	}
	return r;
}

/* send() - apply it. */
static int send(struct install_run *run, const json_t *object, const char *path, json_t **ret)
{
	_cleanup_(freep) char *target =
		str_format("%s?fieldManager=" KUBE_FIELD_MANAGER "&force=%s%s", path,
			   run->is_forced ? "true" : "false", run->is_dry ? "&dryRun=All" : "");
	const struct kube_ask call = {
		.method = "PATCH", .path = target, .content_type = KUBE_APPLY, .body = object};

	return ask(run, &call, object, ret);
}

static void tell(const struct install_run *run, const json_t *object, const char *what)
{
	_cleanup_(freep) char *title = run->is_dry ? kube_title(object) : NULL;

	if (title)
		printf("%-10s %s\n", what, title);
}

/* ---- selectors of an earlier version ---- */

static json_t *selector_of(const json_t *object)
{
	return json_object_get(json_object_get(object, "spec"), "selector");
}

static bool has_other_selector(const json_t *object, const json_t *before)
{
	const json_t *old = selector_of(before);

	return old && !json_equal((json_t *)(uintptr_t)old, selector_of(object));
}

/* Would a Deployment that selects by @selector have the pods of @object, too? */
static bool selects_pods_of(const json_t *selector, const json_t *object)
{
	const json_t *template = json_object_get(json_object_get(object, "spec"), "template");
	const json_t *labels = json_object_get(json_object_get(template, "metadata"), "labels");

	return !json_object_get(selector, "matchExpressions") &&
	       labels_match(json_object_get(selector, "matchLabels"), labels);
}

/*
 * selector_settle() - a control plane is to be there throughout. A Deployment's selector cannot be
 * changed: one that fits the new pods stays, so that they replace the old ones in turn; a Service's
 * stays until they are ready (install_apply_late()).
 * @ret_own: what is to be put back into @object, a new reference; NULL: nothing.
 * Return: whether it has to be made anew, since nothing fits: nodes go on with what they have.
 */
static bool selector_settle(struct install_run *run, json_t *object, const json_t *before,
			    json_t **ret_own)
{
	bool is_service = streq(json_text(object, "kind", ""), "Service");
	bool is_deployment = kube_kind_of(object)->rank == KUBE_RANK_CONTROL;

	if (!has_other_selector(object, before) || (is_service && (run->is_late || run->is_dry)))
		return false;
	if (is_deployment && !selects_pods_of(selector_of(before), object))
		return true;
	if (!is_service && !is_deployment)
		return false;
	*ret_own = json_incref(selector_of(object));
	(void)json_object_set(json_object_get(object, "spec"), "selector", selector_of(before));
	run->has_late = run->has_late || is_service;
	return false;
}

static void selector_restore(json_t *object, json_t *own)
{
	if (own)
		(void)json_object_set_new(json_object_get(object, "spec"), "selector", own);
}

/* apply_one() - Return: 0; -errno. */
static int apply_one(struct install_run *run, json_t *object, struct install_count *count)
{
	_cleanup_(freep) char *path = kube_path_of(object);
	_cleanup_(json_decrefp) json_t *before = NULL, *after = NULL;
	json_t *own = NULL;
	int r = path ? ask(run, &(struct kube_ask){.path = path}, object, &before) : -EINVAL;

	/* what is there and not seen may be somebody else's */
	if (r < 0 && r != -ENOENT)
		return r;
	if (before && kube_kind_of(object)->is_kept &&
	    !kube_meta(before, "labels", INSTALL_LABEL)) {
		count->foreign++;
		tell(run, object, "as it is");
		return 0;
	}
	webhooks_keep(before, object);
	r = label_add(run, object, before);
	if (r == 0 && selector_settle(run, object, before, &own)) {
		if (run->is_dry) { /* the API server would refuse the change that is none */
			tell(run, object, "make anew");
			return 0;
		}
		r = install_delete(run, before);
	}
	if (r == 0)
		r = send(run, object, path, &after);
	selector_restore(object, own);
	if (r == -ENOENT && run->is_dry) /* its namespace is not there either */
		r = 0;
	if (r < 0)
		return r;
	if (!before)
		count->created++;
	else if (streq(version_of(before), version_of(after)))
		count->unchanged++;
	else
		count->changed++;
	tell(run, object,
	     !before                                        ? "create"
	     : streq(version_of(before), version_of(after)) ? "unchanged"
							    : "change");
	return 0;
}

int install_apply(struct install_run *run, json_t *objects, int first, int last,
		  struct install_count *count)
{
	json_t *one;
	size_t i;

	json_array_foreach (objects, i, one) {
		int rank = (int)kube_kind_of(one)->rank;
		int r;

		if (rank < first || rank > last)
			continue;
		r = apply_one(run, one, count);
		if (r < 0)
			return say_object(run, one, r);
	}
	return 0;
}

int install_apply_late(struct install_run *run, json_t *objects, struct install_count *count)
{
	if (!run->has_late)
		return 0;
	run->is_late = true;
	return install_apply(run, objects, KUBE_RANK_SERVICE, KUBE_RANK_SERVICE, count);
}

/* record_name() - caller frees; NULL: out of memory. */
static char *record_name(const struct install_run *run)
{
	return streq(run->revision, REVISION_DEFAULT)
		       ? strdup(INSTALL_RECORD)
		       : str_format(INSTALL_RECORD "-%s", run->revision);
}

int install_record(struct install_run *run, const json_t *spec, const char *version)
{
	_cleanup_(freep) char *name = record_name(run);
	_cleanup_(freep) char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
	_cleanup_(json_decrefp) json_t *record =
		json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s,s:s,s:s}}", "apiVersion", "v1", "kind",
			  "ConfigMap", "metadata", "name", name ? name : INSTALL_RECORD,
			  "namespace", KUBE_MESH_NAMESPACE, "data", "version", version, "revision",
			  run->revision, RECORD_KEY, text ? text : "{}");
	struct install_count count = {0};
	int r = record && name ? apply_one(run, record, &count) : -ENOMEM;

	return r < 0 ? say_object(run, record, r) : 0;
}

int install_labelled(struct install_run *run, bool is_all, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *all = json_array();
	json_t *one;
	size_t i;

	for (const struct kube_kind *k = kube_kinds(); k->kind; k++) {
		_cleanup_(freep) char *path = kube_path(k, NULL, NULL);
		_cleanup_(freep) char *target =
			path ? str_format("%s?labelSelector=" INSTALL_LABEL "%s%s", path,
					  is_all ? "" : "%3D", is_all ? "" : run->revision)
			     : NULL;
		_cleanup_(json_decrefp) json_t *some = NULL;
		int r = target ? kube_list(run->kube, target, &some) : -ENOMEM;

		if (r == -ENOENT || r == -EACCES)
			continue;
		json_array_foreach (some, i, one) {
			(void)json_object_set_new(one, "kind", json_string(k->kind));
			(void)json_object_set_new(one, "apiVersion", json_string(k->api_version));
		}
		if (r < 0 || json_array_extend(all, some) < 0)
			return kube_fail(run->kube, k->plural);
	}
	*ret = TAKE_PTR(all);
	return 0;
}

int install_delete(struct install_run *run, const json_t *object)
{
	_cleanup_(freep) char *path = kube_path_of(object);
	_cleanup_(freep) char *target = path ? str_format("%s?propagationPolicy=Background%s", path,
							  run->is_dry ? "&dryRun=All" : "")
					     : NULL;
	const struct kube_ask call = {.method = "DELETE", .path = target};
	int r = ask(run, &call, object, NULL);

	return r == -ENOENT ? 0 : r;
}

static bool is_among(const struct install_run *run, const json_t *objects, const json_t *object)
{
	_cleanup_(freep) char *record = record_name(run);
	const json_t *one;
	size_t i;

	json_array_foreach (objects, i, one)
		if (streq(json_text(one, "kind", ""), json_text(object, "kind", "")) &&
		    streq(kube_name(one), kube_name(object)) &&
		    streq(kube_ns(one), kube_ns(object)))
			return true;
	return !record || streq(kube_name(object), record) ||
	       streq(kube_name(object), INSTALL_TAGS);
}

int install_prune(struct install_run *run, const json_t *objects, const struct revisions *there,
		  unsigned int *ret)
{
	_cleanup_(json_decrefp) json_t *all = NULL;
	int r = install_labelled(run, false, &all);
	const json_t *one;
	size_t i;

	*ret = 0;
	if (r != 0)
		return r;
	json_array_foreach (all, i, one) {
		if (kube_kind_of(one)->is_kept || is_among(run, objects, one) ||
		    revisions_is_left(there, run->revision, one))
			continue;
		r = install_delete(run, one);
		if (r < 0)
			return say_object(run, one, r);
		tell(run, one, "remove");
		++*ret;
	}
	return 0;
}

int install_run_choose(struct install_run *run, const struct install_choices *choices)
{
	uint64_t ms;

	run->is_dry = choices->is_dry;
	if (str_parse_u64(choices->timeout, 1, TIMEOUT_MAX_S, &ms) == 0)
		ms *= MS_PER_S;
	else if (str_parse_duration(choices->timeout, TIMEOUT_MAX_S * MS_PER_S, &ms) < 0 || ms == 0)
		return (void)cli_fail("--timeout %s: expected seconds, as 300, or 5m30s; a day at "
				      "most",
				      choices->timeout),
		       2;
	run->timeout_us = ms * US_PER_MS;
	return 0;
}

int install_release(struct install_run *run, bool is_released)
{
	_cleanup_(json_decrefp) json_t *body =
		json_pack("{s{s{ss?}}}", "metadata", "labels", INSTALL_RELEASE_LABEL,
			  is_released ? INSTALL_RELEASE_VALUE : NULL);
	const struct kube_ask ask = {.method = "PATCH",
				     .path = "/api/v1/namespaces/" KUBE_MESH_NAMESPACE,
				     .content_type = "application/merge-patch+json",
				     .body = body};
	_cleanup_(json_decrefp) json_t *ns = NULL;
	int r = kube_get(run->kube, ask.path, &ns);
	const char *value = r == 0 ? kube_meta(ns, "labels", INSTALL_RELEASE_LABEL) : NULL;
	bool is_said = value && streq(value, INSTALL_RELEASE_VALUE);

	if (r == 0 && is_said != is_released)
		r = kube_do(run->kube, &ask, NULL);
	return r < 0 && r != -ENOENT ? kube_fail(run->kube, "namespace " KUBE_MESH_NAMESPACE) : 0;
}
