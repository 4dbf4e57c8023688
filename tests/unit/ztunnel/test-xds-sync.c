/* SPDX-License-Identifier: Apache-2.0 */
/* xds-sync - with a control plane at the other end of a UNIX socket: batches, halves of a change,
 * refusals. */
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
#include "xds/message.h"
#include "xds/server.h"
#include "ztunnel/authz.h"
#include "ztunnel/stand_in.h"

#define UID_A "Kubernetes//Pod/demo/a"

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
	unsigned int asked; /* a server of other people: types that it was asked for, bits */
};

static void on_state(void *arg, struct state *s)
{
	struct fixture *f = arg;

	assert_ptr_equal(s, xds_sync_state(f->sync));
	assert_true(state_is_synced(s));
	f->published++;
}

static void on_synced(void *arg)
{
	((struct fixture *)arg)->synced++;
}

static void on_settings(void *arg, struct settings *s)
{
	((struct fixture *)arg)->configured++;
}

static const struct xds_sync_ops ops = {
	.on_state = on_state,
	.on_synced = on_synced,
	.on_settings = on_settings,
};

static void listen_start(struct fixture *f)
{
	struct grpc_server_config grpc = {
		.loop = f->loop, .methods = &f->method, .n_methods = 1, .max_connections = 4};

	assert_int_equal(unix_stream_listen(f->path, 0600, &grpc.listen_fd), 0);
	assert_int_equal(grpc_server_new(&grpc, &f->grpc), 0);
}

static void server_start(struct fixture *f)
{
	assert_int_equal(xds_server_new(f->loop, &f->server), 0);
	f->method = xds_server_method(f->server);
	listen_start(f);
}

static void server_stop(struct fixture *f)
{
	f->grpc = grpc_server_free(f->grpc);
	f->server = xds_server_free(f->server);
}

static int setup(void **state)
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

static int teardown(void **state)
{
	struct fixture *f = *state;

	xds_sync_free(f->sync);
	server_stop(f);
	loop_free(f->loop);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	return 0;
}

static void run_ms(struct fixture *f, unsigned int until_published, int limit_ms)
{
	uint64_t end = now_monotonic_us() + (uint64_t)limit_ms * 1000;

	while (f->published < until_published && now_monotonic_us() < end)
		assert_true(loop_run_once(f->loop, 10) >= 0);
}

static void send_workload(struct fixture *f, const struct mesh_workload *w)
{
	uint8_t packed[MESH_PACKED_SIZE];
	char uid[128];
	size_t len = mesh_pack_workload(w, packed);

	(void)snprintf(uid, sizeof(uid), "Kubernetes//Pod/demo/%s", w->name);
	assert_int_equal(xds_server_set(f->server, XDS_ADDRESS, uid, packed, len), 0);
}

static void send_policy(struct fixture *f)
{
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	uint8_t packed[256];

	m.name = "p";
	m.namespace_ = "demo";
	m.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	istio__security__authorization__pack(&m, packed);
	assert_int_equal(xds_server_set(f->server, XDS_AUTHORIZATION, "demo/p", packed,
					istio__security__authorization__get_packed_size(&m)),
			 0);
}

static void what_is_there_comes_in_one_snapshot_and_changes_follow(void **state)
{
	struct fixture *f = *state;

	assert_false(state_is_synced(xds_sync_state(f->sync)));
	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	send_workload(f, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	assert_int_equal(f->published, 1);
	assert_int_equal(f->synced, 1);
	assert_true(xds_sync_is_synced(f->sync));
	assert_non_null(state_workload_by_uid(xds_sync_state(f->sync), UID_A));
	xds_server_remove(f->server, XDS_ADDRESS, UID_A);
	xds_server_flush(f->server);
	run_ms(f, 2, 5000);
	assert_null(state_workload_by_uid(xds_sync_state(f->sync), UID_A));
	assert_int_equal(f->synced, 1);
}

static void a_workload_waits_for_the_policy_that_it_names(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}};

	send_workload(f, &w);
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	w.policies[0] = "demo/p";
	send_workload(f, &w);
	xds_server_flush(f->server);
	run_ms(f, 2, 300);
	assert_int_equal(f->published, 1);
	send_policy(f);
	xds_server_flush(f->server);
	run_ms(f, 2, 500);
	assert_int_equal(f->published, 2);
	assert_int_equal(state_workload_by_uid(xds_sync_state(f->sync), UID_A)->app->policies_count,
			 1);
}

