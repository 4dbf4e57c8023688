/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* policy_anchor - the things that a rule can be filed under, and those that a connection has. For
 * policy_set alone. Pure functions. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "tls/spiffe.h"
#include "ztunnel/policy.h"

struct policy_subject;

/* Enough for any identity, and what is longer matches none. */
#define ANCHOR_TEXT_MAX SPIFFE_ID_SIZE

enum anchor_kind {
	ANCHOR_NONE, /* matches whatever comes, or cannot be told */
	ANCHOR_PRINCIPAL,
	ANCHOR_ACCOUNT,
	ANCHOR_SRC,
	ANCHOR_DST,
	ANCHOR_NAMESPACE,
	ANCHOR_PORT,
	ANCHOR_PRINCIPAL_PREFIX,
	ANCHOR_PRINCIPAL_SUFFIX,
	ANCHOR_NAMESPACE_PREFIX,
	ANCHOR_NAMESPACE_SUFFIX,
	ANCHOR_IDENTITY, /* has one */
	ANCHOR_NO_IDENTITY,
	ANCHOR_KINDS,
};

/** struct anchor - a key of the index. */
struct anchor {
	enum anchor_kind kind;
	size_t value_len; /* of a prefix, a suffix or an address prefix */
	size_t len;
	uint8_t key[ANCHOR_TEXT_MAX + 8];
};

/** struct anchor_lengths - the lengths of prefixes and suffixes that are in use. */
struct anchor_lengths {
	uint64_t used[ANCHOR_KINDS][(ANCHOR_TEXT_MAX + 63) / 64];
};
void anchor_lengths_add(struct anchor_lengths *l, const struct anchor *a);

/** struct anchor_choice - under what a rule is: one field of each match of one clause. */
struct anchor_choice {
	size_t clause; /* SIZE_MAX: under ANCHOR_NONE */
	uint8_t fields[];
};

/** anchor_fn - Return: 0 to go on; anything else ends the visit and is returned. */
typedef int (*anchor_fn)(void *arg, const struct anchor *a);

/** anchor_choose() - where the fewest are already. @count: how many are under an anchor. @ret: with
 * room for as many fields as the longest clause has matches. */
void anchor_choose(enum policy_class class, const struct policy_rule *rule,
		   int (*count)(void *arg, const struct anchor *a, size_t *ret), void *arg,
		   struct anchor_choice *ret);
/** anchors_visit() - the anchors of a rule that chose @at. */
int anchors_visit(enum policy_class class, const struct policy_rule *rule,
		  const struct anchor_choice *at, anchor_fn fn, void *arg);
/** anchors_against_visit() - what no connection has that the rule matches: what its not-fields
 * name, but for those that hold for a part of the rule alone. */
int anchors_against_visit(enum policy_class class, const struct policy_rule *rule, anchor_fn fn,
			  void *arg);
/** anchors_of_subject() - all that a connection has, ANCHOR_NONE last. */
int anchors_of_subject(enum policy_class class, const struct policy_subject *s,
		       const struct anchor_lengths *lengths, anchor_fn fn, void *arg);
