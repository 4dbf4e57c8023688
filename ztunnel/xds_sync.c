/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/xds_sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "xds/client.h"
#include "ztunnel/decode.h"
#include "ztunnel/mesh_nodes.h"
#include "ztunnel/policy.h"
#include "ztunnel/settings.h"
#include "ztunnel/state.h"
#include "ztunnel/state_builder.h"

#define TARGET "xds"
/* A policy and the workload that names it come in two messages: how long the first waits for the
 * second. */
#define MISSING_WAIT_US (1000 * 1000)
/* From a control plane that does not say what belongs together: how long a change that lets more in
 * waits for what may follow on it. */
#define LOOSER_WAIT_US (50 * 1000)
/* From one that does: it goes on with what has begun, or the stream ends. */
#define WHOLE_WAIT_US (30 * 1000 * 1000)
#define RETRY_US      (100 * 1000)

struct xds_sync {
	struct loop *loop;
	const struct xds_sync_ops *ops;
	void *arg;
	struct xds_client *client;
	struct state_builder *builder;
	struct state *state;
	struct loop_task publish; /* once per turn of the loop, however much has come */
	struct loop_timer wait;
	struct loop_timer hold;
	unsigned int synced_types; /* since the stream is open */
	bool is_connected;
	bool is_synced;
	bool is_spoilt;   /* a change ended in the middle, for want of memory */
	bool is_renewed;  /* the builder is new, and not all has come again */
	bool is_overdue;  /* waited long enough for what is missing; until nothing is */
	bool is_held_out; /* waited long enough for a whole change; until there is one */
	bool has_aside;   /* something to publish that hangs together with nothing */
	bool has_settings;
	struct settings settings; /* of the next snapshot */
	struct decode_tables *tables;
	uint64_t messages[XDS_TYPE_MAX];
	uint64_t bytes[XDS_TYPE_MAX];
	uint64_t rejected[XDS_TYPE_MAX];
	uint64_t terminations;
};

/* A control plane of ours has a configuration for every node, too, and is asked for it once it has
 * shown that it is ours: without it REGISTRY_ONLY would not hold for a moment. */
static bool is_everything_here(const struct xds_sync *x)
{
	unsigned int all = XDS_ISTIO_TYPES;

	if (x->client && xds_client_part(x->client) != XDS_PART_UNSAID)
		all |= 1u << XDS_NODE_CONFIG;
	return (x->synced_types & all) == all;
}

/* How long what has come is to wait for what belongs to it; 0: it is whole, or nobody knows. Until
 * then what was in force stays: of two halves of a change one alone may let in what neither the old
 * policies nor the new ones do. */
static uint64_t hold_us(const struct xds_sync *x)
{
	enum xds_part part = x->client ? xds_client_part(x->client) : XDS_PART_UNSAID;

	if (part == XDS_PART_MORE || (part == XDS_PART_WHOLE && !is_everything_here(x)))
		return WHOLE_WAIT_US;
	if (!is_everything_here(x))
		return MISSING_WAIT_US;
	return part == XDS_PART_UNSAID && state_builder_is_looser(x->builder) ? LOOSER_WAIT_US : 0;
}

static void state_take(struct xds_sync *x, struct state *s)
{
	x->has_aside = false;
	state_unref(x->state);
	x->state = s;
	x->ops->on_state(x->arg, s);
}

static void publish(struct xds_sync *x)
{
	struct state *s = NULL;

	if (state_builder_build(x->builder, &s) < 0) {
		/* nothing is lost: what was in force stays, and the builder has the rest */
		log_error(TARGET, "cannot build a snapshot: out of memory, trying again");
		(void)loop_timer_set(x->loop, &x->wait, RETRY_US);
		return;
	}
	loop_timer_del(&x->wait);
	loop_timer_del(&x->hold);
	x->is_held_out = x->is_held_out && hold_us(x);
	if (x->has_settings && x->ops->on_settings)
		x->ops->on_settings(x->arg, &x->settings);
	x->has_settings = false;
	settings_clear(&x->settings);
	state_take(x, s);
}

