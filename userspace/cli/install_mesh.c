/* SPDX-License-Identifier: Apache-2.0 */
#include "install_mesh.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "kube.h"
#include "source/mesh_config.h"

#define TEXT_PREFIX "data.mesh." /* what mesh_config_read() has before its fields */

/* What Istio's MeshConfig has at its top, also what is without effect here. */
static const struct cli_command known[] = {
	{.name = "accessLogEncoding"},
	{.name = "accessLogFile"},
	{.name = "accessLogFormat"},
	{.name = "ca"},
	{.name = "caCertificates"},
	{.name = "certificates"},
	{.name = "configSources"},
	{.name = "connectTimeout"},
	{.name = "defaultConfig"},
	{.name = "defaultDestinationRuleExportTo"},
	{.name = "defaultHttpRetryPolicy"},
	{.name = "defaultProviders"},
	{.name = "defaultServiceExportTo"},
	{.name = "defaultVirtualServiceExportTo"},
	{.name = "disableEnvoyListenerLog"},
	{.name = "discoverySelectors"},
	{.name = "dnsRefreshRate"},
	{.name = "enableAutoMtls"},
	{.name = "enableEnvoyAccessLogService"},
	{.name = "enablePrometheusMerge"},
	{.name = "enableTracing"},
	{.name = "extensionProviders"},
	{.name = "h2UpgradePolicy"},
	{.name = "hboneIdleTimeout"},
	{.name = "inboundClusterStatName"},
	{.name = "inboundTrafficPolicy"},
	{.name = "ingressClass"},
	{.name = "ingressControllerMode"},
	{.name = "ingressSelector"},
	{.name = "ingressService"},
	{.name = "localityLbSetting"},
	{.name = "meshMTLS"},
	{.name = "outboundClusterStatName"},
	{.name = "outboundTrafficPolicy"},
	{.name = "pathNormalization"},
	{.name = "protocolDetectionTimeout"},
	{.name = "proxyHttpPort"},
	{.name = "proxyInboundListenPort"},
	{.name = "proxyListenPort"},
	{.name = "rootNamespace"},
	{.name = "serviceEntryVisibility"},
	{.name = "serviceScopeConfigs"},
	{.name = "serviceSettings"},
	{.name = "tcpKeepalive"},
	{.name = "thriftConfig"},
	{.name = "tlsDefaults"},
	{.name = "trustDomain"},
	{.name = "trustDomainAliases"},
	{.name = "verifyCertificateAtClient"},
	{0},
};

/* The first mistake is told; what is a warning is nothing that the control plane refuses. */
static void on_error(void *arg, const struct source_error *e)
{
	char *err = arg;
	const char *field = e->field;

	if (e->is_warning || *err)
		return;
	if (str_has_prefix(field, TEXT_PREFIX))
		field += strlen(TEXT_PREFIX);
	else
		field = "";
	(void)snprintf(err, CHART_ERROR_MAX, "meshConfig%s%s: %s", *field ? "." : "", field,
		       e->message);
}

/* mesh_map() - the ConfigMap that the chart makes of it. */
static int mesh_map(const json_t *mesh, struct object **ret)
{
	_cleanup_(freep) char *text = json_dumps(mesh, JSON_COMPACT);
	json_t *map = text ? json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "apiVersion", "v1",
				       "kind", "ConfigMap", "metadata", "name", MESH_CONFIG_NAME,
				       "namespace", KUBE_MESH_NAMESPACE, "data", "mesh", text)
			   : NULL;

	return map ? object_new_json(map, ret) : -ENOMEM;
}

int install_mesh_check(const json_t *mesh, char err[CHART_ERROR_MAX])
{
	_cleanup_(object_unrefp) struct object *map = NULL;
	struct mesh_config got = {0};
	char said[CHART_ERROR_MAX] = "";
	int r = mesh ? mesh_map(mesh, &map) : 0;

	if (r < 0 || !map)
		return r;
	r = mesh_config_read(map, on_error, said, &got);
	mesh_config_clear(&got);
	if (r == -EINVAL)
		(void)str_copy(err, CHART_ERROR_MAX, said);
	return r;
}

void install_mesh_say_unknown(const json_t *mesh, FILE *f)
{
	const char *key;
	const json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)mesh, key, v) {
		const char *near;

		if (cli_find(known, key))
			continue;
		near = cli_nearest(known, key);
		(void)fprintf(f,
			      "culvert: meshConfig.%s: no field of MeshConfig that is known: it "
			      "has no effect%s%s%s\n",
			      key, near ? "; is \"" : "", near ? near : "",
			      near ? "\" meant?" : "");
	}
}
