/* SPDX-License-Identifier: Apache-2.0 */
#include "precheck.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "findings.h"
#include "install.h"
#include "install_words.h"
#include "json.h"
#include "kube_enrol.h"
#include "kube_kinds.h"
#include "revisions.h"

#define CONTROLS                                                                                   \
	"/apis/apps/v1/namespaces/" KUBE_MESH_NAMESPACE "/deployments?labelSelector=app%3Distiod"
#define TAGS "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/configmaps/" INSTALL_TAGS

#define PODS_SOME   "/api/v1/pods?limit=500"
#define DEFINITIONS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define CALICO      "/apis/apps/v1/daemonsets?labelSelector=k8s-app%3Dcalico-node"
/* by Calico's own definitions, and by its API server or its newer definitions */
#define FELIX    "/apis/crd.projectcalico.org/v1/felixconfigurations"
#define FELIX_V3 "/apis/projectcalico.org/v3/felixconfigurations"
#define LINKERD  "/api/v1/pods?labelSelector=" PRECHECK_LINKERD_LABEL

#define MINOR_MIN    25 /* of Kubernetes 1: what the manifests need */
#define MINOR_TESTED 37 /* the newest that tools/kube has */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 15

void precheck_version(const json_t *version, json_t *list)
{
	struct finding f = {FINDING_ERROR, "IST0142", "API server", NULL};
	long major = strtol(json_text(version, "major", "0"), NULL, 10);
	long minor = strtol(json_text(version, "minor", "0"), NULL, 10); /* "31+" */

	if (major > 1 || (major == 1 && minor > MINOR_TESTED)) {
		f.level = FINDING_INFO;
		f.code = "CUL0008";
		findings_add(list, &f,
			     "Kubernetes %s is newer than what Culvert is tested on, 1.%d",
			     json_text(version, "gitVersion", "of this version"), MINOR_TESTED);
	}
	if (major > 1 || (major == 1 && minor >= MINOR_MIN))
		return;
	findings_add(list, &f, "Kubernetes %s is too old: 1.%d or newer is needed",
		     json_text(version, "gitVersion", "of an unknown version"), MINOR_MIN);
}

static void kernel_check(const char *kernel, struct finding f, json_t *list)
{
	char *rest;
	unsigned long major = strtoul(kernel, &rest, 10);
	unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;

	if (major == 0 || major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR))
		return;
	/* of which the name says little: what BPF has there is of later kernels */
	if (major == 5 && minor == 14 && strstr(kernel, ".el9")) {
		f.level = FINDING_WARNING;
		findings_add(list, &f,
			     "Linux %s is not among those tested: its agent looks for what it "
			     "needs, and says what is missing",
			     kernel);
		return;
	}
	findings_add(list, &f,
		     "Linux %s is too old: %d.%d or newer, with BTF, is needed; until then "
		     "its pods stay outside the mesh",
		     kernel, KERNEL_MAJOR, KERNEL_MINOR);
}

static void node_check(const json_t *node, json_t *list)
{
	const json_t *info = json_object_get(json_object_get(node, "status"), "nodeInfo");
	const char *arch = json_text(info, "architecture", "amd64");
	_cleanup_(freep) char *origin = kube_title(node);
	struct finding f = {FINDING_ERROR, "CUL0001", origin ? origin : "Node", NULL};

	if (!streq(json_text(info, "operatingSystem", "linux"), "linux")) {
		f.level = FINDING_INFO;
		findings_add(list, &f, "runs no Linux: its pods stay outside the mesh");
		return;
	}
	kernel_check(json_text(info, "kernelVersion", ""), f, list);
	if (streq(arch, "arm64")) {
		f.level = FINDING_WARNING;
		findings_add(list, &f,
			     "its architecture is arm64: it needs an image made with "
			     "make ARCH=arm64, of which only unit tests have run, in emulation");
	} else if (!streq(arch, "amd64")) {
		findings_add(list, &f, "its architecture is %s: amd64 and arm64 are built", arch);
	}
}

void precheck_nodes(const json_t *nodes, json_t *list)
{
	const json_t *node;
	size_t i;

	json_array_foreach (nodes, i, node)
		node_check(node, list);
}

static void labels_check(json_t *ns, json_t *list)
{
	_cleanup_(freep) char *origin = kube_title(ns);
	const struct finding f = {FINDING_WARNING, "CUL0002", origin ? origin : "Namespace", NULL};
	char text[256];

	for (size_t i = 0; kube_enrol_mistake(ns, i, text, sizeof(text)); i++)
		findings_add(list, &f, "%s", text);
}

static void namespace_check(json_t *ns, json_t *list)
{
	const char *enforced = kube_meta(ns, "labels", "pod-security.kubernetes.io/enforce");
	const struct finding f = {FINDING_ERROR, "CUL0003", "Namespace " KUBE_MESH_NAMESPACE, NULL};

	labels_check(ns, list);
	if (streq(kube_name(ns), KUBE_MESH_NAMESPACE) && enforced && !streq(enforced, "privileged"))
		findings_add(list, &f,
			     "pod-security.kubernetes.io/enforce=%s keeps the node's agent out: it "
			     "needs hostPID and capabilities; label it privileged",
			     enforced);
}