/* What does not hang together with the rest does not wait for it: a certificate must be there in
 * time, also while the control plane is away. */
static void publish_aside(struct xds_sync *x)
{
	struct state *s = NULL;

	if (!x->has_aside)
		return;
	if (state_builder_build_aside(x->builder, x->state, &s) < 0) {
		log_error(TARGET, "cannot build a snapshot: out of memory, trying again");
		(void)loop_timer_set(x->loop, &x->wait, RETRY_US);
		return;
	}
	state_take(x, s);
}

/* Return: true while a workload of this node names a policy that has not come. */
static bool is_missing(struct xds_sync *x)
{
	if (!state_builder_is_missing_policies(x->builder))
		x->is_overdue = false;
	else if (!x->is_overdue)
		return x->wait.at_us || loop_timer_set(x->loop, &x->wait, MISSING_WAIT_US) == 0;
	return false;
}

/* Return: true while it is to wait. Without a connection for as long as there is none: what is
 * known stays in force. */
static bool is_held(struct xds_sync *x)
{
	uint64_t us = hold_us(x);

	if (x->is_spoilt || x->is_renewed)
		return true;
	if (!us)
		x->is_held_out = false;
	if (!us || x->is_held_out)
		return false;
	if (!x->is_connected && us != LOOSER_WAIT_US)
		return true;
	return x->hold.at_us || loop_timer_set(x->loop, &x->hold, us) == 0;
}

static void on_publish(struct loop_task *t)
{
	struct xds_sync *x = container_of(t, struct xds_sync, publish);

	/* before the first full picture a missing object would look like a free pass or a refusal
	 */
	if (!x->is_synced)
		return;
	if (is_held(x) || is_missing(x))
		publish_aside(x);
	else
		publish(x);
}

static void on_wait(struct loop_timer *t)
{
	struct xds_sync *x = container_of(t, struct xds_sync, wait);

	x->is_overdue = true;
	loop_task_queue(x->loop, &x->publish);
}

static void on_hold(struct loop_timer *t)
{
	struct xds_sync *x = container_of(t, struct xds_sync, hold);

	if (hold_us(x) == WHOLE_WAIT_US)
		log_warn(TARGET,
			 "the control plane began a change and did not end it for %d s: "
			 "what has come of it is in force now",
			 WHOLE_WAIT_US / 1000000);
	x->is_held_out = true;
	loop_task_queue(x->loop, &x->publish);
}

static int put_address(struct xds_sync *x, const void *packed, size_t len, char *err,
		       size_t err_size)
{
	struct decoded_address a = {0};
	int r = decode_address(x->tables, packed, len, &a, err, err_size);

	if (r < 0)
		return r;
	if (a.workload)
		r = state_builder_put_workload(x->builder, a.workload);
	else
		r = state_builder_put_service(x->builder, a.service);
	x->is_spoilt |= r < 0;
	workload_unref(a.workload);
	service_def_unref(a.service);
	return r;
}

/* NOLINTNEXTLINE(readability-function-size) */
static int put_policy(struct xds_sync *x, const char *name, const void *packed, size_t len,
		      char *err, size_t err_size)
{
	_cleanup_(policy_unrefp) struct policy *p = NULL;
	int r = decode_policy(name, packed, len, &p, err, err_size);
	int put;

	if (!p)
		return r;
	put = state_builder_put_policy(x->builder, p);
	x->is_spoilt |= put < 0;
	return put < 0 ? put : r;
}

static int put_node(struct xds_sync *x, const char *name, const void *packed, size_t len)
{
	int r = mesh_nodes_put(state_builder_nodes(x->builder), name, packed, len);

	x->is_spoilt |= r == -ENOMEM;
	return r;
}

