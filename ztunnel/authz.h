/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* authz - L4 authorization at the destination. A pure function of a snapshot; any thread. What
 * cannot be decided denies. */
#include <stdbool.h>

#include "culvert/abi/addr.h"

struct policy;
struct state;
struct workload;

struct authz_conn {
	const char *src_identity; /* "spiffe://..." proven by TLS; NULL: plaintext */
	struct cv_sockaddr src;
	struct cv_sockaddr dst; /* pod IP, application port */
};

struct authz_verdict {
	bool is_allowed;
	char policy[512];   /* "namespace/name" that decided; "" when none did */
	const char *reason; /* static: "allow policy matched", "explicitly denied", ... */
};

/** enum authz_dry_run - what the policies under trial would make of it. */
enum authz_dry_run {
	AUTHZ_DRY_RUN_NONE, /* there are none */
	AUTHZ_DRY_RUN_ALLOWED,
	AUTHZ_DRY_RUN_DENIED,
};

/** struct authz_notes - what is to be logged of a connection, whatever its verdict. Names are
 * borrowed from the snapshot; NULL: none. */
struct authz_notes {
	enum authz_dry_run dry_run;
	const char *dry_run_policy; /* "ns/name"; NULL where none matched, which denies */
	const char *audit_policy;
};

/** authz_check() - may this connection reach @dst? @dst NULL denies. @ret is always filled. */
void authz_check(const struct state *s, const struct workload *dst, const struct authz_conn *conn,
		 struct authz_verdict *ret);

/** authz_is_by_identity() - does a verdict for @dst depend on the source's identity and the port
 * alone, so that it holds for every connection of that source? Not where each connection is to be
 * logged: dry-run and AUDIT policies. */
bool authz_is_by_identity(const struct state *s, const struct workload *dst);

/** authz_notes() - policies under trial (istio.io/dry-run) and AUDIT policies that this connection
 * meets. @ret is always filled. */
void authz_notes(const struct state *s, const struct workload *dst, const struct authz_conn *conn,
		 struct authz_notes *ret);

/** policy_is_match() - does any rule of @p match? For tests. */
bool policy_is_match(const struct policy *p, const struct authz_conn *conn);
