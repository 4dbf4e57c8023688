/* SPDX-License-Identifier: Apache-2.0 */
/* describe - one pod or service of a cluster: is it in the mesh, why, who serves it, which policies
 * apply. */
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
#include "kube_target.h"
#include "source/honoured.h"
#include "term.h"
#include "without_effect.h"

#define POLICIES_WHY_MAX 512

struct describe_options {
	const char *namespace_, *output;
};

static const struct option_def defs[] = {
	KUBE_OPTION_NAMESPACE(offsetof(struct describe_options, namespace_)),
	CLI_OPTION_OUTPUT(offsetof(struct describe_options, output)),
	{0},
};

static int namespace_get(struct kube *k, const char *name, json_t **ret)
{
	_cleanup_(freep) char *path = str_format("/api/v1/namespaces/%s", name);

	return path ? kube_get(k, path, ret) : -ENOMEM;
}

/* state_of() - what the pod's node says of it: {state, error}; the caller's to drop. */
static json_t *state_of(const char *node, const char *ns, const char *name)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	struct admin_node at;
	const json_t *pod;

	if (!*node || admin_remote_nodes(node, &at, 1) != 1)
		return json_pack("{s:s,s:s}", "state", "unknown", "error",
				 "its node has no agent that runs");
	if (admin_get_json(&at, "agent", "/status", &status) < 0)
		return json_pack("{s:s,s:s}", "state", "unknown", "error", admin_remote_why());
	pod = json_find_named(json_object_get(status, "pods"), ns, name);
	return json_pack("{s:s,s:s}", "state", json_text(pod, "state", pod ? "" : "outside"),
			 "error", json_text(pod, "error", ""));
}

/* absent_of() - of a pod that is on no node yet, or no more, nobody is to be asked: {state:
 * unplaced | ended, error}, the caller's to drop. NULL: it is on one. */
static json_t *absent_of(const json_t *pod)
{
	const char *phase = json_text(json_object_get(pod, "status"), "phase", "");
	char why[KUBE_WHY_MAX];

	if (streq(phase, "Succeeded") || streq(phase, "Failed"))
		return json_pack("{s:s,s:o}", "state", "ended", "error",
				 json_sprintf("it has ended: %s", phase));
	if (*json_text(json_object_get(pod, "spec"), "nodeName", ""))
		return NULL;
	return json_pack("{s:s,s:o}", "state", "unplaced", "error",
			 json_sprintf("it is on no node yet: %s", kube_pod_why(pod, why)));
}

/* policies_of() - an array; null when nobody says, and @why then says why: that is not the same as
 * none. The caller's to drop. */
static json_t *policies_of(const char *node, const char *ns, const char *name,
			   char why[POLICIES_WHY_MAX])
{
	_cleanup_(freep) char *target = str_format("/explain/policies?pod=%s/%s", ns, name);
	_cleanup_(json_decrefp) json_t *answer = NULL;
	json_t *policies;
	struct admin_node at;
	int r;

	(void)str_copy(why, POLICIES_WHY_MAX, "its node has no ztunnel that runs");
	if (!target || !*node || admin_remote_nodes(node, &at, 1) != 1)
		return json_null();
	r = admin_ask_json(&at, "ztunnel", target, &answer);
	policies = json_object_get(answer, "policies");
	if (r == 200 && policies) {
		*why = '\0';
		return json_incref(policies);
	}
	(void)snprintf(why, POLICIES_WHY_MAX, "%s",
		       r < 0 ? admin_remote_why()
			     : json_text(answer, "error", "ztunnel has no usable answer"));
	return json_null();
}

/* waypoint_of() - that the object asks for, or else its namespace (NULL: none); "": none. Borrowed.
 */
static const char *waypoint_of(const json_t *object, const json_t *ns)
{
	const char *own = kube_meta(object, "labels", "istio.io/use-waypoint");
	const char *value = own ? own : kube_meta(ns, "labels", "istio.io/use-waypoint");

	return honoured_is_waypoint(value) ? value : "";
}