/* The control plane sends us what is for all nodes, or for this one. */
static int put_settings(struct xds_sync *x, const void *packed, size_t len, char *err,
			size_t err_size)
{
	struct settings s = {0};
	int r = settings_decode(packed, len, &s, err, err_size);

	if (r < 0)
		return r;
	state_builder_flags(x->builder)->is_registry_only = s.is_registry_only;
	settings_clear(&x->settings);
	x->settings = s;
	x->has_settings = true;
	return 0;
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	struct xds_sync *x = arg;
	int r = 0;

	x->messages[type]++;
	x->bytes[type] += len;
	if (type == XDS_ADDRESS)
		r = put_address(x, packed, len, err, err_size);
	else if (type == XDS_AUTHORIZATION)
		r = put_policy(x, name, packed, len, err, err_size);
	else if (type == XDS_NODE)
		r = put_node(x, name, packed, len);
	else if (type == XDS_NODE_CONFIG)
		r = put_settings(x, packed, len, err, err_size);
	if (r < 0) {
		x->rejected[type]++;
		if (!err[0])
			(void)snprintf(err, err_size, "%s: %s", name, strerrordesc_np(-r));
		log_warn(TARGET, "resource refused type=%s name=\"%s\" error=\"%s\"",
			 xds_type_url(type), name, err);
	}
	loop_task_queue(x->loop, &x->publish);
	return r;
}

static int on_removed(void *arg, enum xds_type type, const char *name)
{
	struct xds_sync *x = arg;
	int r = 0;

	if (type == XDS_ADDRESS)
		r = state_builder_del_address(x->builder, name);
	else if (type == XDS_AUTHORIZATION)
		r = state_builder_del_policy(x->builder, name);
	else if (type == XDS_NODE)
		r = mesh_nodes_del(state_builder_nodes(x->builder), name);
	x->is_spoilt |= r < 0;
	if (r < 0)
		log_error_errno(TARGET, r, "cannot remove name=\"%s\"", name);
	loop_task_queue(x->loop, &x->publish);
	return r;
}

static int for_each_held(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			 void *fn_arg)
{
	struct xds_sync *x = arg;
	int r = x->is_spoilt ? state_builder_renew(&x->builder) : 0;

	if (r < 0)
		return r;
	x->is_renewed |= x->is_spoilt;
	x->is_spoilt = false;
	if (type == XDS_ADDRESS)
		return state_builder_for_each_address(x->builder, fn, fn_arg);
	if (type == XDS_AUTHORIZATION)
		return state_builder_for_each_policy(x->builder, fn, fn_arg);
	return type == XDS_NODE ? mesh_nodes_for_each(state_builder_nodes(x->builder), fn, fn_arg)
				: 0;
}

static void on_update_done(void *arg, enum xds_type type)
{
	struct xds_sync *x = arg;

	x->synced_types |= 1u << type;
	/* what closes a change may be an empty response */
	loop_task_queue(x->loop, &x->publish);
	if (!is_everything_here(x) || xds_client_part(x->client) == XDS_PART_MORE)
		return;
	x->is_renewed = false;
	/* what has changed meanwhile is here */
	state_builder_flags(x->builder)->is_alone = false;
	if (x->is_synced)
		return;
	x->is_synced = true;
	state_builder_set_synced(x->builder);
	log_info(TARGET, "synced");
	if (x->ops->on_synced)
		x->ops->on_synced(x->arg);
}

static void on_connection(void *arg, bool is_connected)
{
	struct xds_sync *x = arg;

	x->is_connected = is_connected;
	if (is_connected)
		x->synced_types = 0;
	else
		x->terminations++;
	loop_timer_del(&x->hold);
	if (x->is_synced && !is_connected && !state_builder_flags(x->builder)->is_alone) {
		state_builder_flags(x->builder)->is_alone = true;
		x->has_aside = true;
		loop_task_queue(x->loop, &x->publish);
	}
	log_info(TARGET, is_connected ? "connected" : "connection lost");
	if (is_connected && x->ops->on_connected)
		x->ops->on_connected(x->arg);
}

static void on_failure(void *arg, const char *why)
{
	log_warn(TARGET, "control plane not reached, what is known stays in force: %s", why);
}

static const struct xds_ops client_ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.for_each_held = for_each_held,
	.on_update_done = on_update_done,
	.on_state = on_connection,
	.on_failure = on_failure,
};

