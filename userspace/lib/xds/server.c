/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/batch.h"
#include "xds/held.h"
#include "xds/message.h"
#include "xds/metadata.h"
#include "xds/refusal.h"
#include "xds/resources.h"
#include "xds/rounds.h"
#include "xds/sub.h"
#include "xds/wanted.h"

#define DELTA_PATH     "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define REQUEST_MAX    (64u * 1024 * 1024) /* names and versions of a whole mesh, at a reconnect */
#define STREAMS_MAX    16384               /* connections are limited by who serves them */
#define ACK_TIMEOUT_US 60000000ULL
#define NODE_MAX       256
#define ID_MAX         (NODE_MAX + 128) /* its name and what is around it */
#define VERSION_MAX    64

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse__Part response_part;

struct stream {
	struct xds_server *server;
	struct list link;
	struct grpc_call *call;
	struct loop_timer ack_timer;
	char node_id[ID_MAX], node_name[NODE_MAX], version[VERSION_MAX];
	uint64_t acked, nacked;
	struct sub subs[XDS_TYPE_MAX];
	bool is_torn;                           /* more was to follow on the last response */
	struct refusal *refusals[XDS_TYPE_MAX]; /* NULL: of this type it refuses nothing */
};

struct xds_server {
	struct loop *loop;
	struct resources stores[XDS_TYPE_MAX];
	struct address_index index; /* of the addresses, from when the first client asks by name */
	bool is_indexed;
	struct batch *batch; /* in the making; empty between pushes */
	struct rounds rounds;
	struct list streams; /* whose turn is longest ago first */
	size_t n_streams;
	uint64_t last_nonce;
	uint64_t changed_us; /* when the first change came since the last flush; 0: none */
	uint64_t flushed_us; /* the same of what streams are not marked with yet */
	struct push_stats stats;
	bool is_ready;
	const char *shut; /* why no stream is taken; NULL: they are */
};

static void request_free(delta_request *m)
{
	envoy__service__discovery__v3__delta_discovery_request__free_unpacked(m, NULL);
}
DEFINE_CLEANUP(delta_request *, request_free);

static void stream_free(struct stream *st)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++) {
		held_free(&st->subs[type].held);
		(void)wanted_free(st->subs[type].wanted);
		free(st->refusals[type]);
	}
	loop_timer_del(&st->ack_timer);
	list_del(&st->link);
	st->server->n_streams--;
	free(st);
}

/* With what was sent it has all that there is of what it asked for. */
static bool stream_is_whole(const struct stream *st)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		if (sub_is_behind(&st->subs[type], &st->server->stores[type]))
			return false;
	return true;
}

static int batch_send(struct batch *b, struct stream *st, enum xds_type type)
{
	delta_response resp = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	struct sub *sub = &st->subs[type];
	char nonce[24];
	int r;

	sub->is_first = false;
	(void)snprintf(nonce, sizeof(nonce), "%llu", (unsigned long long)++st->server->last_nonce);
	st->is_torn = !stream_is_whole(st);
	resp.type_url = (char *)xds_type_url(type);
	resp.nonce = nonce;
	resp.resources = b->resource_pointers;
	resp.n_resources = b->n_resources;
	resp.removed_resources = b->removed;
	resp.n_removed_resources = b->n_removed;
	resp.culvert_part =
		st->is_torn ? (response_part)XDS_PART_MORE : (response_part)XDS_PART_WHOLE;
	r = message_send(st->call, &resp.base);
	if (r < 0)
		return r;
	sub->in_flight[sub->n_in_flight++] = (struct sub_response){
		.nonce = st->server->last_nonce,
		.seq = sub->sent_seq,
		.count = b->n_resources + b->n_removed,
		.behind_us = sub_is_up_to_date(sub, &st->server->stores[type]) ? sub->behind_us : 0,
	};
	st->server->stats.pushes[type]++;
	if (!st->ack_timer.loop)
		(void)loop_timer_set(st->server->loop, &st->ack_timer, ACK_TIMEOUT_US);
	return 0;
}

/* Who is new is owed all that there is, not a change. */
static void sub_note_change(struct stream *st, enum xds_type type)
{
	struct sub *sub = &st->subs[type];

	if (sub->is_open && !sub->is_first && !sub->behind_us &&
	    !sub_is_up_to_date(sub, &st->server->stores[type]))
		sub->behind_us = st->server->flushed_us;
}

