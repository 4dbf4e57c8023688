/* SPDX-License-Identifier: Apache-2.0 */
/* xds-sync - what belongs together comes into force together, however many messages it takes: of a
 * control plane that says what does, and of one that does not, as Istio's. */
#include "tests/unit/ztunnel/xds_fixture.h"

#include <errno.h>

#include "tests/unit/ztunnel/xds_response.h"

#define ROUNDS 20

/* For the next policy, which is half taken over. */
static bool has_no_memory;

int __real_state_builder_put_policy(struct state_builder *b, struct policy *p);
int __wrap_state_builder_put_policy(struct state_builder *b, struct policy *p);
int __wrap_state_builder_put_policy(struct state_builder *b, struct policy *p)
{
	if (!has_no_memory)
		return __real_state_builder_put_policy(b, p);
	has_no_memory = false;
	return -ENOMEM;
}

/* struct change - of a policy's scope, old and new both of which keep alice out. */
struct change {
	Istio__Security__Action action;
	const char *from, *to; /* policies */
	int n;                 /* workloads beside a */
	bool is_widened;       /* from a selector to the namespace; else the other way */
};

static void change_side(struct fixture *f, const struct change *c, bool is_to)
{
	const char *name = is_to ? c->to : c->from;
	bool is_selector = is_to != c->is_widened;
	char key[64];

	(void)snprintf(key, sizeof(key), "demo/%s", name);
	set_policy(f, name,
		   is_selector ? ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR
			       : ISTIO__SECURITY__SCOPE__NAMESPACE,
		   c->action);
	send_many(f, c->n, is_selector ? key : NULL);
}

static const struct workload *workload_a(const struct fixture *f)
{
	return state_workload_by_uid(xds_sync_state(f->sync), UID_A);
}

/* Nobody is let in by any snapshot until the change has come through. @before: sent, and not
 * acknowledged yet. */
static void change_run(struct fixture *f, const struct change *c, const char *before)
{
	uint64_t end = now_monotonic_us() + 20000000;
	size_t names = c->is_widened ? 0 : 1;

	change_side(f, c, false);
	xds_server_flush(f->server);
	run_ms(f, 1, 20000);
	assert_non_null(workload_a(f));
	if (before) {
		send_workload(f, &(struct mesh_workload){.name = before, .addrs = {"10.0.0.77"}});
		xds_server_flush(f->server);
	}
	change_side(f, c, true);
	if (!streq(c->from, c->to)) {
		char key[64];

		(void)snprintf(key, sizeof(key), "demo/%s", c->from);
		xds_server_remove(f->server, XDS_AUTHORIZATION, key);
	}
	xds_server_flush(f->server);
	while (workload_a(f)->app->policies_count != names && now_monotonic_us() < end)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_int_equal(workload_a(f)->app->policies_count, names);
	assert_int_equal(f->allowed, 0);
}

static void what_both_sets_deny_is_denied_throughout(void **state)
{
	static const struct change changes[] = {
		{ISTIO__SECURITY__ACTION__DENY, "p", "p", MANY, false},
		{ISTIO__SECURITY__ACTION__DENY, "p", "p", MANY, true},
		{ISTIO__SECURITY__ACTION__DENY, "p", "q", MANY, false},
		{ISTIO__SECURITY__ACTION__DENY, "p", "q", MANY, true},
		{ISTIO__SECURITY__ACTION__ALLOW, "p", "p", MANY, false},
		{ISTIO__SECURITY__ACTION__ALLOW, "p", "p", MANY, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		/* another node each time */
		if (i > 0) {
			(void)teardown(state);
			(void)setup(state);
		}
		change_run(*state, &changes[i], NULL);
	}
}

static void so_it_is_beside_a_response_that_is_not_acknowledged(void **state)
{
	for (int i = 0; i < 8; i++) {
		const struct change c = {ISTIO__SECURITY__ACTION__DENY, "p", i % 4 < 2 ? "p" : "q",
					 0, i % 2};

		if (i > 0) {
			(void)teardown(state);
			(void)setup(state);
		}
		change_run(*state, &c, "other");
	}
}

struct only_policy {
	const char *key;
	size_t count;
};

static int on_only_policy(void *arg, const struct policy *p)
{
	struct only_policy *only = arg;

	assert_string_equal(p->key, only->key);
	only->count++;
	return 0;
}

/* Settings, policies and the workloads that were sent first and last: all of one round. */
static void round_check(const struct fixture *f, const struct state *s)
{
	static const char *const uids[] = {"Kubernetes//Pod/demo/w0", UID_A};
	char name[32];
	struct only_policy only = {.key = name};

	(void)snprintf(name, sizeof(name), "demo/r%u", f->round);
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
		const struct workload *w = state_workload_by_uid(s, uids[i]);

		assert_non_null(w);
		assert_int_equal(w->app->policies_count, 1);
		assert_string_equal(w->app->policies[0], name);
	}
	assert_int_equal(state_visit_policies(s, on_only_policy, &only), 0);
	assert_int_equal(only.count, 1);
}

