/* SPDX-License-Identifier: Apache-2.0 */
/* client and server - over a real UNIX socket: what changed and only that, nacks, reconnects, a
 * mesh larger than a batch. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/str.h"
#include "net/unix.h"
#include "xds/client.h"
#include "xds/server.h"

#define MANY 5000

struct fixture {
	struct loop *loop;
	char dir[64], path[96];
	struct xds_server *xds;
	struct grpc_server *grpc;
	struct grpc_method method;
	struct xds_client *client;
	struct map *held[XDS_TYPE_MAX]; /* name -> strdup of the bytes */
	size_t n_resources, n_removed, n_done[XDS_TYPE_MAX];
	size_t n_before_config; /* resources, when the first configuration came */
	bool is_connected;
	size_t n_failures;
	char failure[512];
	const char *refused; /* name that on_resource() refuses */
	struct xds_server_client seen;
	char seen_detail[512];
	size_t n_seen;
};

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	struct fixture *f = arg;

	f->n_resources++;
	if (f->refused && streq(f->refused, name)) {
		(void)snprintf(err, err_size, "do not like it");
		return -EINVAL;
	}
	free(map_get_str(f->held[type], name));
	assert_int_equal(map_put_str(f->held[type], name, strndup(packed, len)), 0);
	return 0;
}

static int for_each_held(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			 void *fn_arg)
{
	const struct fixture *f = arg;
	int r = 0;

	map_for_each (f->held[type], it)
		if (r == 0)
			r = fn(fn_arg, it.key);
	return r;
}

static void on_removed(void *arg, enum xds_type type, const char *name)
{
	struct fixture *f = arg;

	f->n_removed++;
	free(map_del_str(f->held[type], name));
}

static void on_update_done(void *arg, enum xds_type type)
{
	struct fixture *f = arg;

	if (type == XDS_NODE_CONFIG && f->n_done[type] == 0)
		f->n_before_config = f->n_resources;
	f->n_done[type]++;
}

static void on_state(void *arg, bool is_connected)
{
	struct fixture *f = arg;

	assert_true(f->is_connected != is_connected);
	f->is_connected = is_connected;
}

static void on_failure(void *arg, const char *why)
{
	struct fixture *f = arg;

	f->n_failures++;
	(void)str_copy(f->failure, sizeof(f->failure), why);
}

static const struct xds_ops ops = {on_resource,    on_removed, for_each_held,
				   on_update_done, on_state,   on_failure};

static void server_start(struct fixture *f)
{
	struct grpc_server_config config = {
		.loop = f->loop, .methods = &f->method, .n_methods = 1, .max_connections = 8};

	assert_int_equal(xds_server_new(f->loop, &f->xds), 0);
	f->method = xds_server_method(f->xds);
	assert_int_equal(unix_stream_listen(f->path, 0600, &config.listen_fd), 0);
	assert_int_equal(grpc_server_new(&config, &f->grpc), 0);
}

