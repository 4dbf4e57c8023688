/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* outbound_internal - the inside of a captured connection, shared by outbound (choosing, tunnels),
 * outbound_head, outbound_named and outbound_plain. */
#include "hbone/head.h"
#include "net/addr.h"
#include "ztunnel/conn.h"
#include "ztunnel/names.h"
#include "ztunnel/pool.h"
#include "ztunnel/relay.h"
#include "ztunnel/resolve.h"
#include "ztunnel/splice.h"

/* Endpoints of one service that may fail a connection before it is given up. */
#define OUTBOUND_AVOID_MAX 4
/* The peer node may be enrolling the pod this very moment: its 15008 is refused for a little while,
 * mostly some milliseconds. */
#define OUTBOUND_RETRY_MIN_US (2 * 1000ULL)
#define OUTBOUND_RETRY_US     (50 * 1000ULL)

struct plain; /* opaque */

/* What it takes to open a connection; gone once it is open, so that an idle one is small. */
struct attempt {
	struct outbound *owner;
	struct state_wait state_wait;
	struct dial_wait dial_wait;
	struct pool_wait pool_wait;
	struct name_wait name_wait;
	__be16 named_port; /* of the endpoint whose name is being resolved */
	int name_error;    /* of the last name that was not resolved */
	const struct workload *avoid_named[OUTBOUND_AVOID_MAX];
	size_t avoid_named_count;
	int plain_fd; /* being connected */
	struct loop_fd plain_watch;
	struct cv_sockaddr plain_dial;
	uint64_t started_us;
	uint32_t retries;
	uint32_t refusals;                            /* of the stream by a tunnel */
	struct cv_sockaddr avoid[OUTBOUND_AVOID_MAX]; /* endpoints that failed it */
	size_t avoid_count;
	struct workload *silent[OUTBOUND_AVOID_MAX]; /* of these those that said nothing; counted */
	size_t silent_count;
	struct cv_sockaddr endpoint; /* being tried, if has_endpoint */
	bool has_endpoint;
	bool has_others;
	bool is_waiting_retry;
	uint32_t among;         /* until one has failed */
	const char *lacks;      /* what it waits for, as the log has it */
	struct workload *meant; /* for whom it was when a tunnel was to take it; counted */
};

struct outbound {
	struct conn conn;
	struct relay relay;      /* tunnel; the application's socket before it is known which */
	struct plain *plain;     /* without a tunnel, once connected: outbound_plain.c's */
	struct attempt *attempt; /* NULL once it is open */
};

/** outbound_opened() - it works: what the attempt needed goes. */
void outbound_opened(struct outbound *o);
/** outbound_try_next() - this endpoint failed before the application's bytes went anywhere: another
 * one of the service, at once. Return: false when there is none to try. */
bool outbound_try_next(struct outbound *o);
/** outbound_may_retry() - the same endpoint may be asked again: nothing is lost yet, and it is not
 * too late. */
bool outbound_may_retry(const struct outbound *o);
/** outbound_retry_after() - look again where it goes, then. */
void outbound_retry_after(struct outbound *o, uint64_t delay_us);
/** outbound_retry_later() - the same where who refused may be about to serve: soon at first, then
 * twice as late each time, up to OUTBOUND_RETRY_US. */
void outbound_retry_later(struct outbound *o);
/** outbound_choice() - among endpoints, without those that failed it. */
struct resolve_choice outbound_choice(struct outbound *o);
/** outbound_resolve() - choose, anew, and dial. May end and free it. */
void outbound_resolve(struct outbound *o);

/** outbound_client() - the pod that dials, as the worker's state has it now; NULL: it does not. */
const struct workload *outbound_client(const struct outbound *o);
/** outbound_follow() - dial what was chosen in the worker's state. May end and free it. */
void outbound_follow(struct outbound *o, struct upstream *u);

/** struct outbound_head - a CONNECT's text, for as long as it is being submitted. */
struct outbound_head {
	char authority[CV_SOCKADDR_STRLEN];
	char forwarded[HBONE_FORWARDED_MAX];
	char traceparent[HBONE_TRACEPARENT_LEN + 1];
	char baggage[HBONE_BAGGAGE_MAX];
};
/** outbound_head() - @ret: of @text. */
void outbound_head(struct outbound *o, struct outbound_head *text, struct hbone_connect *ret);

/** outbound_dial() - connect in plaintext to u->dial; the timer is set. */
void outbound_dial(struct outbound *o, const struct upstream *u);
/** outbound_dial_stop() - let go of all that outbound_dial() began. */
void outbound_dial_stop(struct outbound *o);

/** outbound_dial_named() - outbound_follow() once DNS has told the address; @u: UPSTREAM_NAMED. */
void outbound_dial_named(struct outbound *o, const struct upstream *u);