static void send_round(struct fixture *f, unsigned int round)
{
	Culvert__Node__Config m = CULVERT__NODE__CONFIG__INIT;
	char name[32], bundle[32], key[64];
	uint8_t packed[256];

	(void)snprintf(key, sizeof(key), "demo/r%u", round - 1);
	xds_server_remove(f->server, XDS_AUTHORIZATION, key);
	(void)snprintf(name, sizeof(name), "r%u", round);
	set_policy(f, name, ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR,
		   ISTIO__SECURITY__ACTION__DENY);
	(void)snprintf(key, sizeof(key), "demo/r%u", round);
	send_many(f, MANY, key);
	m.node = "*";
	(void)snprintf(bundle, sizeof(bundle), "%u", round);
	m.trust_bundle = bundle;
	assert_int_equal(xds_server_set(f->server, XDS_NODE_CONFIG, "*", packed,
					culvert__node__config__pack(&m, packed)),
			 0);
	xds_server_flush(f->server);
}

/* Changes come faster than they are acknowledged: each snapshot is what one of them left. */
static void a_snapshot_is_what_one_change_left(void **state)
{
	struct fixture *f = *state;
	uint64_t end = now_monotonic_us() + 60000000;

	f->check = round_check;
	send_round(f, 1);
	run_ms(f, 1, 20000);
	for (unsigned int round = 2; round <= ROUNDS; round++) {
		send_round(f, round);
		/* from none of it to all of it */
		for (unsigned int turns = round * 7 % 19; turns > 0; turns--)
			turn(f, 0);
	}
	while (f->round < ROUNDS && now_monotonic_us() < end)
		turn(f, 10);
	assert_int_equal(f->round, ROUNDS);
	assert_true(f->published > 1);
}

/* What does not hang together with policies is there at once all the same. */
static void half_a_change_is_not_in_force_while_the_control_plane_is_away(void **state)
{
	struct fixture *f = *state;
	const struct mesh_workload late = {.name = "late", .account = "web"};
	uint64_t end = now_monotonic_us() + 20000000;
	uint8_t packed[MESH_PACKED_SIZE];

	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	send_many(f, MANY, "demo/p");
	send_policy(f);
	xds_server_flush(f->server);
	while (!has_messages(f, "istio.workload.Address", 1025) && now_monotonic_us() < end)
		assert_true(loop_run_once(f->loop, 0) >= 0);
	server_stop(f);
	run_until_alone(f, true);
	assert_int_equal(
		xds_sync_set_stand_in(f->sync, UID_LATE, packed, mesh_pack_workload(&late, packed)),
		0);
	while (!client(f, "web") && now_monotonic_us() < end)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_non_null(client(f, "web"));
	assert_null(state_workload_by_uid(xds_sync_state(f->sync), "Kubernetes//Pod/demo/w0"));
	assert_int_equal(workload_a(f)->app->policies_count, 0);
	/* the next control plane ends it */
	server_start(f);
	send_many(f, MANY, "demo/p");
	send_policy(f);
	xds_server_flush(f->server);
	run_until_alone(f, false);
	assert_int_equal(workload_a(f)->app->policies_count, 1);
	assert_non_null(state_workload_by_uid(xds_sync_state(f->sync), "Kubernetes//Pod/demo/w0"));
}

/* The builder keeps half of it, and is not built upon. */
static void what_memory_ends_in_is_in_force_when_all_has_come_again(void **state)
{
	struct fixture *f = *state;
	const struct mesh_workload late = {.name = "late", .account = "web"};
	uint8_t packed[MESH_PACKED_SIZE];
	uint64_t before;

	send_workload(f, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	set_policy(f, "p", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__DENY);
	xds_server_flush(f->server);
	run_ms(f, 1, 5000);
	before = state_policy_generation(xds_sync_state(f->sync));
	assert_int_equal(
		xds_sync_set_stand_in(f->sync, UID_LATE, packed, mesh_pack_workload(&late, packed)),
		0);
	run_ms(f, 2, 5000);
	has_no_memory = true;
	set_policy(f, "q", ISTIO__SECURITY__SCOPE__NAMESPACE, ISTIO__SECURITY__ACTION__DENY);
	xds_server_remove(f->server, XDS_AUTHORIZATION, "demo/p");
	send_workload(f, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	xds_server_flush(f->server);
	while (!state_workload_by_uid(xds_sync_state(f->sync), "Kubernetes//Pod/demo/b"))
		turn(f, 10);
	assert_false(has_no_memory);
	assert_int_equal(f->allowed, 0);
	assert_non_null(workload_a(f));
	assert_true(state_policy_generation(xds_sync_state(f->sync)) > before);
	server_stop(f);
	run_until_alone(f, true);
	assert_non_null(client(f, "web"));
}

/* A control plane that sends what it is told to, when it is told to, and says no word of parts. */

static void on_foreign_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
}

static void on_foreign_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	((struct fixture *)arg)->call = NULL;
}

