/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* outbound_internal - the inside of a captured connection, shared by outbound and outbound_named.
 */
#include "ztunnel/conn.h"
#include "ztunnel/names.h"
#include "ztunnel/pool.h"
#include "ztunnel/relay.h"
#include "ztunnel/resolve.h"
#include "ztunnel/splice.h"

/* Endpoints of one service that may fail a connection before it is given up. */
#define AVOID_MAX 4

struct outbound {
	struct conn conn;
	struct pool_wait pool_wait;
	struct name_wait name_wait;
	__be16 named_port; /* of the endpoint whose name is being resolved */
	int name_error;    /* of the last name that was not resolved */
	const struct workload *avoid_named[AVOID_MAX];
	size_t avoid_named_count;
	struct relay relay;   /* tunnel */
	struct splice splice; /* plain */
	int plain_fd;         /* being connected */
	struct loop_fd plain_watch;
	struct cv_sockaddr plain_dial;
	uint64_t started_us;
	uint32_t retries;
	struct cv_sockaddr avoid[AVOID_MAX]; /* endpoints that failed it */
	size_t avoid_count;
	struct cv_sockaddr endpoint; /* being tried, if has_endpoint */
	bool has_endpoint;
	bool has_others;
	bool is_waiting_retry;
	bool is_answered;
};

/** outbound_choice() - among endpoints, without those that failed it. */
struct resolve_choice outbound_choice(struct outbound *o);
/** outbound_resolve() - choose, anew, and dial. May end and free it. */
void outbound_resolve(struct outbound *o);
/** outbound_fail() - log it as failed, free it. */
void outbound_fail(struct outbound *o, enum conn_flags flags, const char *error);
/** outbound_dial() - connect in plaintext to u->dial. */
void outbound_dial(struct outbound *o, const struct upstream *u);

/** outbound_dial_named() - the same once DNS has told the address; @u: UPSTREAM_NAMED. */
void outbound_dial_named(struct outbound *o, const struct upstream *u);
