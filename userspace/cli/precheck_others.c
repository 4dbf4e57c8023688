/* SPDX-License-Identifier: Apache-2.0 */
/* Others that work where we do: what to set beside them, and whom there is no living with. */
#include <string.h>

#include "base/str.h"
#include "findings.h"
#include "json.h"
#include "kube_enrol.h"
#include "kube_kinds.h"
#include "precheck.h"
#include "revisions.h"

#define CODE          "CUL0004"
#define LINKERD_GROUP "linkerd.io"
#define LINKERD_PROXY "linkerd-proxy"

static const struct {
	const char *name;
	enum finding_level level;
	const char *text;
} others[] = {
	{"cilium", FINDING_WARNING,
	 "Cilium is there: it must have socketLB.hostNamespaceOnly=true and cni.exclusive=false, "
	 "or it resolves Services before the mesh sees them"},
	{"kmesh", FINDING_ERROR, "Kmesh is there: two meshes cannot capture the same pods"},
	{"istio-cni-node", FINDING_ERROR,
	 "Istio's CNI plugin is there: two meshes cannot capture the same pods; uninstall Istio "
	 "first"},
	{"istiod", FINDING_ERROR,
	 "Istio's own control plane is there, under the name that ours has; uninstall it first"},
	{"ztunnel", FINDING_ERROR,
	 "Istio's own ztunnel is there, under the name that ours has; uninstall it first"},
};

/* Istio's control planes have their revision at the end of the name, as ours do; who looks at them
 * may be called after them. */
static bool has_name(const json_t *object, const char *name)
{
	const char *app = kube_meta(object, "labels", "app");

	return streq(kube_name(object), name) ||
	       (streq(name, "istiod") && str_has_prefix(kube_name(object), "istiod-") && app &&
		streq(app, name));
}

void precheck_workloads(const json_t *workloads, json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach (workloads, i, one)
		for (size_t k = 0; k < ARRAY_SIZE(others); k++) {
			_cleanup_(freep) char *origin = kube_title(one);
			const struct finding f = {others[k].level, CODE, origin ? origin : "",
						  NULL};

			if (has_name(one, others[k].name) && !revision_is_ours(one))
				findings_add(list, &f, "%s", others[k].text);
		}
}

/* ---- Calico ---- */

/* node_env() - a variable of calico-node, which beats what FelixConfigurations say. NULL: none. */
static const char *node_env(const json_t *daemonset, const char *name)
{
	const json_t *template = json_object_get(json_object_get(daemonset, "spec"), "template");
	const json_t *container, *env;
	size_t i, k;

	json_array_foreach (json_object_get(json_object_get(template, "spec"), "containers"), i,
			    container)
		json_array_foreach (json_object_get(container, "env"), k, env)
			if (strcasecmp(json_text(env, "name", ""), name) == 0)
				return json_text(env, "value", "");
	return NULL;
}

static bool is_bpf(const json_t *daemonset, const json_t *felix)
{
	const char *env = node_env(daemonset, "FELIX_BPFENABLED");
	const json_t *one;
	size_t i;

	if (env)
		return strcasecmp(env, "true") == 0;
	json_array_foreach (felix, i, one) /* of all nodes, or of one */
		if (json_is_true(json_object_get(json_object_get(one, "spec"), "bpfEnabled")))
			return true;
	return false;
}

/* balancing() - which connections it leads elsewhere as they are made: "Disabled": none. */
static const char *balancing(const json_t *daemonset, const json_t *felix)
{
	const char *env = node_env(daemonset, "FELIX_BPFCONNECTTIMELOADBALANCING");
	const json_t *one;
	size_t i;

	if (env)
		return env;
	json_array_foreach (felix, i, one) {
		const json_t *spec = json_object_get(one, "spec");
		/* until Calico 3.27 */
		bool is_old_off =
			json_is_false(json_object_get(spec, "bpfConnectTimeLoadBalancingEnabled"));

		if (streq(kube_name(one), "default"))
			return json_text(spec, "bpfConnectTimeLoadBalancing",
					 is_old_off ? "Disabled" : "TCP");
	}
	return "TCP";
}

