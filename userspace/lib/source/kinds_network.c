/* SPDX-License-Identifier: Apache-2.0 */
/* kinds_network - Service and EndpointSlice: what they say decides where connections go, so every
 * value is looked at. */
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "source/schema.h"

static const struct schema ip = {
	.type = SCHEMA_STRING, .is_valid = word_is_ip, .expected = "an IP address"};
static const struct schema ips = {.type = SCHEMA_LIST, .item = &ip};
static const struct schema list_string = {.type = SCHEMA_LIST, .item = &schema_string};
static const struct schema list_any = {.type = SCHEMA_LIST};
static const struct schema map_any = {.type = SCHEMA_MAP};
static const struct schema integer = {.type = SCHEMA_INT};
static const struct schema port_number = {.type = SCHEMA_INT, .min = 1, .max = 65535};
static const struct schema node_port = {.type = SCHEMA_INT, .min = 1, .max = 65535};
static const struct schema port_ref = {.type = SCHEMA_PORT_REF};
static const struct schema port_name = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_label,
	.expected = "a port's name (a string of at most 63 lower-case letters, digits and -)",
};
static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
static const struct schema protocol = {.type = SCHEMA_STRING, .words = protocols};

static bool is_cluster_ip(const char *s)
{
	return !*s || streq(s, "None") || word_is_ip(s);
}

static const struct schema cluster_ip = {
	.type = SCHEMA_STRING,
	.is_valid = is_cluster_ip,
	.expected = "an IP address or None",
};
static const struct schema cluster_ips = {.type = SCHEMA_LIST, .item = &cluster_ip};

static const struct schema_field service_port_fields[] = {
	FIELD("name", &port_name),
	FIELD("protocol", &protocol),
	REQUIRED("port", &port_number),
	FIELD("targetPort", &port_ref),
	FIELD("nodePort", &node_port),
	FIELD("appProtocol", &schema_string),
	FIELDS_END,
};
static const struct schema service_port = {.type = SCHEMA_OBJECT, .fields = service_port_fields};
static const struct schema service_ports = {.type = SCHEMA_LIST, .item = &service_port};

static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName", NULL};
static const struct schema type = {.type = SCHEMA_STRING, .words = types};
static const char *const families[] = {"IPv4", "IPv6", NULL};
static const struct schema family = {.type = SCHEMA_STRING, .words = families};
static const struct schema family_list = {.type = SCHEMA_LIST, .item = &family};
static const char *const family_policies[] = {"SingleStack", "PreferDualStack", "RequireDualStack",
					      NULL};
static const struct schema family_policy = {.type = SCHEMA_STRING, .words = family_policies};
static const char *const traffic_policies[] = {"Cluster", "Local", NULL};
static const struct schema traffic_policy = {.type = SCHEMA_STRING, .words = traffic_policies};
static const char *const distributions[] = {"PreferClose", "PreferSameZone", "PreferSameNode",
					    NULL};
static const struct schema distribution = {.type = SCHEMA_STRING, .words = distributions};
static const char *const affinities[] = {"None", "ClientIP", NULL};
static const struct schema affinity = {.type = SCHEMA_STRING, .words = affinities};

static const struct schema affinity_seconds = {.type = SCHEMA_INT, .min = 1, .max = 86400};
static const struct schema_field client_ip_fields[] = {FIELD("timeoutSeconds", &affinity_seconds),
						       FIELDS_END};
static const struct schema client_ip = {.type = SCHEMA_OBJECT, .fields = client_ip_fields};
static const struct schema_field affinity_config_fields[] = {FIELD("clientIP", &client_ip),
							     FIELDS_END};
static const struct schema affinity_config = {.type = SCHEMA_OBJECT,
					      .fields = affinity_config_fields};