static void a_policy_that_never_comes_is_not_waited_for_for_ever(void **state)
{
	struct fixture *f = *state;
	struct authz_conn conn = {.dst = mesh_sockaddr("10.0.0.1:80"),
				  .src = mesh_sockaddr("10.0.0.2:80")};
	struct authz_verdict v;

	send_workload(f, &(struct mesh_workload){
				 .name = "a", .addrs = {"10.0.0.1"}, .policies = {"demo/p"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	assert_int_equal(f->published, 1);
	authz_check(xds_sync_state(f->sync), state_workload_by_uid(xds_sync_state(f->sync), UID_A),
		    &conn, &v);
	assert_false(v.is_allowed);
	/* and holds nothing else up */
	send_workload(f, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	xds_server_flush(f->server);
	run_ms(f, 2, 500);
	assert_int_equal(f->published, 2);
}

/* How many have come so far. */
static bool has_messages(struct fixture *f, const char *type, int n)
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

static void a_refused_resource_spoils_no_other(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_ERROR);
	assert_int_equal(xds_server_set(f->server, XDS_ADDRESS, "bad", "\xff\xff", 2), 0);
	assert_int_equal(xds_server_set(f->server, XDS_AUTHORIZATION, "demo/bad", "\xff\xff", 2),
			 0);
	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	assert_non_null(state_workload_by_uid(xds_sync_state(f->sync), UID_A));
	assert_true(has_messages(f, "istio.workload.Address", 2));
}

static void another_control_plane_sends_the_difference(void **state)
{
	struct mesh_workload a = {.name = "a", .addrs = {"10.0.0.1"}, .policies = {"demo/p"}};
	struct mesh_workload gone = {.name = "gone", .addrs = {"10.0.0.2"}};
	struct mesh_workload added = {.name = "added", .addrs = {"10.0.0.2"}};
	struct fixture *f = *state;

	send_workload(f, &a);
	send_workload(f, &gone);
	send_policy(f);
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	server_stop(f);
	server_start(f);
	send_workload(f, &a);
	send_workload(f, &added);
	send_policy(f);
	xds_server_flush(f->server);
	/* lost, there again, the difference */
	run_ms(f, 4, 5000);
	assert_non_null(state_workload_by_uid(xds_sync_state(f->sync), UID_A));
	assert_non_null(
		state_workload_by_uid(xds_sync_state(f->sync), "Kubernetes//Pod/demo/added"));
	assert_null(state_workload_by_uid(xds_sync_state(f->sync), "Kubernetes//Pod/demo/gone"));
	assert_true(has_messages(f, "istio.workload.Address", 3));
	assert_true(has_messages(f, "istio.security.Authorization", 1));
}

#define UID_LATE "Kubernetes//Pod/demo/late"

static const struct workload *client(const struct fixture *f, const char *account)
{
	return state_client(xds_sync_state(f->sync), UID_LATE, account);
}

static void run_until_alone(struct fixture *f, bool is_alone)
{
	for (int i = 0; i < 1000 && state_is_alone(xds_sync_state(f->sync)) != is_alone; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_true(state_is_alone(xds_sync_state(f->sync)) == is_alone);
}

static void what_stands_in_counts_while_the_control_plane_is_away(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload late = {.name = "late", .account = "web"};
	uint8_t packed[MESH_PACKED_SIZE];
	struct cv_addr addr = mesh_addr("10.0.0.9");

	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	assert_int_equal(
		xds_sync_set_stand_in(f->sync, UID_LATE, packed, mesh_pack_workload(&late, packed)),
		0);
	run_ms(f, 2, 5000);
	assert_null(client(f, "web"));
	server_stop(f);
	run_until_alone(f, true);
	assert_string_equal(client(f, "web")->app->identity,
			    "spiffe://cluster.local/ns/demo/sa/web");
	assert_null(client(f, "other"));
	/* nobody else finds it */
	assert_null(state_workload_by_uid(xds_sync_state(f->sync), UID_LATE));
	server_start(f);
	late.addrs[0] = "10.0.0.9";
	send_workload(f, &late);
	xds_server_flush(f->server);
	run_until_alone(f, false);
	for (int i = 0; i < 1000 && !client(f, "web"); i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_ptr_equal(client(f, "web"), state_workload_by_addr(xds_sync_state(f->sync), &addr));
}

static void a_stand_in_that_is_taken_out_is_gone(void **state)
{
	struct fixture *f = *state;
	const struct mesh_workload late = {.name = "late", .account = "web"};
	uint8_t packed[MESH_PACKED_SIZE];

	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	server_stop(f);
	run_until_alone(f, true);
	assert_int_equal(
		xds_sync_set_stand_in(f->sync, UID_LATE, packed, mesh_pack_workload(&late, packed)),
		0);
	run_ms(f, 3, 5000);
	assert_non_null(client(f, ""));
	assert_int_equal(xds_sync_set_stand_in(f->sync, UID_LATE, NULL, 0), 0);
	run_ms(f, 4, 5000);
	assert_null(client(f, ""));
	server_start(f);
}

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;

/* One workload and no policy; of any other type not a word, as Istio's control plane has it. */
static void answer_as_istio(struct grpc_call *c, const delta_request *req)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse resp =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	Envoy__Service__Discovery__V3__Resource a = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE__INIT;
	Envoy__Service__Discovery__V3__Resource *resources[] = {&a};
	Google__Protobuf__Any body = GOOGLE__PROTOBUF__ANY__INIT;
	uint8_t packed[MESH_PACKED_SIZE];

	body.type_url = req->type_url;
	body.value.data = packed;
	body.value.len = mesh_pack_workload(
		&(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}}, packed);
	a.name = UID_A;
	a.version = "1";
	a.resource = &body;
	resp.type_url = req->type_url;
	resp.nonce = "n";
	resp.resources = resources;
	resp.n_resources = xds_type_from_url(req->type_url) == XDS_ADDRESS;
	assert_int_equal(message_send(c, &resp.base), 0);
}

static void on_request(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	delta_request *req =
		envoy__service__discovery__v3__delta_discovery_request__unpack(NULL, len, data);
	struct fixture *f = arg;
	enum xds_type type;

	assert_non_null(req);
	assert_null(req->error_detail);
	type = xds_type_from_url(req->type_url);
	f->asked |= 1u << type;
	if (!*req->response_nonce && (type == XDS_ADDRESS || type == XDS_AUTHORIZATION))
		answer_as_istio(c, req);
	envoy__service__discovery__v3__delta_discovery_request__free_unpacked(req, NULL);
}

static void on_request_end(struct grpc_call *c, void *arg, int status, const char *message)
{
}

static const struct grpc_call_ops istio_ops = {.on_message = on_request, .on_end = on_request_end};

static void on_istio_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_set_ops(c, &istio_ops, arg);
}

static void a_server_of_istio_s_types_alone_is_enough(void **state)
{
	struct fixture *f = *state;
	const struct state *s;

	server_stop(f);
	f->method.on_open = on_istio_open;
	f->method.arg = f;
	listen_start(f);
	run_ms(f, 1, 5000);
	s = xds_sync_state(f->sync);
	assert_int_equal(f->asked, (1u << XDS_TYPE_MAX) - 1);
	assert_int_equal(f->synced, 1);
	assert_non_null(state_workload_by_uid(s, UID_A));
	/* what Istio has where nothing is said: any destination, no configuration of ours */
	assert_false(state_is_registry_only(s));
	assert_false(state_is_alone(s));
	assert_int_equal(f->configured, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_there_comes_in_one_snapshot_and_changes_follow),
		T(a_workload_waits_for_the_policy_that_it_names),
		T(a_policy_that_never_comes_is_not_waited_for_for_ever),
		T(a_refused_resource_spoils_no_other),
		T(another_control_plane_sends_the_difference),
		T(what_stands_in_counts_while_the_control_plane_is_away),
		T(a_stand_in_that_is_taken_out_is_gone),
		T(a_server_of_istio_s_types_alone_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