void precheck_namespaces(const json_t *namespaces, json_t *list)
{
	json_t *ns;
	size_t i;

	json_array_foreach (namespaces, i, ns)
		namespace_check(ns, list);
}

/* is_allowed() - Return: 1; 0; -errno. */
static int is_allowed(struct kube *k, const struct kube_kind *kind, const char *ns,
		      const char *verb)
{
	const char *slash = strchr(kind->api_version, '/');
	_cleanup_(json_decrefp) json_t *review = json_pack(
		"{s:s,s:s,s:{s:{s:s,s:s,s:s%,s:s}}}", "apiVersion", "authorization.k8s.io/v1",
		"kind", "SelfSubjectAccessReview", "spec", "resourceAttributes", "namespace",
		kind->is_namespaced ? ns : "", "verb", verb, "group", kind->api_version,
		slash ? (size_t)(slash - kind->api_version) : (size_t)0, "resource", kind->plural);
	const struct kube_ask call = {
		.method = "POST",
		.path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		.body = review,
	};
	_cleanup_(json_decrefp) json_t *answer = NULL;
	int r = review ? kube_do(k, &call, &answer) : -ENOMEM;

	return r < 0 ? r
		     : json_is_true(json_object_get(json_object_get(answer, "status"), "allowed"));
}

static bool was_before(const json_t *objects, size_t n, const json_t *object)
{
	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_array_get(objects, i);

		if (kube_kind_of(one) == kube_kind_of(object) &&
		    streq(kube_ns(one), kube_ns(object)))
			return true;
	}
	return false;
}

static int permissions(struct kube *k, const json_t *objects, json_t *list)
{
	static const char *const verbs[] = {"get", "create", "patch"};
	const struct finding f = {FINDING_ERROR, "IST0141", "you", NULL};
	const json_t *one;
	size_t i;

	json_array_foreach (objects, i, one) {
		const struct kube_kind *kind = kube_kind_of(one);
		const char *ns = kube_ns(one);

		for (size_t v = 0; v < ARRAY_SIZE(verbs) && !was_before(objects, i, one); v++) {
			int r = is_allowed(k, kind, ns, verbs[v]);

			if (r < 0)
				return r;
			if (r == 0)
				findings_add(
					list, &f, "may not %s %s%s%s: an installation needs it",
					verbs[v], kind->plural, *ns ? " in namespace " : "", ns);
		}
	}
	return 0;
}

/* What may not be listed is not looked at, and said. @ret: NULL: so, or it is not there. */
static int list_get(struct kube *k, const char *path, json_t *list, json_t **ret)
{
	const struct finding f = {FINDING_INFO, "IST0141", "you", NULL};
	int r = kube_list(k, path, ret);

	if (r == -EACCES)
		findings_add(list, &f, "may not list %s: it was not looked at", path);
	return r == -EACCES || r == -ENOENT ? 0 : r;
}

static int list_and(struct kube *k, const char *path, void (*look)(const json_t *, json_t *),
		    json_t *list)
{
	_cleanup_(json_decrefp) json_t *items = NULL;
	int r = list_get(k, path, list, &items);

	look(items, list);
	return r;
}

static int definitions(struct kube *k, const json_t *objects, json_t *list)
{
	_cleanup_(json_decrefp) json_t *items = NULL;
	int r = list_get(k, DEFINITIONS, list, &items);

	precheck_definitions(items, objects, list);
	precheck_linkerd(items, list);
	return r;
}

static int calico(struct kube *k, json_t *list)
{
	_cleanup_(json_decrefp) json_t *nodes = NULL, *felix = NULL, *newer = NULL;
	int r = kube_list(k, CALICO, &nodes);

	if (r < 0 || json_array_size(nodes) == 0)
		return r == -EACCES ? 0 : r; /* that was said of all DaemonSets */
	r = list_get(k, FELIX, list, &felix);
	if (r == 0 && json_array_size(felix) == 0)
		r = list_get(k, FELIX_V3, list, &newer);
	precheck_calico(nodes, newer ? newer : felix, list);
	return r;
}

static int meshed_twice(struct kube *k, json_t *list)
{
	_cleanup_(json_decrefp) json_t *namespaces = NULL, *pods = NULL;
	int r = kube_list(k, "/api/v1/namespaces", &namespaces);

	if (r < 0)
		return r == -EACCES ? 0 : r; /* which was said */
	r = list_get(k, LINKERD, list, &pods);
	precheck_meshed_twice(namespaces, pods, list);
	return r;
}

/* Are the addresses that pods have known? Some pods tell as much as all. */
static int ranges(struct kube *k, const json_t *objects, json_t *list)
{
	_cleanup_(json_decrefp) json_t *nodes = NULL, *pods = NULL;
	int r = kube_list(k, "/api/v1/nodes", &nodes);

	if (r == 0)
		r = kube_get(k, PODS_SOME, &pods);
	precheck_ranges(nodes, json_object_get(pods, "items"), objects, list);
	return r == -EACCES || r == -ENOENT ? 0 : r;
}

