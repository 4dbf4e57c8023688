/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* config_dump - a snapshot as JSON, in the form that istioctl reads. Of a large mesh that takes
 * seconds, in which the thread has other things to do, and many times the text's size as a tree: so
 * it is written object by object, a little at a time. One thread. */
#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct buf;
struct config_dump; /* opaque: one that is being written */
struct policy;
struct service;
struct state;
struct workload;

/** config_dump_new() - {workloads[], services[], policies[]} and what else @rest, an object, has.
 * @s, @rest: counted. Return: 0; -ENOMEM. */
_must_check_ int config_dump_new(struct state *s, json_t *rest, struct config_dump **ret);
/** config_dump_free() - takes NULL. */
struct config_dump *config_dump_free(struct config_dump *d);
DEFINE_CLEANUP(struct config_dump *, config_dump_free);
/** config_dump_step() - append to @into for so long. Return: 1: there is more; 0: that was all;
 * -ENOMEM. */
_must_check_ int config_dump_step(struct config_dump *d, uint64_t for_us, struct buf *into);

/* One of them, new reference; NULL out of memory. */
json_t *workload_to_json(const struct workload *w);
json_t *service_to_json(const struct service *v);
json_t *policy_to_json(const struct policy *p);
