/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_prune.h"

#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

static const char *const pod_spec[] = {"nodeName",    "serviceAccountName", "serviceAccount",
				       "hostNetwork", "hostname",           "subdomain",
				       "containers",  "initContainers",     NULL};
static const char *const container[] = {"name", "ports", "restartPolicy", NULL};
static const char *const pod_status[] = {"phase", "podIP", "podIPs", "hostIP", "conditions", NULL};
static const char *const condition[] = {"type", "status", NULL};
static const char *const node_status[] = {"addresses", NULL};
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
	} else if (streq(kind, "Node")) {
		keep_only(json_object_get(body, "status"), node_status);
		keep_only(json_object_get(body, "spec"), nothing);
	}
}
