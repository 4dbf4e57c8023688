/* SPDX-License-Identifier: Apache-2.0 */
/* dial - gRPC to a remote control plane: TLS with a name that must match, a bearer token, and what
 * fails fails the call. */
#include "xds/dial.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "tls/channel.h"
#include "tests/unit/xds/remote.h"
#include "tls/key.h"

#define BIG (2 * 1024 * 1024)

struct fixture {
	struct remote remote;
	struct grpc_client *client;
	bool has_ended, is_held;
	int status;
	char why[512];
	size_t len, n_taken;
	struct grpc_call *held;
};

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	((struct fixture *)arg)->n_taken++;
	assert_int_equal(grpc_call_send(c, data, len), 0);
}

static void on_half_close(struct grpc_call *c, void *arg)
{
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_server_end(struct grpc_call *c, void *arg, int status, const char *message)
{
}

static const struct grpc_call_ops server_ops = {
	.on_message = on_message, .on_half_close = on_half_close, .on_end = on_server_end};

static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct fixture *f = arg;

	remote_learn(&f->remote, c);
	grpc_call_set_ops(c, &server_ops, f);
	if (!f->is_held)
		return;
	grpc_call_hold(c);
	f->held = c;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct grpc_method method = {
		.path = "/a.B/C", .max_message = BIG, .on_open = on_open, .arg = f};

	assert_non_null(f);
	remote_start(&f->remote, "istio-system", &method);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)grpc_client_free(f->client);
	remote_stop(&f->remote);
	free(f);
	return 0;
}

static void on_answer(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	((struct fixture *)arg)->len = len;
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct fixture *f = arg;

	f->has_ended = true;
	f->status = status;
	(void)str_copy(f->why, sizeof(f->why), message);
}

static const struct grpc_call_ops client_ops = {.on_message = on_answer, .on_end = on_end};

static void call(struct fixture *f, size_t len)
{
	_cleanup_(dial_credentials_clear) struct dial_credentials credentials = {0};
	_cleanup_(freep) char *data = calloc(1, len);
	struct grpc_call_config config = {
		.path = "/a.B/C", .max_message = BIG, .ops = &client_ops, .arg = f};
	struct grpc_call *c;

	assert_int_equal(dial(f->remote.loop, &f->remote.target, NULL, NULL, &f->client), 0);
	assert_int_equal(dial_credentials_read(&f->remote.target, &credentials), 0);
	config.metadata = credentials.metadata;
	config.n_metadata = credentials.n;
	assert_int_equal(grpc_client_call(f->client, &config, &c), 0);
	assert_int_equal(grpc_call_send(c, data, len), 0);
	grpc_call_half_close(c);
}

static void finish(struct fixture *f)
{
	for (int turn = 0; !f->has_ended; turn++) {
		assert_in_range(turn, 0, 5000);
		(void)loop_run_once(f->remote.loop, 10);
	}
}

static void carries_a_call(void **state)
{
	struct fixture *f = *state;

	call(f, 5);
	finish(f);
	assert_int_equal(f->status, GRPC_OK);
	assert_int_equal(f->len, 5);
	assert_string_equal(f->remote.authorization, "Bearer abc");
	assert_string_equal(f->remote.cluster, "Kubernetes");
}

static void carries_more_than_fits_the_sockets(void **state)
{
	struct fixture *f = *state;

	call(f, BIG);
	finish(f);
	assert_int_equal(f->status, GRPC_OK);
	assert_int_equal(f->len, BIG);
}

/* TLS has all of them when the first is read, and the socket has nothing more to tell. */
static void takes_all_of_many_records_that_came_at_once(void **state)
{
	struct fixture *f = *state;
	struct grpc_call_config config = {
		.path = "/a.B/C", .max_message = BIG, .ops = &client_ops, .arg = f};
	struct grpc_call *c;
	struct loop *own;

	assert_int_equal(loop_new(&own), 0);
	assert_int_equal(dial(own, &f->remote.target, NULL, NULL, &f->client), 0);
	assert_int_equal(grpc_client_call(f->client, &config, &c), 0);
	for (int turn = 0; f->n_taken == 0; turn++) {
		assert_in_range(turn, 0, 5000);
		if (turn == 0)
			assert_int_equal(grpc_call_send(c, "a", 1), 0);
		(void)loop_run_once(own, 1);
		(void)loop_run_once(f->remote.loop, 1);
	}
	for (int i = 0; i < 64; i++) {
		assert_int_equal(grpc_call_send(c, "b", 1), 0);
		(void)loop_run_once(own, 0);
	}
	for (int turn = 0; f->n_taken < 65; turn++) {
		assert_in_range(turn, 0, 200);
		(void)loop_run_once(f->remote.loop, 10);
	}
	(void)grpc_client_free(f->client);
	f->client = NULL;
	(void)loop_free(own);
}

