/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ztunnel/rig.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "tests/unit/hbone/certs.h"
#include "tls/identity.h"
#include "ztunnel/pod.h"
#include "ztunnel/telemetry.h"

static void make_identities(struct rig *f)
{
	f->root = certs_root_new();
	f->client_id = certs_identity(f->root, "spiffe://cluster.local/ns/demo/sa/client");
	f->server_id = certs_identity(f->root, "spiffe://cluster.local/ns/demo/sa/server");
}

static void make_services(const struct rig *f, struct state_builder *b, bool has_web)
{
	if (has_web)
		mesh_put_service(b, &(struct mesh_service){.name = "web",
							   .vips = {SERVICE_ADDR},
							   .ports = {80, APP_PORT}});
	mesh_put_workload(
		b, &(struct mesh_workload){
			   .name = "refusing",
			   .account = "server",
			   .addrs = {REFUSING_ADDR},
			   .services = {SERVICE_KEY, f->has_peer_twin ? PEER_SERVICE_KEY : NULL},
			   .is_weightless = f->is_twin_weightless});
	mesh_put_service(b, &(struct mesh_service){.name = "peer",
						   .vips = {PEER_SERVICE_ADDR},
						   .ports = {80, APP_PORT},
						   .san = f->peer_san});
	if (!f->is_peer_gone)
		mesh_put_workload(b, &(struct mesh_workload){.name = "peer",
							     .account = "server",
							     .addrs = {PEER_ADDR},
							     .services = {PEER_SERVICE_KEY},
							     .is_tcp = f->is_peer_plain});
	if (f->has_peer_heir)
		mesh_put_workload(b, &(struct mesh_workload){
					     .name = "heir", .addrs = {PEER_ADDR}, .is_tcp = true});
	for (unsigned int i = 1; i <= f->silent; i++) {
		char name[32], addr[32];

		(void)snprintf(name, sizeof(name), "silent-%u", i);
		(void)snprintf(addr, sizeof(addr), SILENT_ADDR, i);
		mesh_put_workload(b, &(struct mesh_workload){.name = name,
							     .account = "server",
							     .node = "silent",
							     .addrs = {addr},
							     .services = {SERVICE_KEY}});
	}
	mesh_put_service(b, &(struct mesh_service){.name = "plain",
						   .vips = {PLAIN_SERVICE_ADDR},
						   .ports = {80, APP_PORT}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "closed",
						     .addrs = {REFUSING_ADDR},
						     .services = {PLAIN_SERVICE_KEY},
						     .is_host_network = true,
						     .is_tcp = true});
	mesh_put_workload(b, &(struct mesh_workload){.name = "outside",
						     .addrs = {OUTSIDE_ADDR},
						     .services = {PLAIN_SERVICE_KEY},
						     .is_host_network = true,
						     .is_tcp = true});
}

/* The snapshot. @deny: a policy that denies the client at the server. */
static struct state *make_state(struct rig *f, bool has_certs, bool deny, bool has_server)
{
	const struct mesh_workload client = {
		.name = "client",
		.account = "client",
		.addrs = {CLIENT_ADDR},
		.services = {SERVICE_KEY},
	};
	const struct mesh_workload server = {.name = "server",
					     .account = f->server_account ? f->server_account
									  : "server",
					     .addrs = {SERVER_ADDR},
					     .services = {SERVICE_KEY},
					     .policies = {deny ? "demo/deny" : NULL},
					     .incarnation = f->server_incarnation};
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &client);
	if (has_server)
		mesh_put_workload(b, &server);
	make_services(f, b, has_server);
	if (deny) {
		Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
		Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};

		m.name = (char *)(uintptr_t) "deny";
		m.namespace_ = (char *)(uintptr_t) "demo";
		m.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
		m.action = ISTIO__SECURITY__ACTION__DENY;
		m.n_rules = 1;
		m.rules = rules;
		mesh_put_policy(b, &m);
	}
	if (has_certs) {
		assert_int_equal(state_builder_set_identity(b, f->client_id->id, f->client_id), 0);
		assert_int_equal(state_builder_set_identity(b, f->server_id->id, f->server_id), 0);
	}
	state_builder_set_synced(b);
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

