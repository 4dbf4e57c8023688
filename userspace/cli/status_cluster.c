/* SPDX-License-Identifier: Apache-2.0 */
#include "status_cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube.h"
#include "kube_enrol.h"
#include "kube_kinds.h"
#include "kube_pods.h"
#include "status_owners.h"
#include "table.h"
#include "term.h"

#define PODS                                                                                       \
	"/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/pods?labelSelector=app%20in%20(istiod,"        \
	"ztunnel)"
#define NUMBER_MAX 24

/* pod_row() - {pod, node, ready, image, restarts, why}; the caller's to drop. */
static json_t *pod_row(const json_t *pod, json_t *problems)
{
	const json_t *containers =
		json_object_get(json_object_get(pod, "status"), "containerStatuses");
	json_int_t restarts = 0;
	char why[KUBE_WHY_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach (containers, i, one)
		restarts += json_number(one, "restartCount");
	if (*kube_pod_why(pod, why))
		status_problem(problems, kube_name(pod), why);
	return json_pack("{s:s,s:s,s:b,s:s,s:I,s:s}", "pod", kube_name(pod), "node",
			 json_text(json_object_get(pod, "spec"), "nodeName", ""), "ready",
			 kube_pod_is_ready(pod), "image", kube_pod_image(pod), "restarts", restarts,
			 "why", why);
}

/* ns_of() - the row of a namespace: {inMesh, pending, error, label}. Borrowed. */
static json_t *ns_of(json_t *namespaces, const char *name)
{
	json_t *row = json_object_get(namespaces, name);

	if (row)
		return row;
	row = json_pack("{s:i,s:i,s:i,s:s}", "captured", 0, "pending", 0, "error", 0, "label", "");
	return json_object_set_new(namespaces, name, row) < 0 ? NULL : row;
}

static void add_pod_state(const json_t *pod, json_t *namespaces, json_t *problems)
{
	const char *state = json_text(pod, "state", "error");
	const char *error = json_text(pod, "error", "");
	json_t *row = ns_of(namespaces, json_text(pod, "namespace", ""));
	_cleanup_(freep) char *name =
		str_format("%s/%s", json_text(pod, "namespace", ""), json_text(pod, "name", ""));

	(void)json_object_set_new(row, state, json_integer(json_number(row, state) + 1));
	if (*error && !streq(state, "captured") && name)
		status_problem(problems, name, error);
}

static void add_errors(const char *where, const json_t *errors, json_t *problems)
{
	const json_t *e;
	size_t i;

	json_array_foreach (errors, i, e) {
		_cleanup_(freep) char *text = NULL;
		const char *field = json_text(e, "field", "");

		if (json_is_string(e)) {
			status_problem(problems, where, json_string_value(e));
			continue;
		}
		if (!streq(json_text(e, "severity", "error"), "error"))
			continue;
		text = str_format("%s %s/%s: %s%s%s", json_text(e, "kind", ""),
				  json_text(e, "namespace", ""), json_text(e, "name", ""), field,
				  *field ? ": " : "", json_text(e, "message", ""));
		if (text)
			(void)json_array_append_new(problems, json_string(text));
	}
}

/* notice_of() - that of a node with these words: {node, message, pods}. Borrowed. */
static json_t *notice_of(json_t *notices, const char *node, const char *message)
{
	json_t *one;
	size_t i;

	json_array_foreach (notices, i, one)
		if (streq(json_text(one, "node", ""), node) &&
		    streq(json_text(one, "message", ""), message))
			return one;
	one = json_pack("{s:s,s:s,s:[]}", "node", node, "message", message, "pods");
	return json_array_append_new(notices, one) < 0 ? NULL : one;
}

/* add_notices() - what is worth a look, of all pods of a node that it is true of at once. */
static void add_notices(const char *node, const json_t *errors, json_t *notices)
{
	const json_t *e;
	size_t i;

	json_array_foreach (errors, i, e) {
		_cleanup_(freep) char *pod = NULL;
		json_t *notice;

		if (!streq(json_text(e, "severity", "error"), "warning"))
			continue;
		notice = notice_of(notices, node, json_text(e, "message", ""));
		if (!json_text(e, "name", NULL))
			continue; /* the message names it */
		pod = str_format("%s/%s", json_text(e, "namespace", ""), json_text(e, "name", ""));
		if (pod)
			(void)json_array_append_new(json_object_get(notice, "pods"),
						    json_string(pod));
	}
}

/* add_node() - what a node's agent says, into the row of its pod. */
static void add_node(const struct admin_node *n, json_t *row, json_t *all)
{
	json_t *namespaces = json_object_get(all, "namespaces");
	json_t *problems = json_object_get(all, "problems");
	_cleanup_(json_decrefp) json_t *status = NULL;
	const json_t *pods, *pod;
	size_t i;

	if (admin_get_json(n, "agent", "/status", &status) < 0) {
		status_problem(problems, n->name, admin_remote_why());
		return;
	}
	pods = json_object_get(status, "pods");
	json_array_foreach (pods, i, pod)
		add_pod_state(pod, namespaces, problems);
	(void)json_object_set_new(row, "pods", json_integer((json_int_t)json_array_size(pods)));
	(void)json_object_set_new(row, "ztunnel",
				  json_string(json_text(status, "ztunnel", "unknown")));
	add_errors(n->name, json_object_get(status, "errors"), problems);
	add_notices(n->name, json_object_get(status, "errors"), json_object_get(all, "notices"));
}

static void ask_nodes(const char *only, json_t *rows, json_t *all)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int n = nodes ? admin_remote_nodes(only, nodes, ADMIN_NODES_MAX) : 0;

	for (int i = 0; i < n; i++) {
		json_t *row = json_find(rows, "pod", nodes[i].pod);

		if (row)
			add_node(&nodes[i], row, all);
	}
}

