/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cluster.h"
#include "control_internal.h"
#include "mesh_doubts.h"
#include "net/tcp.h"
#include "source/source.h"
#include "userspace/lib/xds/node.pb-c.h"

#define CONNECTIONS_MAX         32
#define CLUSTER_CONNECTIONS_MAX 8192
#define BEHIND_US               (1000 * 1000) /* until it is tried again */

/* The strings are the configuration's. */
static char **aliases_list(const struct control *c, size_t *ret_n)
{
	const json_t *list = c->mesh.trust_domain_aliases;
	char **names = calloc(json_array_size(list) + 1, sizeof(*names));

	*ret_n = json_array_size(list);
	for (size_t i = 0; names && i < *ret_n; i++)
		names[i] = (char *)(uintptr_t)json_string_value(json_array_get(list, i));
	return names;
}

static int policies_set_aliases(struct control *c)
{
	_cleanup_(freep) char **aliases = NULL;
	size_t n;

	aliases = aliases_list(c, &n);
	return aliases ? model_set_trust_domain_aliases(c->model, (const char *const *)aliases, n)
		       : -ENOMEM;
}

static int node_config_set(struct control *c)
{
	Culvert__Node__Config m = CULVERT__NODE__CONFIG__INIT;
	_cleanup_(freep) uint8_t *packed = NULL;
	_cleanup_(freep) char **aliases = NULL;
	char version[CA_VERSION_SIZE];
	size_t len;
	int r;

	aliases = aliases_list(c, &m.n_trust_domain_aliases);
	if (!aliases)
		return -ENOMEM;
	m.trust_domain_aliases = aliases;
	if (c->mesh.is_registry_only)
		m.outbound_traffic = CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__REGISTRY_ONLY;
	if (c->mesh.access_log_file)
		m.access_log_file = c->mesh.access_log_file;
	m.is_access_log_off = c->mesh.access_log_file && !*c->mesh.access_log_file;
	m.has_drain = c->mesh.has_drain;
	m.drain_ms = c->mesh.drain_ms;
	m.node = "*";
	m.trust_domain = (char *)c->config.trust_domain;
	m.cluster_id = (char *)c->config.cluster_id;
	m.cluster_domain = (char *)c->config.cluster_domain;
	m.root_namespace = (char *)c->config.root_namespace;
	r = ca_version(c->config.ca, version);
	if (r < 0)
		return r;
	m.trust_bundle = version;
	len = culvert__node__config__get_packed_size(&m);
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	(void)culvert__node__config__pack(&m, packed);
	return xds_server_set(c->xds, XDS_NODE_CONFIG, m.node, packed, len);
}

static void on_model_error(void *arg, const struct source_error *err)
{
	problems_add(((struct control *)arg)->problems, PROBLEM_MODEL, err);
}

static bool is_mesh_config(const struct control *c, const struct object *obj)
{
	return streq(obj->kind, "ConfigMap") && streq(obj->name, c->config.mesh_config) &&
	       streq(obj->namespace_, c->config.namespace_);
}

/* @obj NULL: it is gone. */
static void mesh_config_set(struct control *c, const struct object *obj)
{
	int r = 0;

	if (obj)
		r = mesh_config_read(obj, on_model_error, c, &c->mesh);
	else
		mesh_config_clear(&c->mesh);
	/* a mistake leaves what was in force */
	if (r == 0)
		r = policies_set_aliases(c);
	c->is_config_behind |= r == 0;
	if (r == 0)
		r = model_set_registry_only(c->model, c->mesh.is_registry_only);
	model_set_entry_visibility(c->model, c->mesh.entry_visibility);
	discovery_select(c->discovery, c->mesh.discovery_selectors);
	if (c->cluster)
		cluster_check_namespaces(c->cluster);
	if (r < 0 && r != -EINVAL)
		log_error_errno("control", r, "mesh configuration not taken over");
	if (obj && r == 0)
		mesh_doubts_tell(c, obj);
}

static void on_seen(void *arg, struct object *obj)
{
	struct control *c = arg;
	int r = model_put(c->model, obj);

	c->is_lossy |= r == -ENOMEM;
	if (r < 0)
		log_error_errno("control", r, "object not taken over kind=%s name=%s/%s", obj->kind,
				obj->namespace_, obj->name);
}

static void on_unseen(void *arg, const struct object *obj)
{
	struct control *c = arg;
	int r = model_delete(c->model, obj);

	if (r < 0)
		log_error_errno("control", r, "object not removed kind=%s name=%s/%s", obj->kind,
				obj->namespace_, obj->name);
}

static const struct discovery_ops discovery_ops = {.on_put = on_seen, .on_delete = on_unseen};

