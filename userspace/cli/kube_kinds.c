/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_kinds.h"

#include <string.h>

#include "base/str.h"
#include "json.h"

#define RBAC      "rbac.authorization.k8s.io/v1"
#define ADMISSION "admissionregistration.k8s.io/v1"

#define CLUSTER(k, version, names, at)                                                             \
	{                                                                                          \
		.kind = (k), .api_version = (version), .plural = (names), .rank = KUBE_RANK_##at   \
	}
#define NAMESPACED(k, version, names, at)                                                          \
	{                                                                                          \
		.kind = (k), .api_version = (version), .plural = (names), .rank = KUBE_RANK_##at,  \
		.is_namespaced = true                                                              \
	}
#define KEPT(k, version, names, at)                                                                \
	{                                                                                          \
		.kind = (k), .api_version = (version), .plural = (names), .rank = KUBE_RANK_##at,  \
		.is_kept = true                                                                    \
	}

static const struct kube_kind kinds[] = {
	KEPT("Namespace", "v1", "namespaces", NAMESPACE),
	KEPT("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions",
	     DEFINITION),
	CLUSTER("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", ACCOUNT),
	NAMESPACED("ServiceAccount", "v1", "serviceaccounts", ACCOUNT),
	CLUSTER("ClusterRole", RBAC, "clusterroles", ACCOUNT),
	CLUSTER("ClusterRoleBinding", RBAC, "clusterrolebindings", ACCOUNT),
	NAMESPACED("Role", RBAC, "roles", ACCOUNT),
	NAMESPACED("RoleBinding", RBAC, "rolebindings", ACCOUNT),
	NAMESPACED("ConfigMap", "v1", "configmaps", ACCOUNT),
	NAMESPACED("Secret", "v1", "secrets", ACCOUNT),
	NAMESPACED("ResourceQuota", "v1", "resourcequotas", ACCOUNT),
	NAMESPACED("Lease", "coordination.k8s.io/v1", "leases", ACCOUNT),
	CLUSTER("GatewayClass", "gateway.networking.k8s.io/v1", "gatewayclasses", SERVICE),
	NAMESPACED("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", SERVICE),
	NAMESPACED("Service", "v1", "services", SERVICE),
	NAMESPACED("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", SERVICE),
	NAMESPACED("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers",
		   SERVICE),
	NAMESPACED("Deployment", "apps/v1", "deployments", CONTROL),
	NAMESPACED("DaemonSet", "apps/v1", "daemonsets", NODE),
	CLUSTER("ValidatingAdmissionPolicy", ADMISSION, "validatingadmissionpolicies", WEBHOOK),
	CLUSTER("ValidatingAdmissionPolicyBinding", ADMISSION, "validatingadmissionpolicybindings",
		WEBHOOK),
	CLUSTER("MutatingWebhookConfiguration", ADMISSION, "mutatingwebhookconfigurations",
		WEBHOOK),
	CLUSTER("ValidatingWebhookConfiguration", ADMISSION, "validatingwebhookconfigurations",
		WEBHOOK),
	{0},
};

const struct kube_kind *kube_kinds(void)
{
	return kinds;
}

const struct kube_kind *kube_kind_find(const char *api_version, const char *kind)
{
	for (const struct kube_kind *k = kinds; k->kind; k++)
		if (streq(k->kind, kind) && streq(k->api_version, api_version))
			return k;
	return NULL;
}

const struct kube_kind *kube_kind_of(const json_t *object)
{
	return kube_kind_find(json_text(object, "apiVersion", ""), json_text(object, "kind", ""));
}

char *kube_path(const struct kube_kind *kind, const char *namespace_, const char *name)
{
	bool is_core = !strchr(kind->api_version, '/');
	bool is_inside = kind->is_namespaced && namespace_ && *namespace_;

	return str_format("/%s/%s%s%s/%s%s%s", is_core ? "api" : "apis", kind->api_version,
			  is_inside ? "/namespaces/" : "", is_inside ? namespace_ : "",
			  kind->plural, name ? "/" : "", name ? name : "");
}

char *kube_path_of(const json_t *object)
{
	const struct kube_kind *kind = kube_kind_of(object);

	if (!kind || !*kube_name(object))
		return NULL;
	return kube_path(kind, kube_ns(object), kube_name(object));
}

const char *kube_name(const json_t *object)
{
	return json_text(json_object_get(object, "metadata"), "name", "");
}

const char *kube_ns(const json_t *object)
{
	return json_text(json_object_get(object, "metadata"), "namespace", "");
}

const char *kube_meta(const json_t *object, const char *group, const char *key)
{
	return json_text(json_object_get(json_object_get(object, "metadata"), group), key, NULL);
}

char *kube_title(const json_t *object)
{
	const char *ns = kube_ns(object);

	return str_format("%s %s%s%s", json_text(object, "kind", "object"), ns, *ns ? "/" : "",
			  kube_name(object));
}
