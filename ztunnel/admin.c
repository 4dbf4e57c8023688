/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/log_filter.h"
#include "base/loop.h"
#include "base/process_metrics.h"
#include "base/str.h"
#include "http/server.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "net/unix.h"
#include "ztunnel/certs.h"
#include "ztunnel/config_dump.h"
#include "ztunnel/explain.h"
#include "ztunnel/history.h"
#include "ztunnel/metrics_text.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/xds_sync.h"

#define SOCKET_MODE       0600
#define COLLECT_MAX_US    (2 * 1000 * 1000)
#define STEP_US           1000 /* of a config_dump, between two looks at all else */
#define AGENT_METRICS_MAX 65536
#define SERVERS           4
#define SOURCES_MAX       8
#define WORKERS_MAX       256

struct metrics_source {
	int (*fn)(void *arg, struct buf *into);
	void *arg;
};

struct admin {
	struct admin_config config;
	char *node;
	struct http_server *servers[SERVERS];
	size_t servers_count;
	bool is_ready[ADMIN_TASK_MAX];
	struct telemetry *workers[WORKERS_MAX];
	size_t workers_count;
	struct metrics_source sources[SOURCES_MAX];
	size_t sources_count;
	struct buf agent_metrics;
	struct process_metrics process;
	char start_filter[LOG_FILTER_TEXT_MAX]; /* what ?reset goes back to */
};

struct admin_dump {
	struct admin *admin;
	struct http_response *resp; /* NULL: answered already, the collector was late */
	struct loop_timer timer;
	struct loop_task done;
	struct loop_task step;
	struct config_dump *config; /* that is being written */
	json_t *pods;
	unsigned int pending; /* admin_dump_done() to come */
	bool is_detailed;     /* /connections: with bytes, peers and ages */
	bool is_direct_listed;
};

static const char *const task_names[ADMIN_TASK_MAX] = {
	[ADMIN_TASK_STATE] = "state manager",
	[ADMIN_TASK_PROXY] = "proxy",
	[ADMIN_TASK_DNS] = "dns proxy",
	[ADMIN_TASK_PODS] = "workload proxy manager",
};

static void answer_json(struct http_response *resp, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;

	if (text) {
		resp->content_type = "application/json";
		http_response_text(resp, 200, text);
	} else {
		http_response_text(resp, 500, "out of memory\n");
	}
	free(text);
}

/* connections_send() - only what is open, and the clock that its times are of. */
static void connections_send(struct admin_dump *d)
{
	json_t *all = json_pack("{s:s, s:I, s:b, s:O}", "node", d->admin->node, "nowUs",
				(json_int_t)now_monotonic_us(), "directListed", d->is_direct_listed,
				"workloadState", d->pods);

	answer_json(d->resp, all);
	json_decref(all);
}

/* What is not in the snapshot. */
static json_t *config_rest(const struct admin_dump *d)
{
	const struct admin *a = d->admin;

	return json_pack("{s:{}, s:{s:[], s:[], s:[]}, s:{s:s}, s:{s:s, s:i}, s:o, s:O}",
			 "stagedServices", "staticConfig", "workloads", "services", "policies",
			 "version", "version", CULVERT_VERSION, "config", "localNode", a->node,
			 "numWorkerThreads", (int)a->config.workers, "certificates",
			 a->config.certs ? certs_to_json(a->config.certs) : json_array(),
			 "workloadState", d->pods);
}

static void dump_finish(struct admin_dump *d)
{
	http_response_finish(d->resp);
	d->resp = NULL;
}

static void on_step(struct loop_task *t)
{
	struct admin_dump *d = container_of(t, struct admin_dump, step);
	int r = config_dump_step(d->config, STEP_US, &d->resp->body);

	if (r > 0) {
		loop_task_queue(d->admin->config.loop, t);
		return;
	}
	d->config = config_dump_free(d->config);
	if (r == 0) {
		d->resp->content_type = "application/json";
	} else {
		buf_reset(&d->resp->body);
		http_response_text(d->resp, 500, "out of memory\n");
	}
	dump_finish(d);
	admin_dump_done(d);
}

