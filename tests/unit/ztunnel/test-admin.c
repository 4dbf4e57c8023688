/* SPDX-License-Identifier: Apache-2.0 */
/* admin - what istioctl, Prometheus and probes read, over the UNIX socket. */
#include "ztunnel/admin.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "net/tcp.h"
#include "net/unix.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/config_dump.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/xds_sync.h"

#define AGENT_TEXT "culvert_agent_pods{state=\"captured\"} 3\n"

struct fixture {
	struct loop *loop;
	char dir[64];
	char path[96];
	struct xds_sync *sync;
	struct admin *admin;
	struct admin_dump *late;
	bool is_late, is_held;
	unsigned int quits;
	const char *accept; /* what it says; NULL: anything */
	char text[65536];
};

static void on_state(void *arg _unused_, struct state *s _unused_)
{
}

static void collect(void *arg, struct admin_dump *d)
{
	struct fixture *f = arg;
	struct admin_pod pod = {.uid = "u1",
				.name = "a",
				.namespace_ = "demo",
				.service_account = "x",
				.is_up = true};
	struct admin_conn conn = {.is_inbound = true,
				  .src = mesh_sockaddr("10.0.0.9:4000"),
				  .original_dst = mesh_sockaddr("10.0.0.1:15008"),
				  .actual_dst = mesh_sockaddr("10.0.0.1:80"),
				  .protocol = "HBONE",
				  .is_open = true,
				  .peer_identity = "spiffe://x",
				  .client_identity = "spiffe://x",
				  .target = mesh_sockaddr("10.0.0.1:80"),
				  .opened_us = 3,
				  .bytes_to_server = 7};

	assert_int_equal(admin_dump_pod(d, &pod), 0);
	assert_int_equal(admin_dump_conn(d, "u1", &conn), 0);
	assert_int_equal(admin_dump_conn(d, "u2", &conn), -ENOENT);
	if (f->is_held) {
		admin_dump_hold(d);
		admin_dump_direct_listed(d);
		admin_dump_done(d);
	}
	if (f->is_late)
		f->late = d;
	else
		admin_dump_done(d);
}

static void quit(void *arg)
{
	((struct fixture *)arg)->quits++;
}

static const struct xds_sync_ops sync_ops = {.on_state = on_state};

static int setup(void **state)
{
	static struct fixture f;
	struct xds_sync_config sync = {.node = "n1", .node_id = "x", .network = ""};
	struct admin_config config = {
		.node = "n1", .collect = collect, .quit = quit, .arg = &f, .workers = 2};
	char err[256];

	memset(&f, 0, sizeof(f));
	log_set_level(LOG_ERROR);
	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/g-admin-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.path, sizeof(f.path), "%s/admin.sock", f.dir);
	assert_int_equal(loop_new(&f.loop), 0);
	sync.loop = config.loop = f.loop;
	assert_int_equal(xds_sync_new(&sync, &sync_ops, &f, &f.sync), 0);
	config.xds = f.sync;
	config.unix_path = f.path;
	assert_int_equal(admin_new(&config, err, sizeof(err), &f.admin), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	admin_free(f->admin);
	xds_sync_free(f->sync);
	loop_free(f->loop);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	return 0;
}

/* One request, run to its end. @fd: taken. Return: the whole response. */
static const char *ask_on(struct fixture *f, int fd, const char *method, const char *target)
{
	char request[256];
	size_t len = 0;

	(void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n",
		       method, target, f->accept ? f->accept : "*/*");
	assert_true(send(fd, request, strlen(request), 0) > 0);
	for (int i = 0; i < 400; i++) {
		ssize_t n;

		assert_true(loop_run_once(f->loop, 10) >= 0);
		n = recv(fd, f->text + len, sizeof(f->text) - 1 - len, MSG_DONTWAIT);
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
		if (f->late && i > 20)
			i = 0;
	}
	close(fd);
	f->text[len] = '\0';
	return f->text;
}

static const char *ask(struct fixture *f, const char *method, const char *target)
{
	int fd = -1;

	assert_int_equal(unix_stream_connect(f->path, &fd), 0);
	return ask_on(f, fd, method, target);
}

static json_t *body(const char *response)
{
	const char *at = strstr(response, "\r\n\r\n");
	json_error_t err;
	json_t *value = at ? json_loads(at + 4, 0, &err) : NULL;

	if (!value)
		fail_msg("no JSON: %s", response);
	return value;
}