static int sub_push(struct stream *st, enum xds_type type)
{
	struct resources *store = &st->server->stores[type];
	const struct sub_source from = {type, store, &st->server->index, st->node_name};
	struct batch *b = st->server->batch;
	struct sub *sub = &st->subs[type];
	int r;

	if (!sub_is_behind(sub, store))
		return 0;
	for (int t = 0; type == XDS_NODE_CONFIG && t < XDS_NODE_CONFIG; t++)
		if (st->subs[t].held) /* see types.h */
			return 0;
	r = sub_fill(sub, b, &from);
	if (r == 0 && (sub->is_first || b->n_resources + b->n_removed > 0))
		r = batch_send(b, st, type);
	if (sub_is_up_to_date(sub, store))
		sub->behind_us = 0;
	batch_clear(b);
	return r;
}

static bool stream_is_in_flight(const struct stream *st)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		if (st->subs[type].n_in_flight)
			return true;
	return false;
}

/* may_send() - of each type: all is acknowledged, or it is in the midst of a change. */
static bool may_send(const struct stream *st)
{
	unsigned int max = st->is_torn ? SUB_IN_FLIGHT_MAX : 1;

	for (int type = 0; type < XDS_TYPE_MAX; type++)
		if (st->subs[type].n_in_flight >= max)
			return false;
	return true;
}

/* closing_type() - of what says that the rest was nothing: one that may still wait for an ack.
 * There is one: what was behind and sent nothing. */
static enum xds_type closing_type(const struct stream *st)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		if (st->subs[type].is_open && st->subs[type].n_in_flight < SUB_IN_FLIGHT_MAX)
			return (enum xds_type)type;
	return XDS_TYPE_INVALID;
}

/* All types together. Return: as stream_push(). */
static int round_push(struct stream *st)
{
	enum xds_type closing;
	int r = 0;

	for (int type = 0; r == 0 && type < XDS_TYPE_MAX; type++)
		r = sub_push(st, (enum xds_type)type);
	/* the rest was nothing that it is sent: it is told so */
	closing = st->is_torn ? closing_type(st) : XDS_TYPE_INVALID;
	if (r == 0 && closing != XDS_TYPE_INVALID && stream_is_whole(st))
		r = batch_send(st->server->batch, st, closing);
	return r;
}

/* A change goes once all of the last one is acknowledged: if each type went when it could, a client
 * to which they go in turns would never have all that belongs together. Return: 0; -errno: the
 * stream is beyond repair. */
static int stream_push(struct stream *st)
{
	int r = 0;

	if (!st->server->is_ready)
		return 0;
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		sub_note_change(st, (enum xds_type)type);
	if (may_send(st))
		r = round_push(st);
	/* while the client takes in the first part the next one is already on its way */
	if (r == 0 && st->is_torn && may_send(st))
		r = round_push(st);
	return r;
}

static void stream_fail(struct stream *st, enum grpc_status status, const char *message)
{
	grpc_call_finish(st->call, status, message);
	stream_free(st);
}

static void on_ack_timeout(struct loop_timer *t)
{
	stream_fail(container_of(t, struct stream, ack_timer), GRPC_DEADLINE_EXCEEDED,
		    "a response was not acknowledged");
}

/* Restart or stop the clock, by what is still on its way. */
static void ack_timer_update(struct stream *st)
{
	loop_timer_del(&st->ack_timer);
	if (stream_is_in_flight(st))
		(void)loop_timer_set(st->server->loop, &st->ack_timer, ACK_TIMEOUT_US);
}

static void node_read(struct stream *st, const Envoy__Service__Discovery__V3__Node *node)
{
	if (!node)
		return;
	(void)str_copy(st->node_id, sizeof(st->node_id), node->id);
	(void)str_utf8(st->node_id);
	metadata_copy(node->metadata, METADATA_NODE, st->node_name, sizeof(st->node_name));
	metadata_copy(node->metadata, METADATA_VERSION, st->version, sizeof(st->version));
}

static void ack_read(struct stream *st, struct sub *sub, const delta_request *req)
{
	const size_t type = (size_t)(sub - st->subs);
	const struct sub_response done = sub->in_flight[0];
	uint64_t nonce;

	if (!sub->n_in_flight || str_parse_u64(req->response_nonce, 1, UINT64_MAX, &nonce) < 0 ||
	    nonce != done.nonce)
		return;
	sub->n_in_flight--;
	memmove(sub->in_flight, sub->in_flight + 1, sub->n_in_flight * sizeof(done));
	if (req->error_detail) {
		st->nacked++;
		st->server->stats.rejects[type]++;
		refusal_note(&st->refusals[type], done.seq, req->error_detail->message);
	} else {
		st->acked += done.count;
		refusal_review(&st->refusals[type], &st->server->stores[type]);
		if (done.behind_us)
			push_stats_converged(&st->server->stats,
					     now_monotonic_us() - done.behind_us);
	}
	ack_timer_update(st);
}

