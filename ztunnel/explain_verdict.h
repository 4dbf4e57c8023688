/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* explain_verdict - the receiving end: which policies apply to a pod, which match, what
 * authz_check() says, and what would change it. */
#include <jansson.h>

#include "base/macros.h"

struct authz_conn;
struct state;
struct workload;

/** explain_policies() - those that apply to @dst, as config_dump shows them, with `key` and, when
 * @conn is given, `matches`; sorted by key. New reference; NULL out of memory. */
json_t *explain_policies(const struct state *s, const struct workload *dst,
			 const struct authz_conn *conn);

/**
 * explain_verdict() - {allowed, policy, reason, policies[], change[]}
 * @src: who the client is by its address; NULL unknown. Its identity counts only in @conn.
 * Return: new reference; NULL out of memory.
 */
json_t *explain_verdict(const struct state *s, const struct workload *src,
			const struct workload *dst, const struct authz_conn *conn);
