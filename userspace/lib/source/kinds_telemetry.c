/* SPDX-License-Identifier: Apache-2.0 */
/* kinds_telemetry - Telemetry (telemetry.istio.io), checked as Istio's webhook does. What is for
 * Envoy alone is checked for its place only. */
#include <string.h>

#include "base/str.h"
#include "source/schema.h"

static const struct schema list_any = {.type = SCHEMA_LIST};
static const struct schema map_any = {.type = SCHEMA_MAP};
static const struct schema word = {
	.type = SCHEMA_STRING,
	.is_nonempty = true,
	.expected = "a string that is not empty",
};
static const struct schema_field selector_fields[] = {FIELD("matchLabels", &schema_labels),
						      FIELDS_END};
static const struct schema selector = {.type = SCHEMA_OBJECT, .fields = selector_fields};
static const struct schema_field provider_fields[] = {REQUIRED("name", &word), FIELDS_END};
static const struct schema provider = {.type = SCHEMA_OBJECT, .fields = provider_fields};
static const struct schema providers = {.type = SCHEMA_LIST, .item = &provider};
static const char *const mode_words[] = {"CLIENT_AND_SERVER", "CLIENT", "SERVER", NULL};
static const struct schema mode = {.type = SCHEMA_STRING, .words = mode_words};

static const struct schema_field log_match_fields[] = {FIELD("mode", &mode), FIELDS_END};
static const struct schema log_match = {.type = SCHEMA_OBJECT, .fields = log_match_fields};
static const struct schema_field filter_fields[] = {FIELD("expression", &word), FIELDS_END};
static const struct schema filter = {.type = SCHEMA_OBJECT, .fields = filter_fields};
static const struct schema_field log_fields[] = {
	FIELD("match", &log_match),
	FIELD("providers", &providers),
	FIELD("disabled", &schema_bool),
	FIELD("filter", &filter),
	FIELDS_END,
};
static const struct schema logging = {.type = SCHEMA_OBJECT, .fields = log_fields};
static const struct schema loggings = {.type = SCHEMA_LIST, .item = &logging};

static const char *const metric_words[] = {
	"ALL_METRICS",        "REQUEST_COUNT",          "REQUEST_DURATION",       "REQUEST_SIZE",
	"RESPONSE_SIZE",      "TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES",
	"TCP_RECEIVED_BYTES", "GRPC_REQUEST_MESSAGES",  "GRPC_RESPONSE_MESSAGES", NULL};
static const struct schema metric = {.type = SCHEMA_STRING, .words = metric_words};
static const struct schema_field metric_match_fields[] = {
	FIELD("metric", &metric), FIELD("customMetric", &word), FIELD("mode", &mode), FIELDS_END};
static const struct schema metric_match = {.type = SCHEMA_OBJECT, .fields = metric_match_fields};
static const char *const operation_words[] = {"UPSERT", "REMOVE", NULL};
static const struct schema operation = {.type = SCHEMA_STRING, .words = operation_words};
static const struct schema_field tag_fields[] = {FIELD("operation", &operation),
						 FIELD("value", &word), FIELDS_END};
static const struct schema tag = {.type = SCHEMA_OBJECT, .fields = tag_fields};

static const struct schema tags = {
	.type = SCHEMA_MAP,
	.item = &tag,
	.is_key = str_is_metric_label,
	.key_expected = "a label of Prometheus: letters, digits and _, no digit first",
};
static const struct schema_field override_fields[] = {
	FIELD("match", &metric_match),
	FIELD("disabled", &schema_bool),
	FIELD("tagOverrides", &tags),
	FIELDS_END,
};
static const struct schema override = {.type = SCHEMA_OBJECT, .fields = override_fields};
static const struct schema overrides = {.type = SCHEMA_LIST, .item = &override};
static const struct schema_field metrics_fields[] = {
	FIELD("providers", &providers),
	FIELD("overrides", &overrides),
	FIELD("reportingInterval", &schema_string),
	FIELDS_END,
};
static const struct schema metrics_one = {.type = SCHEMA_OBJECT, .fields = metrics_fields};
static const struct schema metrics = {.type = SCHEMA_LIST, .item = &metrics_one};

static const struct schema_field spec_fields[] = {
	FIELD("selector", &selector),
	FIELD("targetRef", &map_any),
	FIELD("targetRefs", &list_any),
	FIELD("tracing", &list_any),
	FIELD("metrics", &metrics),
	FIELD("accessLogging", &loggings),
	FIELDS_END,
};
static const struct schema spec = {.type = SCHEMA_OBJECT, .fields = spec_fields};
static const struct schema_field telemetry_fields[] = {
	REQUIRED("apiVersion", &schema_string),
	REQUIRED("kind", &schema_string),
	REQUIRED("metadata", &schema_metadata),
	FIELD("spec", &spec),
	FIELD("status", &map_any),
	FIELDS_END,
};
static const struct schema telemetry = {.type = SCHEMA_OBJECT, .fields = telemetry_fields};

/* A tag that is set needs a value, one that goes has none. */
static void check_tags(const json_t *all, struct schema_report *r)
{
	const char *name;
	json_t *one;

	json_object_foreach ((json_t *)all, name, one) {
		const char *what = json_string_value(json_object_get(one, "operation"));
		bool is_removed = what && streq(what, "REMOVE");
		bool has_value = json_object_get(one, "value") != NULL;
		size_t mark = schema_enter(r, name);

		if (is_removed == has_value)
			schema_problem(r, is_removed ? "a tag that is removed has no value"
						     : "value: required with UPSERT");
		schema_leave(r, mark);
	}
}

static void check_overrides(const json_t *list, struct schema_report *r)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		size_t mark = schema_enter_index(r, i), inner = schema_enter(r, "tagOverrides");

		check_tags(json_object_get(json_array_get(list, i), "tagOverrides"), r);
		schema_leave(r, inner);
		schema_leave(r, mark);
	}
}

static void check_telemetry(const json_t *body, struct schema_report *r)
{
	const json_t *all = json_object_get(json_object_get(body, "spec"), "metrics");
	size_t mark = schema_enter(r, "spec"), inner = schema_enter(r, "metrics");

	for (size_t i = 0; i < json_array_size(all); i++) {
		size_t at = schema_enter_index(r, i), list = schema_enter(r, "overrides");

		check_overrides(json_object_get(json_array_get(all, i), "overrides"), r);
		schema_leave(r, list);
		schema_leave(r, at);
	}
	schema_leave(r, inner);
	schema_leave(r, mark);
}

static const char *const versions[] = {"telemetry.istio.io/v1", "telemetry.istio.io/v1alpha1",
				       NULL};

const struct schema_kind schema_kinds_telemetry[] = {
	{
		.kind = "Telemetry",
		.api_versions = versions,
		.is_namespaced = true,
		.schema = &telemetry,
		.check = check_telemetry,
	},
	{0},
};