static void holds_a_call_until_told(void **state)
{
	struct fixture *f = *state;

	f->is_held = true;
	call(f, 5);
	for (int i = 0; i < 500 && !f->held; i++)
		(void)loop_run_once(f->remote.loop, 10);
	assert_non_null(f->held);
	for (int i = 0; i < 20; i++)
		(void)loop_run_once(f->remote.loop, 5);
	assert_int_equal(f->len, 0);
	grpc_call_go_on(f->held);
	finish(f);
	assert_int_equal(f->status, GRPC_OK);
	assert_int_equal(f->len, 5);
}

static void refuses_a_server_of_another_name(void **state)
{
	struct fixture *f = *state;

	f->remote.target.server_name = "istiod.elsewhere.svc";
	call(f, 5);
	finish(f);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(f->why, "certificate"));
	assert_string_equal(f->remote.authorization, "");
}

static void refuses_a_server_of_another_root(void **state)
{
	struct fixture *f = *state;

	f->remote.target.root_file = NULL; /* the system's */
	call(f, 5);
	finish(f);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(f->why, "certificate"));
	assert_string_equal(f->remote.authorization, "");
}

static void fails_without_the_root_file(void **state)
{
	struct fixture *f = *state;

	f->remote.target.root_file = "/nonexistent";
	call(f, 5);
	finish(f);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(f->why, "/nonexistent"));
}

static void fails_where_nobody_listens(void **state)
{
	struct fixture *f = *state;

	f->remote.target.address = "127.0.0.1:1";
	call(f, 5);
	finish(f);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	assert_string_equal(f->why, "connection lost: Connection refused");
}

/* In a mount namespace of its own, where @name has an address at which nobody listens, too. */
static void hosts_put(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *path = str_format("%s/hosts", f->remote.dir);
	_cleanup_(freep) char *text = str_format("::1 %s\n127.0.0.1 %s\n", name, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount(path, "/etc/hosts", NULL, MS_BIND, NULL), 0);
}

static void tries_each_address_of_a_name(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *address =
		str_format("twofold.test%s", strchr(f->remote.address, ':'));

	if (geteuid() != 0)
		skip(); /* mounts */
	hosts_put(f, "twofold.test");
	f->remote.target.address = address;
	f->remote.target.server_name = "localhost";
	for (int i = 0; i < 8; i++) { /* the first one is drawn */
		f->has_ended = false;
		call(f, 5);
		finish(f);
		assert_int_equal(f->status, GRPC_OK);
		f->client = grpc_client_free(f->client);
	}
	assert_int_equal(umount("/etc/hosts"), 0);
}

static void a_client_may_go_before_it_is_connected(void **state)
{
	struct fixture *f = *state;

	call(f, 5);
	f->client = grpc_client_free(f->client);
	for (int i = 0; i < 20; i++)
		(void)loop_run_once(f->remote.loop, 5);
	assert_false(f->has_ended);
}

static void refuses_addresses_of_the_wrong_shape(void **state)
{
	static const char *const bad[] = {"",         "istiod",   "istiod:",     ":15012",
					  "istiod:0", "istiod:x", "istiod:99999"};
	struct dial_target t = {0}, copy = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		t.address = bad[i];
		assert_int_equal(dial_target_copy(&t, &copy), -EINVAL);
	}
	t.address = "https://[fd00::1]:15012";
	assert_int_equal(dial_target_copy(&t, &copy), 0);
	dial_target_clear(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(carries_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(carries_more_than_fits_the_sockets, setup,
						teardown),
		cmocka_unit_test_setup_teardown(takes_all_of_many_records_that_came_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(holds_a_call_until_told, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_server_of_another_name, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_server_of_another_root, setup, teardown),
		cmocka_unit_test_setup_teardown(fails_without_the_root_file, setup, teardown),
		cmocka_unit_test_setup_teardown(fails_where_nobody_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(tries_each_address_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_may_go_before_it_is_connected, setup,
						teardown),
		cmocka_unit_test(refuses_addresses_of_the_wrong_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