static void server_stop(struct fixture *f)
{
	f->grpc = grpc_server_free(f->grpc);
	f->xds = xds_server_free(f->xds);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct xds_client_config config = {
		.node_id = "ztunnel~1.1.1.1~z.ns~ns.svc.cluster.local",
		.node_name = "n1",
		.version = "v7",
		.types = 1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION | 1u << XDS_NODE |
			 1u << XDS_NODE_CONFIG,
		.ops = &ops,
		.arg = f,
	};

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/xds.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(map_new(&f->held[i]), 0);
	server_start(f);
	config.loop = f->loop;
	config.target.path = f->path;
	assert_int_equal(xds_client_new(&config, &f->client), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)xds_client_free(f->client);
	server_stop(f);
	(void)loop_free(f->loop);
	for (int i = 0; i < XDS_TYPE_MAX; i++) {
		map_for_each (f->held[i], it)
			free(it.value);
		(void)map_free(f->held[i]);
	}
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void set(struct fixture *f, enum xds_type type, const char *name, const char *bytes)
{
	assert_int_equal(xds_server_set(f->xds, type, name, bytes, strlen(bytes)), 0);
}

static const char *held(struct fixture *f, enum xds_type type, const char *name)
{
	return map_get_str(f->held[type], name);
}

static void run_a_while(struct fixture *f, int ms)
{
	uint64_t end = now_monotonic_us() + (uint64_t)ms * 1000;

	while (now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 5);
}

/* Until @n updates of the type were done. */
static void run_until_done(struct fixture *f, enum xds_type type, size_t n)
{
	uint64_t end = now_monotonic_us() + 20000000;

	while (f->n_done[type] < n && now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 50);
	assert_true(f->n_done[type] >= n);
}

static void on_client(void *arg, const struct xds_server_client *client)
{
	struct fixture *f = arg;

	f->n_seen++;
	f->seen = *client;
	(void)snprintf(f->seen_detail, sizeof(f->seen_detail), "%s", client->nack_detail);
}

static void look(struct fixture *f)
{
	f->n_seen = 0;
	xds_server_for_each_client(f->xds, on_client, f);
}

/* Until the server has heard that @n resources were taken. */
static void run_until_acked(struct fixture *f, uint64_t n)
{
	uint64_t end = now_monotonic_us() + 20000000;

	do {
		(void)loop_run_once(f->loop, 50);
		look(f);
	} while (f->seen.acked < n && now_monotonic_us() < end);
	assert_int_equal(f->seen.acked, n);
}

static void sends_nothing_before_the_first_flush(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "a", "1");
	run_a_while(f, 60);
	assert_int_equal(f->n_done[XDS_ADDRESS], 0);
	assert_false(f->is_connected);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_true(f->is_connected);
	assert_true(xds_client_is_connected(f->client));
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "1");
}

static void an_empty_store_is_news_once(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	xds_server_flush(f->xds);
	run_a_while(f, 40);
	assert_int_equal(f->n_done[XDS_AUTHORIZATION], 1);
	assert_int_equal(f->n_resources, 0);
}

static void sends_only_what_changed(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "a", "1");
	set(f, XDS_ADDRESS, "b", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_int_equal(f->n_resources, 2);
	set(f, XDS_ADDRESS, "b", "2");
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 2);
	assert_int_equal(f->n_resources, 3);
	assert_string_equal(held(f, XDS_ADDRESS, "b"), "2");
	xds_server_remove(f->xds, XDS_ADDRESS, "a");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 3);
	assert_null(held(f, XDS_ADDRESS, "a"));
	assert_int_equal(f->n_resources, 3);
}

static void a_node_sees_its_own_configuration_only(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_NODE_CONFIG, "*", "all");
	set(f, XDS_NODE_CONFIG, "n1", "mine");
	set(f, XDS_NODE_CONFIG, "n2", "theirs");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	assert_string_equal(held(f, XDS_NODE_CONFIG, "*"), "all");
	assert_string_equal(held(f, XDS_NODE_CONFIG, "n1"), "mine");
	assert_null(held(f, XDS_NODE_CONFIG, "n2"));
}

/* One of MANY; overwritten by the next. */
static const char *name_of(int i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "w%d", i);
	return name;
}

static void set_many(struct fixture *f)
{
	for (int i = 0; i < MANY; i++)
		set(f, XDS_ADDRESS, name_of(i), name_of(i));
}

/* An agent sweeps its maps then. */
static void the_configuration_comes_when_all_the_rest_is_there(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	set(f, XDS_NODE_CONFIG, "*", "all");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	assert_true(f->n_done[XDS_ADDRESS] > 1);
	assert_int_equal(f->n_before_config, MANY + 1);
	/* from then on each goes by itself */
	set(f, XDS_NODE_CONFIG, "*", "other");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 2);
}

