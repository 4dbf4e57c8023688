/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "http/grpc.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/message.h"
#include "xds/metadata.h"
#include "xds/unpack.h"
#include "xds/versions.h"

#define DELTA_PATH     "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define MESSAGE_MAX    (200u * 1024 * 1024) /* as Istio's ztunnel */
#define RESPONSE_BLOCK (64u * 1024)         /* of memory, for what is in a response */
#define BACKOFF_MIN_US 10000ULL
/* nobody listens on a local socket: trying is cheap, and it may be there any moment */
#define BACKOFF_LOCAL_US 1000000ULL
#define BACKOFF_MAX_US   15000000ULL
/* after there was no memory for what it sent */
#define BACKOFF_MEMORY_US 1000000ULL
#define DETAIL_MAX        2048
#define ERR_MAX           256
#define FAILURE_MAX       512

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;
typedef Envoy__Service__Discovery__V3__Resource delta_resource;
typedef Envoy__Service__Discovery__V3__ResourceVersion resource_version;

struct xds_client {
	struct loop *loop;
	struct dial_target target;
	char *node_id, *node_name, *version;
	unsigned int types;
	unsigned int asked; /* of them, over this stream */
	const struct xds_ops *ops;
	void *arg;
	struct grpc_client *grpc;
	struct grpc_call *stream;
	struct loop_timer reconnect;
	uint64_t backoff_us;
	struct versions held[XDS_TYPE_MAX]; /* as the control plane sent them; their names are the
					       owner's */
	bool is_connected;
	enum xds_part part;        /* of the last response */
	char failure[FAILURE_MAX]; /* told; "": none since it was connected last */
};

static void connection_drop(struct xds_client *c)
{
	bool was_connected = c->is_connected;

	c->stream = NULL;
	c->grpc = grpc_client_free(c->grpc);
	c->is_connected = false;
	(void)loop_timer_set(c->loop, &c->reconnect, c->backoff_us);
	c->backoff_us = MIN(c->backoff_us * 2, BACKOFF_MAX_US);
	if (was_connected && c->ops->on_state)
		c->ops->on_state(c->arg, false);
}

static void failure_tell(struct xds_client *c, const char *why)
{
	char text[FAILURE_MAX];

	(void)snprintf(text, sizeof(text), "%s: %s",
		       c->target.path ? c->target.path : c->target.address, why);
	if (streq(text, c->failure))
		return;
	memcpy(c->failure, text, sizeof(text));
	if (c->ops->on_failure)
		c->ops->on_failure(c->arg, c->failure);
}

/* What we hold, so that only the difference is sent. */
struct held_entry {
	resource_version message;
	char version[VERSION_TEXT_SIZE];
};

struct held_list {
	struct xds_client *client;
	enum xds_type type;
	struct held_entry *entries;
	resource_version **pointers;
	size_t n, cap;
};

static void held_list_clear(struct held_list *l)
{
	free(l->entries);
	free(l->pointers);
}

static int held_list_add(void *arg, const char *name)
{
	struct held_list *l = arg;
	struct held_entry *e;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;

		e = realloc(l->entries, cap * sizeof(*e));
		if (!e)
			return -ENOMEM;
		l->entries = e;
		l->cap = cap;
	}
	e = &l->entries[l->n++];
	envoy__service__discovery__v3__resource_version__init(&e->message);
	e->message.key = (char *)(uintptr_t)name;
	(void)versions_get(&l->client->held[l->type], name, e->version);
	return 0;
}

/* A node is sent the configuration of all nodes and its own: these names need no keeping. */
static int held_list_add_config(struct held_list *l)
{
	const char *const names[] = {"*", l->client->node_name};
	char version[VERSION_TEXT_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		if (versions_get(&l->client->held[l->type], names[i], version) == 0)
			r = held_list_add(l, names[i]);
	return r;
}

static int held_list_fill(struct held_list *l)
{
	const struct xds_client *c = l->client;
	int r = l->type == XDS_NODE_CONFIG
			? held_list_add_config(l)
			: c->ops->for_each_held(c->arg, l->type, held_list_add, l);

	if (r < 0 || l->n == 0)
		return r;
	l->pointers = malloc(l->n * sizeof(resource_version *));
	if (!l->pointers)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		l->entries[i].message.value = l->entries[i].version;
		l->pointers[i] = &l->entries[i].message;
	}
	return 0;
}

static int subscribe(struct xds_client *c, enum xds_type type)
{
	_cleanup_(held_list_clear) struct held_list list = {.client = c, .type = type};
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Envoy__Service__Discovery__V3__Node node = ENVOY__SERVICE__DISCOVERY__V3__NODE__INIT;
	struct metadata metadata;
	int r;

	metadata_init(&metadata);
	metadata_add(&metadata, METADATA_NODE, c->node_name);
	if (c->version)
		metadata_add(&metadata, METADATA_VERSION, c->version);
	node.id = c->node_id;
	node.metadata = &metadata.message;
	r = held_list_fill(&list);
	if (r < 0)
		return r;
	req.node = &node;
	req.type_url = (char *)xds_type_url(type);
	req.initial_resource_versions = list.pointers;
	req.n_initial_resource_versions = list.n;
	return message_send(c->stream, &req.base);
}

