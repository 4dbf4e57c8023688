/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* telemetry - Telemetry resources and what they say of pods. For the files of this folder only. */
#include "model/impl.h"

struct Culvert__Node__Workload;

struct telemetry {
	struct entity e;
	const json_t *selector;        /* borrowed from the object; NULL: the whole namespace */
	struct index_link in_selector; /* unfiled when it is not for ztunnels */
};

void telemetry_unlink(struct model *m, struct telemetry *t);
_must_check_ int telemetry_link(struct model *m, struct telemetry *t);
_must_check_ int telemetry_flush(struct model *m, struct telemetry *t);

/** pod_telemetry() - what holds for a pod; the message is left alone where nothing is said. Return:
 * 0; -ENOMEM. */
_must_check_ int pod_telemetry(const struct model *m, const struct pod *p,
			       struct Culvert__Node__Workload *msg, struct scratch *a);
