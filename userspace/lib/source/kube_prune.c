/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_prune.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

static const char *const pod_spec[] = {"nodeName",    "serviceAccountName", "serviceAccount",
				       "hostNetwork", "hostname",           "subdomain",
				       "containers",  "initContainers",     NULL};
static const char *const container[] = {"name", "ports", "restartPolicy", NULL};
static const char *const pod_status[] = {"phase", "podIP", "podIPs", "hostIP", "conditions", NULL};
static const char *const condition[] = {"type", "status", NULL};
static const char *const node_status[] = {"addresses", NULL};
static const char *const endpoint[] = {"addresses", "conditions", "targetRef", "nodeName",
				       "zone",      "hostname",   NULL};
static const char *const pod_endpoint[] = {"conditions", "targetRef", NULL};
static const char *const reference[] = {"kind", "name", NULL};
static const char *const only_ready[] = {"ready", NULL};
static const char *const nothing[] = {NULL};

static bool is_kept(const char *const *keys, const char *key)
{
	while (*keys && !streq(*keys, key))
		keys++;
	return *keys;
}

static void keep_only(json_t *object, const char *const *keys)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (object, next, key, value) {
		if (!is_kept(keys, key))
			(void)json_object_del(object, key);
	}
}

static void keep_only_each(const json_t *list, const char *const *keys)
{
	json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		keep_only(one, keys);
}

static void prune_pod(json_t *body)
{
	json_t *spec = json_object_get(body, "spec"), *status = json_object_get(body, "status");

	keep_only(spec, pod_spec);
	keep_only_each(json_object_get(spec, "containers"), container);
	keep_only_each(json_object_get(spec, "initContainers"), container);
	keep_only(status, pod_status);
	keep_only_each(json_object_get(status, "conditions"), condition);
}

/* A pod is known by its name: what a slice says of it besides is the pod's own to say. */
static void prune_endpoint(json_t *one)
{
	json_t *ref = json_object_get(one, "targetRef");
	const char *kind = json_string_value(json_object_get(ref, "kind"));
	bool is_pod = kind && streq(kind, "Pod") && json_string_value(json_object_get(ref, "name"));
	json_t *conditions = json_object_get(one, "conditions");

	keep_only(one, is_pod ? pod_endpoint : endpoint);
	keep_only(ref, reference);
	if (json_is_false(json_object_get(conditions, "ready")))
		keep_only(conditions, only_ready);
	else
		(void)json_object_del(one, "conditions");
}

static void prune_slice(json_t *body)
{
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(body, "endpoints"), i, one)
		prune_endpoint(one);
}

static void prune_metadata(json_t *metadata)
{
	json_t *annotations = json_object_get(metadata, "annotations");

	(void)json_object_del(metadata, "managedFields");
	(void)json_object_del(metadata, "resourceVersion");
	(void)json_object_del(metadata, "selfLink");
	(void)json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
}

void kube_prune(const char *kind, json_t *body)
{
	prune_metadata(json_object_get(body, "metadata"));
	if (streq(kind, "Pod")) {
		prune_pod(body);
	} else if (streq(kind, "EndpointSlice")) {
		prune_slice(body);
	} else if (streq(kind, "Node")) {
		keep_only(json_object_get(body, "status"), node_status);
		keep_only(json_object_get(body, "spec"), nothing);
	}
}

/* Behind the string that begins at @p, or @end. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		p += *p == '\\';
	return p < end ? p + 1 : end;
}

/* Behind the list or object that begins at @p, or @end. */
static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '[' || *p == '{')
			depth++;
		if ((*p == ']' || *p == '}') && --depth == 0)
			return p + 1;
		p++;
	}
	return end;
}

static bool is_left_out(const char *kind, const char *key, size_t len)
{
	static const char always[] = "managedFields";
	static const char *const of_pods[] = {
		"affinity",
		"args",
		"command",
		"containerStatuses",
		"env",
		"envFrom",
		"hostAliases",
		"initContainerStatuses",
		"lifecycle",
		"livenessProbe",
		"readinessProbe",
		"resources",
		"securityContext",
		"startupProbe",
		"tolerations",
		"topologySpreadConstraints",
		"volumeDevices",
		"volumeMounts",
		"volumes",
		NULL,
	};

	if (len == strlen(always) && memcmp(key, always, len) == 0)
		return true;
	if (!kind || !streq(kind, "Pod"))
		return false;
	for (const char *const *k = of_pods; *k; k++)
		if (strlen(*k) == len && memcmp(*k, key, len) == 0)
			return true;
	return false;
}

/* Does a list or an object begin at @p, as the value of a key that ends there? */
static bool is_nested_value(const char *p, const char *end)
{
	return end - p > 1 && *p == ':' && (p[1] == '[' || p[1] == '{');
}

char *kube_prune_text(const char *kind, const char *text, size_t len, size_t *ret_len)
{
	const char *end = text + len, *begin = text;
	char *copy = malloc(len + 1), *to = copy;

	if (!copy)
		return NULL;
	/* @begin: what has been looked at and not yet copied */
	while (text < end) {
		const char *string = text;

		if (*text++ != '"')
			continue;
		text = skip_string(string, end);
		if (!is_nested_value(text, end) ||
		    !is_left_out(kind, string + 1, (size_t)(text - string) - 2))
			continue;
		to = mempcpy(to, begin, (size_t)(text + 1 - begin));
		*to++ = '0';
		begin = text = skip_nested(text + 1, end);
	}
	to = mempcpy(to, begin, (size_t)(end - begin));
	*ret_len = (size_t)(to - copy);
	return copy;
}
