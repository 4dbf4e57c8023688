/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_resource.h"

#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "source/mesh_config.h"

/* The order is that of delivery: what decides about other objects comes first. */
static const struct kube_resource resources[] = {
	{"Namespace", "v1", "namespaces"},
	{"Node", "v1", "nodes"},
	{"ConfigMap", "v1", "configmaps"},
	{"AuthorizationPolicy", "security.istio.io/v1", "authorizationpolicies"},
	{"PeerAuthentication", "security.istio.io/v1", "peerauthentications"},
	{"Service", "v1", "services"},
	{"ServiceEntry", "networking.istio.io/v1", "serviceentries"},
	{"WorkloadEntry", "networking.istio.io/v1", "workloadentries"},
	{"WorkloadGroup", "networking.istio.io/v1", "workloadgroups"},
	{"Telemetry", "telemetry.istio.io/v1", "telemetries", .is_aside = true},
	{"Pod", "v1", "pods"},
	{"EndpointSlice", "discovery.k8s.io/v1", "endpointslices"},
};

const char *const *source_kube_kinds(void)
{
	static const char *names[ARRAY_SIZE(resources) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
		names[i] = resources[i].kind;
	return names;
}

const struct kube_resource *kube_resource_find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
		if (streq(resources[i].kind, kind))
			return &resources[i];
	return NULL;
}

bool kube_resource_is_builtin(const struct kube_resource *r)
{
	const char *slash = strchr(r->group_version, '/');

	return !slash || str_has_suffix(r->group_version, ".k8s.io/v1");
}

char *kube_resource_selector(const struct source_kube_config *config, const struct kube_resource *r)
{
	if (streq(r->kind, "Pod") && config->node)
		return str_format("fieldSelector=spec.nodeName%%3D%s", config->node);
	if (streq(r->kind, "ConfigMap"))
		return str_format("fieldSelector=metadata.name%%3D%s",
				  config->config_name ? config->config_name : MESH_CONFIG_NAME);
	return strdup("");
}

char *kube_resource_path(const struct source_kube_config *config, const struct kube_resource *r)
{
	const char *prefix = strchr(r->group_version, '/') ? "/apis" : "/api";

	if (streq(r->kind, "ConfigMap") && config->config_namespace)
		return str_format("/api/v1/namespaces/%s/configmaps", config->config_namespace);
	return str_format("%s/%s/%s", prefix, r->group_version, r->plural);
}
