/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reference - Istio's L4 authorization a second time, as plainly as can be, from its documentation:
 * straight on the messages, one policy after the other. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "userspace/lib/xds/authorization.pb-c.h"

struct ref_addr {
	uint8_t bytes[16];
	size_t len; /* 4 or 16 */
};

/* Selector-scoped policies that a destination names. */
#define REF_NAMED_MAX 6

/* A connection, and what is known of where it goes. */
struct ref_conn {
	const char *principal; /* "td/ns/n/sa/s"; "" for plaintext */
	const char *namespace_;
	const char *account;
	struct ref_addr src, dst;
	uint32_t port;
	const char *dst_namespace;
	const char *dst_policies[REF_NAMED_MAX + 1]; /* "ns/name"; ends with NULL */
};

struct ref_policy {
	Istio__Security__Authorization *m;
	bool is_audit;
};

struct ref_answer {
	bool is_allowed;
	bool is_dry_denied; /* some policy under trial says no */
	bool is_audited;
};

struct ref_answer ref_check(const struct ref_policy *set, size_t n, const struct ref_conn *c);