static int on_read(void *arg, struct object *obj)
{
	struct control *c = arg;

	return object_reduce(obj, c->labels);
}

static void on_put(void *arg, struct object *obj)
{
	struct control *c = arg;
	int r;

	if (!c->first_us)
		c->first_us = now_monotonic_us();
	xds_server_note_change(c->xds);
	c->is_torn = true;
	pod_ranges_put(c->pod_ranges, obj);
	r = discovery_put(c->discovery, obj);
	kinds_count(c->kinds, obj->kind, r > 0 ? KINDS_ADD : KINDS_UPDATE);
	/* who is started anew is told of it anew; until then nodes hear nothing of this change */
	if (r < 0) {
		c->is_lost = true;
		loop_stop(c->config.loop, r);
	}
	if (c->cluster)
		cluster_put(c->cluster, obj);
	if (!is_mesh_config(c, obj))
		return;
	problems_clear_object(c->problems, obj->kind, obj->namespace_, obj->name);
	mesh_config_set(c, obj);
}

static void on_delete(void *arg, struct object *obj)
{
	struct control *c = arg;

	xds_server_note_change(c->xds);
	c->is_torn = true;
	pod_ranges_delete(c->pod_ranges, obj);
	if (discovery_delete(c->discovery, obj))
		kinds_count(c->kinds, obj->kind, KINDS_DELETE);
	if (c->cluster)
		cluster_delete(c->cluster, obj);
	if (!is_mesh_config(c, obj))
		return;
	problems_clear_object(c->problems, obj->kind, obj->namespace_, obj->name);
	mesh_config_set(c, NULL);
}

static void on_source_error(void *arg, const struct source_error *err)
{
	problems_add(((struct control *)arg)->problems, PROBLEM_SOURCE, err);
}

static void on_source_error_cleared(void *arg, const char *file)
{
	problems_clear_file(((struct control *)arg)->problems, file);
}

static void on_stale(void *arg, const char *kind, uint64_t since_us, bool is_refused)
{
	struct control *c = arg;

	const struct stale_kind of = {kind, since_us, is_refused};

	stale_set(&c->stale, c->xds, c->problems, kind ? &of : NULL);
}

static int serve(struct control *c)
{
	struct grpc_server_config config = {
		.loop = c->config.loop,
		.methods = c->methods,
		.n_methods = CONTROL_METHODS,
		.max_connections = CONNECTIONS_MAX,
		.is_allowed = c->config.is_allowed,
		.arg = c->config.arg,
	};
	/* not before there is something to say: that it listens is what makes a replica ready */
	int r = c->cluster ? tcp_listen_any(c->config.xds_port, &c->config.xds_fd) : 0;

	if (r < 0)
		return log_error_errno("control", r, "cannot listen port=%u", c->config.xds_port);
	config.listen_fd = c->config.xds_fd;
	if (c->cluster) {
		config.max_connections = CLUSTER_CONNECTIONS_MAX;
		config.is_allowed = NULL; /* the gate asks for a token, for each call */
		config.is_crowd_cut = true;
		config.ssl_new = cluster_ssl_new;
		config.arg = c->cluster;
	}
	r = grpc_server_new(&config, &c->grpc);
	if (r == 0)
		c->config.xds_fd = -EBADF;
	return r;
}

/* From a folder the first object comes when all files are parsed. */
static void log_ready(const struct control *c)
{
	uint64_t now = now_monotonic_us(), first = c->first_us ? c->first_us : now;

	log_info("control",
		 "ready node=%s addresses=%zu policies=%zu read_ms=%" PRIu64 " load_ms=%" PRIu64,
		 c->config.node, xds_server_count(c->xds, XDS_ADDRESS),
		 xds_server_count(c->xds, XDS_AUTHORIZATION), (first - c->started_us) / 1000,
		 (now - first) / 1000);
}

/* What nodes are told of the mesh as a whole, together with what the model makes of it. */
static int node_config_flush(struct control *c)
{
	int r = c->is_config_behind ? node_config_set(c) : 0;

	c->is_config_behind = r < 0;
	return r < 0 ? log_error_errno("control", r, "mesh configuration is not told") : 0;
}

/* All that the source has said. Return: 0; -errno: nodes may lack some of it. */
static int settle(struct control *c)
{
	bool was_lossy = c->is_lossy;
	int r;

	c->is_lossy = false;
	if (was_lossy)
		discovery_again(c->discovery);
	r = c->is_lossy || c->is_lost ? -ENOMEM : model_flush(c->model);
	return r < 0 ? log_error_errno("control", r, "model is behind") : node_config_flush(c);
}