static void print_waypoint(const json_t *d)
{
	const char *name = json_text(d, "waypoint", "");

	if (*name)
		printf("Waypoint: %s: " HONOURED_WAYPOINT "\n", name);
}

/* describe_pod() - {name, namespace, node, ip, identity, isEnrolled, reason, state, error,
 * policies, policiesError}
 */
static int describe_pod(struct kube *k, const struct kube_target *t, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *pod = NULL, *ns = NULL, *state = NULL, *policies = NULL;
	const json_t *spec;
	struct enrol_decision d;
	char why[POLICIES_WHY_MAX];
	const char *node;
	int r = kube_target_get(k, "pods", t, &pod);

	if (r == 0)
		r = namespace_get(k, t->namespace_, &ns);
	if (r < 0 && (!pod || r != -EACCES))
		return r;
	d = kube_enrol(pod, ns);
	spec = json_object_get(pod, "spec");
	node = json_text(spec, "nodeName", "");
	state = absent_of(pod);
	if (state) {
		policies = json_null();
		(void)str_copy(why, sizeof(why), json_text(state, "error", ""));
	} else {
		state = state_of(node, t->namespace_, t->name);
		policies = policies_of(node, t->namespace_, t->name, why);
	}
	*ret = json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:s,s:s,s:s,s:O,s:s,s:O}", "name", t->name,
			 "namespace", t->namespace_, "node", node, "ip",
			 json_text(json_object_get(pod, "status"), "podIP", ""), "serviceAccount",
			 json_text(spec, "serviceAccountName", "default"), "isEnrolled",
			 enrol_is_yes(d.verdict), "reason", d.reason, "state",
			 json_text(state, "state", ""), "error", json_text(state, "error", ""),
			 "waypoint", waypoint_of(pod, ns), "policies", policies, "policiesError",
			 why, "object", pod);
	return *ret ? 0 : -ENOMEM;
}

/* is_selected() - do the pod's labels have all of the selector's? An empty selector selects none.
 */
static bool is_selected(const json_t *selector, const json_t *pod)
{
	const char *key;
	const json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)selector, key, v) {
		const char *have = kube_meta(pod, "labels", key);

		if (!have || !json_string_value(v) || !streq(have, json_string_value(v)))
			return false;
	}
	return json_object_size(selector) > 0;
}

static void print_ports(const json_t *pod)
{
	const json_t *container, *port;
	size_t i, k;

	json_array_foreach (json_object_get(json_object_get(pod, "spec"), "containers"), i,
			    container)
		json_array_foreach (json_object_get(container, "ports"), k, port)
			printf("   Port %lld (%s)\n", (long long)json_number(port, "containerPort"),
			       json_text(container, "name", ""));
}

static void print_policies(const json_t *d)
{
	const json_t *policies = json_object_get(d, "policies"), *p;
	size_t i;

	if (!json_is_array(policies))
		printf("Policies: not known: %s\n", json_text(d, "policiesError", ""));
	else if (json_array_size(policies) == 0)
		puts("Policies: none applies: everybody may connect");
	json_array_foreach (policies, i, p)
		printf("Policy: %s (%s, %s)\n", json_text(p, "key", ""), json_text(p, "action", ""),
		       json_text(p, "scope", ""));
}

/* print_proxy() - who serves a pod that is to be in the mesh, and by which policies. */
static void print_proxy(const json_t *d)
{
	const char *error = json_text(d, "error", ""), *state = json_text(d, "state", "");

	printf("Node proxy: ztunnel on %s; %s%s%s\n", json_text(d, "node", ""), state,
	       *error ? ": " : "", error);
	print_policies(d);
}

