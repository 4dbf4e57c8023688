/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* telemetry - TCP metrics of one worker. Its thread alone writes, without locks; telemetry_write()
 * sums over the workers from another thread. Series are bounded: past the limit, what is new is
 * counted by reporter, flags and security alone, with every other label unknown.
 *
 * What nobody has used for TELEMETRY_IDLE_US is given back when a worker has TELEMETRY_CROWDED
 * series or more: it is in no scrape any more, and begins at 0 when it comes again, which is to who
 * scrapes what a restart is. One set of labels is given back in all workers by one scrape, else
 * their sum would fall to what the others have. The worker frees such series when it needs room. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

#define TELEMETRY_IDLE_US (30 * 60 * 1000000ULL)
#define TELEMETRY_CROWDED 4096

struct buf;
struct history;
struct service;
struct signal_rules;
struct telemetry; /* opaque */
struct workload;

enum conn_direction {
	CONN_INBOUND,  /* reporter "destination" */
	CONN_OUTBOUND, /* reporter "source" */
};

/* Values of the label response_flags. */
enum conn_flags {
	CONN_OK,                   /* "-" */
	CONN_DENY,                 /* "DENY": a policy */
	CONN_CONNECT,              /* "CONNECT": the peer or the application could not be reached */
	CONN_TLS_FAILURE,          /* "TLS_FAILURE" */
	CONN_H2_HANDSHAKE_FAILURE, /* "H2_HANDSHAKE_FAILURE" */
	CONN_NETWORK_POLICY,       /* "NETWORK_POLICY": time-out to 15008 */
	CONN_IDENTITY_ERROR,       /* "IDENTITY_ERROR": no certificate of our own */
	CONN_CERT_REVOKED,         /* "CERT_REVOKED": the peer's certificate is on a CRL */
	CONN_TRUST_DOMAIN,         /* "TRUST_DOMAIN": the peer's is not one of ours any more */
	CONN_FLAGS_MAX,
};

/** conn_flags_refused() - of what hbone_tunnel_refusal() says. */
static inline enum conn_flags conn_flags_refused(int error)
{
	return error == -EKEYREVOKED ? CONN_CERT_REVOKED : CONN_TRUST_DOMAIN;
}

/** conn_flags_is_answer() - a no to who the peer is, not a failure. */
static inline bool conn_flags_is_answer(enum conn_flags f)
{
	return f == CONN_DENY || f == CONN_CERT_REVOKED || f == CONN_TRUST_DOMAIN;
}

/** struct conn_info - a connection as log and metrics name it. All borrowed during the call; NULL:
 * unknown. */
struct conn_info {
	enum conn_direction direction;
	bool is_mtls;
	bool is_direct;         /* inside the node, told by the agent */
	bool is_plain;          /* outbound: dialled without a tunnel */
	bool has_hbone;         /* hbone_addr is set: it came or goes through a tunnel */
	struct cv_sockaddr src; /* client */
	struct cv_sockaddr dst; /* tunnel's address (…:15008) for HBONE, else the destination */
	struct cv_sockaddr hbone_addr; /* CONNECT authority */
	struct cv_sockaddr asked;      /* what the client dialled; port 0: not known */
	const struct workload *src_workload;
	const struct workload *dst_workload;
	const struct service *service;
	const char *src_identity; /* proven by TLS, "spiffe://..." */
	const char *dst_identity;
	uint64_t opened_us; /* CLOCK_MONOTONIC */
	uint64_t now_us;    /* the same clock; 0: it is asked when that matters */
	/* Of this connection alone, for the log: request direction and response direction. */
	uint64_t bytes_to_server;
	uint64_t bytes_to_client;
};

/** conn_info_rules() - what Telemetry resources say of it: those of the workload that reports.
 * Return: NULL: nothing. */
const struct signal_rules *conn_info_rules(const struct conn_info *info);

/** struct conn_metrics - one series, shared by the connections with the same labels. Add while
 * bytes move: conn_metrics_add(&m->received, n). "received" is client -> server, "sent" is server
 * -> client, on both reporters. */
