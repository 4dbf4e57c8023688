/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/process_metrics.h"
#include "base/str.h"
#include "cluster.h"
#include "control_internal.h"
#include "gate.h"
#include "http/server.h"
#include "net/tcp.h"
#include "xds/client_id.h"

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define CONVERGENCE  "pilot_proxy_convergence_time"

struct metrics {
	struct process_metrics process;
	struct control *const *control;
	struct http_server *server;
};

/** struct scratch - where a walk writes, and how it goes. */
struct scratch {
	struct buf *into;
	const char *family;
	bool is_registry;
	int r;
};

/* As istiod has it: "type" of its pushes. */
static const char *const type_names[XDS_TYPE_MAX] = {
	[XDS_ADDRESS] = "wds",
	[XDS_AUTHORIZATION] = "wads",
	[XDS_NODE] = "culvert.node.Node",
	[XDS_NODE_CONFIG] = "culvert.node.Config",
};

/* What istiod takes for its registry of services, by its own words; all else is configuration. */
static const struct {
	const char *kind, *name;
} registry[] = {
	{"Service", "Services"},
	{"Pod", "Pods"},
	{"Node", "Nodes"},
	{"Namespace", "Namespaces"},
	{"EndpointSlice", "EndpointSlice"},
};

static int family(struct buf *into, const char *name, const char *type, const char *help)
{
	return buf_printf(into, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static int number(struct buf *into, const char *name, const char *type, const char *help,
		  int64_t value)
{
	int r = family(into, name, type, help);

	return r < 0 ? r : buf_printf(into, "%s %" PRId64 "\n", name, value);
}

static int per_type(struct buf *into, const char *name, const char *help,
		    const uint64_t n[XDS_TYPE_MAX])
{
	int r = family(into, name, "counter", help);

	for (int i = 0; r == 0 && i < XDS_TYPE_MAX; i++)
		r = buf_printf(into, "%s{type=\"%s\"} %" PRIu64 "\n", name, type_names[i], n[i]);
	return r;
}

static int convergence_write(const struct push_stats *s, struct buf *into)
{
	int r = family(into, CONVERGENCE, "histogram",
		       "Delay in seconds between a change that was heard of and a client's "
		       "acknowledgement of it");

	for (size_t i = 0; r == 0 && i < PUSH_BOUNDS; i++)
		r = buf_printf(into, CONVERGENCE "_bucket{le=\"%g\"} %" PRIu64 "\n",
			       (double)push_bounds_us[i] / 1e6, s->converged_in[i]);
	return r < 0 ? r
		     : buf_printf(into,
				  CONVERGENCE "_bucket{le=\"+Inf\"} %" PRIu64 "\n" CONVERGENCE
					      "_sum %f\n" CONVERGENCE "_count %" PRIu64 "\n",
				  s->converged, (double)s->converged_us / 1e6, s->converged);
}

static void client_count(void *arg, const struct xds_server_client *client)
{
	size_t *n = arg;

	n[client_id_is_agent(client->node_id)]++;
}

static int xds_write(struct control *c, struct buf *into)
{
	const struct push_stats *s = xds_server_stats(c->xds);
	size_t n[2] = {0};
	int r;

	xds_server_for_each_client(c->xds, client_count, n);
	r = family(into, "pilot_xds", "gauge", "Streams connected by xDS");
	if (r == 0)
		r = buf_printf(into,
			       "pilot_xds{type=\"ztunnel\"} %zu\npilot_xds{type=\"agent\"} %zu\n",
			       n[0], n[1]);
	if (r == 0)
		r = per_type(into, "pilot_xds_pushes", "Responses sent by xDS", s->pushes);
	if (r == 0)
		r = per_type(into, "pilot_total_xds_rejects", "Responses that a client refused",
			     s->rejects);
	return r < 0 ? r : convergence_write(s, into);
}

static const char *registry_name(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(registry); i++)
		if (streq(registry[i].kind, kind))
			return registry[i].name;
	return NULL;
}

static void kind_write(void *arg, const char *kind, const struct kinds_count *n)
{
	const char *name = registry_name(kind);
	struct scratch *s = arg;

	if (s->is_registry != (name != NULL))
		return;
	for (int i = 0; s->r == 0 && i < KINDS_EVENT_MAX; i++)
		s->r = buf_printf(s->into, "%s{type=\"%s\",event=\"%s\"} %" PRIu64 "\n", s->family,
				  name ? name : kind, kinds_event_name((enum kinds_event)i),
				  n->events[i]);
}

static int events_write(const struct control *c, struct buf *into)
{
	struct scratch cfg = {.into = into, .family = "pilot_k8s_cfg_events"};
	struct scratch reg = {.into = into, .family = "pilot_k8s_reg_events", .is_registry = true};

	cfg.r = family(into, cfg.family, "counter", "Events of configuration");
	kinds_for_each(c->kinds, kind_write, &cfg);
	if (cfg.r < 0)
		return cfg.r;
	reg.r = family(into, reg.family, "counter", "Events of services, pods and where they are");
	kinds_for_each(c->kinds, kind_write, &reg);
	return reg.r;
}

static int problems_write(const struct control *c, struct buf *into)
{
	static const char name[] = "culvert_control_config_problems";
	int r = family(into, name, "gauge", "What is wrong with the configuration now");

	return r < 0 ? r
		     : buf_printf(into,
				  "%s{severity=\"error\"} %zu\n%s{severity=\"warning\"} %zu\n",
				  name, problems_count(c->problems, false), name,
				  problems_count(c->problems, true));
}

static int expiry_write(const struct control *c, struct buf *into)
{
	int64_t root = ca_root_not_after(c->config.ca), chain = ca_not_after(c->config.ca);
	int64_t now = time(NULL);
	const struct {
		const char *name, *help;
		int64_t value;
	} rows[] = {
		{"citadel_server_root_cert_expiry_timestamp", "Unix time at which a root ends",
		 root},
		{"citadel_server_root_cert_expiry_seconds", "Seconds until a root ends",
		 root - now},
		{"citadel_server_cert_chain_expiry_timestamp",
		 "Unix time at which the signing certificate ends", chain},
		{"citadel_server_cert_chain_expiry_seconds",
		 "Seconds until the signing certificate ends", chain - now},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rows); i++)
		r = number(into, rows[i].name, "gauge", rows[i].help, rows[i].value);
	return r;
}