static const struct schema_field service_spec_fields[] = {
	FIELD("type", &type),
	FIELD("selector", &schema_labels),
	FIELD("ports", &service_ports),
	FIELD("clusterIP", &cluster_ip),
	FIELD("clusterIPs", &cluster_ips),
	FIELD("ipFamilies", &family_list),
	FIELD("ipFamilyPolicy", &family_policy),
	FIELD("externalIPs", &ips),
	FIELD("externalName", &schema_string),
	FIELD("externalTrafficPolicy", &traffic_policy),
	FIELD("internalTrafficPolicy", &traffic_policy),
	FIELD("trafficDistribution", &distribution),
	FIELD("publishNotReadyAddresses", &schema_bool),
	FIELD("sessionAffinity", &affinity),
	FIELD("sessionAffinityConfig", &affinity_config),
	FIELD("healthCheckNodePort", &integer),
	FIELD("loadBalancerIP", &schema_string),
	FIELD("loadBalancerClass", &schema_string),
	FIELD("loadBalancerSourceRanges", &list_string),
	FIELD("allocateLoadBalancerNodePorts", &schema_bool),
	FIELDS_END,
};
static const struct schema service_spec = {.type = SCHEMA_OBJECT, .fields = service_spec_fields};

static const struct schema_field ingress_fields[] = {FIELD("ip", &ip),
						     FIELD("ipMode", &schema_string), FIELDS_END};
static const struct schema ingress = {
	.type = SCHEMA_OBJECT, .fields = ingress_fields, .is_open = true};
static const struct schema ingresses = {.type = SCHEMA_LIST, .item = &ingress};
static const struct schema_field balancer_fields[] = {FIELD("ingress", &ingresses), FIELDS_END};
static const struct schema balancer = {.type = SCHEMA_OBJECT, .fields = balancer_fields};
static const struct schema_field service_status_fields[] = {
	FIELD("loadBalancer", &balancer),
	FIELD("conditions", &list_any),
	FIELDS_END,
};
static const struct schema service_status = {.type = SCHEMA_OBJECT,
					     .fields = service_status_fields};

static const struct schema_field service_fields[] = {
	REQUIRED("apiVersion", &schema_string),     REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata_dns), REQUIRED("spec", &service_spec),
	FIELD("status", &service_status),           FIELDS_END,
};
static const struct schema service = {.type = SCHEMA_OBJECT, .fields = service_fields};

/* EndpointSlice */
static const char *const address_types[] = {"IPv4", "IPv6", "FQDN", NULL};
static const struct schema address_type = {.type = SCHEMA_STRING, .words = address_types};
static const struct schema addresses = {
	.type = SCHEMA_LIST, .item = &schema_string, .is_nonempty = true};
static const struct schema_field condition_fields[] = {
	FIELD("ready", &schema_bool),
	FIELD("serving", &schema_bool),
	FIELD("terminating", &schema_bool),
	FIELDS_END,
};
static const struct schema conditions = {.type = SCHEMA_OBJECT, .fields = condition_fields};
static const struct schema_field reference_fields[] = {
	FIELD("kind", &schema_string),       FIELD("name", &schema_string),
	FIELD("namespace", &schema_string),  FIELD("uid", &schema_string),
	FIELD("apiVersion", &schema_string), FIELD("resourceVersion", &schema_string),
	FIELD("fieldPath", &schema_string),  FIELDS_END,
};
static const struct schema reference = {.type = SCHEMA_OBJECT, .fields = reference_fields};
static const struct schema_field endpoint_fields[] = {
	REQUIRED("addresses", &addresses),
	FIELD("conditions", &conditions),
	FIELD("hostname", &schema_string),
	FIELD("targetRef", &reference),
	FIELD("nodeName", &schema_string),
	FIELD("zone", &schema_string),
	FIELD("hints", &map_any),
	FIELD("deprecatedTopology", &map_any),
	FIELDS_END,
};
static const struct schema endpoint = {.type = SCHEMA_OBJECT, .fields = endpoint_fields};
static const struct schema endpoints = {.type = SCHEMA_LIST, .item = &endpoint};
static const struct schema_field slice_port_fields[] = {
	FIELD("name", &schema_string),
	FIELD("protocol", &protocol),
	FIELD("port", &port_number),
	FIELD("appProtocol", &schema_string),
	FIELDS_END,
};
static const struct schema slice_port = {.type = SCHEMA_OBJECT, .fields = slice_port_fields};
static const struct schema slice_ports = {.type = SCHEMA_LIST, .item = &slice_port};
static const struct schema_field slice_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	REQUIRED("addressType", &address_type),
	REQUIRED("endpoints", &endpoints),
	FIELD("ports", &slice_ports),
	FIELDS_END,
};
static const struct schema slice = {.type = SCHEMA_OBJECT, .fields = slice_fields};

static const char *port_protocol(const json_t *port)
{
	const char *s = json_string_value(json_object_get(port, "protocol"));

	return s ? s : "TCP";
}

