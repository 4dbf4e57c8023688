/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_pods.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

static const json_t *status_of(const json_t *object)
{
	return json_object_get(object, "status");
}

const char *kube_condition(const json_t *object, const char *type, const char **ret_message)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(status_of(object), "conditions"), i, one) {
		if (!streq(json_text(one, "type", ""), type))
			continue;
		if (ret_message)
			*ret_message = json_text(one, "message", json_text(one, "reason", ""));
		return json_text(one, "status", "");
	}
	if (ret_message)
		*ret_message = "";
	return "";
}

bool kube_pod_is_ready(const json_t *pod)
{
	return streq(kube_condition(pod, "Ready", NULL), "True");
}

/* container_why() - what one container waits for. Return: is there something to say? */
static bool container_why(const json_t *container, char buf[KUBE_WHY_MAX])
{
	const json_t *state = json_object_get(container, "state");
	const json_t *waiting = json_object_get(state, "waiting");
	const json_t *ended = json_object_get(state, "terminated");
	const char *message = json_text(waiting, "message", "");

	if (waiting)
		(void)snprintf(buf, KUBE_WHY_MAX, "container %s: %s%s%s",
			       json_text(container, "name", "?"),
			       json_text(waiting, "reason", "waiting"), *message ? ": " : "",
			       message);
	else if (ended)
		(void)snprintf(buf, KUBE_WHY_MAX, "container %s ended with %lld (%s)",
			       json_text(container, "name", "?"),
			       (long long)json_number(ended, "exitCode"),
			       json_text(ended, "reason", ""));
	else if (!json_is_true(json_object_get(container, "ready")))
		(void)snprintf(buf, KUBE_WHY_MAX, "container %s runs, but is not ready",
			       json_text(container, "name", "?"));
	else
		return false;
	return true;
}

const char *kube_pod_why(const json_t *pod, char buf[KUBE_WHY_MAX])
{
	const json_t *containers = json_object_get(status_of(pod), "containerStatuses"), *one;
	const char *message = "";
	size_t i;

	buf[0] = '\0';
	if (kube_pod_is_ready(pod))
		return buf;
	if (json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp")) {
		(void)snprintf(buf, KUBE_WHY_MAX, "being deleted");
		return buf;
	}
	if (streq(kube_condition(pod, "PodScheduled", &message), "False")) {
		(void)snprintf(buf, KUBE_WHY_MAX, "no node takes it: %s", message);
		return buf;
	}
	json_array_foreach (containers, i, one)
		if (container_why(one, buf))
			return buf;
	message = json_text(status_of(pod), "phase", "Pending");
	(void)snprintf(buf, KUBE_WHY_MAX, "%s",
		       streq(message, "Running")
			       ? "its containers run, but the API server does not "
				 "hear of them from its node"
			       : message);
	return buf;
}

const char *kube_pod_image(const json_t *pod)
{
	const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");

	return json_text(json_array_get(containers, 0), "image", "");
}

bool kube_node_is_linux(const json_t *node)
{
	const json_t *info = json_object_get(status_of(node), "nodeInfo");

	return streq(json_text(info, "operatingSystem", "linux"), "linux");
}

struct kube_rollout kube_rollout_of(const json_t *object)
{
	const json_t *status = status_of(object), *spec = json_object_get(object, "spec");
	bool is_daemon = streq(json_text(object, "kind", ""), "DaemonSet");
	const json_t *replicas = json_object_get(spec, "replicas");
	struct kube_rollout r;
	json_int_t all;

	if (is_daemon) {
		r.wanted = all = json_number(status, "desiredNumberScheduled");
		r.updated = json_number(status, "updatedNumberScheduled");
		r.ready = json_number(status, "numberAvailable");
	} else {
		r.wanted = replicas ? json_integer_value(replicas) : 1;
		all = json_number(status, "replicas");
		r.updated = json_number(status, "updatedReplicas");
		r.ready = json_number(status, "availableReplicas");
	}
	r.is_done = json_number(status, "observedGeneration") >=
			    json_number(json_object_get(object, "metadata"), "generation") &&
		    r.updated >= r.wanted && all <= r.updated && r.ready >= r.wanted;
	return r;
}