static void publish(struct rig *f, struct state *s)
{
	for (int i = 0; i < WORKERS; i++)
		worker_post_state(&f->workers[i], s);
	(void)state_unref(s);
}

void rig_publish(struct rig *f, bool has_certs, bool deny)
{
	publish(f, make_state(f, has_certs, deny, true));
}

void rig_publish_without_server(struct rig *f)
{
	publish(f, make_state(f, true, false, false));
}

/* The agent. */

static void on_pod_added(void *arg, struct pod *pod, int error)
{
	assert_int_equal(error, 0);
	((struct rig *)arg)->added++;
}

static void on_need(void *arg, unsigned int worker, const struct zds_sockets *need)
{
	struct rig *f = arg;
	struct zds_sockets m = *need;
	int fds[ZDS_MAX_FDS];

	if (f->is_agent_dead)
		return;
	if (f->is_agent_slow) {
		assert_true(f->late_count < ARRAY_SIZE(f->late));
		f->late_workers[f->late_count] = worker;
		f->late[f->late_count++] = *need;
		return;
	}
	f->plain_asked += m.kind == CV_SOCKET_DIAL_PLAIN;
	for (uint32_t i = 0; i < m.count; i++) {
		fds[i] = socket(m.family == ZDS_INET ? AF_INET : AF_INET6,
				SOCK_STREAM | SOCK_CLOEXEC |
					(f->is_plain_blocking && m.kind == CV_SOCKET_DIAL_PLAIN
						 ? 0
						 : SOCK_NONBLOCK),
				0);
		assert_true(fds[i] >= 0);
	}
	worker_post_sockets(&f->workers[worker], &m, fds);
}

void rig_give_late(struct rig *f)
{
	f->is_agent_slow = false;
	for (unsigned int i = 0; i < f->late_count; i++)
		on_need(f, f->late_workers[i], &f->late[i]);
	f->late_count = 0;
}

static void on_drained(void *arg)
{
	((struct rig *)arg)->drained++;
}

static const struct worker_ops worker_ops = {
	.on_pod_added = on_pod_added, .on_need = on_need, .on_drained = on_drained};

int rig_listen(const char *addr, uint16_t port)
{
	struct cv_addr a = mesh_addr(addr);
	int fd = -1;

	assert_int_equal(tcp_listen(&a, port, &fd), 0);
	return fd;
}

uint16_t rig_port(int fd)
{
	struct sockaddr_storage ss;
	struct cv_sockaddr sa;
	socklen_t len = sizeof(ss);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &sa), 0);
	return ntohs(sa.port);
}

static struct pod *add_pod(struct rig *f, const char *name, const char *addr, uint64_t cookie)
{
	struct zds_pod_add m = {.netns_cookie = cookie, .addr_count = 1};
	struct listener_set *set;
	struct pod *pod = NULL;
	int fds[ZDS_LISTENERS];

	(void)snprintf(m.uid, sizeof(m.uid), "Kubernetes//Pod/demo/%s", name);
	(void)snprintf(m.namespace_, sizeof(m.namespace_), "demo");
	(void)snprintf(m.name, sizeof(m.name), "%s", name);
	(void)snprintf(m.service_account, sizeof(m.service_account), "%s", name);
	m.addrs[0] = mesh_addr(addr);
	for (int i = 0; i < ZDS_LISTENERS; i++)
		fds[i] = rig_listen(addr, i == ZDS_LISTEN_HBONE ? CV_HBONE_PORT : 0);
	if (cookie == 2)
		f->plain_port = rig_port(fds[ZDS_LISTEN_PLAIN]);
	else
		f->outbound_port = rig_port(fds[ZDS_LISTEN_OUTBOUND]);
	assert_int_equal(pod_new(&m, fds, &pod), 0);
	set = listener_set_new(fds);
	assert_non_null(set);
	for (int i = POD_LISTENERS; i < ZDS_LISTENERS; i++)
		(void)close(fds[i]);
	for (int i = 0; i < WORKERS; i++)
		worker_post_pod_add(&f->workers[i], pod, set);
	(void)listener_set_unref(set);
	return pod;
}