/* add_doubts() - what is worth a look of the mesh as a whole, of no object. */
static void add_doubts(const json_t *errors, json_t *notices)
{
	const json_t *e;
	size_t i;

	json_array_foreach (errors, i, e)
		if (streq(json_text(e, "severity", ""), "warning") && !*json_text(e, "kind", ""))
			(void)notice_of(notices, "control plane", json_text(e, "message", ""));
}

/* Each replica sees all objects: the first that answers has all their mistakes. */
static void ask_control(json_t *all, json_t *problems)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int n = nodes ? admin_remote_control(nodes, ADMIN_NODES_MAX) : 0;

	for (int i = 0; i < n; i++) {
		_cleanup_(json_decrefp) json_t *status = NULL;

		if (admin_get_json(&nodes[i], "control", "/status", &status) < 0) {
			status_problem(problems, nodes[i].name, admin_remote_why());
			continue;
		}
		add_errors("control plane", json_object_get(status, "errors"), problems);
		add_doubts(json_object_get(status, "errors"), json_object_get(all, "notices"));
		(void)json_object_set(all, "ca", json_object_get(status, "ca"));
		(void)json_object_set(all, "objects", json_object_get(status, "objects"));
		return;
	}
}

static int add_namespaces(struct kube *k, json_t *namespaces)
{
	_cleanup_(json_decrefp) json_t *list = NULL;
	int r = kube_list(k, "/api/v1/namespaces", &list);
	json_t *ns;
	size_t i;

	if (r < 0)
		return r == -EACCES ? 0 : r;
	json_array_foreach (list, i, ns) {
		struct enrol_decision d = kube_enrol(NULL, ns);

		if (enrol_is_yes(d.verdict))
			(void)json_object_set_new(ns_of(namespaces, kube_name(ns)), "label",
						  json_string(d.because));
	}
	return 0;
}

static int gather(const char *node, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *pods = NULL, *all = NULL;
	json_t *control = json_array(), *nodes = json_array(), *problems = json_array();
	json_t *namespaces = json_object();
	struct kube *k = admin_remote_kube();
	const json_t *pod;
	size_t i;
	int r;

	all = json_pack("{s:o,s:o,s:o,s:o,s:[]}", "controlPlane", control, "nodes", nodes,
			"namespaces", namespaces, "problems", problems, "notices");
	if (!k || !all)
		return 1;
	r = kube_list(k, PODS, &pods);
	if (r == 0)
		r = add_namespaces(k, namespaces);
	if (r == 0)
		r = status_owners(k, pods, node, all);
	if (r < 0)
		return kube_fail(k, "status");
	if (r == 0)
		return cli_fail("Culvert is not installed in this cluster: \"culvert install\"");
	json_array_foreach (pods, i, pod) {
		const char *app = kube_meta(pod, "labels", "app");
		const char *at = json_text(json_object_get(pod, "spec"), "nodeName", "");
		bool is_control = app && streq(app, "istiod");

		if (is_control || !node || streq(node, at))
			(void)json_array_append_new(is_control ? control : nodes,
						    pod_row(pod, problems));
	}
	ask_control(all, problems);
	ask_nodes(node, nodes, all);
	*ret = TAKE_PTR(all);
	return 0;
}