void precheck_calico(const json_t *daemonsets, const json_t *felix, json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach (daemonsets, i, one) {
		const char *which = balancing(one, felix);
		_cleanup_(freep) char *origin = kube_title(one);
		const struct finding f = {FINDING_WARNING, CODE, origin ? origin : "", NULL};

		if (is_bpf(one, felix) && strcasecmp(which, "Disabled") != 0)
			findings_add(
				list, &f,
				"Calico's eBPF data plane is there, with "
				"bpfConnectTimeLoadBalancing=%s: it resolves Services before the "
				"mesh sees them; set bpfConnectTimeLoadBalancing: Disabled and "
				"bpfHostNetworkedNATWithoutCTLB: Enabled in FelixConfiguration "
				"default",
				which);
	}
}

/* ---- Linkerd ---- */

void precheck_linkerd(const json_t *crds, json_t *list)
{
	const json_t *crd;
	size_t i;

	json_array_foreach (crds, i, crd) {
		const char *group = json_text(json_object_get(crd, "spec"), "group", "");
		_cleanup_(freep) char *origin = kube_title(crd);
		const struct finding f = {FINDING_WARNING, CODE, origin ? origin : "", NULL};

		if (!streq(group, LINKERD_GROUP) && !str_has_suffix(group, "." LINKERD_GROUP))
			continue;
		findings_add(
			list, &f,
			"Linkerd's definitions are there: pods with its proxy must stay out of "
			"this mesh; label them, or their namespace, "
			"istio.io/dataplane-mode=none, or take linkerd.io/inject away and "
			"restart them");
		return; /* once is enough */
	}
}

static bool has_proxy(const json_t *pod)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const json_t *one;
	size_t k;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		json_array_foreach (json_object_get(json_object_get(pod, "spec"), lists[i]), k, one)
			if (streq(json_text(one, "name", ""), LINKERD_PROXY))
				return true;
	return false;
}

/* pods_check() - those of a namespace that are in both meshes, in one sentence. */
static void pods_check(json_t *ns, const json_t *pods, json_t *list)
{
	_cleanup_(freep) char *origin = kube_title(ns);
	const struct finding f = {FINDING_WARNING, CODE, origin ? origin : "", NULL};
	const char *name = NULL;
	json_t *pod;
	size_t i, n = 0;

	json_array_foreach (pods, i, pod)
		if (streq(kube_ns(pod), kube_name(ns)) && has_proxy(pod) &&
		    enrol_is_yes(kube_enrol(pod, ns).verdict)) {
			name = kube_name(pod);
			n++;
		}
	if (n > 0)
		findings_add(
			list, &f,
			"pods in it that are of this mesh have Linkerd's proxy, %zu, as %s: two "
			"meshes cannot capture the same pods; label them "
			"istio.io/dataplane-mode=none, or take linkerd.io/inject away and "
			"restart them",
			n, name);
}

void precheck_meshed_twice(const json_t *namespaces, const json_t *pods, json_t *list)
{
	json_t *ns;
	size_t i;

	json_array_foreach (namespaces, i, ns) {
		const char *inject = kube_meta(ns, "annotations", "linkerd.io/inject");
		_cleanup_(freep) char *origin = kube_title(ns);
		const struct finding f = {FINDING_WARNING, CODE, origin ? origin : "", NULL};
		const struct enrol_decision d = kube_enrol(NULL, ns);

		if (inject && !streq(inject, "disabled") && enrol_is_yes(d.verdict))
			findings_add(
				list, &f,
				"annotation linkerd.io/inject=%s gives new pods Linkerd's proxy, "
				"and they are of this mesh by %s: two meshes cannot capture the "
				"same pods; take one of the two away",
				inject, d.reason);
		pods_check(ns, pods, list);
	}
}
