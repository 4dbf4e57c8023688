/* SPDX-License-Identifier: Apache-2.0 */
/* xds-sync - with a control plane at the other end of a UNIX socket: batches, halves of a change,
 * refusals; and with one that does not say what belongs together, as Istio's. */
#include "tests/unit/ztunnel/xds_fixture.h"
#include "tests/unit/ztunnel/xds_response.h"

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
static void answer_as_istio(struct grpc_call *c, enum xds_type type)
{
	uint8_t packed[MESH_PACKED_SIZE];
	size_t len = mesh_pack_workload(&(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}},
					packed);

	response_send(c, type, type == XDS_ADDRESS ? UID_A : NULL, packed, len);
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
		answer_as_istio(c, type);
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
	/* what is ours it would answer, or end the stream over, as it likes */
	assert_int_equal(f->asked, XDS_ISTIO_TYPES);
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
