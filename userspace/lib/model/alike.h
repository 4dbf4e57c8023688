/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* alike - what the pods of one namespace with the same labels have in common, worked out once in a
 * flush: many pods have the labels of their Deployment. For the files of this folder only. */
#include "model/pack.h"

/** struct alike_service - a Service whose selector matches and which has no slices. */
struct alike_service {
	const struct object *object;
	const char *key;
	struct port_list ports;
	bool is_by_pod; /* not @ports: where a port leads is a name that each pod has its own for */
};

/** struct alike - lists are in memory of the flush, what they name is the model's. */
struct alike {
	const struct alike_service *services;
	const struct service_entry **entries; /* whose selectors match */
	size_t services_count, entries_count;
	char **policies; /* names, see pod_policies() */
	size_t policies_count;
	const char *canonical_name; /* by the labels; NULL: the workload's */
	const char *canonical_revision;
	bool is_enrolled; /* of pods without annotations on the pod network */
};

/** alike_get() - that of @p. Return: borrowed until the flush ends; NULL: no memory. */
const struct alike *alike_get(struct model *m, const struct pod *p);
/** alike_end() - the flush is over, or what has been worked out would be too much. */
void alike_end(struct model *m);
