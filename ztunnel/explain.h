/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* explain - what this ztunnel would do with a connection, as JSON: asked of the same functions and
 * the same snapshot that decide about real ones. No state, no side effects. Thread: main loop. */
#include <jansson.h>
#include <stdbool.h>

#include "base/macros.h"

struct http_request;
struct state;

/**
 * explain_is_path() - does explain_request() answer @path?
 *
 * GET /explain?from=POD&to=DEST[:PORT]        both ends: routes, certificate, verdicts
 * GET /explain/inbound?to=POD&dst=IP:PORT&src=IP[&identity=SPIFFE]   the receiving end alone
 * GET /explain/policies?pod=POD               the policies that apply to a pod
 *
 * POD: address, UID, NAMESPACE/NAME, NAME.NAMESPACE or NAME; the name of the workload that owns it
 * serves too. DEST: the same, or a service by name or host name.
 */
bool explain_is_path(const char *path);

/**
 * explain_request() - answer one of these
 * @s:          borrowed.
 * @ret_status: HTTP status: 200; 400 malformed; 404 nothing goes by that name; 500 out of memory.
 * Return: new reference, {"error": "..."} unless the status is 200; NULL: out of memory.
 */
json_t *explain_request(const struct state *s, const struct http_request *req,
			unsigned int *ret_status);