static void config_begin(struct admin_dump *d)
{
	json_t *rest = config_rest(d);
	int r = rest ? config_dump_new(xds_sync_state(d->admin->config.xds), rest, &d->config)
		     : -ENOMEM;

	json_decref(rest);
	if (r < 0) {
		http_response_text(d->resp, 500, "out of memory\n");
		dump_finish(d);
		return;
	}
	admin_dump_hold(d);
	loop_task_queue(d->admin->config.loop, &d->step);
}

static void dump_send(struct admin_dump *d)
{
	if (!d->is_detailed) {
		config_begin(d);
		return;
	}
	connections_send(d);
	dump_finish(d);
}

static void on_collect_timeout(struct loop_timer *t)
{
	struct admin_dump *d = container_of(t, struct admin_dump, timer);

	log_warn("admin",
		 "not all connections are listed: the workers or the agent did not answer in time");
	dump_send(d);
}

static void on_done(struct loop_task *t)
{
	struct admin_dump *d = container_of(t, struct admin_dump, done);

	loop_timer_del(&d->timer);
	if (d->resp)
		dump_send(d);
	if (d->config)
		return; /* it is held until that is written */
	json_decref(d->pods);
	free(d);
}

static void dump_start(struct admin *a, struct http_response *resp, bool is_detailed)
{
	struct admin_dump *d = calloc(1, sizeof(*d));

	if (!d) {
		http_response_text(resp, 500, "out of memory\n");
		return;
	}
	d->admin = a;
	d->resp = resp;
	d->pending = 1;
	d->is_detailed = is_detailed;
	d->pods = json_object();
	d->timer.on_timer = on_collect_timeout;
	d->done.on_task = on_done;
	d->step.on_task = on_step;
	http_response_defer(resp);
	if (!a->config.collect || loop_timer_set(a->config.loop, &d->timer, COLLECT_MAX_US) < 0)
		admin_dump_done(d);
	else
		a->config.collect(a->config.arg, d);
}

int admin_dump_pod(struct admin_dump *d, const struct admin_pod *pod)
{
	json_t *o = json_pack("{s:s, s:{s:[], s:[]}, s:{s:s, s:s, s:s}}", "state",
			      pod->is_up ? "Up" : "Pending", "connections", "inbound", "outbound",
			      "info", "name", pod->name, "namespace", pod->namespace_,
			      "serviceAccount", pod->service_account);

	return o && json_object_set_new(d->pods, pod->uid, o) == 0 ? 0 : -ENOMEM;
}

static int add_details(json_t *o, const struct admin_conn *conn)
{
	const struct workload *p = conn->peer;
	char target[CV_SOCKADDR_STRLEN];
	json_t *more = json_pack(
		"{s:b, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "open",
		conn->is_open, "peerName", p ? p->name : "", "peerNamespace",
		p ? p->app->namespace_ : "", "peerUid", p ? p->uid : "", "peerNode",
		p ? p->place->node : "", "peerIsEnrolled", p && p->protocol == WORKLOAD_HBONE,
		"service", conn->service ? conn->service->def->key : "", "peerIdentity",
		conn->peer_identity ? conn->peer_identity : "", "clientIdentity",
		conn->client_identity ? conn->client_identity : "", "target",
		cv_sockaddr_format(&conn->target, target), "openedUs", (json_int_t)conn->opened_us,
		"bytesToServer", (json_int_t)conn->bytes_to_server, "bytesToClient",
		(json_int_t)conn->bytes_to_client);
	int r = json_object_update(o, more);

	json_decref(more);
	return r < 0 ? -ENOMEM : 0;
}