/* File all that is there by name. */
static int index_start(struct xds_server *s)
{
	struct resources *store = &s->stores[XDS_ADDRESS];
	int r;

	if (s->is_indexed)
		return 0;
	r = address_index_init(&s->index);
	if (r < 0)
		return r;
	s->is_indexed = true;
	for (struct resource_entry *e = resources_after(store, 0); r == 0 && e;
	     e = resources_next(store, e))
		r = address_index_put(&s->index, e);
	if (r < 0) {
		address_index_clear(&s->index, store);
		s->is_indexed = false;
	}
	return r;
}

static int wanted_start(struct stream *st, struct sub *sub, const delta_request *req)
{
	const struct resources *store = &st->server->stores[XDS_ADDRESS];
	int r = index_start(st->server);

	if (r == 0)
		r = wanted_new(&st->server->index, st->node_name, &sub->wanted);
	if (r == 0)
		r = wanted_compare(sub->wanted, sub->held, store, true);
	if (r == 0)
		r = wanted_read(sub->wanted, &st->server->index, store, req);
	if (r == 0)
		r = wanted_compare(sub->wanted, sub->held, store, false);
	sub->sent_seq = store->seq;
	return r;
}

static int sub_open(struct stream *st, struct sub *sub, enum xds_type type,
		    const delta_request *req)
{
	int r;

	sub->is_open = true;
	sub->is_first = true;
	sub->open_seq = st->server->stores[type].seq;
	r = held_read(req, &sub->held);
	if (r == 0 && type == XDS_ADDRESS && wanted_is_meant(req))
		r = wanted_start(st, sub, req);
	return r;
}

static int sub_continue(struct stream *st, struct sub *sub, const delta_request *req)
{
	const struct xds_server *s = st->server;

	ack_read(st, sub, req);
	return sub->wanted ? wanted_read(sub->wanted, &s->index, &s->stores[XDS_ADDRESS], req) : 0;
}

static int request_handle(struct stream *st, const delta_request *req)
{
	enum xds_type type = xds_type_from_url(req->type_url);
	struct sub *sub;
	int r;

	/* a type that we do not serve: silence, as the protocol has no other answer */
	if (type == XDS_TYPE_INVALID)
		return 0;
	node_read(st, req->node);
	sub = &st->subs[type];
	r = sub->is_open ? sub_continue(st, sub, req) : sub_open(st, sub, type, req);
	return r < 0 ? r : stream_push(st);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	_cleanup_(request_freep) delta_request *req = NULL;
	struct stream *st = arg;

	req = envoy__service__discovery__v3__delta_discovery_request__unpack(NULL, len, data);
	if (!req)
		stream_fail(st, GRPC_INVALID_ARGUMENT, "malformed DeltaDiscoveryRequest");
	else if (request_handle(st, req) < 0)
		stream_fail(st, GRPC_RESOURCE_EXHAUSTED, "out of memory, or too many names");
}

static void on_half_close(struct grpc_call *c, void *arg)
{
	stream_fail(arg, GRPC_OK, NULL);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	stream_free(arg);
}

static const struct grpc_call_ops stream_ops = {
	.on_message = on_message,
	.on_half_close = on_half_close,
	.on_end = on_end,
};

static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct xds_server *s = arg;
	struct stream *st;

	if (s->shut) {
		grpc_call_finish(c, GRPC_UNAVAILABLE, s->shut);
		return;
	}
	st = s->n_streams < STREAMS_MAX ? calloc(1, sizeof(*st)) : NULL;
	if (!st) {
		grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "too many streams");
		return;
	}
	st->server = s;
	st->call = c;
	st->ack_timer.on_timer = on_ack_timeout;
	list_add_tail(&s->streams, &st->link);
	s->n_streams++;
	grpc_call_set_ops(c, &stream_ops, st);
}

static void removed_forget(struct xds_server *s, enum xds_type type)
{
	uint64_t told = s->stores[type].seq;
	struct stream *st;

	if (!resources_has_removed(&s->stores[type]))
		return;
	list_for_each_entry (st, &s->streams, link)
		if (st->subs[type].is_open)
			told = MIN(told, st->subs[type].sent_seq);
	resources_forget(&s->stores[type], told);
}

