/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_enrol - is a pod in the mesh, by objects as an API server has them? No state. */
#include <jansson.h>

#include "model/enrol.h"

/**
 * kube_enrol() - enrol_decide() of JSON trees
 * @pod: NULL: one without labels of its own, which goes by its namespace.
 * @ns:  its Namespace; NULL: without labels.
 * Return: the decision; without memory "no label".
 */
struct enrol_decision kube_enrol(json_t *pod, json_t *ns);
/** kube_enrol_mistake() - enrol_mistake() of a Namespace as JSON; without memory none. */
bool kube_enrol_mistake(json_t *ns, size_t i, char *ret, size_t size);
