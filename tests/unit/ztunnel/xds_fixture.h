/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* xds_fixture - an xds_sync with a control plane at the other end of a UNIX socket, in one loop. */
#include "ztunnel/xds_sync.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "http/grpc.h"
#include "net/unix.h"
#include "tests/unit/ztunnel/mesh.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/server.h"
#include "ztunnel/authz.h"
#include "ztunnel/settings.h"
#include "ztunnel/stand_in.h"

#define UID_A    "Kubernetes//Pod/demo/a"
#define UID_LATE "Kubernetes//Pod/demo/late"
#define MANY     2000 /* workloads: of two responses */

struct fixture {
	struct loop *loop;
	char dir[64];
	char path[96];
	struct xds_server *server;
	struct grpc_server *grpc;
	struct grpc_method method;
	struct xds_sync *sync;
	unsigned int published;
	unsigned int synced;
	unsigned int configured;
	unsigned int asked;   /* a server of other people: types that it was asked for, bits */
	unsigned int allowed; /* snapshots that let alice in to a */
	unsigned int round;   /* as the settings said last */
	void (*check)(const struct fixture *f, const struct state *s); /* each snapshot; or NULL */
	bool is_between;        /* settings have come, and their snapshot has not */
	struct grpc_call *call; /* to a control plane of another kind */
};

static inline bool is_allowed(const struct state *s)
{
	struct authz_conn conn = {.src_identity = "spiffe://cluster.local/ns/demo/sa/alice",
				  .src = mesh_sockaddr("10.0.0.9:40000"),
				  .dst = mesh_sockaddr("10.0.0.1:80")};
	struct authz_verdict v;

	authz_check(s, state_workload_by_uid(s, UID_A), &conn, &v);
	return v.is_allowed;
}

static inline void on_state(void *arg, struct state *s)
{
	struct fixture *f = arg;

	assert_ptr_equal(s, xds_sync_state(f->sync));
	assert_true(state_is_synced(s));
	f->published++;
	f->is_between = false;
	f->allowed += is_allowed(s);
	if (f->check)
		f->check(f, s);
}

static inline void on_settings(void *arg, struct settings *s)
{
	struct fixture *f = arg;

	f->round = (unsigned int)strtoul(s->trust_bundle, NULL, 10);
	f->is_between = true;
	f->configured++;
}

static inline void on_synced(void *arg)
{
	((struct fixture *)arg)->synced++;
}

static const struct xds_sync_ops ops = {
	.on_state = on_state, .on_synced = on_synced, .on_settings = on_settings};

static inline void listen_start(struct fixture *f)
{
	struct grpc_server_config grpc = {
		.loop = f->loop, .methods = &f->method, .n_methods = 1, .max_connections = 4};

	assert_int_equal(unix_stream_listen(f->path, 0600, &grpc.listen_fd), 0);
	assert_int_equal(grpc_server_new(&grpc, &f->grpc), 0);
}

static inline void server_start(struct fixture *f)
{
	assert_int_equal(xds_server_new(f->loop, &f->server), 0);
	f->method = xds_server_method(f->server);
	listen_start(f);
}

static inline void server_stop(struct fixture *f)
{
	f->grpc = grpc_server_free(f->grpc);
	f->server = xds_server_free(f->server);
}

static inline int setup(void **state)
{
	static struct fixture f;
	struct xds_sync_config config = {
		.node = "n1", .node_id = "ztunnel~1.1.1.1~z.istio-system~x", .network = ""};

	memset(&f, 0, sizeof(f));
	log_set_level(LOG_ERROR);
	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/g-xds-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.path, sizeof(f.path), "%s/xds.sock", f.dir);
	assert_int_equal(loop_new(&f.loop), 0);
	server_start(&f);
	config.loop = f.loop;
	config.target.path = f.path;
	assert_int_equal(xds_sync_new(&config, &ops, &f, &f.sync), 0);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	xds_sync_free(f->sync);
	server_stop(f);
	loop_free(f->loop);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	return 0;
}

static inline void turn(struct fixture *f, int timeout_ms)
{
	assert_true(loop_run_once(f->loop, timeout_ms) >= 0);
	assert_false(f->is_between);
}

static inline void run_ms(struct fixture *f, unsigned int until_published, int limit_ms)
{
	uint64_t end = now_monotonic_us() + (uint64_t)limit_ms * 1000;

	while (f->published < until_published && now_monotonic_us() < end)
		turn(f, 10);
}

static inline void send_workload(struct fixture *f, const struct mesh_workload *w)
{
	uint8_t packed[MESH_PACKED_SIZE];
	char uid[128];
	size_t len = mesh_pack_workload(w, packed);

	(void)snprintf(uid, sizeof(uid), "Kubernetes//Pod/demo/%s", w->name);
	assert_int_equal(xds_server_set(f->server, XDS_ADDRESS, uid, packed, len), 0);
}

/* In namespace demo, of one rule: a DENY of everything, or an ALLOW of nobody. */
static inline size_t pack_policy(const char *name, Istio__Security__Scope scope,
				 Istio__Security__Action action, uint8_t into[256])
{
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};

	m.name = (char *)(uintptr_t)name;
	m.namespace_ = "demo";
	m.scope = scope;
	m.action = action;
	m.rules = rules;
	m.n_rules = action == ISTIO__SECURITY__ACTION__DENY;
	return istio__security__authorization__pack(&m, into);
}

static inline void set_policy(struct fixture *f, const char *name, Istio__Security__Scope scope,
			      Istio__Security__Action action)
{
	uint8_t packed[256];
	char key[64];
	size_t len = pack_policy(name, scope, action, packed);

	(void)snprintf(key, sizeof(key), "demo/%s", name);
	assert_int_equal(xds_server_set(f->server, XDS_AUTHORIZATION, key, packed, len), 0);
}

static inline void send_policy(struct fixture *f)
{
	set_policy(f, "p", ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR,
		   ISTIO__SECURITY__ACTION__ALLOW);
}

/* @n workloads and then a, all of which name @policy, or none. Under a check of another node: there
 * no policy is waited for. */
static inline void send_many(struct fixture *f, int n, const char *policy)
{
	const char *node = f->check ? "n2" : "n1";
	char name[32], addr[32];

	for (int i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "w%d", i);
		(void)snprintf(addr, sizeof(addr), "10.1.%d.%d", i / 250, i % 250 + 1);
		send_workload(f, &(struct mesh_workload){.name = name,
							 .node = node,
							 .addrs = {addr},
							 .policies = {policy}});
	}
	send_workload(
		f, &(struct mesh_workload){
			   .name = "a", .node = node, .addrs = {"10.0.0.1"}, .policies = {policy}});
}

/* How many have come so far. */
static inline bool has_messages(struct fixture *f, const char *type, int n)
{
	char line[128];
	struct buf b = {0};
	bool is_there;

	(void)snprintf(line, sizeof(line), "message_total{url=\"type.googleapis.com/%s\"} %d\n",
		       type, n);
	assert_int_equal(xds_sync_metrics(f->sync, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	is_there = strstr((char *)buf_head(&b), line) != NULL;
	buf_reset(&b);
	return is_there;
}

static inline const struct workload *client(const struct fixture *f, const char *account)
{
	return state_client(xds_sync_state(f->sync), UID_LATE, account);
}

static inline void run_until_alone(struct fixture *f, bool is_alone)
{
	for (int i = 0; i < 1000 && state_is_alone(xds_sync_state(f->sync)) != is_alone; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_true(state_is_alone(xds_sync_state(f->sync)) == is_alone);
}