static void note_changes(struct xds_server *s)
{
	struct stream *st;

	if (!s->flushed_us)
		return;
	list_for_each_entry (st, &s->streams, link)
		for (int type = 0; type < XDS_TYPE_MAX; type++)
			sub_note_change(st, (enum xds_type)type);
	s->flushed_us = 0;
}

/* One that fails is no reason for another to have its turn twice, and no harm. */
static void on_turn(void *arg, size_t n)
{
	struct xds_server *s = arg;

	note_changes(s);
	for (; n > 0 && !list_is_empty(&s->streams); n--) {
		struct stream *st = list_entry(s->streams.next, struct stream, link);

		list_del(&st->link);
		list_add_tail(&s->streams, &st->link);
		if (stream_push(st) < 0)
			stream_fail(st, GRPC_RESOURCE_EXHAUSTED, "out of memory");
	}
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		removed_forget(s, (enum xds_type)type);
}

int xds_server_new(struct loop *loop, struct xds_server **ret)
{
	_cleanup_(xds_server_freep) struct xds_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	rounds_init(&s->rounds, loop, on_turn, s);
	list_init(&s->streams);
	s->batch = batch_new();
	if (!s->batch)
		return -ENOMEM;
	for (int type = 0; type < XDS_TYPE_MAX; type++) {
		r = resources_init(&s->stores[type]);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

struct xds_server *xds_server_free(struct xds_server *s)
{
	struct stream *st, *tmp;

	if (!s)
		return NULL;
	rounds_stop(&s->rounds);
	list_for_each_entry_safe (st, tmp, &s->streams, link)
		stream_free(st);
	batch_free(s->batch);
	if (s->is_indexed)
		address_index_clear(&s->index, &s->stores[XDS_ADDRESS]);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		resources_clear(&s->stores[type]);
	free(s);
	return NULL;
}

struct grpc_method xds_server_method(struct xds_server *s)
{
	return (struct grpc_method){
		.path = DELTA_PATH,
		.max_message = REQUEST_MAX,
		.on_open = on_open,
		.arg = s,
	};
}

int xds_server_set(struct xds_server *s, enum xds_type type, const char *name, const void *packed,
		   size_t len)
{
	int r = resources_set(&s->stores[type], name, packed, len);

	if (r == 0 && type == XDS_ADDRESS && s->is_indexed)
		r = address_index_put(&s->index, resources_get(&s->stores[type], name));
	return r;
}

void xds_server_remove(struct xds_server *s, enum xds_type type, const char *name)
{
	struct resource_entry *e = resources_get(&s->stores[type], name);

	if (e && s->is_indexed)
		address_index_del(&s->index, e);
	resources_remove(&s->stores[type], name);
}

void xds_server_note_change(struct xds_server *s)
{
	if (!s->changed_us)
		s->changed_us = now_monotonic_us();
}

void xds_server_flush(struct xds_server *s)
{
	xds_server_note_change(s);
	if (!s->flushed_us)
		s->flushed_us = s->changed_us;
	s->changed_us = 0;
	s->is_ready = true;
	rounds_ask(&s->rounds, s->n_streams);
}

void xds_server_hold(struct xds_server *s)
{
	rounds_stop(&s->rounds);
	s->is_ready = false;
}

void xds_server_shut(struct xds_server *s, const char *why)
{
	struct stream *st, *tmp;

	s->shut = why;
	list_for_each_entry_safe (st, tmp, &s->streams, link)
		if (why)
			stream_fail(st, GRPC_UNAVAILABLE, why);
}

size_t xds_server_count(const struct xds_server *s, enum xds_type type)
{
	return s->stores[type].n_live;
}

const struct push_stats *xds_server_stats(const struct xds_server *s)
{
	return &s->stats;
}

void xds_server_for_each_client(struct xds_server *s,
				void (*fn)(void *arg, const struct xds_server_client *client),
				void *arg)
{
	struct stream *st;

	list_for_each_entry (st, &s->streams, link) {
		struct xds_server_client client = {
			.node_id = st->node_id,
			.node_name = st->node_name,
			.version = st->version,
			.acked = st->acked,
			.nacked = st->nacked,
			.nack_detail = refusals_detail(st->refusals, XDS_TYPE_MAX),
		};

		fn(arg, &client);
	}
}
