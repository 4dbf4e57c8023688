/* SPDX-License-Identifier: Apache-2.0 */
#include "source/mesh_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/str.h"
#include "source/schema.h"
#include "source/yaml.h"

#define FIELD_PREFIX    "data.mesh"
#define DURATION_MAX_MS (24 * 3600000ULL)
#define LOCAL           "not honoured: "
#define DEFAULT_CONFIG  "defaultConfig"
#define POLICY          "outboundTrafficPolicy"

static const struct schema domain = {
	.type = SCHEMA_STRING,
	.is_valid = word_is_subdomain,
	.expected = "a trust domain: a DNS name in lower case",
};
static const struct schema domains = {.type = SCHEMA_LIST, .item = &domain};
static const struct schema label = {
	.type = SCHEMA_STRING, .is_valid = word_is_label, .expected = "a namespace"};
static const char *const mode_words[] = {"ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS",
					 NULL};
static const struct schema mode = {.type = SCHEMA_STRING, .words = mode_words};
static const struct schema_field policy_fields[] = {FIELD("mode", &mode), FIELDS_END};
/* Other fields: policy_check(). */
static const struct schema policy = {
	.type = SCHEMA_OBJECT, .fields = policy_fields, .is_open = true};
static const char *const operator_words[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
static const struct schema label_operator = {.type = SCHEMA_STRING, .words = operator_words};
static const struct schema texts = {.type = SCHEMA_LIST, .item = &schema_string};
static const struct schema_field expression_fields[] = {
	REQUIRED("key", &schema_string),
	REQUIRED("operator", &label_operator),
	FIELD("values", &texts),
	FIELDS_END,
};
static const struct schema expression = {.type = SCHEMA_OBJECT, .fields = expression_fields};
static const struct schema expressions = {.type = SCHEMA_LIST, .item = &expression};
static const struct schema match_labels = {.type = SCHEMA_MAP, .item = &schema_string};
static const struct schema_field selector_fields[] = {
	FIELD("matchLabels", &match_labels),
	FIELD("matchExpressions", &expressions),
	FIELDS_END,
};
static const struct schema selector = {.type = SCHEMA_OBJECT, .fields = selector_fields};
static const struct schema selectors = {.type = SCHEMA_LIST, .item = &selector};

/* An unknown word may be stricter than those that are known, and an unknown field a policy's only
 * rule: without it the policy would be for all. */
static const char *const visibility_words[] = {
	"PUBLIC", "NAMESPACE", "NONE", "UNSPECIFIED", "VISIBILITY_UNSPECIFIED", NULL};
static const struct schema visibility = {.type = SCHEMA_STRING, .words = visibility_words};
static const struct schema_field rule_fields[] = {FIELD("namespaceSelector", &selector),
						  FIELDS_END};
static const struct schema rule = {.type = SCHEMA_OBJECT, .fields = rule_fields};
static const struct schema rules = {.type = SCHEMA_LIST, .item = &rule};
static const struct schema_field lock_fields[] = {FIELD("visibility", &visibility),
						  FIELD("matchingRules", &rules), FIELDS_END};
static const struct schema lock = {.type = SCHEMA_OBJECT, .fields = lock_fields};
static const struct schema locks = {.type = SCHEMA_LIST, .item = &lock};
static const struct schema_field entry_visibility_fields[] = {
	FIELD("defaultVisibility", &visibility),
	FIELD("policies", &locks),
	FIELD("applyToSidecars", &schema_bool),
	FIELDS_END,
};
static const struct schema entry_visibility = {.type = SCHEMA_OBJECT,
					       .fields = entry_visibility_fields};

static bool is_duration(const char *s)
{
	uint64_t ms;

	return str_parse_duration(s, DURATION_MAX_MS, &ms) == 0;
}

static const struct schema duration = {
	.type = SCHEMA_STRING,
	.is_valid = is_duration,
	.expected = "a duration such as 5s, of a day at most",
};
static const struct schema any_map = {.type = SCHEMA_MAP};
static const struct schema_field default_fields[] = {
	FIELD("terminationDrainDuration", &duration),
	FIELD("proxyMetadata", &any_map),
	FIELDS_END,
};
/* Most of ProxyConfig is for Envoy, too. */
static const struct schema default_config = {
	.type = SCHEMA_OBJECT, .fields = default_fields, .is_open = true};
static const struct schema_field fields[] = {
	FIELD("discoverySelectors", &selectors),
	FIELD("trustDomain", &domain),
	FIELD("trustDomainAliases", &domains),
	FIELD("rootNamespace", &label),
	FIELD("accessLogFile", &schema_string),
	FIELD(POLICY, &policy),
	FIELD(DEFAULT_CONFIG, &default_config),
	FIELD("serviceEntryVisibility", &entry_visibility),
	FIELDS_END,
};
/* Most of MeshConfig is for Envoy. */
static const struct schema mesh_config = {.type = SCHEMA_OBJECT, .fields = fields, .is_open = true};

/* One reading. */
struct reading {
	const struct object *map;
	void (*on_error)(void *arg, const struct source_error *err);
	void *arg;
	const struct yaml_document *doc;
	struct object *body; /* the text as an object, for lines */
	struct mesh_config got;
	bool is_second; /* document */
	int r;
};

static void tell_kind(struct reading *x, unsigned int line, const char *field, const char *message,
		      bool is_warning)
{
	char path[SCHEMA_PATH_MAX + 16];
	unsigned int at = object_line(x->map, FIELD_PREFIX);
	struct source_error err = {
		.file = x->map->file,
		.line = at + line,
		.kind = x->map->kind,
		.namespace_ = x->map->namespace_,
		.name = x->map->name,
		.field = path,
		.message = message,
		.is_warning = is_warning,
	};

	(void)snprintf(path, sizeof(path), FIELD_PREFIX "%s%s", *field ? "." : "", field);
	x->on_error(x->arg, &err);
}

static void tell(struct reading *x, unsigned int line, const char *field, const char *message)
{
	tell_kind(x, line, field, message, false);
	x->r = -EINVAL;
}

/* What has a meaning at layer 4 and is not done, or not in this place. */
static const struct {
	const char *field;
	const char *value; /* only this one is told; NULL: any */
	const char *message;
} notes[] = {
	{"accessLogFormat", NULL, LOCAL "lines have the fields of Istio's ztunnel"},
	{"accessLogEncoding", "JSON", LOCAL "start ztunnel with LOG_FORMAT=json"},
	{"connectTimeout", NULL, LOCAL "10 s hold"},
	{"tcpKeepalive", NULL, LOCAL "the kernel's defaults hold; tunnels have PINGs every 10 s"},
	{"localityLbSetting", NULL, LOCAL "a Service's trafficDistribution is"},
	{"defaultServiceExportTo", NULL,
	 LOCAL "services are seen everywhere unless their own exportTo says otherwise"},
	{POLICY ".mode", "ALLOW_ANY_DYNAMIC_DNS",
	 "as ALLOW_ANY: in Istio as well it is for sidecars that names are looked up anew"},
	{POLICY ".tls", NULL, LOCAL "in Istio as well it is for sidecars"},
	{"inboundTrafficPolicy", NULL, LOCAL "applications are reached at the pod's address"},
	{"hboneIdleTimeout", NULL, LOCAL "a tunnel that nobody uses is closed after 5 minutes"},
	{"meshMTLS.minProtocolVersion", "TLSV1_2", LOCAL "TLS 1.3 holds"},
	{"meshMTLS.cipherSuites", NULL, LOCAL "those of TLS 1.3 hold"},
	{"meshMTLS.ecdhCurves", NULL, LOCAL "X25519, P-256 and P-384 hold"},
	{"enableAutoMtls", "false",
	 LOCAL "connections are mutual TLS wherever both ends are in the mesh"},
	{"dnsRefreshRate", NULL, LOCAL "a name is asked for again when its time to live is over"},
	{"caCertificates", NULL, LOCAL "roots are those of the CA's root-cert.pem"},
	{"defaultProviders", NULL,
	 LOCAL "metrics are Prometheus', the access log is ztunnel's, there are no spans"},
	{"defaultConfig.drainDuration", NULL,
	 LOCAL "it is Envoy's; terminationDrainDuration is honoured"},
	{"defaultConfig.concurrency", NULL,
	 LOCAL "a node's pods share one ztunnel, its threads are --workers"},
	{"defaultConfig.holdApplicationUntilProxyStarts", "true",
	 LOCAL "a new pod begins before it is in the mesh unless the CNI plugin enrols it"},
	{"defaultConfig.tracing", NULL, LOCAL "ztunnels make no spans"},
	{"defaultConfig.interceptionMode", "TPROXY",
	 LOCAL "capture is by BPF; applications see the client's address all the same"},
	{"defaultConfig.statusPort", NULL, LOCAL "ztunnel's is 15021 on the node"},
	{"defaultConfig.extraStatTags", NULL, LOCAL "Telemetry's tagOverrides are"},
	{"defaultConfig.proxyStatsMatcher", NULL, LOCAL "Telemetry's overrides are"},
	{"defaultConfig.caCertificatesPem", NULL, LOCAL "roots are those of the CA"},
	{"defaultConfig.privateKeyProvider", NULL, LOCAL "keys are ztunnel's own"},
	{"defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE", "false",
	 LOCAL "annotate pods or namespaces with ambient.istio.io/dns-capture"},
	{"defaultConfig.proxyMetadata.ISTIO_META_DNS_AUTO_ALLOCATE", "false",
	 LOCAL "label ServiceEntries with networking.istio.io/enable-autoallocate-ip"},
};

/* Return: is the value there, and the one that is told? */
static bool is_noted(const json_t *value, const char *only)
{
	const char *s = json_string_value(value);

	if (!value || json_is_null(value) || !only)
		return value && !json_is_null(value);
	if (json_is_true(value) || json_is_false(value))
		return streq(only, json_is_true(value) ? "true" : "false");
	return s && streq(s, only);
}

static void tell_notes(struct reading *x)
{
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		if (is_noted(object_value(x->body, notes[i].field), notes[i].value))
			tell_kind(x, object_line(x->body, notes[i].field), notes[i].field,
				  notes[i].message, true);
}

/* Nothing of ProxyConfig opens or closes anything, or names anybody: what is wrong there is left
 * out, and no control plane waits for it. */
static bool is_harmless(const char *field)
{
	return str_has_prefix(field, DEFAULT_CONFIG);
}

static void on_problem(void *arg, const char *field, const char *message)
{
	struct reading *x = arg;
	bool is_warning = is_harmless(field);
	char text[640];

	(void)snprintf(text, sizeof(text), "%s%s", is_warning ? "left out: " : "", message);
	tell_kind(x, object_line(x->body, field), field, str_utf8(text), is_warning);
	if (!is_warning)
		x->r = -EINVAL;
}

/* A later Istio's field is left out where the mode is said: that is not opened any further.
 * Without a mode it may be the mode, misspelt, and nobody knows what that was to close. */
static void policy_check(struct reading *x)
{
	const json_t *o = object_value(x->body, POLICY);
	bool has_mode = json_is_string(json_object_get(o, "mode"));
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)o, key, value) {
		char field[SCHEMA_PATH_MAX];

		if (streq(key, "mode") || streq(key, "tls"))
			continue;
		(void)snprintf(field, sizeof(field), POLICY ".%.200s", key);
		tell_kind(x, object_line(x->body, field), str_utf8(field),
			  has_mode ? "unknown field, left out: the mode decides" : "unknown field",
			  has_mode);
		if (!has_mode)
			x->r = -EINVAL;
	}
}