int admin_dump_conn(struct admin_dump *d, const char *pod_uid, const struct admin_conn *conn)
{
	json_t *pod = json_object_get(d->pods, pod_uid);
	json_t *list = json_object_get(json_object_get(pod, "connections"),
				       conn->is_inbound ? "inbound" : "outbound");
	char src[CV_SOCKADDR_STRLEN];
	char original[CV_SOCKADDR_STRLEN];
	char actual[CV_SOCKADDR_STRLEN];
	json_t *o;

	if (!list)
		return -ENOENT;
	o = json_pack("{s:s, s:s, s:s, s:s}", "src", cv_sockaddr_format(&conn->src, src),
		      "originalDst", cv_sockaddr_format(&conn->original_dst, original), "actualDst",
		      cv_sockaddr_format(&conn->actual_dst, actual), "protocol", conn->protocol);
	if (d->is_detailed && add_details(o, conn) < 0) {
		json_decref(o);
		return -ENOMEM;
	}
	return o && json_array_append_new(list, o) == 0 ? 0 : -ENOMEM;
}

void admin_dump_hold(struct admin_dump *d)
{
	d->pending++;
}

void admin_dump_more(struct admin_dump *d)
{
	if (d->resp && !d->config)
		(void)loop_timer_set(d->admin->config.loop, &d->timer, COLLECT_MAX_US);
}

void admin_dump_direct_listed(struct admin_dump *d)
{
	d->is_direct_listed = true;
}

void admin_dump_done(struct admin_dump *d)
{
	if (--d->pending > 0)
		return;
	/* may run inside the handler, which the answer must not overtake */
	loop_task_queue(d->admin->config.loop, &d->done);
}

static void handle_ready(struct admin *a, struct http_response *resp)
{
	const char *between = "not ready, pending: ";

	for (int i = 0; i < ADMIN_TASK_MAX; i++) {
		if (a->is_ready[i])
			continue;
		resp->status = 500;
		(void)buf_printf(&resp->body, "%s%s", between, task_names[i]);
		between = ", ";
	}
	http_response_text(resp, resp->status == 500 ? 500 : 200,
			   resp->status == 500 ? "\n" : "ready\n");
}

static void handle_metrics(struct admin *a, const struct http_request *req,
			   struct http_response *resp)
{
	const char *type = NULL;
	struct buf *b = &resp->body;
	int r = telemetry_write(a->workers, a->workers_count, now_monotonic_us(), b);

	if (r == 0)
		r = process_metrics_write(&a->process, b);
	for (size_t i = 0; i < a->sources_count && r == 0; i++)
		r = a->sources[i].fn(a->sources[i].arg, b);
	if (r == 0 && buf_len(&a->agent_metrics))
		r = buf_append(b, buf_head(&a->agent_metrics), buf_len(&a->agent_metrics));
	if (r == 0)
		type = metrics_finish(b, metrics_is_openmetrics(req->accept));
	if (type)
		resp->content_type = type;
	else
		resp->status = 500;
}

/* As in Istio's ztunnel: level=debug,access=off changes what it names, reset goes back to the
 * start. */
static int logging_change(struct admin *a, const char *query, char *err, size_t err_size)
{
	char value[LOG_FILTER_TEXT_MAX];

	if (http_query_get(query, "reset", value, sizeof(value)) == 0)
		return log_filter_set(a->start_filter, err, err_size);
	if (http_query_get(query, "level", value, sizeof(value)) == 0)
		return log_filter_apply(value, err, err_size);
	if (*query == '\0')
		return 0;
	(void)snprintf(err, err_size, "expected ?level= or ?reset");
	return -EINVAL;
}

static void handle_logging(struct admin *a, const struct http_request *req,
			   struct http_response *resp)
{
	char text[LOG_FILTER_TEXT_MAX];
	int r = 0;

	if (strcmp(req->method, "POST") == 0)
		r = logging_change(a, req->query, text, sizeof(text));
	if (r < 0) {
		resp->status = 400;
		(void)buf_printf(
			&resp->body,
			"%s\nusage: POST /logging                         what is in force\n"
			"       POST /logging?level=LEVEL            change all\n"
			"       POST /logging?level=SCOPE=LEVEL,...  change these\n"
			"       POST /logging?reset                  as it was started\n"
			"LEVEL: error, warn, info, debug, trace or off; SCOPE: access, dns, "
			"xds, certs, ... as the lines of the log name it\n",
			text);
		return;
	}
	log_filter_format(text, sizeof(text));
	(void)buf_printf(&resp->body, "current log level is %s\n", text);
}

