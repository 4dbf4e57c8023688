/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "ztunnel/admin.h"
#include "ztunnel/conn.h"
#include "ztunnel/pod.h"
#include "ztunnel/state.h"

/* What one worker lists; the bytes are struct row, one after the other. */
#define ROWS_MAX (64 * 1024 * 1024)

/* It crosses threads: the row holds references and copies of identities. */
struct row {
	struct pod *pod;
	struct admin_conn conn;
	struct workload *peer;
	struct service *service;
	char *identity;
	char *client_identity;
};

struct job {
	struct admin_dump *dump;
	unsigned int pending;
};

struct part {
	struct job *job;
	struct buf rows;
};

static void row_hold(struct row *row, const struct conn *c)
{
	bool is_inbound = c->direction == CONN_INBOUND;
	struct workload *peer = is_inbound ? c->src_workload : c->dst_workload;
	const char *identity = is_inbound ? c->src_identity : c->dst_identity;

	row->pod = pod_ref(c->pod);
	row->peer = peer ? workload_ref(peer) : NULL;
	row->service = c->service ? service_ref(c->service) : NULL;
	row->identity = c->is_mtls && identity ? strdup(identity) : NULL;
	row->client_identity = c->is_mtls && c->src_identity ? strdup(c->src_identity) : NULL;
	row->conn.peer = row->peer;
	row->conn.service = row->service;
	row->conn.peer_identity = row->identity;
	row->conn.client_identity = row->client_identity;
}

static void row_release(struct row *row)
{
	(void)pod_unref(row->pod);
	(void)workload_unref(row->peer);
	(void)service_unref(row->service);
	free(row->identity);
	free(row->client_identity);
}

/* on_conn() - in the worker's thread. */
static void on_conn(void *arg, const struct conn *c)
{
	struct part *p = arg;
	struct row row = {
		.conn =
			{
				.is_inbound = c->direction == CONN_INBOUND,
				.src = c->src,
				.original_dst = c->has_hbone && c->direction == CONN_INBOUND
							? c->hbone_addr
							: c->original_dst,
				.actual_dst = c->dst,
				.target = c->has_hbone ? c->hbone_addr : c->dst,
				.protocol = c->has_hbone ? "HBONE" : "TCP",
				.is_open = c->is_opened,
				.opened_us = c->opened_us,
				.bytes_to_server = c->bytes_to_server,
				.bytes_to_client = c->bytes_to_client,
			},
	};

	row_hold(&row, c);
	/* Too many to list: the dump names fewer, that is all. */
	if (buf_append(&p->rows, &row, sizeof(row)) < 0)
		row_release(&row);
}

static void job_part_done(struct job *job)
{
	if (--job->pending > 0)
		return;
	admin_dump_done(job->dump);
	free(job);
}

static void on_part(void *main, void *arg)
{
	struct part *p = arg;
	struct row row;

	while (buf_len(&p->rows) >= sizeof(row)) {
		memcpy(&row, buf_head(&p->rows), sizeof(row));
		buf_consume(&p->rows, sizeof(row));
		(void)admin_dump_conn(p->job->dump, row.pod->uid, &row.conn);
		row_release(&row);
	}
	buf_reset(&p->rows);
	job_part_done(p->job);
	free(p);
}

static int part_start(struct worker *w, struct job *job)
{
	struct part *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->job = job;
	p->rows.limit = ROWS_MAX;
	r = worker_post_collect(w, on_conn, on_part, p);
	if (r < 0)
		free(p);
	return r;
}

void collect_start(struct worker *workers, unsigned int count, struct admin_dump *d)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		admin_dump_done(d);
		return;
	}
	job->dump = d;
	job->pending = count + 1;
	for (unsigned int i = 0; i < count; i++)
		if (part_start(&workers[i], job) < 0)
			job->pending--;
	job_part_done(job);
}