static void config_dump_holds_what_istioctl_reads(void **state)
{
	static const char *const keys[] = {"workloads",      "services",     "policies",
					   "stagedServices", "staticConfig", "certificates",
					   "version",        "config",       "workloadState"};
	json_t *all = body(ask(*state, "GET", "/config_dump"));
	json_t *in;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(all, keys[i]));
	in = json_object_get(
		json_object_get(json_object_get(json_object_get(all, "workloadState"), "u1"),
				"connections"),
		"inbound");
	assert_int_equal(json_array_size(in), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(in, 0), "actualDst")),
			    "10.0.0.1:80");
	json_decref(all);
}

static void a_dump_without_its_workers_is_sent_in_time(void **state)
{
	struct fixture *f = *state;
	json_t *all;

	f->is_late = true;
	all = body(ask(f, "GET", "/config_dump"));
	assert_non_null(json_object_get(all, "workloadState"));
	json_decref(all);
	assert_non_null(f->late);
	admin_dump_done(f->late);
	assert_true(loop_run_once(f->loop, 10) >= 0);
}

static void readiness_names_what_is_pending(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(ask(f, "GET", "/healthz/ready"), " 500 "));
	assert_non_null(strstr(f->text, "state manager, proxy, dns proxy, workload proxy manager"));
	for (int i = 0; i < ADMIN_TASK_MAX; i++)
		admin_set_ready(f->admin, (enum admin_task)i, true);
	assert_non_null(strstr(ask(f, "GET", "/healthz/ready"), " 200 "));
	assert_non_null(strstr(f->text, "\r\n\r\nready\n"));
	admin_set_ready(f->admin, ADMIN_TASK_PODS, false);
	assert_non_null(strstr(ask(f, "GET", "/healthz/ready"), "pending: workload proxy manager"));
}

static void metrics_join_workers_sources_and_the_agent(void **state)
{
	struct fixture *f = *state;
	struct telemetry *t = NULL;
	struct conn_info info = {.direction = CONN_INBOUND};

	assert_int_equal(telemetry_new(&t), 0);
	(void)telemetry_conn_open(t, &info);
	assert_int_equal(admin_add_telemetry(f->admin, t), 0);
	assert_int_equal(admin_add_metrics(f->admin, xds_sync_metrics, f->sync), 0);
	admin_set_agent_metrics(f->admin, AGENT_TEXT, strlen(AGENT_TEXT));
	f->accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1";
	(void)ask(f, "GET", "/metrics");
	assert_non_null(strstr(f->text, "application/openmetrics-text"));
	assert_non_null(strstr(f->text, "# TYPE istio_xds_message counter\n"));
	assert_non_null(
		strstr(f->text, "istio_tcp_connections_opened_total{reporter=\"destination\""));
	assert_non_null(strstr(f->text, "istio_build{component=\"ztunnel\""));
	assert_non_null(strstr(f->text, "istio_xds_message_total"));
	assert_non_null(strstr(f->text, AGENT_TEXT));
	assert_non_null(strstr(f->text, "# EOF\n"));
	assert_null(strstr(f->text, "process_resident_memory_bytes 0\n"));
	assert_non_null(strstr(ask(f, "GET", "/stats/prometheus"), "# EOF\n"));
	f->accept = "*/*";
	(void)ask(f, "GET", "/metrics");
	assert_non_null(strcasestr(f->text, "content-type: text/plain; version=0.0.4"));
	assert_non_null(strstr(f->text, "# TYPE istio_xds_message_total counter\n"));
	assert_non_null(strstr(f->text, AGENT_TEXT));
	assert_null(strstr(f->text, "# EOF"));
	telemetry_conn_denied(t, &info, "ns/p", "explicitly denied");
	(void)ask(f, "GET", "/connections/ended");
	assert_non_null(strstr(f->text, "policy rejection: explicitly denied by: ns/p\""));
	assert_non_null(strstr(f->text, "\"completeSinceUs\": "));
	telemetry_free(t);
	f->admin = admin_free(f->admin);
}

static void connections_have_bytes_and_ages(void **state)
{
	json_t *v = body(ask(*state, "GET", "/connections"));
	const json_t *pod = json_object_get(json_object_get(v, "workloadState"), "u1");
	const json_t *c =
		json_array_get(json_object_get(json_object_get(pod, "connections"), "inbound"), 0);

	assert_true(json_integer_value(json_object_get(v, "nowUs")) > 0);
	assert_int_equal(json_integer_value(json_object_get(c, "bytesToServer")), 7);
	assert_int_equal(json_integer_value(json_object_get(c, "openedUs")), 3);
	assert_string_equal(json_string_value(json_object_get(c, "peerIdentity")), "spiffe://x");
	assert_string_equal(json_string_value(json_object_get(c, "clientIdentity")), "spiffe://x");
	assert_string_equal(json_string_value(json_object_get(c, "target")), "10.0.0.1:80");
	assert_string_equal(json_string_value(json_object_get(c, "peerUid")), "");
	assert_true(json_is_true(json_object_get(c, "open")));
	/* nobody has told of those inside the node */
	assert_true(json_is_false(json_object_get(v, "directListed")));
	json_decref(v);
}