static void print_pod(const json_t *d)
{
	bool is_enrolled = json_is_true(json_object_get(d, "isEnrolled"));
	const char *state = json_text(d, "state", "");
	bool is_captured = streq(state, "captured"), is_ended = streq(state, "ended");
	bool is_unplaced = streq(state, "unplaced");

	printf("Pod: %s.%s\n", json_text(d, "name", ""), json_text(d, "namespace", ""));
	print_ports(json_object_get(d, "object"));
	printf("Node: %s\nAddress: %s\nService account: %s\n",
	       is_unplaced ? "none yet" : json_text(d, "node", ""), json_text(d, "ip", ""),
	       json_text(d, "serviceAccount", ""));
	if (is_ended || is_unplaced)
		printf("State: %s\n", json_text(d, "error", ""));
	printf("In the mesh: %s%s%s (%s)\n", term_color(is_captured ? TERM_GREEN : ""),
	       !is_enrolled  ? "no"
	       : is_ended    ? "no longer"
	       : is_unplaced ? "not yet"
			     : "yes",
	       term_color(is_captured ? TERM_NO_COLOR : ""), json_text(d, "reason", ""));
	if (is_enrolled && !is_ended && !is_unplaced)
		print_proxy(d);
	print_waypoint(d);
}

/* add_services() - those that select the pod, as "services". */
static int add_services(struct kube *k, const struct kube_target *t, json_t *d)
{
	_cleanup_(freep) char *path = str_format("/api/v1/namespaces/%s/services", t->namespace_);
	_cleanup_(json_decrefp) json_t *all = NULL;
	json_t *found = json_array();
	const json_t *s;
	size_t i;
	int r = path ? kube_list(k, path, &all) : -ENOMEM;

	json_array_foreach (all, i, s)
		if (is_selected(json_object_get(json_object_get(s, "spec"), "selector"),
				json_object_get(d, "object")))
			(void)json_array_append_new(found, json_string(kube_name(s)));
	if (json_object_set_new(d, "services", found) < 0)
		return -ENOMEM;
	return r == -EACCES ? 0 : r;
}

/** struct search - for what names a pod's services. */
struct search {
	const char *namespace_;
	const json_t *services; /* names */
	json_t *found;
};

static void on_without_effect(void *arg, const char *kind, const json_t *object,
			      const char *message)
{
	const struct search *s = arg;
	bool is_about = false;
	const json_t *one;
	size_t i;

	json_array_foreach (s->services, i, one)
		is_about |= without_effect_concerns(object, s->namespace_, json_string_value(one));
	if (is_about)
		(void)json_array_append_new(s->found,
					    json_pack("{s:s,s:s,s:s,s:s}", "kind", kind,
						      "namespace", kube_ns(object), "name",
						      kube_name(object), "message", message));
}

/* add_without_effect() - what somebody has written about the services and nobody heeds, as
 * "withoutEffect". */
static int add_without_effect(struct kube *k, const struct kube_target *t, const json_t *services,
			      json_t *d)
{
	struct search s = {t->namespace_, services, json_array()};
	int r = without_effect_each(k, t->namespace_, on_without_effect, &s);

	if (json_object_set_new(d, "withoutEffect", s.found) < 0)
		return -ENOMEM;
	return r == -EACCES ? 0 : r;
}

static void print_without_effect(const json_t *d)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(d, "withoutEffect"), i, one)
		printf("%s: %s/%s: %s\n", json_text(one, "kind", ""),
		       json_text(one, "namespace", ""), json_text(one, "name", ""),
		       json_text(one, "message", ""));
}

static void print_services(const json_t *d)
{
	_cleanup_(freep) char *text = json_join(json_object_get(d, "services"), ", ");

	if (text && *text)
		printf("Services: %s\n", text);
}

static int pod(struct kube *k, const struct kube_target *t, const char *output)
{
	_cleanup_(json_decrefp) json_t *d = NULL;
	int r = describe_pod(k, t, &d);

	if (r == 0)
		r = add_services(k, t, d);
	if (r == 0)
		r = add_without_effect(k, t, json_object_get(d, "services"), d);
	if (r < 0)
		return kube_target_fail(k, t, "describe pod", r);
	if (streq(output, "short")) {
		print_pod(d);
		print_services(d);
		print_without_effect(d);
		return 0;
	}
	(void)json_object_del(d, "object");
	json_print(d, output);
	return 0;
}

