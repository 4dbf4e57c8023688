/* SPDX-License-Identifier: Apache-2.0 */
/* kinds_core - Namespace, ServiceAccount, Pod, Deployment, Node, ConfigMap. Strict on names of
 * fields everywhere, since a misspelt field is silently lost otherwise; on values only where the
 * mesh reads them. */
#include "source/schema.h"

const struct schema schema_any = {.type = SCHEMA_ANY};
const struct schema schema_string = {.type = SCHEMA_STRING};
const struct schema schema_bool = {.type = SCHEMA_BOOL};

static const struct schema label_value = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_label_value,
	.expected = "a label value (a string of at most 63 letters, digits, - _ .)",
};
const struct schema schema_labels = {
	.type = SCHEMA_MAP,
	.item = &label_value,
	.is_key = word_is_label_key,
	.key_expected = "a label key ([prefix/]name)",
};
static const struct schema annotations = {
	.type = SCHEMA_MAP,
	.item = &schema_string,
	.is_key = word_is_annotation_key,
	.key_expected = "an annotation key ([prefix/]name)",
};
static const struct schema name = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_name,
	.expected = "a name (a string of at most 253 lower-case letters, digits, - and .)",
};
static const struct schema dns_name = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_subdomain,
	.expected = "a name (a string of at most 63 lower-case letters, digits and -)",
};
/* An empty one is as good as none. */
static bool is_namespace(const char *s)
{
	return !*s || word_is_label(s);
}

static const struct schema namespace_name = {
	.type = SCHEMA_STRING,
	.is_valid = is_namespace,
	.expected = "a namespace (a string of at most 63 lower-case letters, digits and -)",
};
static const struct schema integer = {.type = SCHEMA_INT};
static const struct schema list_any = {.type = SCHEMA_LIST};
static const struct schema map_any = {.type = SCHEMA_MAP};
static const struct schema map_string = {.type = SCHEMA_MAP, .item = &schema_string};
static const struct schema list_string = {.type = SCHEMA_LIST, .item = &schema_string};
static const struct schema ip = {
	.type = SCHEMA_STRING, .is_valid = word_is_ip, .expected = "an IP address"};

/* The API server's own bookkeeping, as `kubectl get -o yaml` prints it. */
#define METADATA_BOOKKEEPING                                                                       \
	FIELD("generateName", &schema_string), FIELD("uid", &schema_string),                       \
		FIELD("resourceVersion", &schema_string), FIELD("generation", &integer),           \
		FIELD("creationTimestamp", &schema_string),                                        \
		FIELD("deletionTimestamp", &schema_string),                                        \
		FIELD("deletionGracePeriodSeconds", &integer),                                     \
		FIELD("ownerReferences", &list_any), FIELD("finalizers", &list_string),            \
		FIELD("managedFields", &list_any), FIELD("selfLink", &schema_string)

static const struct schema_field metadata_fields[] = {
	REQUIRED("name", &name),
	FIELD("namespace", &namespace_name),
	FIELD("labels", &schema_labels),
	FIELD("annotations", &annotations),
	METADATA_BOOKKEEPING,
	FIELDS_END,
};
const struct schema schema_metadata = {.type = SCHEMA_OBJECT, .fields = metadata_fields};

/* Of what has a name in the DNS: Namespaces and Services. */
static const struct schema_field metadata_dns_fields[] = {
	REQUIRED("name", &dns_name),
	FIELD("namespace", &namespace_name),
	FIELD("labels", &schema_labels),
	FIELD("annotations", &annotations),
	METADATA_BOOKKEEPING,
	FIELDS_END,
};
const struct schema schema_metadata_dns = {.type = SCHEMA_OBJECT, .fields = metadata_dns_fields};

static const struct schema_field metadata_template_fields[] = {
	FIELD("name", &name),
	FIELD("namespace", &namespace_name),
	FIELD("labels", &schema_labels),
	FIELD("annotations", &annotations),
	METADATA_BOOKKEEPING,
	FIELDS_END,
};
const struct schema schema_metadata_template = {.type = SCHEMA_OBJECT,
						.fields = metadata_template_fields};

/* Pod */
static const struct schema port_number = {.type = SCHEMA_INT, .min = 1, .max = 65535};
static const struct schema port_name = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_port_name,
	.expected = "a port's name (a string of at most 15 lower-case letters, digits and -)",
};
static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
static const struct schema protocol = {.type = SCHEMA_STRING, .words = protocols};
static const struct schema_field container_port_fields[] = {
	REQUIRED("containerPort", &port_number),
	FIELD("name", &port_name),
	FIELD("protocol", &protocol),
	FIELD("hostPort", &port_number),
	FIELD("hostIP", &schema_string),
	FIELDS_END,
};
static const struct schema container_port = {.type = SCHEMA_OBJECT,
					     .fields = container_port_fields};
