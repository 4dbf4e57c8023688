/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* config_dump - a snapshot as JSON, in the form that istioctl reads. No state. */
#include <jansson.h>

#include "base/macros.h"

struct policy;
struct service;
struct state;
struct workload;

/** state_to_json() - {workloads[], services[], policies[], stagedServices}. Return: new reference;
 * NULL out of memory. */
json_t *state_to_json(const struct state *s);

/* One of them, new reference; NULL out of memory. */
json_t *workload_to_json(const struct workload *w);
json_t *service_to_json(const struct service *v);
json_t *policy_to_json(const struct policy *p);