static void a_refusal_keeps_the_good_and_reaches_the_server(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	set(f, XDS_AUTHORIZATION, "ns/good", "1");
	f->refused = "ns/bad";
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	run_a_while(f, 40);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/good"), "1");
	look(f);
	assert_int_equal(f->n_seen, 1);
	assert_int_equal(f->seen.nacked, 1);
	assert_string_equal(f->seen_detail, "ns/bad: do not like it");
	assert_string_equal(f->seen.node_name, "n1");
	assert_string_equal(f->seen.version, "v7");
	/* no loop of refusals, and a later change goes through */
	assert_int_equal(f->n_done[XDS_AUTHORIZATION], 1);
	f->refused = NULL;
	set(f, XDS_AUTHORIZATION, "ns/bad", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/bad"), "2");
}

/* run_until() - the server has counted @n of them. */
static void run_until(struct fixture *f, const uint64_t *counted, uint64_t n)
{
	uint64_t end = now_monotonic_us() + 20000000;

	while (*counted < n && now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 50);
	assert_int_equal(*counted, n);
}

static void what_became_of_pushes_is_counted(void **state)
{
	struct fixture *f = *state;
	const struct push_stats *s = xds_server_stats(f->xds);

	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		assert_int_equal(s->pushes[type], 1);
	/* from when it was heard of, not from when it was worked out; a new client's share is no
	 * change */
	xds_server_note_change(f->xds);
	run_a_while(f, 60);
	set(f, XDS_ADDRESS, "a", "2");
	xds_server_flush(f->xds);
	run_until(f, &s->converged, 1);
	assert_true(s->converged_us >= 60000);
	assert_int_equal(s->pushes[XDS_ADDRESS], 2);
	assert_int_equal(s->converged_in[PUSH_BOUNDS - 1], 1);
	f->refused = "ns/bad";
	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	xds_server_flush(f->xds);
	run_until(f, &s->rejects[XDS_AUTHORIZATION], 1);
	assert_int_equal(s->rejects[XDS_ADDRESS], 0);
	assert_int_equal(s->converged, 1);
}

/* What comes while a response is under way is a change of its own. */
static void a_change_behind_a_response_counts_from_its_own_time(void **state)
{
	struct fixture *f = *state;
	const struct push_stats *s = xds_server_stats(f->xds);

	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	run_a_while(f, 40);
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	set(f, XDS_ADDRESS, "a", "2");
	xds_server_flush(f->xds);
	run_until(f, &s->converged, 2);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "2");
	assert_int_equal(s->pushes[XDS_ADDRESS], 3);
	/* nothing changed: nothing to have */
	xds_server_flush(f->xds);
	run_a_while(f, 40);
	assert_int_equal(s->converged, 2);
}

/* Neither what is taken beside it nor a name that is like it ends a refusal; a version that is
 * taken does, and the resource's end. */
static void a_refusal_stands_until_it_is_mended(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	set(f, XDS_AUTHORIZATION, "ns/ba", "1");
	f->refused = "ns/bad";
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	set(f, XDS_AUTHORIZATION, "ns/other", "1");
	set(f, XDS_ADDRESS, "w", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	run_until_acked(f, 2);
	assert_string_equal(f->seen_detail, "ns/bad: do not like it");
	f->refused = NULL;
	set(f, XDS_AUTHORIZATION, "ns/bad", "2");
	xds_server_flush(f->xds);
	run_until_acked(f, 3);
	assert_string_equal(f->seen_detail, "");
	assert_int_equal(f->seen.nacked, 1);
	f->refused = "ns/bad";
	set(f, XDS_AUTHORIZATION, "ns/bad", "3");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 4);
	xds_server_remove(f->xds, XDS_AUTHORIZATION, "ns/bad");
	xds_server_flush(f->xds);
	run_until_acked(f, 4);
	assert_int_equal(f->seen.nacked, 2);
	assert_string_equal(f->seen_detail, "");
}

