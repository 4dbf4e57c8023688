/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_pods - what the API server says of pods, of what makes them and what they run on, in words.
 * No state. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define KUBE_WHY_MAX 256

/** kube_condition() - the status ("True", "False", "Unknown") of a condition of any object; "" when
 * it has none. @ret_message: what it says, borrowed; may be NULL. */
const char *kube_condition(const json_t *object, const char *type, const char **ret_message);
/** kube_pod_is_ready() - by its condition. */
bool kube_pod_is_ready(const json_t *pod);
/** kube_pod_why() - why it is not ready: "container agent: ImagePullBackOff: ...", "" when it is.
 * Return: @buf. */
const char *kube_pod_why(const json_t *pod, char buf[KUBE_WHY_MAX]);
/** kube_pod_image() - of its first container; "" when there is none. Borrowed. */
const char *kube_pod_image(const json_t *pod);

/** kube_node_is_linux() - Nodes that do not say are. */
bool kube_node_is_linux(const json_t *node);

/** struct kube_rollout - how far a Deployment or a DaemonSet is. */
struct kube_rollout {
	json_int_t wanted, updated, ready;
	bool is_done;
};
/** kube_rollout_of() - of such an object as the API server has it. */
struct kube_rollout kube_rollout_of(const json_t *object);
