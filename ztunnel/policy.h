/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* policy - one authorization policy, ready to evaluate. Immutable, atomically counted. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/cidr.h"

struct arena;

enum policy_scope {
	POLICY_GLOBAL,
	POLICY_NAMESPACE,
	POLICY_WORKLOAD,
};

enum policy_action {
	POLICY_ALLOW,
	POLICY_DENY,
	POLICY_AUDIT, /* a match is logged, nothing else */
};

/** enum policy_class - what a match of a policy is for; each is asked for on its own. */
enum policy_class {
	POLICY_CLASS_DENY,
	POLICY_CLASS_ALLOW,
	POLICY_CLASS_DRY_DENY, /* istio.io/dry-run: what it would do is logged */
	POLICY_CLASS_DRY_ALLOW,
	POLICY_CLASS_AUDIT,
	POLICY_CLASSES,
};

enum text_match_kind {
	TEXT_EXACT,
	TEXT_PREFIX,
	TEXT_SUFFIX,
	TEXT_PRESENT, /* anything but "" */
};

struct text_match {
	enum text_match_kind kind;
	const char *text;
	size_t len;
};

struct account_match {
	const char *namespace_;
	const char *service_account;
};

struct text_matches {
	const struct text_match *items;
	size_t count;
};

struct cidr_matches {
	const struct cidr *items;
	size_t count;
};

struct port_matches {
	const uint16_t *items;
	size_t count;
};

struct account_matches {
	const struct account_match *items;
	size_t count;
};

/** struct policy_match - fields are ANDed, values of one field ORed; an empty field does not
 * restrict. */
struct policy_match {
	struct text_matches namespaces, not_namespaces;
	struct text_matches principals, not_principals;
	struct cidr_matches src_ips, not_src_ips;
	struct cidr_matches dst_ips, not_dst_ips;
	struct port_matches dst_ports, not_dst_ports;
	struct account_matches accounts, not_accounts;
	bool is_empty; /* no field at all: never matches */
};

struct policy_clause { /* OR; none: true */
	const struct policy_match *matches;
	size_t count;
};

struct policy_rule { /* AND; none: true */
	const struct policy_clause *clauses;
	size_t count;
};

struct policy { /* OR; none: false */
	atomic_uint refs;
	struct arena *arena;
	const char *key; /* "namespace/name" */
	const char *name;
	const char *namespace_;
	enum policy_scope scope;
	enum policy_action action;
	bool is_dry_run;
	bool is_broken; /* could not be understood: denies everything in its scope */
	const struct policy_rule *rules;
	size_t count;
};

/** policy_class_of() - what its matches are for. */
static inline enum policy_class policy_class_of(const struct policy *p)
{
	if (p->action == POLICY_AUDIT)
		return POLICY_CLASS_AUDIT;
	if (p->action == POLICY_DENY)
		return p->is_dry_run ? POLICY_CLASS_DRY_DENY : POLICY_CLASS_DENY;
	return p->is_dry_run ? POLICY_CLASS_DRY_ALLOW : POLICY_CLASS_ALLOW;
}

struct policy *policy_ref(struct policy *p);
/** policy_unref() - takes NULL. Return: NULL. */
struct policy *policy_unref(struct policy *p);
DEFINE_CLEANUP(struct policy *, policy_unref);