/* What is held in an older version is said to be so. */
static void a_refused_change_comes_again_with_the_next_server(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/p", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	f->refused = "ns/p";
	set(f, XDS_AUTHORIZATION, "ns/p", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/p"), "1");
	server_stop(f);
	f->refused = NULL;
	server_start(f);
	set(f, XDS_AUTHORIZATION, "ns/p", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 3);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/p"), "2");
}

static void a_new_server_sends_the_difference(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "same", "1");
	set(f, XDS_ADDRESS, "changed", "1");
	set(f, XDS_ADDRESS, "gone", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	server_stop(f);
	run_a_while(f, 80);
	assert_false(f->is_connected);
	/* nothing is forgotten while the control plane is away */
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), 3);
	f->n_resources = 0;
	server_start(f);
	set(f, XDS_ADDRESS, "changed", "2");
	set(f, XDS_ADDRESS, "same", "1");
	set(f, XDS_ADDRESS, "new", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 2);
	assert_int_equal(f->n_resources, 2);
	assert_int_equal(f->n_removed, 1);
	assert_string_equal(held(f, XDS_ADDRESS, "changed"), "2");
	assert_string_equal(held(f, XDS_ADDRESS, "new"), "1");
	assert_string_equal(held(f, XDS_ADDRESS, "same"), "1");
	assert_null(held(f, XDS_ADDRESS, "gone"));
	assert_true(f->is_connected);
}

static void a_whole_mesh_goes_in_batches(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, MANY / 1024 + 1);
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), MANY);
	assert_int_equal(f->n_resources, MANY);
	for (int i = 0; i < MANY; i++)
		xds_server_remove(f->xds, XDS_ADDRESS, name_of(i));
	xds_server_flush(f->xds);
	run_a_while(f, 200);
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), 0);
	run_a_while(f, 40);
	look(f);
	assert_int_equal(f->seen.acked, 2 * MANY);
}

/* The first round takes several responses: what was in one of them and goes before the next is
 * taken back, what never was sent is not sent. */
static void what_goes_during_the_first_round_is_taken_back(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_true(map_count(f->held[XDS_ADDRESS]) < MANY);
	assert_non_null(held(f, XDS_ADDRESS, "w0"));
	xds_server_remove(f->xds, XDS_ADDRESS, "w0");
	assert_null(held(f, XDS_ADDRESS, name_of(MANY - 1)));
	xds_server_remove(f->xds, XDS_ADDRESS, name_of(MANY - 1));
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, MANY / 1024 + 1);
	assert_null(held(f, XDS_ADDRESS, "w0"));
	assert_null(held(f, XDS_ADDRESS, name_of(MANY - 1)));
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), MANY - 2);
}

static void changes_in_flight_are_merged(void **state)
{
	struct fixture *f = *state;
	char value[16];

	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(value, sizeof(value), "%d", i);
		set(f, XDS_ADDRESS, "a", value);
		xds_server_flush(f->xds);
	}
	run_a_while(f, 100);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "999");
	assert_true(f->n_resources <= 3);
}

static void waits_for_a_server_that_is_not_there(void **state)
{
	struct fixture *f = *state;

	server_stop(f);
	(void)unlink(f->path);
	run_a_while(f, 100);
	assert_false(f->is_connected);
	/* told once, however often it is tried */
	assert_int_equal(f->n_failures, 1);
	assert_string_equal(xds_client_failure(f->client), f->failure);
	assert_non_null(strstr(f->failure, f->path));
	server_start(f);
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "1");
	assert_string_equal(xds_client_failure(f->client), "");
}

static void knows_its_types(void **state)
{
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(xds_type_from_url(xds_type_url((enum xds_type)i)), i);
	assert_int_equal(xds_type_from_url("type.googleapis.com/istio.workload.Workload"),
			 XDS_TYPE_INVALID);
	assert_int_equal(xds_type_from_url(""), XDS_TYPE_INVALID);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(sends_nothing_before_the_first_flush),
		TEST(an_empty_store_is_news_once),
		TEST(sends_only_what_changed),
		TEST(a_node_sees_its_own_configuration_only),
		TEST(the_configuration_comes_when_all_the_rest_is_there),
		TEST(a_refusal_keeps_the_good_and_reaches_the_server),
		TEST(what_became_of_pushes_is_counted),
		TEST(a_change_behind_a_response_counts_from_its_own_time),
		TEST(a_refusal_stands_until_it_is_mended),
		TEST(a_refused_change_comes_again_with_the_next_server),
		TEST(a_new_server_sends_the_difference),
		TEST(a_whole_mesh_goes_in_batches),
		TEST(what_goes_during_the_first_round_is_taken_back),
		TEST(changes_in_flight_are_merged),
		TEST(waits_for_a_server_that_is_not_there),
		cmocka_unit_test(knows_its_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
