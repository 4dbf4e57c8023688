/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* conn - what every connection has, whichever way it goes: who talks to whom, its counters and its
 * log line. Embedded, first, in struct inbound, plaintext, outbound. Thread: its worker's. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "culvert/abi/addr.h"
#include "ztunnel/authz.h"
#include "ztunnel/stock.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/worker.h"

struct conn;
struct pod;
struct service;
struct workload;

struct conn_ops {
	enum conn_direction direction;
	bool has_socket; /* one accepted for it alone, not a stream of a tunnel */
	/* A new policy denies it, or the worker ends: cut it and free it. */
	void (*cut)(struct conn *c, enum conn_flags flags, const char *error);
	/* Let go of everything that it holds and free it. */
	void (*destroy)(struct conn *c);
};

struct conn {
	struct list link; /* worker->conns */
	struct worker *worker;
	const struct conn_ops *ops;
	struct pod *pod; /* counted: the pod of this node */
	struct loop_timer timer;
	enum conn_direction direction;
	bool is_mtls;
	bool has_hbone;
	bool is_plain; /* outbound: dialled without a tunnel */
	bool is_opened;
	bool is_checked; /* inbound: authz applies */
	struct cv_sockaddr src;
	struct cv_sockaddr original_dst;
	struct cv_sockaddr dst;
	struct cv_sockaddr hbone_addr;
	struct workload *src_workload; /* counted; NULL: unknown. Likewise the next two */
	struct workload *dst_workload;
	struct service *service;
	const char *src_identity; /* borrowed from what the connection holds */
	const char *dst_identity;
	uint64_t opened_us;
	uint64_t bytes_to_server;
	uint64_t bytes_to_client;
	struct conn_metrics *metrics; /* once opened */
};

/** conn_init() - @c zeroed; joins the worker's list. */
void conn_init(struct conn *c, struct worker *w, struct pod *pod, const struct conn_ops *ops);
/** conn_release() - leave the lists, drop the references; the memory is the owner's. */
void conn_release(struct conn *c);
/** conn_opened() - it works: count it. */
void conn_opened(struct conn *c);
/** conn_end() - count its end, write its line: as failed when it was never opened. @error NULL: all
 * well. */
void conn_end(struct conn *c, enum conn_flags flags, const char *error);
/** conn_fail() - conn_end(), then it is destroyed. Serves as conn_ops.cut where nobody has to be
 * told first. */
void conn_fail(struct conn *c, enum conn_flags flags, const char *error);
#define CONN_TEXT_MAX 512
/* In Istio's words: what reaches an application fails so, and what goes out of a pod so. */
#define CONN_DIAL_FAILED "connection failed"
#define CONN_IO_ERROR    "io error"
#define CONN_TOO_LATE    "deadline has elapsed"
/* In ours. */
#define CONN_CLIENT_LEFT "the client left before the application answered"
/** conn_errno_text() - "@what: Connection refused (os error 111)". @error: -errno. Return: @into.
 */
const char *conn_errno_text(const char *what, int error, char into[CONN_TEXT_MAX]);
/** conn_fail_errno() - conn_fail() with CONN_CONNECT and that text. */
void conn_fail_errno(struct conn *c, const char *what, int error);
/** conn_status_text() - "http status: 503 Service Unavailable", of a CONNECT's answer. Return:
 * @into.
 */
const char *conn_status_text(int status, char into[CONN_TEXT_MAX]);
/** conn_end_text() - of a tunnel's stream that ended. Return: NULL: well. */
const char *conn_end_text(int error, uint32_t code);
/** conn_fail_early() - it was never known what it is connected with: "connection failed". */
void conn_fail_early(struct conn *c, const char *error);
/** conn_denied() - as conn_end() for a policy's no. */
void conn_denied(struct conn *c, const struct authz_verdict *v);
/** conn_count_bytes() - while they move. */
void conn_count_bytes(struct conn *c, uint64_t to_server, uint64_t to_client);
/** conn_set_src(), conn_set_dst(), conn_set_service() - remember with a reference; NULL is fine. */
void conn_set_src(struct conn *c, const struct workload *w);
void conn_set_dst(struct conn *c, const struct workload *w);
void conn_set_service(struct conn *c, const struct service *s);
/** conn_check() - inbound: does policy allow it now? */
void conn_check(struct conn *c, const struct workload *dst, struct authz_verdict *ret);
/** conn_note() - inbound, once: log what policies under trial and AUDIT policies say of it. */
void conn_note(const struct conn *c, const struct workload *dst);
#define CONN_CUT_MAX (sizeof(((struct authz_verdict *)0)->policy) + 128)
/** conn_cut_text() - of an open one that is denied now: "connection closed due to policy change: ".
 * Return: @into. */
const char *conn_cut_text(const struct authz_verdict *v, char into[CONN_CUT_MAX]);
/** conn_recheck_all() - after a policy change: cut what is denied now. */
void conn_recheck_all(struct worker *w);

/** conn_dial_app() - the application's own socket address, shown @c->src as its peer. @fd: a
 * DIAL_APP socket, left to the caller, without TCP_NODELAY. Return: 1 connected; 0 on the way:
 * EPOLLOUT or EPOLLERR will come; -errno. */
_must_check_ int conn_dial_app(struct conn *c, int fd, const struct cv_sockaddr *to);