static int ca_write(const struct control *c, struct buf *into)
{
	struct ca_service_counts n = ca_service_counts(c->ca_service);
	size_t strangers = n.strangers;
	int r;

	if (c->cluster)
		strangers += gate_strangers(cluster_gate(c->cluster), false);
	r = number(into, "citadel_server_csr_count", "counter",
		   "Requests for certificates that came", (int64_t)n.asked);
	if (r == 0)
		r = number(into, "citadel_server_success_cert_issuance_count", "counter",
			   "Certificates issued", (int64_t)n.granted);
	if (r == 0)
		r = number(into, "citadel_server_authentication_failure_count", "counter",
			   "Requests of those who may not have what they asked for",
			   (int64_t)strangers);
	if (r == 0)
		r = family(into, "citadel_server_csr_sign_err_count", "counter",
			   "Requests that could not be signed");
	if (r == 0)
		r = buf_printf(into,
			       "citadel_server_csr_sign_err_count{error=\"CSR_ERROR\"} %zu\n"
			       "citadel_server_csr_sign_err_count{error=\"CERT_GEN_ERROR\"} %zu\n",
			       n.malformed, n.failed);
	return r < 0 ? r : expiry_write(c, into);
}

int metrics_write(struct control *control, struct buf *into)
{
	int r = xds_write(control, into);

	if (r == 0)
		r = events_write(control, into);
	if (r == 0)
		r = problems_write(control, into);
	if (r == 0)
		r = ca_write(control, into);
	if (r == 0 && control->cluster)
		r = validations_write(cluster_validations(control->cluster), into);
	return r;
}

static int all_write(const struct metrics *m, struct buf *into)
{
	int r = process_metrics_write(&m->process, into);

	if (r == 0)
		r = number(into, "istiod_uptime_seconds", "gauge", "Seconds since the start",
			   time(NULL) - m->process.started);
	return r == 0 && *m->control ? metrics_write(*m->control, into) : r;
}

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	if (!streq(req->path, "/metrics")) {
		http_response_text(resp, 404, "there is /metrics\n");
	} else if (!streq(req->method, "GET") && !streq(req->method, "HEAD")) {
		http_response_text(resp, 405, "only GET\n");
	} else {
		resp->content_type = CONTENT_TYPE;
		if (all_write(arg, &resp->body) < 0)
			resp->status = 500;
	}
}

static int listen_on(struct loop *loop, uint16_t port, struct metrics *m)
{
	struct http_server_config config = {
		.loop = loop, .handler = on_request, .arg = m, .is_crowd_cut = true};
	_cleanup_(close_fdp) int fd = -EBADF;
	int r = tcp_listen_any(port, &fd);

	config.listen_fd = fd;
	if (r == 0)
		r = http_server_open(&config, &m->server);
	if (r < 0)
		return log_error_errno("control", r, "cannot listen port=%u", port);
	(void)TAKE_FD(fd);
	return 0;
}

int metrics_new(struct loop *loop, uint16_t port, struct control *const *control,
		struct metrics **ret)
{
	_cleanup_(metrics_freep) struct metrics *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return -ENOMEM;
	m->control = control;
	process_metrics_init(&m->process, "pilot", false);
	if (port)
		r = listen_on(loop, port, m);
	if (r == 0)
		*ret = TAKE_PTR(m);
	return r;
}

struct metrics *metrics_free(struct metrics *m)
{
	if (!m)
		return NULL;
	(void)http_server_free(m->server);
	process_metrics_clear(&m->process);
	free(m);
	return NULL;
}