static bool is_get(const struct http_request *req)
{
	return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
}

static void handle_quit(struct admin *a, const struct http_request *req, struct http_response *resp)
{
	if (strcmp(req->method, "POST") != 0) {
		http_response_text(resp, 405, "expected POST\n");
		return;
	}
	http_response_text(resp, 200, "shutdown now\n");
	if (a->config.quit)
		a->config.quit(a->config.arg);
}

static void handle_explain(struct admin *a, const struct http_request *req,
			   struct http_response *resp)
{
	unsigned int status = 200;
	json_t *value = explain_request(xds_sync_state(a->config.xds), req, &status);

	answer_json(resp, value);
	if (value)
		resp->status = status;
	json_decref(value);
}

/* handle_ended() - no worker is asked: their rings may be read from here. */
static void handle_ended(struct admin *a, struct http_response *resp)
{
	json_t *list = json_array(), *all;
	uint64_t since = 0;
	int r = 0;

	for (size_t i = 0; i < a->workers_count && r == 0; i++)
		r = history_to_json(telemetry_history(a->workers[i]), list, &since);
	all = r < 0 ? NULL
		    : json_pack("{s:s, s:I, s:I, s:O}", "node", a->node, "nowUs",
				(json_int_t)now_realtime_us(), "completeSinceUs", (json_int_t)since,
				"ended", list);
	answer_json(resp, all);
	json_decref(all);
	json_decref(list);
}

static void on_ready_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	if (strcmp(req->path, "/healthz/ready") == 0 && is_get(req))
		handle_ready(arg, resp);
	else
		http_response_text(resp, 404, "not found\n");
}

static void on_metrics_request(const struct http_request *req, struct http_response *resp,
			       void *arg)
{
	bool is_path =
		strcmp(req->path, "/metrics") == 0 || strcmp(req->path, "/stats/prometheus") == 0;

	if (is_path && is_get(req))
		handle_metrics(arg, req, resp);
	else
		http_response_text(resp, 404, "not found\n");
}

static void on_admin_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	struct admin *a = arg;

	if (strcmp(req->path, "/config_dump") == 0 && is_get(req)) {
		dump_start(a, resp, false);
	} else if (strcmp(req->path, "/connections") == 0 && is_get(req)) {
		dump_start(a, resp, true);
	} else if (strcmp(req->path, "/connections/ended") == 0 && is_get(req)) {
		handle_ended(a, resp);
	} else if (explain_is_path(req->path) && is_get(req)) {
		handle_explain(a, req, resp);
	} else if (strcmp(req->path, "/logging") == 0) {
		handle_logging(a, req, resp);
	} else if (strcmp(req->path, "/quitquitquit") == 0) {
		handle_quit(a, req, resp);
	} else if (strcmp(req->path, "/healthz/ready") == 0) {
		on_ready_request(req, resp, arg);
	} else if (strcmp(req->path, "/") == 0) {
		resp->content_type = "text/html; charset=utf-8";
		http_response_text(
			resp, 200,
			"<!doctype html><title>ztunnel</title><h1>culvert ztunnel</h1><ul>"
			"<li><a href=config_dump>config_dump</a><li><a "
			"href=connections>connections</a>"
			"<li><a href=connections/ended>connections/ended</a>"
			"<li>explain?from=POD&amp;to=DEST:PORT<li><a href=metrics>metrics</a>"
			"<li><a href=healthz/ready>healthz/ready</a><li>POST logging?level=debug"
			"<li>POST quitquitquit</ul>\n");
	} else {
		on_metrics_request(req, resp, arg);
	}
}