struct conn_metrics {
	_Atomic uint64_t sent;
	_Atomic uint64_t received;
	_Atomic uint64_t opened;
	_Atomic uint64_t closed;
	_Atomic uint64_t failed;
};

/** conn_metrics_add() - single writer: no locked instruction. */
static inline void conn_metrics_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/** telemetry_new() - for one worker. Return: 0; -ENOMEM. */
_must_check_ int telemetry_new(struct telemetry **ret);
struct telemetry *telemetry_free(struct telemetry *t);
DEFINE_CLEANUP(struct telemetry *, telemetry_free);

/**
 * telemetry_conn_open() - count an opened connection
 * Return: its series, never NULL, valid until telemetry_conn_close().
 */
struct conn_metrics *telemetry_conn_open(struct telemetry *t, const struct conn_info *info);

/** telemetry_told_metrics() - the series of a connection that is told of by its events, which holds
 * none. Return: never NULL, valid until the next call. */
struct conn_metrics *telemetry_told_metrics(struct telemetry *t, const struct conn_info *info);

/** telemetry_told_opened(), telemetry_told_closed() - @n of them, without a line. */
void telemetry_told_opened(struct telemetry *t, const struct conn_info *info, uint64_t n);
void telemetry_told_closed(struct telemetry *t, const struct conn_info *info, uint64_t n);

/** telemetry_told_open(), telemetry_told_close() - one of them, with its line; @flags and @error as
 * telemetry_conn_close()'s. A reset is in no label, as those of tunnels are not. */
void telemetry_told_open(struct telemetry *t, const struct conn_info *info);
void telemetry_told_close(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			  const char *error);

/**
 * telemetry_conn_close() - count the end of it and write the access log line
 * @m:     from telemetry_conn_open(), not to be used any more.
 * @flags: CONN_OK, or why it failed.
 * @error: text for the log; NULL when it ended well.
 */
void telemetry_conn_close(struct telemetry *t, struct conn_metrics *m, const struct conn_info *info,
			  enum conn_flags flags, const char *error);

/** telemetry_conns_failed() - @n connections that never worked are counted, without a line. */
void telemetry_conns_failed(struct telemetry *t, const struct conn_info *info,
			    enum conn_flags flags, uint64_t n);

/** telemetry_conn_failed() - a connection that never worked: opened, closed and failed count one
 * each, as in Istio's ztunnel, and an error line. */
void telemetry_conn_failed(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			   const char *error);

/** telemetry_conn_early() - an end before it was known who wants to talk to whom: failed counts,
 * and a "connection failed" line. */
void telemetry_conn_early(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			  const char *error);

#define TELEMETRY_TEXT_MAX 1024
/** telemetry_denied_text() - "connection closed due to policy rejection: ...", of a verdict's
 * policy and reason. Return: @into. */
const char *telemetry_denied_text(const char *policy, const char *reason,
				  char into[TELEMETRY_TEXT_MAX]);

/** telemetry_conn_denied() - as failed, with DENY, policy ("ns/name" or "") and reason of the
 * verdict in the line. */
void telemetry_conn_denied(struct telemetry *t, const struct conn_info *info, const char *policy,
			   const char *reason);

/** telemetry_history() - what has ended there. Lives as long as @t. */
struct history *telemetry_history(const struct telemetry *t);

/** telemetry_count_socket() - one more socket that was accepted, or (@by -1) one fewer. */
void telemetry_count_socket(struct telemetry *t, enum conn_direction direction, int by);

/** telemetry_crl_rejected() - a tunnel that was not let in, or is cut, because the peer's
 * certificate is on a revocation list. */
void telemetry_crl_rejected(struct telemetry *t, enum conn_direction direction);

/** telemetry_write() - append the sums over @workers as OpenMetrics text, and give back what is
 * idle at @now_us of CLOCK_MONOTONIC. Any one thread at a time. Return: 0; -ENOMEM. */
int telemetry_write(struct telemetry *const *workers, size_t workers_count, uint64_t now_us,
		    struct buf *into);