/* Those of @types that have not been asked for over this stream. */
static int types_ask(struct xds_client *c, unsigned int types)
{
	int r = 0;

	types &= c->types & ~c->asked;
	c->asked |= types;
	for (int type = 0; r == 0 && type < XDS_TYPE_MAX; type++)
		if (types & 1u << type)
			r = subscribe(c, (enum xds_type)type);
	return r;
}

static int answer(struct xds_client *c, const delta_response *resp, const char *detail)
{
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Envoy__Service__Discovery__V3__Status status = ENVOY__SERVICE__DISCOVERY__V3__STATUS__INIT;

	req.type_url = resp->type_url;
	req.response_nonce = resp->nonce;
	if (detail[0]) {
		status.code = GRPC_INVALID_ARGUMENT;
		status.message = (char *)detail;
		req.error_detail = &status;
	}
	return message_send(c->stream, &req.base);
}

/* One resource of a response. @err: why it is refused. A policy that does not say what it is stands
 * for one all the same: its owner hears of it with nothing in it, and denies. */
static int resource_apply(struct xds_client *c, enum xds_type type, const delta_resource *res,
			  char *err)
{
	static const ProtobufCBinaryData nothing = {.data = (uint8_t *)(uintptr_t) ""};
	bool has_body = res->resource && xds_type_from_url(res->resource->type_url) == type;
	const ProtobufCBinaryData *value = has_body ? &res->resource->value : &nothing;
	int r;

	if (type != XDS_AUTHORIZATION && (!res->name[0] || !has_body)) {
		(void)snprintf(err, ERR_MAX, "no name, no body, or a body of another type");
		return -EBADMSG;
	}
	r = c->ops->on_resource(c->arg, type, res->name, value->data, value->len, err, ERR_MAX);
	if (r == 0 && !has_body)
		r = -EBADMSG;
	/* a refused one keeps the version that is in force, and so is sent again after a reconnect
	 */
	return r < 0 ? r : versions_set(&c->held[type], res->name, res->version);
}

static void detail_add(char *detail, const char *name, const char *err, int r)
{
	size_t n = strlen(detail);

	(void)snprintf(detail + n, DETAIL_MAX - n, "%s%s: %s", n ? "; " : "", name,
		       err[0] ? err : strerror(-r));
}

static enum xds_part part_of(const delta_response *resp)
{
	if ((int)resp->culvert_part == XDS_PART_MORE)
		return XDS_PART_MORE;
	return (int)resp->culvert_part == XDS_PART_WHOLE ? XDS_PART_WHOLE : XDS_PART_UNSAID;
}

/* Return: 0; -ENOMEM: some of it was not taken over. What was refused is in @detail. */
static int response_apply(struct xds_client *c, enum xds_type type, const delta_response *resp,
			  char *detail)
{
	char err[ERR_MAX];
	int r, error = 0;

	c->part = part_of(resp);
	for (size_t i = 0; i < resp->n_resources; i++) {
		err[0] = '\0';
		r = resource_apply(c, type, resp->resources[i], err);
		if (r == -ENOMEM)
			error = r;
		else if (r < 0)
			detail_add(detail, resp->resources[i]->name, err, r);
	}
	for (size_t i = 0; i < resp->n_removed_resources; i++) {
		versions_del(&c->held[type], resp->removed_resources[i]);
		if (c->ops->on_removed(c->arg, type, resp->removed_resources[i]) < 0)
			error = -ENOMEM;
	}
	/* a policy may be what is lacking: the rest alone is not what anybody has written */
	if (error)
		c->part = XDS_PART_MORE;
	if (c->ops->on_update_done)
		c->ops->on_update_done(c->arg, type);
	return error;
}

/* Nobody sends a second time what was sent: another connection names what is held and is sent the
 * difference. */
static void begin_anew(struct xds_client *c)
{
	c->backoff_us = BACKOFF_MEMORY_US;
	connection_drop(c);
	failure_tell(c, "no memory for what it sent, asking again");
}

