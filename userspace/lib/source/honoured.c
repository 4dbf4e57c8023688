/* SPDX-License-Identifier: Apache-2.0 */
#include "source/honoured.h"

#include <string.h>

#include "base/str.h"

#define GATEWAY_COMES                                                                              \
	" has no effect in this mesh yet: gateways and waypoints are to come; nothing is started " \
	"for it and "                                                                              \
	"nothing listens on its ports"
#define L4_ROUTE                                                                                   \
	" has no effect yet: connections go to the endpoints that the Service has; routes are to " \
	"come"
#define L7_COMES " has no effect yet: this mesh works on layer 4; routing of requests is to come"

static const char *const networking[] = {"networking.istio.io/v1", "networking.istio.io/v1beta1",
					 "networking.istio.io/v1alpha3", NULL};
static const char *const filters[] = {"networking.istio.io/v1alpha3", NULL};
static const char *const proxy_configs[] = {"networking.istio.io/v1beta1", NULL};
static const char *const security[] = {"security.istio.io/v1", "security.istio.io/v1beta1", NULL};
static const char *const extensions[] = {"extensions.istio.io/v1alpha1", NULL};
/* Each kind has come from an alpha to v1 in its own time, and a cluster may have any of them. */
static const char *const gateway[] = {HONOURED_GATEWAY_API "/v1", HONOURED_GATEWAY_API "/v1beta1",
				      HONOURED_GATEWAY_API "/v1alpha3",
				      HONOURED_GATEWAY_API "/v1alpha2", NULL};

static const struct honoured_kind kinds[] = {
	{networking, "virtualservices", "VirtualService", "VirtualService" L7_COMES},
	{networking, "destinationrules", "DestinationRule",
	 "DestinationRule has no effect yet: connections are balanced as the Service says, and are "
	 "mutual TLS wherever both ends are in the mesh"},
	{networking, "gateways", "Gateway",
	 "Gateway has no effect yet: ingress and egress gateways are to come"},
	{networking, "sidecars", "Sidecar",
	 "Sidecar has no effect: there are no sidecars, and a node is told what its pods can use"},
	{filters, "envoyfilters", "EnvoyFilter",
	 "EnvoyFilter has no effect: there is no Envoy in this mesh"},
	{proxy_configs, "proxyconfigs", "ProxyConfig",
	 "ProxyConfig has no effect: there is no proxy in a pod"},
	{security, "requestauthentications", "RequestAuthentication",
	 "RequestAuthentication has no effect yet: tokens of requests are looked at on layer 7, "
	 "which "
	 "is to come"},
	{extensions, "wasmplugins", "WasmPlugin",
	 "WasmPlugin has no effect: there is no Envoy in this mesh"},
	{extensions, "trafficextensions", "TrafficExtension",
	 "TrafficExtension has no effect: there is no Envoy in this mesh"},
	{gateway, "gatewayclasses", "GatewayClass", "GatewayClass" GATEWAY_COMES},
	{gateway, "gateways", "Gateway", "Gateway" GATEWAY_COMES},
	{gateway, "listenersets", "ListenerSet", "ListenerSet" GATEWAY_COMES},
	{gateway, "httproutes", "HTTPRoute", "HTTPRoute" L7_COMES},
	{gateway, "grpcroutes", "GRPCRoute", "GRPCRoute" L7_COMES},
	{gateway, "tlsroutes", "TLSRoute", "TLSRoute" L4_ROUTE},
	{gateway, "tcproutes", "TCPRoute", "TCPRoute" L4_ROUTE},
	{gateway, "udproutes", "UDPRoute",
	 "UDPRoute has no effect yet: UDP other than DNS is left alone"},
	{gateway, "backendtlspolicies", "BackendTLSPolicy",
	 "BackendTLSPolicy has no effect yet: it is for gateways and waypoints, which are to come; "
	 "between pods of the mesh connections are mutual TLS without it"},
};

const struct honoured_kind *honoured_none(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(kinds);
	return kinds;
}

const struct honoured_kind *honoured_find(const char *group, const char *kind)
{
	size_t len = strlen(group);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i].kind, kind) && strncmp(kinds[i].versions[0], group, len) == 0 &&
		    kinds[i].versions[0][len] == '/')
			return &kinds[i];
	return NULL;
}

const char *honoured_not_yet(const char *group, const char *kind)
{
	const struct honoured_kind *k = honoured_find(group, kind);

	return k ? k->message : NULL;
}

/* Istio's classes, and who they say serves them. */
static const struct {
	const char *class_name, *controller, *message;
} gateways[] = {
	{"istio", HONOURED_CONTROLLER,
	 " has no effect yet: gateways are to come; nothing is started for it and nothing listens "
	 "on "
	 "its ports"},
	{"istio-remote", "istio.io/unmanaged-gateway",
	 " has no effect yet: gateways of other networks are to come; nothing is sent to it"},
	{"istio-waypoint", "istio.io/mesh-controller",
	 " has no effect yet: waypoints are to come; until then connections to what is labelled "
	 "istio.io/use-waypoint go straight to its pods, in mutual TLS, and only policies of layer "
	 "4 "
	 "without targetRefs are enforced"},
	{"istio-east-west", "istio.io/eastwest-controller",
	 " has no effect yet: gateways between clusters are to come; nothing is started for it and "
	 "nothing listens on its ports"},
};

const char *honoured_gateway(const char *controller)
{
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++)
		if (streq(gateways[i].controller, controller))
			return gateways[i].message;
	return NULL;
}

const char *honoured_controller(const char *class_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++)
		if (streq(gateways[i].class_name, class_name))
			return gateways[i].controller;
	return NULL;
}

bool honoured_is_waypoint(const char *value)
{
	return value && *value && !streq(value, "none");
}
