/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admin - the HTTP servers of ztunnel: 127.0.0.1:15000 and RUN/ztunnel/admin.sock, metrics on
 * 15020, readiness on 15021. Thread: the main loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

struct admin; /* opaque */
struct buf;
struct certs;
struct loop;
struct telemetry;
struct xds_sync;

/* What readiness waits for. All are pending at first. */
enum admin_task {
	ADMIN_TASK_STATE, /* "state manager": xDS synced */
	ADMIN_TASK_PROXY, /* "proxy": workers run */
	ADMIN_TASK_DNS,   /* "dns proxy" */
	ADMIN_TASK_PODS,  /* "workload proxy manager": the agent is connected and has sent all pods
			   */
	ADMIN_TASK_MAX,
};

struct service;
struct workload;

/** struct admin_conn - a live connection, for config_dump and connections. All borrowed. */
struct admin_conn {
	bool is_inbound;
	struct cv_sockaddr src;
	struct cv_sockaddr original_dst;
	struct cv_sockaddr actual_dst;
	const char *protocol; /* "HBONE" or "TCP"; static */
	/* For /connections only. */
	bool is_open;                  /* false: still being set up */
	const struct workload *peer;   /* the other end, NULL: unknown */
	const struct service *service; /* that was asked for, NULL: none */
	const char *peer_identity;     /* proven by TLS, NULL: none */
	const char *client_identity;   /* what the client has shown, likewise: policy goes by it */
	struct cv_sockaddr target;     /* the pod's address and port that policy looks at */
	uint64_t opened_us;            /* CLOCK_MONOTONIC */
	uint64_t bytes_to_server;
	uint64_t bytes_to_client;
};

/** struct admin_pod - a pod that this ztunnel serves. Strings are copied. */
struct admin_pod {
	const char *uid;
	const char *name;
	const char *namespace_;
	const char *service_account;
	bool is_up; /* false: "Pending" */
};

/** struct admin_dump - a config_dump or connections that waits for the workers. Ends by
 * admin_dump_done(), exactly once, and once more for each admin_dump_hold(). */
struct admin_dump;
void admin_dump_hold(struct admin_dump *d);
/** admin_dump_more() - some have come and more will: it is worth waiting as long again. */
void admin_dump_more(struct admin_dump *d);
/** admin_dump_direct_listed() - the connections without a tunnel have been added, all of them. */
void admin_dump_direct_listed(struct admin_dump *d);
int admin_dump_pod(struct admin_dump *d, const struct admin_pod *pod);
/** admin_dump_conn() - add a connection to a pod that admin_dump_pod() named before. Return: 0;
 * -ENOENT; -ENOMEM. */
int admin_dump_conn(struct admin_dump *d, const char *pod_uid, const struct admin_conn *conn);
void admin_dump_done(struct admin_dump *d);

struct admin_config {
	struct loop *loop; /* borrowed, as are the next two */
	struct xds_sync *xds;
	struct certs *certs;
	const char *node;      /* copied */
	const char *unix_path; /* RUN/ztunnel/admin.sock; NULL: none; copied */
	uint16_t admin_port;   /* 15000; 0: none. All three likewise */
	uint16_t metrics_port; /* 15020 */
	uint16_t ready_port;   /* 15021 */
	unsigned int workers;  /* shown in `config` */
	/** collect() - gather pods and connections into @d, now or later, then admin_dump_done().
	 * NULL: none. */
	void (*collect)(void *arg, struct admin_dump *d);
	/** quit() - POST /quitquitquit: drain and end. */
	void (*quit)(void *arg);
	void *arg;
};

/** admin_new() - listen. Return: 0; -EADDRINUSE and others of bind, the port named in @err. */
_must_check_ int admin_new(const struct admin_config *config, char *err, size_t err_size,
			   struct admin **ret);
struct admin *admin_free(struct admin *a);
DEFINE_CLEANUP(struct admin *, admin_free);

/** admin_set_ready() - a task is done, or (false) pending again: 15021 answers 500 and names it. */
void admin_set_ready(struct admin *a, enum admin_task task, bool is_ready);

/** admin_add_telemetry() - scrape this worker too; borrowed. Return: 0; -ENOMEM. */
_must_check_ int admin_add_telemetry(struct admin *a, struct telemetry *t);

/** admin_add_metrics() - call @fn at each scrape to append its OpenMetrics text. Return: 0;
 * -ENOMEM. */
_must_check_ int admin_add_metrics(struct admin *a, int (*fn)(void *arg, struct buf *into),
				   void *arg);

/** admin_set_agent_metrics() - text of ZDS_METRICS, replaces the last; copied, <= 64 KiB. */
void admin_set_agent_metrics(struct admin *a, const char *text, size_t len);