/* @is_public: strangers reach it. */
static int admin_serve(struct admin *a, int listen_fd, http_handler *handler, bool is_public)
{
	_cleanup_(close_fdp) int fd = listen_fd;
	const struct http_server_config config = {.loop = a->config.loop,
						  .listen_fd = fd,
						  .handler = handler,
						  .arg = a,
						  .is_crowd_cut = is_public};
	int r = http_server_open(&config, &a->servers[a->servers_count]);

	if (r < 0)
		return r;
	(void)TAKE_FD(fd);
	a->servers_count++;
	return 0;
}

static int admin_serve_port(struct admin *a, const struct cv_addr *addr, uint16_t port,
			    http_handler *handler)
{
	int fd;
	int r;

	if (!port)
		return 0;
	r = tcp_listen(addr, port, &fd);
	return r < 0 ? r : admin_serve(a, fd, handler, !cv_addr_is_loopback(addr));
}

static int admin_listen(struct admin *a, char *err, size_t err_size)
{
	const struct cv_addr loopback = cv_addr_from_v4(htonl(INADDR_LOOPBACK));
	const struct cv_addr any = cv_addr_from_v6(&in6addr_any);
	const struct {
		const struct cv_addr *addr;
		uint16_t port;
		http_handler *handler;
	} ports[] = {
		{&loopback, a->config.admin_port, on_admin_request},
		{&any, a->config.metrics_port, on_metrics_request},
		{&any, a->config.ready_port, on_ready_request},
	};
	int fd;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		r = admin_serve_port(a, ports[i].addr, ports[i].port, ports[i].handler);
		if (r < 0) {
			(void)snprintf(err, err_size, "cannot listen on port %u: %s", ports[i].port,
				       strerrordesc_np(-r));
			return r;
		}
	}
	if (!a->config.unix_path)
		return 0;
	r = unix_stream_listen(a->config.unix_path, SOCKET_MODE, &fd);
	if (r == 0)
		r = admin_serve(a, fd, on_admin_request, false);
	if (r < 0)
		(void)snprintf(err, err_size, "cannot listen on %s: %s", a->config.unix_path,
			       strerrordesc_np(-r));
	return r;
}

int admin_new(const struct admin_config *config, char *err, size_t err_size, struct admin **ret)
{
	_cleanup_(admin_freep) struct admin *a = calloc(1, sizeof(*a));
	int r;

	err[0] = '\0';
	if (!a)
		return -ENOMEM;
	a->config = *config;
	a->agent_metrics.limit = AGENT_METRICS_MAX;
	process_metrics_init(&a->process, "ztunnel", true);
	log_filter_format(a->start_filter, sizeof(a->start_filter));
	a->node = strdup(config->node);
	if (!a->node)
		return -ENOMEM;
	r = admin_listen(a, err, err_size);
	if (r < 0)
		return r;
	a->config.unix_path = NULL; /* borrowed for the call only */
	*ret = TAKE_PTR(a);
	return 0;
}

struct admin *admin_free(struct admin *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->servers_count; i++)
		http_server_free(a->servers[i]);
	buf_reset(&a->agent_metrics);
	process_metrics_clear(&a->process);
	free(a->node);
	free(a);
	return NULL;
}

void admin_set_ready(struct admin *a, enum admin_task task, bool is_ready)
{
	a->is_ready[task] = is_ready;
}

int admin_add_telemetry(struct admin *a, struct telemetry *t)
{
	if (a->workers_count == WORKERS_MAX)
		return -ENOMEM;
	a->workers[a->workers_count++] = t;
	return 0;
}

int admin_add_metrics(struct admin *a, int (*fn)(void *arg, struct buf *into), void *arg)
{
	if (a->sources_count == SOURCES_MAX)
		return -ENOMEM;
	a->sources[a->sources_count++] = (struct metrics_source){.fn = fn, .arg = arg};
	return 0;
}

void admin_set_agent_metrics(struct admin *a, const char *text, size_t len)
{
	buf_reset(&a->agent_metrics);
	if (buf_append(&a->agent_metrics, text, len) < 0)
		log_warn("admin", "metrics of the agent left out: too long len=%zu", len);
}
