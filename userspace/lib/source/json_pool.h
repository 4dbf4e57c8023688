/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* json_pool - one copy of each of many equal JSON values: labels of the pods of one workload.
 * Owner: its creator; what came out of it outlives it. One thread. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct json_pool; /* opaque */

/** json_pool_new() - Return: 0; -ENOMEM. json_pool_free() takes NULL. Return: NULL. */
_must_check_ int json_pool_new(struct json_pool **ret);
struct json_pool *json_pool_free(struct json_pool *s);
DEFINE_CLEANUP(struct json_pool *, json_pool_free);

/** json_pool_get() - @value, or one that is equal to it; not to be changed any more. Return: a
 * reference of its own; NULL for NULL. Without memory for the table it is @value itself. */
json_t *json_pool_get(struct json_pool *s, json_t *value);
/** json_pool_count() - how many different values it knows, in use or not yet swept; for
 * tests. */
size_t json_pool_count(const struct json_pool *s);