static void on_message(struct grpc_call *call, void *arg, const void *data, size_t len)
{
	_cleanup_(unpack_resetp) struct unpack unpack;
	struct xds_client *c = arg;
	char detail[DETAIL_MAX] = "";
	delta_response *resp;
	enum xds_type type;

	unpack_init(&unpack, RESPONSE_BLOCK);
	resp = envoy__service__discovery__v3__delta_discovery_response__unpack(&unpack.memory, len,
									       data);
	if (!resp) {
		connection_drop(c);
		return;
	}
	if (!c->is_connected) {
		c->is_connected = true;
		c->failure[0] = '\0';
		c->backoff_us = BACKOFF_MIN_US;
		if (c->ops->on_state)
			c->ops->on_state(c->arg, true);
	}
	/* before the answer, which lets it go on: so the rest comes as one change */
	if (part_of(resp) != XDS_PART_UNSAID && types_ask(c, c->types) < 0) {
		connection_drop(c);
		return;
	}
	type = xds_type_from_url(resp->type_url);
	if (type == XDS_TYPE_INVALID || !(c->types & 1u << type))
		(void)snprintf(detail, sizeof(detail), "type was not asked for");
	else if (response_apply(c, type, resp, detail) < 0) {
		begin_anew(c);
		return;
	}
	if (answer(c, resp, detail) < 0)
		connection_drop(c);
}

static void on_stream_end(struct grpc_call *call, void *arg, int status, const char *message)
{
	struct xds_client *c = arg;
	char text[FAILURE_MAX];

	if (*message)
		(void)snprintf(text, sizeof(text), "%s", message);
	else
		(void)snprintf(text, sizeof(text), "the stream was ended with status %d", status);
	connection_drop(c);
	/* that the server went in peace is no failure; that it cannot be had again is */
	if (status != GRPC_OK)
		failure_tell(c, text);
}

static void on_connection_closed(void *arg, int error)
{
	connection_drop(arg);
}

static const struct grpc_call_ops stream_ops = {
	.on_message = on_message,
	.on_end = on_stream_end,
};

/* @ret_why: FAILURE_MAX bytes, on failure. */
static int stream_open(struct xds_client *c, char *ret_why)
{
	_cleanup_(dial_credentials_clear) struct dial_credentials credentials = {0};
	struct grpc_call_config config = {
		.path = DELTA_PATH,
		.max_message = MESSAGE_MAX,
		.ops = &stream_ops,
		.arg = c,
	};
	int r = dial_credentials_read(&c->target, &credentials);

	if (r < 0) {
		(void)snprintf(ret_why, FAILURE_MAX, "%s: %s",
			       c->target.token_file ? c->target.token_file : "token", strerror(-r));
		return r;
	}
	config.metadata = credentials.metadata;
	config.n_metadata = credentials.n;
	r = grpc_client_call(c->grpc, &config, &c->stream);
	c->asked = 0;
	if (r == 0)
		r = types_ask(c, XDS_ISTIO_TYPES);
	if (r < 0)
		(void)snprintf(ret_why, FAILURE_MAX, "cannot ask: %s", strerror(-r));
	return r;
}

static void on_reconnect(struct loop_timer *t)
{
	struct xds_client *c = container_of(t, struct xds_client, reconnect);
	int r = dial(c->loop, &c->target, on_connection_closed, c, &c->grpc);

	char failure[FAILURE_MAX];

	(void)snprintf(failure, sizeof(failure), "%s", strerror(-r));
	if (r == 0)
		r = stream_open(c, failure);
	if (r < 0) {
		if (c->target.path)
			c->backoff_us = MIN(c->backoff_us, BACKOFF_LOCAL_US);
		connection_drop(c);
		failure_tell(c, failure);
	}
}

static int client_fill(struct xds_client *c, const struct xds_client_config *config)
{
	int r = dial_target_copy(&config->target, &c->target);

	if (r < 0)
		return r;
	c->node_id = strdup(config->node_id);
	c->node_name = strdup(config->node_name);
	c->version = config->version ? strdup(config->version) : NULL;
	if (!c->node_id || !c->node_name || (config->version && !c->version))
		return -ENOMEM;
	return loop_timer_set(c->loop, &c->reconnect, 0);
}

int xds_client_new(const struct xds_client_config *config, struct xds_client **ret)
{
	_cleanup_(xds_client_freep) struct xds_client *c = NULL;
	int r;

	if (!config->loop || !config->node_id || !config->node_name || !config->ops ||
	    !config->ops->on_resource || !config->ops->on_removed || !config->ops->for_each_held)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->loop = config->loop;
	c->types = config->types;
	c->ops = config->ops;
	c->arg = config->arg;
	c->backoff_us = BACKOFF_MIN_US;
	c->reconnect.on_timer = on_reconnect;
	r = client_fill(c, config);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct xds_client *xds_client_free(struct xds_client *c)
{
	if (!c)
		return NULL;
	loop_timer_del(&c->reconnect);
	(void)grpc_client_free(c->grpc);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		versions_clear(&c->held[type]);
	dial_target_clear(&c->target);
	free(c->node_id);
	free(c->node_name);
	free(c->version);
	free(c);
	return NULL;
}

bool xds_client_is_connected(const struct xds_client *c)
{
	return c->is_connected;
}

enum xds_part xds_client_part(const struct xds_client *c)
{
	return c->part;
}

const char *xds_client_failure(const struct xds_client *c)
{
	return c->failure;
}