/* turn() - let the main thread's loop run until @n is at least @want. */
void rig_turn_until(struct rig *f, const unsigned int *n, unsigned int want)
{
	for (int i = 0; i < WAIT_MS / 10 && *n < want; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_true(*n >= want);
}

static void on_collect(void *arg, const struct conn *c)
{
}

static void on_collected(void *main, void *arg)
{
	++*(unsigned int *)arg;
}

void rig_turn_workers(struct rig *f)
{
	/* what was there before the first message is worked off before the second */
	for (int round = 0; round < 2; round++) {
		unsigned int told = 0;

		for (int i = 0; i < WORKERS; i++)
			assert_int_equal(worker_post_collect(&f->workers[i], on_collect,
							     on_collected, &told),
					 0);
		rig_turn_until(f, &told, WORKERS);
	}
}

bool rig_metrics_have(struct rig *f, const char *text)
{
	struct telemetry *all[WORKERS];
	struct buf b = {0};
	bool has;

	for (int i = 0; i < WORKERS; i++)
		all[i] = f->workers[i].telemetry;
	assert_int_equal(telemetry_write(all, WORKERS, 1, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	has = strstr((const char *)buf_head(&b), text);
	buf_reset(&b);
	return has;
}

void rig_add_server(struct rig *f)
{
	(void)pod_unref(f->server);
	f->server = add_pod(f, "server", SERVER_ADDR, 2);
}

int rig_setup(void **state)
{
	struct rig *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	make_identities(f);
	assert_int_equal(loop_new(&f->loop), 0);
	inbox_init(&f->inbox, f->loop, f);
	f->state = make_state(f, true, false, true);
	for (unsigned int i = 0; i < WORKERS; i++) {
		f->workers[i].index = i;
		f->workers[i].count = WORKERS;
		f->workers[i].all = f->workers;
		f->workers[i].main_inbox = &f->inbox;
		f->workers[i].poll_us = 50;
		f->workers[i].ops = &worker_ops;
		assert_int_equal(worker_prepare(&f->workers[i], f->state), 0);
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		assert_int_equal(worker_start(&f->workers[i]), 0);
	f->client = add_pod(f, "client", CLIENT_ADDR, 1);
	f->server = add_pod(f, "server", SERVER_ADDR, 2);
	f->app = rig_listen(SERVER_ADDR, APP_PORT);
	rig_turn_until(f, &f->added, 2 * WORKERS);
	*state = f;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *f = *state;

	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	for (int i = 0; i < WORKERS; i++)
		worker_free(&f->workers[i]);
	inbox_close(&f->inbox);
	(void)pod_unref(f->client);
	(void)pod_unref(f->server);
	(void)close_fd(f->app);
	(void)state_unref(f->state);
	(void)tls_identity_unref(f->client_id);
	(void)tls_identity_unref(f->server_id);
	certs_root_free(f->root);
	loop_free(f->loop);
	free(f);
	return 0;
}

static int set_addr(int fd, const char *name, const char *addr)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	struct ifreq r = {0};

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (inet_pton(AF_INET, addr, &sa.sin_addr) != 1)
		return -1;
	memcpy(&r.ifr_addr, &sa, sizeof(sa));
	return ioctl(fd, SIOCSIFADDR, &r);
}

static bool enter_namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd, r;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = ioctl(fd, SIOCSIFFLAGS, &lo);
	if (r == 0)
		r = set_addr(fd, "lo:1", CLIENT_ADDR);
	if (r == 0)
		r = set_addr(fd, "lo:2", SERVER_ADDR);
	if (r == 0)
		r = set_addr(fd, "lo:3", OUTSIDE_ADDR);
	if (r == 0)
		r = set_addr(fd, "lo:4", SERVICE_ADDR);
	if (r == 0)
		r = set_addr(fd, "lo:5", PEER_ADDR);
	(void)close(fd);
	return r == 0;
}

bool rig_enter(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	log_set_level(getenv("VERBOSE") ? LOG_TRACE : LOG_ERROR);
	if (enter_namespace())
		return true;
	(void)printf("[  SKIPPED ] all: needs root for a network namespace\n");
	return false;
}