/* Two ports are the same when number and protocol are, or their names. */
static bool is_same_port(const json_t *a, const json_t *b)
{
	const char *name_a = json_string_value(json_object_get(a, "name"));
	const char *name_b = json_string_value(json_object_get(b, "name"));

	if (name_a && name_b && streq(name_a, name_b))
		return true;
	return json_integer_value(json_object_get(a, "port")) ==
		       json_integer_value(json_object_get(b, "port")) &&
	       streq(port_protocol(a), port_protocol(b));
}

static void check_port(const json_t *ports, size_t i, struct schema_report *r)
{
	const json_t *port = json_array_get(ports, i);
	size_t mark = schema_enter_index(r, i);

	if (json_array_size(ports) > 1 && !json_string_value(json_object_get(port, "name"))) {
		size_t inner = schema_enter(r, "name");

		schema_problem(r, "required: with several ports each needs a name");
		schema_leave(r, inner);
	}
	for (size_t j = 0; j < i; j++)
		if (is_same_port(port, json_array_get(ports, j)))
			schema_problem(r, "the same port or name as ports[%zu]", j);
	schema_leave(r, mark);
}

static bool is_headless(const json_t *spec)
{
	const char *s = json_string_value(json_object_get(spec, "clusterIP"));

	return s && streq(s, "None");
}

static void check_service(const json_t *body, struct schema_report *r)
{
	const json_t *spec = json_object_get(body, "spec"), *ports = json_object_get(spec, "ports");
	const char *kind = json_string_value(json_object_get(spec, "type"));
	bool is_external = kind && streq(kind, "ExternalName");
	size_t mark = schema_enter(r, "spec"), inner;

	inner = schema_enter(r, is_external ? "externalName" : "ports");
	if (is_external && !json_string_value(json_object_get(spec, "externalName")))
		schema_problem(r, "required with type ExternalName: expected a DNS name");
	if (!is_external && json_array_size(ports) == 0 && !is_headless(spec))
		schema_problem(r, "required: expected at least one port");
	/* Quadratic below; Kubernetes itself has no limit, so one is set here. */
	if (json_array_size(ports) > 1000)
		schema_problem(r, "more than 1000 ports");
	for (size_t i = 0; i < MIN(json_array_size(ports), 1000U); i++)
		check_port(ports, i, r);
	schema_leave(r, inner);
	schema_leave(r, mark);
}

static void check_address(const char *text, bool is_v4, struct schema_report *r)
{
	struct cv_addr a;

	if (cv_addr_parse(text, &a) < 0 || cv_addr_is_v4(&a) != is_v4)
		schema_problem(r, "expected an %s address, got \"%.60s\"", is_v4 ? "IPv4" : "IPv6",
			       text);
	else if (cv_addr_is_loopback(&a) || cv_addr_is_any(&a))
		schema_problem(r, "a loopback or unspecified address cannot be an endpoint");
}

static void check_endpoint_slice(const json_t *body, struct schema_report *r)
{
	const char *kind = json_string_value(json_object_get(body, "addressType"));
	size_t i, mark = schema_enter(r, "endpoints");
	json_t *one;

	if (streq(kind, "FQDN"))
		goto out;
	json_array_foreach (json_object_get(body, "endpoints"), i, one) {
		size_t at = schema_enter_index(r, i), inner = schema_enter(r, "addresses");

		for (size_t j = 0; j < json_array_size(json_object_get(one, "addresses")); j++) {
			size_t leaf = schema_enter_index(r, j);

			check_address(json_string_value(
					      json_array_get(json_object_get(one, "addresses"), j)),
				      streq(kind, "IPv4"), r);
			schema_leave(r, leaf);
		}
		schema_leave(r, inner);
		schema_leave(r, at);
	}
out:
	schema_leave(r, mark);
}

static const char *const v1[] = {"v1", NULL};
static const char *const discovery_v1[] = {"discovery.k8s.io/v1", "discovery.k8s.io/v1beta1", NULL};

const struct schema_kind schema_kinds_network[] = {
	{.kind = "Service",
	 .api_versions = v1,
	 .is_namespaced = true,
	 .schema = &service,
	 .check = check_service},
	{
		.kind = "EndpointSlice",
		.api_versions = discovery_v1,
		.is_namespaced = true,
		.schema = &slice,
		.check = check_endpoint_slice,
	},
	{0},
};