static void a_dump_waits_for_all_who_hold_it(void **state)
{
	struct fixture *f = *state;
	json_t *v;

	f->is_held = true;
	v = body(ask(f, "GET", "/connections"));
	assert_true(json_is_true(json_object_get(v, "directListed")));
	json_decref(v);
	f->is_late = true; /* one of the two */
	v = body(ask(f, "GET", "/connections"));
	assert_true(json_is_true(json_object_get(v, "directListed")));
	json_decref(v);
	assert_non_null(f->late);
	admin_dump_done(f->late);
	assert_true(loop_run_once(f->loop, 10) >= 0);
}

static void explain_answers_with_its_own_status(void **state)
{
	assert_non_null(strstr(ask(*state, "GET", "/explain?from=nobody&to=x:1"), " 404 "));
	assert_non_null(strstr(ask(*state, "GET", "/explain"), "usage: /explain?from=POD"));
}

static void the_log_level_is_set_and_reset(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(ask(f, "POST", "/logging?level=debug"), "level is debug"));
	assert_int_equal(log_get_level(), LOG_DEBUG);
	assert_non_null(strstr(ask(f, "POST", "/logging?level=access%3Dwarn"),
			       "level is access=warn,debug"));
	assert_false(log_is_on(LOG_INFO, "access"));
	assert_true(log_is_on(LOG_DEBUG, "xds"));
	assert_non_null(strstr(ask(f, "POST", "/logging?level=info,access=off,ztunnel::xds=trace"),
			       "level is access=off,ztunnel::xds=trace,info"));
	assert_false(log_is_on(LOG_ERROR, "access"));
	assert_true(log_is_on(LOG_TRACE, "xds"));
	assert_non_null(strstr(ask(f, "POST", "/logging"), "level is access=off,"));
	assert_non_null(strstr(ask(f, "POST", "/logging?levle=info"), " 400 "));
	assert_non_null(strstr(ask(f, "POST", "/logging?level=loud"), " 400 "));
	assert_non_null(strstr(ask(f, "POST", "/logging?reset"), "level is error"));
	log_set_level(LOG_ERROR);
	assert_non_null(strstr(ask(f, "GET", "/logging"), "level is error"));
}

static void quitting_wants_a_post(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(ask(f, "GET", "/quitquitquit"), " 405 "));
	assert_int_equal(f->quits, 0);
	assert_non_null(strstr(ask(f, "POST", "/quitquitquit"), " 200 "));
	assert_int_equal(f->quits, 1);
}

static void unknown_paths_are_not_found(void **state)
{
	assert_non_null(strstr(ask(*state, "GET", "/nothing"), " 404 "));
	assert_non_null(strstr(ask(*state, "POST", "/config_dump"), " 404 "));
	assert_non_null(strstr(ask(*state, "GET", "/"), "config_dump"));
}

