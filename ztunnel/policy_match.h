/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* policy_match - does a rule match a connection? Pure functions; any thread. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"
#include "tls/spiffe.h"
#include "ztunnel/policy.h"

struct authz_conn;

/** struct policy_subject - what rules look at, taken apart once per check; borrows the connection.
 */
struct policy_subject {
	const char *principal; /* identity without the scheme; "" for plaintext */
	struct spiffe_id id;   /* all "" for plaintext */
	const struct cv_addr *src;
	const struct cv_addr *dst;
	uint16_t dst_port; /* host order */
};

/** policy_subject_init() - Return: 0; -EINVAL: an identity that is no SPIFFE ID. */
_must_check_ int policy_subject_init(const struct authz_conn *conn, struct policy_subject *ret);

/** policy_rule_is_match() - all clauses true; one without clauses always matches. */
bool policy_rule_is_match(const struct policy_rule *rule, const struct policy_subject *s);

/** policy_is_by_identity() - it looks at no address, and is not there for its log lines. */
bool policy_is_by_identity(const struct policy *p);

/** policy_is_hit() - some rule matches, or the policy could not be understood. */
bool policy_is_hit(const struct policy *p, const struct policy_subject *s);