static void on_foreign_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	static const struct grpc_call_ops call_ops = {.on_message = on_foreign_message,
						      .on_end = on_foreign_end};

	((struct fixture *)arg)->call = c;
	grpc_call_set_ops(c, &call_ops, arg);
}

static void foreign_start(struct fixture *f)
{
	server_stop(f);
	f->method.on_open = on_foreign_open;
	f->method.arg = f;
	listen_start(f);
	for (int i = 0; i < 1000 && !f->call; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_non_null(f->call);
}

static void foreign_policy(struct fixture *f, Istio__Security__Scope scope)
{
	uint8_t packed[256];
	size_t len = pack_policy("p", scope, ISTIO__SECURITY__ACTION__DENY, packed);

	response_send(f->call, XDS_AUTHORIZATION, "demo/p", packed, len);
}

static void foreign_workload(struct fixture *f, const char *policy)
{
	uint8_t packed[MESH_PACKED_SIZE];
	size_t len = mesh_pack_workload(
		&(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}, .policies = {policy}},
		packed);

	response_send(f->call, XDS_ADDRESS, UID_A, packed, len);
}

static void of_a_change_that_lets_in_the_other_half_is_waited_for(void **state)
{
	struct fixture *f = *state;

	foreign_start(f);
	foreign_workload(f, NULL);
	foreign_policy(f, ISTIO__SECURITY__SCOPE__NAMESPACE);
	run_ms(f, 1, 5000);
	/* narrowed, the policy first */
	foreign_policy(f, ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR);
	while (!has_messages(f, "istio.security.Authorization", 2))
		assert_true(loop_run_once(f->loop, 10) >= 0);
	foreign_workload(f, "demo/p");
	run_ms(f, 2, 5000);
	assert_int_equal(workload_a(f)->app->policies_count, 1);
	/* widened, the workload first */
	foreign_workload(f, NULL);
	while (!has_messages(f, "istio.workload.Address", 3))
		assert_true(loop_run_once(f->loop, 10) >= 0);
	foreign_policy(f, ISTIO__SECURITY__SCOPE__NAMESPACE);
	run_ms(f, 3, 5000);
	assert_int_equal(workload_a(f)->app->policies_count, 0);
	assert_int_equal(f->allowed, 0);
}

static void of_a_change_that_lets_in_no_other_half_may_come(void **state)
{
	struct fixture *f = *state;

	foreign_start(f);
	foreign_workload(f, "demo/p");
	foreign_policy(f, ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR);
	run_ms(f, 1, 5000);
	foreign_workload(f, NULL);
	run_ms(f, 2, 5000);
	assert_int_equal(f->published, 2);
	assert_int_equal(f->allowed, 1);
}

/* What it was there to keep out is not known, nor from where. */
static void a_policy_that_does_not_say_what_it_is_denies(void **state)
{
	Google__Protobuf__Any other = GOOGLE__PROTOBUF__ANY__INIT;
	const struct {
		const char *name;
		Google__Protobuf__Any *body;
	} bad[] = {{"other/p", NULL}, {"other/p", &other}, {"", &other}};
	struct fixture *f = *state;
	uint8_t packed[256];

	other.type_url = "type.googleapis.com/istio.workload.Address";
	other.value.data = packed;
	other.value.len = pack_policy("p", ISTIO__SECURITY__SCOPE__NAMESPACE,
				      ISTIO__SECURITY__ACTION__ALLOW, packed);
	log_set_level(LOG_OFF);
	foreign_start(f);
	foreign_workload(f, NULL);
	response_send(f->call, XDS_AUTHORIZATION, NULL, NULL, 0);
	run_ms(f, 1, 5000);
	assert_int_equal(f->allowed, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		response_put(f->call, XDS_AUTHORIZATION, bad[i].name, bad[i].body);
		run_ms(f, 2 + 2 * i, 5000);
		assert_int_equal(f->published, 2 + 2 * i);
		assert_int_equal(f->allowed, 1 + i);
		response_remove(f->call, XDS_AUTHORIZATION, bad[i].name);
		run_ms(f, 3 + 2 * i, 5000);
		assert_int_equal(f->allowed, 2 + i);
	}
	/* nothing else is taken without a body */
	response_put(f->call, XDS_ADDRESS, UID_A, NULL);
	run_ms(f, 8, 100);
	assert_non_null(workload_a(f));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_both_sets_deny_is_denied_throughout),
		T(so_it_is_beside_a_response_that_is_not_acknowledged),
		T(a_snapshot_is_what_one_change_left),
		T(half_a_change_is_not_in_force_while_the_control_plane_is_away),
		T(what_memory_ends_in_is_in_force_when_all_has_come_again),
		T(of_a_change_that_lets_in_the_other_half_is_waited_for),
		T(of_a_change_that_lets_in_no_other_half_may_come),
		T(a_policy_that_does_not_say_what_it_is_denies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