static int copy(const struct object *o, const char *field, char **ret)
{
	const char *s = object_string(o, field);

	if (!s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

static int take(const struct object *o, struct mesh_config *ret)
{
	const char *outbound = object_string(o, POLICY ".mode");
	const char *drain = object_string(o, "defaultConfig.terminationDrainDuration");
	struct mesh_config c = {0};
	int r = copy(o, "trustDomain", &c.trust_domain);

	if (r == 0)
		r = copy(o, "rootNamespace", &c.root_namespace);
	if (r == 0)
		r = copy(o, "accessLogFile", &c.access_log_file);
	if (r < 0) {
		mesh_config_clear(&c);
		return r;
	}
	c.trust_domain_aliases = json_incref(object_value(o, "trustDomainAliases"));
	c.discovery_selectors = json_incref(object_value(o, "discoverySelectors"));
	c.entry_visibility = json_incref(object_value(o, "serviceEntryVisibility"));
	c.has_drain = drain && str_parse_duration(drain, DURATION_MAX_MS, &c.drain_ms) == 0;
	c.is_registry_only = outbound && streq(outbound, "REGISTRY_ONLY");
	*ret = c;
	return 0;
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct reading *x = arg;
	struct schema_report report = {.on_problem = on_problem, .arg = x};
	struct object_init init = {.kind = "MeshConfig", .name = "mesh", .line = doc->line};

	if (doc->bad_line) {
		tell(x, doc->bad_line, "", doc->problem);
		return 0;
	}
	if (x->is_second) {
		tell(x, doc->line, "", "expected one document");
		return 0;
	}
	x->is_second = true;
	if (!json_is_object(doc->body)) {
		tell(x, doc->line, "", "expected a mapping");
		return 0;
	}
	init.body = json_incref(doc->body);
	init.lines = calloc(doc->lines_count + 1, sizeof(*init.lines));
	if (init.lines)
		memcpy(init.lines, doc->lines, doc->lines_count * sizeof(*init.lines));
	init.lines_count = init.lines ? doc->lines_count : 0;
	x->r = object_new(&init, &x->body);
	if (x->r < 0)
		return x->r;
	schema_walk(&mesh_config, doc->body, &report);
	policy_check(x);
	if (x->r == 0)
		x->r = take(x->body, &x->got);
	if (x->r == 0)
		tell_notes(x);
	x->body = object_unref(x->body);
	return x->r == -ENOMEM ? x->r : 0;
}

int mesh_config_read(const struct object *map,
		     void (*on_error)(void *arg, const struct source_error *err), void *arg,
		     struct mesh_config *ret)
{
	const char *text = object_string(map, FIELD_PREFIX);
	struct reading x = {.map = map, .on_error = on_error, .arg = arg};
	struct yaml_problem problem;
	int r;

	if (!text) {
		mesh_config_clear(ret);
		return 0;
	}
	r = yaml_parse(text, strlen(text), on_document, &x, &problem);
	if (r == -EBADMSG)
		tell(&x, problem.line, "", problem.message);
	if (r == -EBADMSG || (r == 0 && x.r < 0))
		r = x.r;
	if (r < 0) {
		mesh_config_clear(&x.got);
		return r;
	}
	mesh_config_clear(ret);
	*ret = x.got;
	return 0;
}

void mesh_config_clear(struct mesh_config *c)
{
	free(c->trust_domain);
	free(c->root_namespace);
	free(c->access_log_file);
	json_decref(c->trust_domain_aliases);
	json_decref(c->discovery_selectors);
	json_decref(c->entry_visibility);
	*c = (struct mesh_config){0};
}
