/* SPDX-License-Identifier: Apache-2.0 */
/* install_wait - until what was applied runs, saying meanwhile what is missing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "cli.h"
#include "install.h"
#include "json.h"
#include "kube_kinds.h"
#include "kube_pods.h"

/* Istio's words for the components. */
static const struct {
	const char *name, *title, *what;
} components[] = {
	{"istiod", "Istiod", "control plane"},
	{"ztunnel", "Ztunnel", "agent and ztunnel"},
	{"istio-cni-node", "CNI", "CNI plugin"},
};

/* A revision with a name has it at the end. */
static bool is_component(const json_t *object, const char *name)
{
	size_t n = strlen(name);

	return str_has_prefix(kube_name(object), name) &&
	       (!kube_name(object)[n] || kube_name(object)[n] == '-');
}

static const char *title_of(const json_t *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(components); i++)
		if (is_component(object, components[i].name))
			return components[i].title;
	return kube_name(object);
}

static const char *what_of(const json_t *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(components); i++)
		if (is_component(object, components[i].name))
			return components[i].what;
	return "component";
}

/* pods_path() - the list of its pods, by its own selector; caller frees. */
static char *pods_path(const json_t *object)
{
	const json_t *selector = json_object_get(json_object_get(object, "spec"), "selector");
	_cleanup_(buf_resetp) struct buf path = {0};
	const char *key, *sep = "";
	const json_t *v;
	int r = buf_printf(&path, "/api/v1/namespaces/%s/pods?labelSelector=", kube_ns(object));

	json_object_foreach (json_object_get(selector, "matchLabels"), key, v) {
		const char *value = json_string_value(v);

		if (r == 0)
			r = buf_printf(&path, "%s%s=%s", sep, key, value ? value : "");
		sep = ",";
	}
	if (r == 0)
		r = buf_append(&path, "", 1);
	return r == 0 ? (char *)TAKE_PTR(path.data) : NULL;
}

/* first_problem() - of its pods that are not ready the first: "pod x on n1: ...". @at: how far its
 * owner is. */
static void first_problem(struct install_run *run, const json_t *object,
			  const struct kube_rollout *at, char ret[KUBE_WHY_MAX])
{
	_cleanup_(freep) char *path = pods_path(object);
	_cleanup_(json_decrefp) json_t *pods = NULL;
	const json_t *pod;
	size_t i;

	(void)str_copy(ret, KUBE_WHY_MAX, "no pod has been made yet");
	if (!path || kube_list(run->kube, path, &pods) < 0)
		return;
	json_array_foreach (pods, i, pod) {
		char why[KUBE_WHY_MAX];

		if (!*kube_pod_why(pod, why))
			continue;
		(void)snprintf(ret, KUBE_WHY_MAX, "pod %.60s on %.40s: %.120s", kube_name(pod),
			       json_text(json_object_get(pod, "spec"), "nodeName", "no node"), why);
		return;
	}
	if (json_array_size(pods) == 0)
		return;
	if (json_array_size(pods) > (size_t)at->wanted || at->updated < at->wanted)
		(void)str_copy(ret, KUBE_WHY_MAX, "older pods are being replaced");
	else
		(void)str_copy(ret, KUBE_WHY_MAX, "its pods have just become ready");
}

static int wait_one(struct install_run *run, const json_t *object, uint64_t until_us)
{
	_cleanup_(freep) char *path = kube_path_of(object);
	bool is_daemon = streq(json_text(object, "kind", ""), "DaemonSet");
	const char *title = title_of(object), *unit = is_daemon ? "nodes" : "pods";

	for (;;) {
		_cleanup_(json_decrefp) json_t *now = NULL;
		struct kube_rollout r = {0};
		char why[KUBE_WHY_MAX];
		int error = path ? kube_get(run->kube, path, &now) : -ENOMEM;

		if (error == 0)
			r = kube_rollout_of(now);
		if (r.is_done) {
			progress_done(&run->progress, "%s installed: %s, %lld %s", title,
				      what_of(object), (long long)r.ready, unit);
			return 0;
		}
		if (error == 0)
			first_problem(run, object, &r, why);
		else
			(void)snprintf(why, sizeof(why), "%.200s", kube_why(run->kube));
		if (now_monotonic_us() >= until_us) {
			progress_fail(&run->progress, "%s is not ready: %lld of %lld %s; %s", title,
				      (long long)r.ready, (long long)r.wanted, unit, why);
			return 1;
		}
		progress_wait(&run->progress, "%s: %lld of %lld %s ready; %s", title,
			      (long long)MIN(r.ready, r.updated), (long long)r.wanted, unit, why);
		install_sleep(run);
	}
}

int install_wait(struct install_run *run, const json_t *objects, int rank)
{
	uint64_t until_us = now_monotonic_us() + run->timeout_us;
	const json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (objects, i, one)
		if ((int)kube_kind_of(one)->rank == rank)
			r |= wait_one(run, one, until_us);
	return r;
}