/* A port that nobody has at the moment. */
static in_port_t port_free(void)
{
	struct cv_addr any = mesh_addr("::");
	struct sockaddr_in6 at = {0};
	socklen_t len = sizeof(at);
	int fd = -1;

	assert_int_equal(tcp_listen(&any, 0, &fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	close(fd);
	return at.sin6_port;
}

/* Anybody may dial it: who does so and says nothing keeps no probe out. */
static void silence_keeps_no_probe_from_the_ready_port(void **state)
{
	struct fixture *f = *state;
	struct admin_config config = {.loop = f->loop, .xds = f->sync, .node = "n1"};
	struct cv_sockaddr at = mesh_sockaddr("127.0.0.1:0");
	struct admin *a = NULL;
	char err[256];
	int fds[100], fd = -1, r = -EADDRINUSE;

	for (int i = 0; i < 100 && r == -EADDRINUSE; i++) {
		at.port = port_free();
		config.ready_port = ntohs(at.port);
		r = admin_new(&config, err, sizeof(err), &a);
	}
	assert_int_equal(r, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_int_equal(tcp_connect(&at, &fds[i]), 0);
	assert_int_equal(tcp_connect(&at, &fd), 0);
	assert_non_null(strstr(ask_on(f, fd, "GET", "/healthz/ready"), " 500 "));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	admin_free(a);
}

static void an_occupied_port_is_named(void **state)
{
	struct fixture *f = *state;
	struct admin_config config = {.loop = f->loop, .xds = f->sync, .node = "n1"};
	struct cv_addr any = mesh_addr("::");
	struct sockaddr_in6 at = {0};
	socklen_t len = sizeof(at);
	struct admin *a = NULL;
	char err[256];
	int fd = -1;

	assert_int_equal(tcp_listen(&any, 0, &fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	config.metrics_port = ntohs(at.sin6_port);
	assert_int_equal(admin_new(&config, err, sizeof(err), &a), -EADDRINUSE);
	assert_non_null(strstr(err, "cannot listen on port"));
	assert_null(a);
	close(fd);
}

/* dump() - all of it, which took @ret_steps steps. */
static json_t *dump(struct state *s, unsigned int *ret_steps)
{
	_cleanup_(config_dump_freep) struct config_dump *d = NULL;
	_cleanup_(buf_resetp) struct buf text = {0};
	json_t *rest = json_pack("{s:{}}", "rest"), *all;
	int r;

	assert_int_equal(config_dump_new(s, rest, &d), 0);
	json_decref(rest);
	*ret_steps = 0;
	do {
		r = config_dump_step(d, 0, &text);
		++*ret_steps;
	} while (r > 0);
	assert_int_equal(r, 0);
	all = json_loadb((const char *)buf_head(&text), buf_len(&text), 0, NULL);
	assert_non_null(all);
	assert_int_equal(json_object_size(all), 4);
	assert_true(json_is_object(json_object_get(all, "rest")));
	return all;
}

/* Beside the DNS of the node's pods, on the same thread. */
TEST(a_dump_of_many_objects_is_written_one_by_one)
{
	struct state_builder *b = NULL;
	char name[16], addr[16];
	unsigned int steps;
	struct state *s;
	json_t *all;

	assert_int_equal(state_builder_new("n1", &b), 0);
	s = mesh_build(b);
	all = dump(s, &steps);
	assert_int_equal(json_array_size(json_object_get(all, "policies")), 0);
	json_decref(all);
	state_unref(s);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "p%d", i);
		(void)snprintf(addr, sizeof(addr), "10.0.0.%d", i);
		mesh_put_workload(b, &(struct mesh_workload){.name = name, .addrs = {addr}});
	}
	mesh_put_service(b, &(struct mesh_service){.name = "httpd"});
	s = mesh_build(b);
	all = dump(s, &steps);
	assert_true(steps > 100);
	assert_int_equal(json_array_size(json_object_get(all, "workloads")), 100);
	assert_int_equal(json_array_size(json_object_get(all, "services")), 1);
	json_decref(all);
	state_unref(s);
	state_builder_free(b);
}

TEST(objects_look_as_istioctl_expects)
{
	struct state_builder *b = NULL;
	json_t *all, *w, *v;
	unsigned int steps;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b,
			  &(struct mesh_workload){.name = "a",
						  .addrs = {"10.0.0.1", "fd00::1"},
						  .services = {"demo/httpd.demo.svc.cluster.local"},
						  .host_ports = {"172.18.0.1:8080"},
						  .host_target = 80,
						  .waypoint = "demo/wp"});
	mesh_put_service(b, &(struct mesh_service){
				    .name = "httpd", .vips = {"10.96.0.1"}, .ports = {80, 8080}});
	s = mesh_build(b);
	all = dump(s, &steps);
	w = json_array_get(json_object_get(all, "workloads"), 0);
	v = json_array_get(json_object_get(all, "services"), 0);
	assert_string_equal(json_string_value(json_object_get(w, "protocol")), "HBONE");
	assert_string_equal(json_string_value(json_array_get(json_object_get(w, "workloadIps"), 1)),
			    "fd00::1");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(w, "waypoint"), "destination")),
		"demo/wp");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(w, "hostPorts"),
							    "172.18.0.1:8080")),
			 80);
	assert_string_equal(json_string_value(json_array_get(json_object_get(v, "vips"), 0)),
			    "/10.96.0.1");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "ports"), "80")),
			 8080);
	assert_non_null(json_object_get(json_object_get(v, "endpoints"), "Kubernetes//Pod/demo/a"));
	json_decref(all);
	state_unref(s);
	state_builder_free(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(config_dump_holds_what_istioctl_reads),
		T(a_dump_without_its_workers_is_sent_in_time),
		T(readiness_names_what_is_pending),
		T(metrics_join_workers_sources_and_the_agent),
		T(connections_have_bytes_and_ages),
		T(a_dump_waits_for_all_who_hold_it),
		T(explain_answers_with_its_own_status),
		T(the_log_level_is_set_and_reset),
		T(quitting_wants_a_post),
		T(unknown_paths_are_not_found),
		T(silence_keeps_no_probe_from_the_ready_port),
		T(an_occupied_port_is_named),
		cmocka_unit_test(a_dump_of_many_objects_is_written_one_by_one),
		cmocka_unit_test(objects_look_as_istioctl_expects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