/* Half of a change may let in what neither the old policies nor the new ones do: what nodes have
 * stays in force until there is memory for all of it. */
static void hold(struct control *c)
{
	c->is_behind = true;
	xds_server_hold(c->xds);
	if (loop_timer_set(c->config.loop, &c->again, BEHIND_US) < 0)
		loop_stop(c->config.loop, -ENOMEM);
}

static void on_synced(void *arg)
{
	struct control *c = arg;
	int r = settle(c);

	c->is_torn = false;
	if (r == -ENOMEM) {
		hold(c);
		return;
	}
	c->is_behind = false;
	pod_ranges_settle(c->pod_ranges);
	problems_settle(c->problems);
	xds_server_flush(c->xds);
	ca_service_retry(c->ca_service);
	if (c->cluster)
		cluster_settled(c->cluster);
	/* what was in force stays so while one runs; nodes that have nothing yet must not be let in
	 * where a policy that nobody can read keeps out */
	r = c->is_synced ? 1 : problems_await(c->problems);
	if (r > 0)
		return;
	/* not before: a client that comes back would take an empty store for a mass removal */
	c->is_synced = r == 0;
	r = r < 0 ? r : serve(c);
	if (r < 0) {
		log_error_errno("control", r, "cannot serve nodes");
		loop_stop(c->config.loop, r);
		return;
	}
	log_ready(c);
}

/* In the middle of a change there will be an end of it. */
static void on_again(struct loop_timer *t)
{
	struct control *c = container_of(t, struct control, again);

	if (!c->is_torn)
		on_synced(c);
}

static const struct source_ops source_ops = {
	.on_read = on_read,
	.on_put = on_put,
	.on_delete = on_delete,
	.on_error = on_source_error,
	.on_error_cleared = on_source_error_cleared,
	.on_synced = on_synced,
	.on_stale = on_stale,
};

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len)
{
	return xds_server_set(((struct control *)arg)->xds, type, name, packed, len);
}

static void on_removed(void *arg, enum xds_type type, const char *name)
{
	struct control *c = arg;

	xds_server_remove(c->xds, type, name);
}

static void on_model_error_cleared(void *arg, const char *kind, const char *namespace_,
				   const char *name)
{
	struct control *c = arg;

	problems_clear_object(c->problems, kind, namespace_, name);
}

static const struct model_ops model_ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.on_error = on_model_error,
	.on_error_cleared = on_model_error_cleared,
};

/* May it ask for others: is it a ztunnel whose token is bound to a pod? Istio:
 * CA_TRUSTED_NODE_ACCOUNTS. */
static bool may_ask(void *arg, const struct caller *caller)
{
	const struct control *c = arg;

	return streq(caller->namespace_, c->config.namespace_) &&
	       streq(caller->account, "ztunnel") && *caller->pod;
}

/* The node of such a one. Return: NULL: its pod is not there. */
static const char *caller_node(struct control *c, const struct caller *caller)
{
	const struct pod_facts *pod;

	if (!may_ask(c, caller))
		return NULL;
	pod = model_find_pod(c->model, caller->namespace_, caller->pod);
	return pod && *pod->uid && *pod->node && streq(pod->uid, caller->pod_uid) ? pod->node
										  : NULL;
}

static bool is_known(void *arg, const struct caller *caller, const char *spiffe)
{
	struct control *c = arg;
	const char *node = caller ? caller_node(c, caller) : c->config.node;

	return node && model_has_identity_on_node(c->model, spiffe, node);
}

static int model_start(struct control *c)
{
	struct model_config config = {
		.cluster_id = c->config.cluster_id,
		.trust_domain = c->config.trust_domain,
		.root_namespace = c->config.root_namespace,
		.cluster_domain = c->config.cluster_domain,
	};

	return model_new(&model_ops, c, &config, &c->model);
}

/* Only those of the mesh's own namespace are told of everything. */
static bool is_node_caller(void *arg, const struct caller *caller)
{
	const struct control *c = arg;

	return streq(caller->namespace_, c->config.namespace_);
}

static const char *xds_shut(void *arg)
{
	return control_stale(arg);
}

static bool has_workloads(void *arg, const char *namespace_, const json_t *labels)
{
	const struct control *c = arg;

	return model_has_workloads(c->model, namespace_, labels);
}