static const struct schema container_ports = {.type = SCHEMA_LIST, .item = &container_port};

static const struct schema_field container_fields[] = {
	REQUIRED("name", &schema_string),
	FIELD("image", &schema_string),
	FIELD("command", &list_string),
	FIELD("args", &list_string),
	FIELD("workingDir", &schema_string),
	FIELD("ports", &container_ports),
	FIELD("envFrom", &list_any),
	FIELD("env", &list_any),
	FIELD("resources", &map_any),
	FIELD("resizePolicy", &list_any),
	FIELD("restartPolicy", &schema_string),
	FIELD("volumeMounts", &list_any),
	FIELD("volumeDevices", &list_any),
	FIELD("livenessProbe", &map_any),
	FIELD("readinessProbe", &map_any),
	FIELD("startupProbe", &map_any),
	FIELD("lifecycle", &map_any),
	FIELD("terminationMessagePath", &schema_string),
	FIELD("terminationMessagePolicy", &schema_string),
	FIELD("imagePullPolicy", &schema_string),
	FIELD("securityContext", &map_any),
	FIELD("stdin", &schema_bool),
	FIELD("stdinOnce", &schema_bool),
	FIELD("tty", &schema_bool),
	FIELDS_END,
};
static const struct schema container = {.type = SCHEMA_OBJECT, .fields = container_fields};
static const struct schema containers = {.type = SCHEMA_LIST, .item = &container};

static const struct schema_field pod_spec_fields[] = {
	FIELD("activeDeadlineSeconds", &integer),
	FIELD("affinity", &map_any),
	FIELD("automountServiceAccountToken", &schema_bool),
	FIELD("containers", &containers),
	FIELD("dnsConfig", &map_any),
	FIELD("dnsPolicy", &schema_string),
	FIELD("enableServiceLinks", &schema_bool),
	FIELD("ephemeralContainers", &list_any),
	FIELD("hostAliases", &list_any),
	FIELD("hostIPC", &schema_bool),
	FIELD("hostNetwork", &schema_bool),
	FIELD("hostPID", &schema_bool),
	FIELD("hostUsers", &schema_bool),
	FIELD("hostname", &schema_string),
	FIELD("imagePullSecrets", &list_any),
	FIELD("initContainers", &containers),
	FIELD("nodeName", &name),
	FIELD("nodeSelector", &map_string),
	FIELD("os", &map_any),
	FIELD("overhead", &map_any),
	FIELD("preemptionPolicy", &schema_string),
	FIELD("priority", &integer),
	FIELD("priorityClassName", &schema_string),
	FIELD("readinessGates", &list_any),
	FIELD("resourceClaims", &list_any),
	FIELD("resources", &map_any),
	FIELD("restartPolicy", &schema_string),
	FIELD("runtimeClassName", &schema_string),
	FIELD("schedulerName", &schema_string),
	FIELD("schedulingGates", &list_any),
	FIELD("securityContext", &map_any),
	FIELD("serviceAccount", &name),
	FIELD("serviceAccountName", &name),
	FIELD("setHostnameAsFQDN", &schema_bool),
	FIELD("shareProcessNamespace", &schema_bool),
	FIELD("subdomain", &schema_string),
	FIELD("terminationGracePeriodSeconds", &integer),
	FIELD("tolerations", &list_any),
	FIELD("topologySpreadConstraints", &list_any),
	FIELD("volumes", &list_any),
	FIELDS_END,
};
static const struct schema pod_spec = {.type = SCHEMA_OBJECT, .fields = pod_spec_fields};

static const struct schema_field pod_ip_fields[] = {REQUIRED("ip", &ip), FIELDS_END};
static const struct schema pod_ip = {.type = SCHEMA_OBJECT, .fields = pod_ip_fields};
static const struct schema pod_ips = {.type = SCHEMA_LIST, .item = &pod_ip};
static const char *const truths[] = {"True", "False", "Unknown", NULL};
static const struct schema truth = {
	.type = SCHEMA_STRING,
	.words = truths,
	.expected = "a string: \"True\", \"False\" or \"Unknown\"",
};
static const struct schema_field condition_fields[] = {
	REQUIRED("type", &schema_string),
	REQUIRED("status", &truth),
	FIELDS_END,
};
static const struct schema condition = {
	.type = SCHEMA_OBJECT, .fields = condition_fields, .is_open = true};