static void print_control(const json_t *all)
{
	const json_t *rows = json_object_get(all, "controlPlane"), *row;
	size_t i, ready = 0;

	json_array_foreach (rows, i, row)
		ready += json_is_true(json_object_get(row, "ready"));
	printf("control plane: %zu of %zu replicas ready; CA root until %s\n", ready,
	       json_array_size(rows),
	       json_text(json_object_get(all, "ca"), "root_not_after", "unknown"));
}

static int print_nodes(const json_t *rows)
{
	static const char *const headers[] = {"NODE", "POD",     "READY", "RESTARTS",
					      "PODS", "ZTUNNEL", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *row;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (rows, i, row) {
		char restarts[NUMBER_MAX], pods[NUMBER_MAX];
		const char *cells[] = {json_text(row, "node", ""),
				       json_text(row, "pod", ""),
				       json_is_true(json_object_get(row, "ready")) ? "yes" : "no",
				       restarts,
				       pods,
				       json_text(row, "ztunnel", "unknown")};

		(void)snprintf(restarts, sizeof(restarts), "%lld",
			       (long long)json_number(row, "restarts"));
		(void)snprintf(pods, sizeof(pods), "%lld", (long long)json_number(row, "pods"));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	putchar('\n');
	table_show(t);
	return 0;
}

static int print_namespaces(const json_t *namespaces)
{
	static const char *const headers[] = {"NAMESPACE", "LABEL", "IN THE MESH",
					      "PENDING",   "ERROR", NULL};
	static const char *const keys[] = {"captured", "pending", "error"};
	_cleanup_(table_freep) struct table *t = NULL;
	const char *name;
	const json_t *row;

	if (json_object_size(namespaces) == 0) {
		puts("\nno namespace is in the mesh: kubectl label namespace NAME "
		     "istio.io/dataplane-mode=ambient");
		return 0;
	}
	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_object_foreach ((json_t *)(uintptr_t)namespaces, name, row) {
		char n[ARRAY_SIZE(keys)][NUMBER_MAX];
		const char *label = json_text(row, "label", "");
		const char *cells[] = {name, *label ? label : "(of pods)", n[0], n[1], n[2]};

		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			(void)snprintf(n[i], sizeof(n[i]), "%lld",
				       (long long)json_number(row, keys[i]));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	putchar('\n');
	table_show(t);
	return 0;
}

static void print_notices(const json_t *notices)
{
	const json_t *n;
	size_t i;

	if (json_array_size(notices) > 0)
		puts("\nWorth a look");
	json_array_foreach (notices, i, n) {
		const json_t *pods = json_object_get(n, "pods");
		const char *first = json_string_value(json_array_get(pods, 0));
		size_t count = json_array_size(pods);
		char more[NUMBER_MAX + sizeof(" and  more")] = "";
		_cleanup_(freep) char *text = NULL;

		if (count > 1)
			(void)snprintf(more, sizeof(more), " and %zu more", count - 1);
		text = str_format("%s: %s%s%s%s", json_text(n, "node", ""), first ? first : "",
				  more, first ? ": " : "", json_text(n, "message", ""));
		if (text)
			term_wrap("  ", "    ", text);
	}
}

int status_cluster_print(const json_t *all)
{
	const json_t *problems = json_object_get(all, "problems"), *p;
	size_t i;

	print_control(all);
	if (print_nodes(json_object_get(all, "nodes")) < 0 ||
	    print_namespaces(json_object_get(all, "namespaces")) < 0)
		return cli_fail("out of memory");
	print_notices(json_object_get(all, "notices"));
	if (json_array_size(problems) > 0)
		printf("\n%sProblems%s\n", term_color(TERM_RED), term_color(TERM_NO_COLOR));
	json_array_foreach (problems, i, p)
		term_wrap("  ", "    ", json_string_value(p));
	return json_array_size(problems) > 0 ? 1 : 0;
}

int status_cluster(const char *node, const char *output)
{
	_cleanup_(json_decrefp) json_t *all = NULL;

	if (gather(node, &all) != 0)
		return 1;
	if (streq(output, "short"))
		return status_cluster_print(all);
	json_print(all, output);
	return json_array_size(json_object_get(all, "problems")) > 0 ? 1 : 0;
}