/* known_add() - names of the revisions and tags that there are, as keys of @known. */
static int known_add(struct kube *k, json_t *known)
{
	_cleanup_(json_decrefp) json_t *controls = NULL, *tags = NULL;
	int r = kube_list(k, CONTROLS, &controls);
	const json_t *one;
	size_t i;

	json_array_foreach (controls, i, one) {
		const char *rev = kube_meta(one, "labels", "istio.io/rev");

		(void)json_object_set_new(known, rev && *rev ? rev : REVISION_DEFAULT, json_true());
	}
	if (r == 0 && json_object_size(known) > 0)
		r = kube_get(k, TAGS, &tags);
	(void)json_object_update(known, json_object_get(tags, "data"));
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

/* What names no revision enrols all the same, so that a slip would not be seen. */
static int revisions_check(struct kube *k, json_t *list)
{
	_cleanup_(json_decrefp) json_t *known = json_object(), *namespaces = NULL;
	int r = known_add(k, known);
	const json_t *ns;
	size_t i;

	if (r < 0 || json_object_size(known) == 0)
		return r;
	r = kube_list(k, "/api/v1/namespaces", &namespaces);
	json_array_foreach (namespaces, i, ns) {
		const char *rev = kube_meta(ns, "labels", "istio.io/rev");
		_cleanup_(freep) char *origin = kube_title(ns);
		const struct finding f = {FINDING_WARNING, "CUL0006", origin ? origin : "Namespace",
					  NULL};

		if (rev && !json_object_get(known, rev))
			findings_add(list, &f,
				     "label istio.io/rev=%s is the name of no revision and no tag; "
				     "it enrols all the same",
				     rev);
	}
	return r == -EACCES ? 0 : r;
}

int precheck_run(struct kube *k, const json_t *objects, json_t *list)
{
	_cleanup_(json_decrefp) json_t *version = NULL;
	int r = kube_get(k, "/version", &version);

	if (r == 0) {
		precheck_version(version, list);
		r = permissions(k, objects, list);
	}
	if (r == 0)
		r = list_and(k, "/api/v1/nodes", precheck_nodes, list);
	if (r == 0)
		r = list_and(k, "/api/v1/namespaces", precheck_namespaces, list);
	if (r == 0)
		r = list_and(k, "/apis/apps/v1/deployments", precheck_workloads, list);
	if (r == 0)
		r = list_and(k, "/apis/apps/v1/daemonsets", precheck_workloads, list);
	if (r == 0)
		r = calico(k, list);
	if (r == 0)
		r = definitions(k, objects, list);
	if (r == 0)
		r = meshed_twice(k, list);
	if (r == 0)
		r = ranges(k, objects, list);
	if (r == 0)
		r = revisions_check(k, list);
	findings_sort(list);
	return r < 0 ? kube_fail(k, "the cluster") : 0;
}

int precheck_install(struct kube *k, const json_t *objects)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	int r = list ? precheck_run(k, objects, list) : cli_fail("out of memory");

	if (r != 0)
		return r;
	findings_print(list);
	if (findings_count(list, FINDING_ERROR) > 0)
		return cli_fail("nothing was changed; --force goes on in spite of this");
	return 0;
}

struct precheck_options {
	const char *output;
};

static const struct option_def defs[] = {
	INSTALL_OPTIONS,
	CLI_OPTION_OUTPUT(offsetof(struct precheck_options, output)),
	{0},
};

static int check(const struct install_words *words, const char *output)
{
	_cleanup_(kube_closep) struct kube *k = NULL;
	_cleanup_(json_decrefp) json_t *list = json_array(), *objects = NULL;
	char err[CHART_ERROR_MAX] = "out of memory";
	struct install_plan plan = {0};
	int r = install_words_plan(words, NULL, &plan, NULL, err);

	if (r == 0)
		r = install_plan_objects(&plan, &objects, err);
	if (r == 0)
		install_say_missing(&plan, stderr);
	json_decref(plan.values);
	if (r < 0)
		return cli_fail("precheck: %s", err);
	r = kube_open(&k);
	if (r == 0)
		r = precheck_run(k, objects, list);
	if (r != 0)
		return r;
	if (!streq(output, "short"))
		json_print(list, output);
	else
		findings_print(list);
	if (findings_count(list, FINDING_ERROR) > 0)
		return 1;
	if (streq(output, "short"))
		printf("✔ No %s found when checking the cluster. Culvert is safe to install or "
		       "upgrade!\n",
		       findings_count(list, FINDING_WARNING) ? "errors" : "issues");
	return 0;
}

int cli_precheck(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert precheck [-f FILE]... [--set KEY=VALUE]... [-o short|json|yaml]",
		.help = "Look whether an installation would go well: the API server's version, "
			"your permissions, kernels of the nodes, other meshes, definitions of an "
			"older Istio, labels. Exit code 1 "
			"when it would not.",
	};
	struct install_words words = {0};
	struct precheck_options o = {0};
	int r;

	if (install_words_take(&argc, argv, &words) < 0)
		return 2;
	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("precheck", &o.output) > 0)
		return 2;
	return check(&words, o.output);
}