static const struct schema conditions = {.type = SCHEMA_LIST, .item = &condition};
static const char *const phases[] = {"Pending", "Running", "Succeeded", "Failed", "Unknown", NULL};
static const struct schema phase = {.type = SCHEMA_STRING, .words = phases};
static const struct schema_field pod_status_fields[] = {
	FIELD("podIP", &ip),    FIELD("podIPs", &pod_ips),        FIELD("hostIP", &ip),
	FIELD("phase", &phase), FIELD("conditions", &conditions), FIELDS_END,
};
static const struct schema pod_status = {
	.type = SCHEMA_OBJECT, .fields = pod_status_fields, .is_open = true};

static const struct schema_field pod_fields[] = {
	REQUIRED("apiVersion", &schema_string), REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata), FIELD("spec", &pod_spec),
	FIELD("status", &pod_status),           FIELDS_END,
};
static const struct schema pod = {.type = SCHEMA_OBJECT, .fields = pod_fields};

/* Deployment */
static const struct schema_field template_fields[] = {
	FIELD("metadata", &schema_metadata_template),
	REQUIRED("spec", &pod_spec),
	FIELDS_END,
};
static const struct schema pod_template = {.type = SCHEMA_OBJECT, .fields = template_fields};
static const struct schema_field selector_fields[] = {
	FIELD("matchLabels", &schema_labels),
	FIELD("matchExpressions", &list_any),
	FIELDS_END,
};
static const struct schema selector = {.type = SCHEMA_OBJECT, .fields = selector_fields};
static const struct schema replicas = {.type = SCHEMA_INT, .min = 0, .max = 1000000};
static const struct schema_field deployment_spec_fields[] = {
	FIELD("replicas", &replicas),
	REQUIRED("selector", &selector),
	REQUIRED("template", &pod_template),
	FIELD("strategy", &map_any),
	FIELD("minReadySeconds", &integer),
	FIELD("revisionHistoryLimit", &integer),
	FIELD("paused", &schema_bool),
	FIELD("progressDeadlineSeconds", &integer),
	FIELDS_END,
};
static const struct schema deployment_spec = {.type = SCHEMA_OBJECT,
					      .fields = deployment_spec_fields};
static const struct schema_field deployment_fields[] = {
	REQUIRED("apiVersion", &schema_string), REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata), REQUIRED("spec", &deployment_spec),
	FIELD("status", &schema_any),           FIELDS_END,
};
static const struct schema deployment = {.type = SCHEMA_OBJECT, .fields = deployment_fields};

/* Namespace, Node, ServiceAccount, ConfigMap */
static const struct schema_field plain_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("spec", &map_any),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema plain = {.type = SCHEMA_OBJECT, .fields = plain_fields};
static const struct schema_field namespace_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata_dns),
	FIELD("spec", &map_any),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema namespace_ = {.type = SCHEMA_OBJECT, .fields = namespace_fields};
static const struct schema_field service_account_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("automountServiceAccountToken", &schema_bool),
	FIELD("imagePullSecrets", &list_any),
	FIELD("secrets", &list_any),
	FIELDS_END,
};
static const struct schema service_account = {.type = SCHEMA_OBJECT,
					      .fields = service_account_fields};
static const struct schema_field config_map_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("data", &map_string),
	FIELD("binaryData", &map_string),
	FIELD("immutable", &schema_bool),
	FIELDS_END,
};
static const struct schema config_map = {.type = SCHEMA_OBJECT, .fields = config_map_fields};

static const char *const v1[] = {"v1", NULL};
static const char *const apps_v1[] = {"apps/v1", NULL};

const struct schema_kind schema_kinds_core[] = {
	{.kind = "Namespace", .api_versions = v1, .schema = &namespace_},
	{.kind = "ServiceAccount",
	 .api_versions = v1,
	 .is_namespaced = true,
	 .schema = &service_account},
	{.kind = "Pod", .api_versions = v1, .is_namespaced = true, .schema = &pod},
	{.kind = "Deployment",
	 .api_versions = apps_v1,
	 .is_namespaced = true,
	 .schema = &deployment},
	{.kind = "Node", .api_versions = v1, .schema = &plain},
	{.kind = "ConfigMap", .api_versions = v1, .is_namespaced = true, .schema = &config_map},
	{0},
};