int xds_sync_new(const struct xds_sync_config *config, const struct xds_sync_ops *ops, void *arg,
		 struct xds_sync **ret)
{
	_cleanup_(xds_sync_freep) struct xds_sync *x = calloc(1, sizeof(*x));
	struct xds_client_config client = {
		.loop = config->loop,
		.target = config->target,
		.node_id = config->node_id,
		.node_name = config->node,
		.version = CULVERT_VERSION,
		.types = 1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION | 1u << XDS_NODE |
			 1u << XDS_NODE_CONFIG,
		.ops = &client_ops,
		.arg = x,
	};
	int r;

	if (!x)
		return -ENOMEM;
	x->loop = config->loop;
	x->ops = ops;
	x->arg = arg;
	x->publish.on_task = on_publish;
	x->wait.on_timer = on_wait;
	x->hold.on_timer = on_hold;
	r = decode_tables_new(config->network ? config->network : "", &x->tables);
	if (r == 0)
		r = state_builder_new(config->node, &x->builder);
	if (r == 0)
		r = state_builder_build(x->builder, &x->state);
	if (r == 0 && (config->target.path || config->target.address))
		r = xds_client_new(&client, &x->client);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(x);
	return 0;
}

struct xds_sync *xds_sync_free(struct xds_sync *x)
{
	if (!x)
		return NULL;
	xds_client_free(x->client);
	loop_task_del(&x->publish);
	loop_timer_del(&x->wait);
	loop_timer_del(&x->hold);
	settings_clear(&x->settings);
	state_unref(x->state);
	state_builder_free(x->builder);
	decode_tables_free(x->tables);
	free(x);
	return NULL;
}

struct state *xds_sync_state(const struct xds_sync *x)
{
	return x->state;
}

bool xds_sync_is_synced(const struct xds_sync *x)
{
	return x->is_synced;
}

int xds_sync_set_identity(struct xds_sync *x, const char *identity, const struct tls_identity *t)
{
	int r = state_builder_set_identity(x->builder, identity, t);

	if (r < 0)
		return r;
	x->has_aside = true;
	loop_task_queue(x->loop, &x->publish);
	return 0;
}

int xds_sync_set_stand_in(struct xds_sync *x, const char *uid, const void *packed, size_t len)
{
	struct decoded_address a = {0};
	char err[256];
	int r = packed ? decode_address(x->tables, packed, len, &a, err, sizeof(err)) : 0;

	if (r == 0)
		r = state_builder_set_stand_in(x->builder, uid, a.workload);
	workload_unref(a.workload);
	service_def_unref(a.service);
	if (r == 0) {
		x->has_aside = true;
		loop_task_queue(x->loop, &x->publish);
	}
	return r;
}

int xds_sync_add_pod(struct xds_sync *x, const char *uid)
{
	return state_builder_add_pod(x->builder, uid);
}

void xds_sync_del_pod(struct xds_sync *x, const char *uid)
{
	state_builder_del_pod(x->builder, uid);
}

int xds_sync_metrics(void *arg, struct buf *into)
{
	const struct xds_sync *x = arg;
	int r = buf_printf(into,
			   "# HELP istio_xds_connection_terminations The total number of completed "
			   "connections "
			   "to xds server.\n# TYPE istio_xds_connection_terminations counter\n"
			   "istio_xds_connection_terminations_total{reason=\"error\"} %" PRIu64 "\n"
			   "# HELP istio_xds_message Total number of messages received.\n"
			   "# TYPE istio_xds_message counter\n",
			   x->terminations);

	for (int t = 0; t < XDS_TYPE_MAX && r == 0; t++)
		r = buf_printf(into, "istio_xds_message_total{url=\"%s\"} %" PRIu64 "\n",
			       xds_type_url((enum xds_type)t), x->messages[t]);
	if (r == 0)
		r = buf_append_str(
			into, "# HELP istio_xds_message_bytes Total number of bytes received.\n"
			      "# TYPE istio_xds_message_bytes counter\n");
	for (int t = 0; t < XDS_TYPE_MAX && r == 0; t++)
		r = buf_printf(into, "istio_xds_message_bytes_total{url=\"%s\"} %" PRIu64 "\n",
			       xds_type_url((enum xds_type)t), x->bytes[t]);
	return r;
}