static int cluster_start(struct control *c)
{
	const struct cluster_config config = {.loop = c->config.loop,
					      .kube = c->config.kube,
					      .ca = c->config.ca,
					      .more_roots = c->config.signer_roots,
					      .namespace_ = c->config.namespace_,
					      .revision = c->config.revision,
					      .cluster_domain = c->config.cluster_domain,
					      .untaint_key = c->config.untaint_key,
					      .webhook_port = c->config.webhook_port,
					      .is_xds_allowed = is_node_caller,
					      .xds_shut = xds_shut,
					      .discovery = c->discovery,
					      .has_workloads = has_workloads,
					      .on_leader = c->config.on_leader,
					      .leader_arg = c->config.arg,
					      .problems = c->problems,
					      .arg = c};
	int r = cluster_new(&config, &c->cluster);

	if (r < 0)
		return r;
	c->methods[0] = cluster_method(c->cluster, &c->methods[0], true);
	c->methods[1] = cluster_method(c->cluster, &c->methods[1], false);
	return 0;
}

static int services_start(struct control *c)
{
	struct ca_service_config ca_config = {
		.loop = c->config.loop,
		.ca = c->config.ca,
		.settings = c->config.ca_settings,
		.signer = c->config.signer,
		.is_known = is_known,
		.may_ask = may_ask,
		.trust_domain = c->config.trust_domain,
		.arg = c,
	};
	int r = xds_server_new(c->config.loop, &c->xds);

	if (r == 0)
		r = node_config_set(c);
	if (r == 0)
		r = pod_ranges_tell(c->pod_ranges, c->xds);
	if (r == 0)
		r = ca_service_new(&ca_config, &c->ca_service);
	if (r < 0)
		return r;
	c->methods[0] = xds_server_method(c->xds);
	c->methods[1] = ca_service_method(c->ca_service);
	return c->config.kube ? cluster_start(c) : 0;
}

static int source_start(struct control *c)
{
	const struct source_kube_config kube = {
		.loop = c->config.loop,
		.client = c->config.kube,
		.kinds = source_kube_kinds(),
		.config_namespace = c->config.namespace_,
		.config_name = c->config.mesh_config,
	};

	if (c->config.kube)
		return source_kube_new(&kube, &source_ops, c, &c->source);
	return source_folder_new(c->config.loop, c->config.config_dir, &source_ops, c, &c->source);
}

int control_new(const struct control_config *config, struct control **ret)
{
	_cleanup_(control_freep) struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->config = *config;
	c->config.xds_fd = -EBADF;
	c->started_us = now_monotonic_us();
	c->again.on_timer = on_again;
	r = kinds_new(&c->kinds);
	if (r == 0)
		r = json_pool_new(&c->labels);
	if (r == 0)
		r = discovery_new(&discovery_ops, c, config->namespace_, config->root_namespace,
				  &c->discovery);
	if (r == 0)
		r = problems_new(&c->problems);
	if (r == 0)
		r = pod_ranges_new(config->pod_ranges, config->kube ? c->problems : NULL,
				   &c->pod_ranges);
	if (r == 0)
		r = services_start(c);
	if (r == 0)
		r = model_start(c);
	if (r == 0)
		r = source_start(c);
	if (r < 0)
		return r;
	c->config.xds_fd = config->xds_fd;
	*ret = TAKE_PTR(c);
	return 0;
}

const char *control_stale(const struct control *c)
{
	return *c->stale.text ? c->stale.text : NULL;
}

const char *control_unready(const struct control *c)
{
	if (!c->grpc)
		return "the mesh is not known yet";
	return c->stale.is_refused ? NULL : control_stale(c);
}

void control_release(struct control *c)
{
	if (c->cluster)
		cluster_release(c->cluster);
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	loop_timer_del(&c->again);
	(void)source_free(c->source);
	(void)grpc_server_free(c->grpc);
	(void)cluster_free(c->cluster);
	(void)ca_service_free(c->ca_service);
	(void)xds_server_free(c->xds);
	(void)model_free(c->model);
	(void)pod_ranges_free(c->pod_ranges);
	(void)problems_free(c->problems);
	(void)kinds_free(c->kinds);
	(void)discovery_free(c->discovery);
	(void)json_pool_free(c->labels);
	mesh_config_clear(&c->mesh);
	(void)close_fd(c->config.xds_fd);
	free(c);
	return NULL;
}

void control_set_ca(struct control *c, struct ca *ca)
{
	c->config.ca = ca;
	ca_service_set_ca(c->ca_service, ca);
	if (c->cluster && cluster_set_ca(c->cluster, ca) < 0)
		log_error("control", "the cluster is not told of the CA's change");
	/* behind between two of the source's consistent points: it comes with what belongs to it */
	if (!c->is_config_behind) {
		c->is_config_behind = true;
		(void)node_config_flush(c);
	}
	if (c->is_synced && !c->is_behind)
		xds_server_flush(c->xds);
}

void control_set_problem(struct control *c, const struct source_error *err, bool is_there)
{
	problems_set(c->problems, err, is_there);
}
