/* SPDX-License-Identifier: Apache-2.0 */
#include "admission.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "source/honoured.h"
#include "source/kube_json.h"
#include "source/kube_prune.h"
#include "source/schema.h"

#define MESSAGE_MAX   4096
#define UNPROCESSABLE 422
#define DRY_RUN       "istio.io/dry-run"
#define DRY_RUN_FIELD "metadata.annotations[" DRY_RUN "]"

struct verdict {
	struct buf message; /* empty: it may come in */
	const char *warning;
	struct admission_subject subject;
};

static void on_problem(void *arg, const char *field, const char *message)
{
	struct verdict *v = arg;

	(void)buf_printf(&v->message, "%s%s%s%s",
			 buf_len(&v->message) ? "; " : "configuration is invalid: ", field,
			 *field ? ": " : "", message);
}

static const char *version_find(const struct schema_kind *kind, const char *api_version)
{
	for (const char *const *v = kind->api_versions; *v; v++)
		if (streq(*v, api_version))
			return *v;
	return NULL;
}

/* Finalizers, labels and status of what was stored before us must be free to change. */
static bool is_spec_as_before(const json_t *before, const json_t *object)
{
	return json_is_object(before) &&
	       json_equal(json_object_get(before, "spec"), json_object_get(object, "spec"));
}

static json_t *dry_run_of(const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");

	return json_object_get(json_object_get(metadata, "annotations"), DRY_RUN);
}

static const char *action_of(const json_t *object)
{
	return json_text(json_object_get(object, "spec"), "action", "");
}

/* Istio's webhook takes it on policies that allow or deny alone. That it is no word is no reason to
 * leave a policy out that is there: this is asked of what comes in only. */
static void dry_run_check(const struct schema_kind *kind, const json_t *object, struct verdict *v)
{
	static const char *const words[] = {"true",  "True",  "TRUE", "t", "T", "1", "false",
					    "False", "FALSE", "f",    "F", "0", NULL};
	const char *value = json_string_value(dry_run_of(object));
	const char *action = action_of(object);
	size_t i = 0;

	if (!value)
		return;
	if (!streq(kind->kind, "AuthorizationPolicy") ||
	    (*action && !streq(action, "ALLOW") && !streq(action, "DENY"))) {
		on_problem(v, DRY_RUN_FIELD,
			   "only for an AuthorizationPolicy of action ALLOW or DENY");
		return;
	}
	while (words[i] && !streq(words[i], value))
		i++;
	if (!words[i])
		on_problem(v, DRY_RUN_FIELD, "expected \"true\" or \"false\"");
}

static void object_check(const json_t *request, struct verdict *v)
{
	const json_t *gvk = json_object_get(request, "kind");
	const char *group = json_text(gvk, "group", ""), *name = json_text(gvk, "kind", "");
	const struct schema_kind *kind = schema_kind_of(group, name);
	struct schema_report report = {.on_problem = on_problem, .arg = v};
	const json_t *before = json_object_get(request, "oldObject");
	json_t *object = json_object_get(request, "object");

	/* nothing is stored by what has no object: a deletion */
	if (!json_is_object(object) ||
	    json_object_get(json_object_get(object, "metadata"), "deletionTimestamp"))
		return;
	if (kind && (!json_equal(dry_run_of(object), dry_run_of(before)) ||
		     !streq(action_of(object), action_of(before))))
		dry_run_check(kind, object, v);
	if (is_spec_as_before(before, object))
		return;
	v->warning = honoured_not_yet(group, name);
	if (!kind)
		return;
	v->subject.kind = kind;
	v->subject.api_version = version_find(kind, json_text(object, "apiVersion", ""));
	report.is_lenient = kind->is_unread;
	kube_prune(kind->kind, object);
	if (schema_check(kind, object, &report) == 0)
		(void)schema_doubts(kind, object, &report);
}

static json_t *answer_make(const char *uid, struct verdict *v)
{
	bool is_allowed = buf_len(&v->message) == 0;
	json_t *response = json_pack("{s:s,s:b}", "uid", uid, "allowed", is_allowed);

	if (!is_allowed)
		(void)json_object_set_new(response, "status",
					  json_pack("{s:i,s:s,s:s#}", "code", UNPROCESSABLE,
						    "reason", "Invalid", "message",
						    (const char *)buf_head(&v->message),
						    (int)buf_len(&v->message)));
	if (v->warning)
		(void)json_object_set_new(response, "warnings", json_pack("[s]", v->warning));
	return json_pack("{s:s,s:s,s:o}", "apiVersion", "admission.k8s.io/v1", "kind",
			 "AdmissionReview", "response", response);
}

static int review(const json_t *request, struct admission_subject *ret_subject, char **ret)
{
	struct verdict v = {.message = {.limit = MESSAGE_MAX}};
	const char *uid = json_string_value(json_object_get(request, "uid"));
	bool is_allowed;
	json_t *answer;

	if (!uid)
		return -EBADMSG;
	object_check(request, &v);
	is_allowed = buf_len(&v.message) == 0;
	answer = answer_make(uid, &v);
	buf_reset(&v.message);
	v.subject.is_allowed = is_allowed;
	*ret_subject = v.subject;
	*ret = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	return *ret ? 0 : -ENOMEM;
}

int admission_review(const char *body, size_t len, struct admission_subject *ret_subject,
		     char **ret)
{
	json_t *root = len <= ADMISSION_BODY_MAX ? kube_json_load(body, len) : NULL;
	char *text = NULL;
	int r = review(json_object_get(root, "request"), ret_subject, &text);

	json_decref(root);
	if (r == 0)
		*ret = text;
	return r;
}
