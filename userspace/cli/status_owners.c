/* SPDX-License-Identifier: Apache-2.0 */
#include "status_owners.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "kube_kinds.h"
#include "kube_pods.h"
#include "source/object.h"

#define APPS        "/apis/apps/v1/namespaces/" KUBE_MESH_NAMESPACE
#define NODES_NAMED 5 /* of those without a pod */
#define WHY_MAX     512

static const struct owner {
	const char *app, *path;
} owners[] = {{"istiod", APPS "/deployments?labelSelector=app%3Distiod"},
	      {"ztunnel", APPS "/daemonsets?labelSelector=app%3Dztunnel"}};

void status_problem(json_t *problems, const char *where, const char *what)
{
	_cleanup_(freep) char *text = str_format("%s: %s", where, what);

	if (text)
		(void)json_array_append_new(problems, json_string(text));
}

/* made_of() - how many of @pods are @owner's. */
static json_int_t made_of(const json_t *owner, const json_t *pods)
{
	const json_t *selector = json_object_get(json_object_get(owner, "spec"), "selector"), *pod;
	json_int_t n = 0;
	size_t i;

	json_array_foreach (pods, i, pod)
		n += labels_match(json_object_get(selector, "matchLabels"),
				  json_object_get(json_object_get(pod, "metadata"), "labels"));
	return n;
}

/* Pods that are there and not ready tell themselves what they wait for. */
static void owner_check(const json_t *owner, const json_t *pods, json_t *problems)
{
	_cleanup_(freep) char *title = kube_title(owner);
	const struct kube_rollout r = kube_rollout_of(owner);
	const char *message, *failure = kube_condition(owner, "ReplicaFailure", &message);
	const json_int_t made = made_of(owner, pods);
	char what[WHY_MAX];

	if (r.wanted == 0)
		(void)snprintf(what, sizeof(what), "it is to have no pods");
	else if (made < r.wanted)
		(void)snprintf(what, sizeof(what), "%lld of %lld pods have been made%s%s",
			       (long long)made, (long long)r.wanted,
			       streq(failure, "True") ? ": " : "",
			       streq(failure, "True") ? message : "");
	if (title && made < MAX(r.wanted, 1))
		status_problem(problems, title, what);
}

/* has_pod() - @node: NULL: on whichever. */
static bool has_pod(const json_t *pods, const char *app, const char *node)
{
	const json_t *pod;
	size_t i;

	json_array_foreach (pods, i, pod) {
		const char *its = kube_meta(pod, "labels", "app");

		if (its && streq(its, app) &&
		    (!node || streq(json_text(json_object_get(pod, "spec"), "nodeName", ""), node)))
			return true;
	}
	return false;
}

/* tell_without() - in one sentence, of however many. */
static void tell_without(json_t *names, json_t *notices)
{
	const size_t n = json_array_size(names);
	_cleanup_(freep) char *text = NULL;
	char more[sizeof(" and  more") + 3 * sizeof(size_t)] = "";

	while (json_array_size(names) > NODES_NAMED)
		(void)json_array_remove(names, NODES_NAMED);
	if (n > NODES_NAMED)
		(void)snprintf(more, sizeof(more), " and %zu more", n - NODES_NAMED);
	text = json_join(names, ", ");
	if (text && n > 0)
		(void)json_array_append_new(
			notices,
			json_pack("{s:s,s:o,s:[]}", "node", "ztunnel", "message",
				  json_sprintf("no pod of it on %s%s: what runs there is outside "
					       "the mesh",
					       text, more),
				  "pods"));
}

static int nodes_check(struct kube *k, const json_t *pods, json_t *notices)
{
	_cleanup_(json_decrefp) json_t *nodes = NULL, *without = json_array();
	int r = kube_list(k, "/api/v1/nodes", &nodes);
	const json_t *one;
	size_t i;

	json_array_foreach (nodes, i, one)
		if (kube_node_is_linux(one) && !has_pod(pods, "ztunnel", kube_name(one)))
			(void)json_array_append_new(without, json_string(kube_name(one)));
	tell_without(without, notices);
	return r == -EACCES ? 0 : r;
}

/* owners_check() - all of one app. Return: how many there are; -errno. */
static int owners_check(struct kube *k, const struct owner *o, const json_t *pods, json_t *problems)
{
	_cleanup_(json_decrefp) json_t *list = NULL;
	int r = kube_list(k, o->path, &list);
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		owner_check(one, pods, problems);
	return r < 0 && r != -EACCES && r != -ENOENT ? r : (int)json_array_size(list);
}

int status_owners(struct kube *k, const json_t *pods, const char *node, json_t *all)
{
	json_t *problems = json_object_get(all, "problems");
	bool is_there = json_array_size(pods) > 0;
	int found[ARRAY_SIZE(owners)], r;

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		found[i] = owners_check(k, &owners[i], pods, problems);
		if (found[i] < 0)
			return found[i];
		is_there = is_there || found[i] > 0;
	}
	if (!is_there)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		if (found[i] == 0 && !has_pod(pods, owners[i].app, NULL))
			status_problem(problems, owners[i].app, "there is none");
	if (node && !has_pod(pods, "ztunnel", node))
		status_problem(problems, node, "no pod of ztunnel is there");
	r = node ? 0 : nodes_check(k, pods, json_object_get(all, "notices"));
	return r < 0 ? r : 1;
}