/* pods_of() - the pods that a service selects, described: an array; the caller's to drop. */
static int pods_of(struct kube *k, const struct kube_target *t, const json_t *service, json_t **ret)
{
	const json_t *selector = json_object_get(json_object_get(service, "spec"), "selector");
	_cleanup_(freep) char *path = str_format("/api/v1/namespaces/%s/pods", t->namespace_);
	_cleanup_(json_decrefp) json_t *all = NULL;
	int r = path ? kube_list(k, path, &all) : -ENOMEM;
	const json_t *one;
	size_t i;

	*ret = json_array();
	json_array_foreach (all, i, one) {
		struct kube_target at = *t;
		json_t *d = NULL;

		if (r < 0 || !is_selected(selector, one) ||
		    str_copy(at.name, sizeof(at.name), kube_name(one)) < 0)
			continue;
		r = describe_pod(k, &at, &d);
		if (r == 0)
			r = json_array_append_new(*ret, d) < 0 ? -ENOMEM : 0;
	}
	return r;
}

/* One port alone may be without a name. */
static void print_port(const json_t *port)
{
	const char *name = json_text(port, "name", "");

	printf("   Port: %s%s%lld/%s\n", name, *name ? " " : "",
	       (long long)json_number(port, "port"), json_text(port, "protocol", "TCP"));
}

static void print_service(const struct kube_target *t, const json_t *service, const json_t *pods)
{
	const json_t *spec = json_object_get(service, "spec"), *one;
	size_t i;

	printf("Service: %s.%s\nAddress: %s\n", t->name, t->namespace_,
	       json_text(spec, "clusterIP", "none"));
	json_array_foreach (json_object_get(spec, "ports"), i, one)
		print_port(one);
	if (json_array_size(pods) == 0)
		puts("Pods: none is selected");
	json_array_foreach (pods, i, one) {
		puts("--------------------");
		print_pod(one);
	}
}

static int service(struct kube *k, const struct kube_target *t, const char *output)
{
	_cleanup_(json_decrefp) json_t *s = NULL, *pods = NULL, *all = NULL,
				       *names = json_pack("[s]", t->name);
	int r = kube_target_get(k, "services", t, &s);
	json_t *one;
	size_t i;

	if (r == 0)
		r = pods_of(k, t, s, &pods);
	if (r < 0)
		return kube_target_fail(k, t, "describe service", r);
	all = json_pack("{s:s,s:s,s:s,s:O*,s:O}", "name", t->name, "namespace", t->namespace_,
			"waypoint", waypoint_of(s, NULL), "ports",
			json_object_get(json_object_get(s, "spec"), "ports"), "pods", pods);
	if (add_without_effect(k, t, names, all) < 0)
		return kube_fail(k, "describe service");
	if (streq(output, "short")) {
		print_service(t, s, pods);
		print_waypoint(all);
		print_without_effect(all);
		return 0;
	}
	json_array_foreach (pods, i, one)
		(void)json_object_del(one, "object");
	json_print(all, output);
	return 0;
}

int cli_describe(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert describe pod|service NAME [-n NS] [-o short|json|yaml]",
		.help = "Say of a pod, or of a service and its pods, whether it is in the mesh and "
			"by which label, which ztunnel serves it, and which policies apply.",
		.max_rest = 2,
	};
	struct describe_options o = {0};
	struct kube_target t;
	const char *what;
	struct kube *k;
	int r = cli_parse(&syntax, &o, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("describe", &o.output) > 0)
		return 2;
	what = r < argc ? argv[r] : "";
	if (argc - r != 2 || (!streq(what, "pod") && !streq(what, "po") &&
			      !streq(what, "service") && !streq(what, "svc"))) {
		(void)cli_fail("describe: of what?\nUsage: %s", syntax.usage);
		return 2;
	}
	k = admin_remote_kube();
	if (!k)
		return 1;
	if (kube_target_read(argv[r + 1], o.namespace_, kube_namespace(k), &t) < 0)
		return cli_fail("describe: %s: the name is too long", argv[r + 1]);
	return what[0] == 'p' ? pod(k, &t, o.output) : service(k, &t, o.output);
}
