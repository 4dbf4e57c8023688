/* SPDX-License-Identifier: Apache-2.0 */
/* certs - against the CA itself over a UNIX socket: fetched, retried, dropped, shown, and what they
 * do when the clock is set. */
#include "ztunnel/certs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "http/grpc.h"
#include "net/unix.h"
#include "tests/unit/fast-clock.h"
#include "tests/unit/turn.h"
#include "tests/unit/ztunnel/mesh.h"
#include "tls/identity.h"
#include "userspace/control/ca.h"
#include "userspace/control/ca_service.h"

#define ALICE "spiffe://cluster.local/ns/demo/sa/alice"
#define BOB   "spiffe://cluster.local/ns/demo/sa/bob"

struct fixture {
	struct loop *loop;
	char dir[64];
	char path[96];
	struct ca *ca;
	struct ca_service *service;
	struct grpc_server *grpc;
	struct grpc_method method;
	struct certs *certs;
	unsigned int published;
	unsigned int gone;
	const struct tls_identity *last;
};

/* How far CLOCK_REALTIME is from what the CA and OpenSSL go by. */
static int64_t clock_offset_s;

uint64_t __wrap_now_realtime_us(void);
uint64_t __real_now_realtime_us(void);

uint64_t __wrap_now_realtime_us(void)
{
	return __real_now_realtime_us() + (uint64_t)(clock_offset_s * 1000000);
}

static bool is_known(void *arg _unused_, const struct caller *caller _unused_, const char *spiffe)
{
	return streq(spiffe, ALICE);
}

static void on_identity(void *arg, const char *identity _unused_, const struct tls_identity *t)
{
	struct fixture *f = arg;

	if (!t) {
		f->gone++;
		return;
	}
	f->published++;
	tls_identity_unref(f->last);
	f->last = tls_identity_ref(t);
}

static void serve(struct fixture *f)
{
	struct ca_service_config service = {
		.loop = f->loop, .ca = f->ca, .is_known = is_known, .arg = f};
	struct grpc_server_config config = {
		.loop = f->loop, .methods = &f->method, .n_methods = 1, .max_connections = 4};

	assert_int_equal(ca_service_new(&service, &f->service), 0);
	f->method = ca_service_method(f->service);
	assert_int_equal(unix_stream_listen(f->path, 0600, &config.listen_fd), 0);
	assert_int_equal(grpc_server_new(&config, &f->grpc), 0);
}

static int setup(void **state)
{
	static struct fixture f;
	struct ca_material m = {0};
	struct certs_config config = {.on_identity = on_identity, .arg = &f};
	char ca_dir[80];
	char err[256] = "";

	memset(&f, 0, sizeof(f));
	log_set_level(LOG_ERROR);
	clock_offset_s = 0;
	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/g-certs-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.path, sizeof(f.path), "%s/ca.sock", f.dir);
	(void)snprintf(ca_dir, sizeof(ca_dir), "%s/ca", f.dir);
	assert_int_equal(ca_files_load(ca_dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &f.ca, err, sizeof(err)), 0);
	assert_int_equal(loop_new(&f.loop), 0);
	config.loop = f.loop;
	config.target.path = f.path;
	assert_int_equal(certs_new(&config, &f.certs), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	certs_free(f->certs);
	grpc_server_free(f->grpc);
	ca_service_free(f->service);
	ca_free(f->ca);
	tls_identity_unref(f->last);
	loop_free(f->loop);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	return 0;
}

static void run_until(struct fixture *f, const unsigned int *what, unsigned int count, int limit_ms)
{
	turn_until(f->loop, limit_ms, *what >= count);
}

static void assert_state(struct fixture *f, const char *state, size_t chain)
{
	json_t *list = certs_to_json(f->certs);
	json_t *one = json_array_get(list, 0);

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(one, "identity")), ALICE);
	assert_memory_equal(json_string_value(json_object_get(one, "state")), state, strlen(state));
	assert_int_equal(json_array_size(json_object_get(one, "certChain")), chain);
	json_decref(list);
}

static void a_certificate_comes_is_shown_and_goes(void **state)
{
	struct fixture *f = *state;
	json_t *list;

	serve(f);
	assert_int_equal(certs_want(f->certs, ALICE), 0);
	assert_int_equal(certs_want(f->certs, ALICE), 0);
	assert_state(f, "Initializing", 0);
	run_until(f, &f->published, 1, 30000);
	assert_int_equal(f->published, 1);
	assert_string_equal(f->last->id, ALICE);
	assert_state(f, "Available", 1);
	list = certs_to_json(f->certs);
	assert_true(json_array_size(json_object_get(json_array_get(list, 0), "rootCerts")) >= 1);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(json_array_get(list, 0), "certChain"), 0),
			"serialNumber")),
		f->last->serial);
	json_decref(list);
	certs_unwant(f->certs, ALICE);
	assert_int_equal(f->gone, 0);
	certs_unwant(f->certs, ALICE);
	assert_int_equal(f->gone, 1);
	certs_unwant(f->certs, ALICE);
}

static void it_is_tried_again_until_the_control_plane_is_there(void **state)
{
	struct fixture *f = *state;
	unsigned int never = 0;

	assert_int_equal(certs_want(f->certs, ALICE), 0);
	run_until(f, &never, 1, 300);
	assert_int_equal(f->published, 0);
	assert_state(f, "Unavailable: ", 0);
	serve(f);
	run_until(f, &f->published, 1, 30000);
	assert_int_equal(f->published, 1);
	assert_state(f, "Available", 1);
}

static void more_identities_than_requests_at_once_are_all_served(void **state)
{
	struct fixture *f = *state;
	char id[64];

	assert_int_equal(certs_want(f->certs, ALICE), 0);
	for (int i = 0; i < 50; i++) {
		(void)snprintf(id, sizeof(id), "spiffe://cluster.local/ns/demo/sa/x%d", i);
		assert_int_equal(certs_want(f->certs, id), 0);
	}
	assert_int_equal(certs_want(f->certs, BOB), 0);
	certs_unwant(f->certs, BOB);
	serve(f);
	run_until(f, &f->published, 1, 30000);
	assert_int_equal(f->published, 1);
}

static void malformed_identities_are_refused(void **state)
{
	static const char *const malformed[] = {"", "alice", "spiffe://", "spiffe://td/ns/a",
						"spiffe://td/ns//sa/b"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_int_equal(certs_want(f->certs, malformed[i]), -EINVAL);
}

#define HOUR_S 3600

static void have_one(struct fixture *f)
{
	serve(f);
	assert_int_equal(certs_want(f->certs, ALICE), 0);
	run_until(f, &f->published, 1, 30000);
	assert_int_equal(f->published, 1);
}

static void set_clock(struct fixture *f, int64_t offset_s)
{
	clock_offset_s = offset_s;
	certs_clock_stepped(f->certs);
}

static void a_clock_set_past_half_life_renews(void **state)
{
	struct fixture *f = *state;

	have_one(f);
	set_clock(f, 20 * HOUR_S);
	run_until(f, &f->published, 2, 30000);
	assert_int_equal(f->published, 2);
	assert_int_equal(f->gone, 0);
}

static void a_clock_set_past_the_end_drops_and_renews(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	have_one(f);
	set_clock(f, 25 * HOUR_S);
	assert_int_equal(f->gone, 1);
	run_until(f, &f->published, 2, 30000);
	assert_int_equal(f->published, 2);
}

static void a_clock_set_before_the_beginning_renews_and_keeps(void **state)
{
	struct fixture *f = *state;

	have_one(f);
	set_clock(f, -5 * HOUR_S);
	run_until(f, &f->published, 2, 30000);
	assert_int_equal(f->published, 2);
	assert_int_equal(f->gone, 0);
}

static void a_clock_set_a_little_renews_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned int never = 0;

	have_one(f);
	set_clock(f, HOUR_S);
	run_until(f, &never, 1, 1500); /* what is asked for again is asked for within a second */
	assert_int_equal(f->published, 1);
}

static void a_clock_hours_before_the_cas_asks_not_every_second(void **state)
{
	struct fixture *f = *state;

	clock_offset_s = 20 * HOUR_S;
	have_one(f);
	/* older than half its life from the first, and good for hours */
	run_until(f, &f->published, 2, 2500);
	assert_int_equal(f->published, 1);
}

static void it_expires_while_the_ca_is_away_and_comes_back_with_it(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	have_one(f);
	f->grpc = grpc_server_free(f->grpc);
	f->service = ca_service_free(f->service);
	assert_int_equal(unlink(f->path), 0);
	/* past half life: it serves on while nobody signs */
	set_clock(f, 20 * HOUR_S);
	run_until(f, &f->gone, 1, 1500);
	assert_int_equal(f->gone, 0);
	assert_state(f, "Available", 1);
	set_clock(f, 25 * HOUR_S);
	assert_int_equal(f->gone, 1);
	assert_state(f, "Unavailable: ", 0);
	serve(f);
	run_until(f, &f->published, 2, 30000);
	assert_int_equal(f->published, 2);
}

/* Many tries in vain: the next is far off. */
static void what_the_ca_did_not_give_is_asked_for_when_it_is_back(void **state)
{
	struct fixture *f = *state;
	unsigned int never = 0;

	log_set_level(LOG_OFF);
	assert_int_equal(certs_want(f->certs, ALICE), 0);
	the_clock.is_fast = true;
	for (int i = 0; i < 60; i++)
		assert_true(loop_run_once(f->loop, -1) >= 0);
	the_clock.is_fast = false;
	assert_state(f, "Unavailable: ", 0);
	serve(f);
	run_until(f, &never, 1, 1500);
	assert_int_equal(f->published, 0);
	certs_retry(f->certs);
	run_until(f, &f->published, 1, 20000);
	assert_int_equal(f->published, 1);
	/* nothing to do for what is well */
	certs_retry(f->certs);
	run_until(f, &never, 1, 1500);
	assert_int_equal(f->published, 1);
}

static void freeing_with_requests_out_is_harmless(void **state)
{
	struct fixture *f = *state;

	serve(f);
	assert_int_equal(certs_want(f->certs, ALICE), 0);
	assert_int_equal(certs_want(f->certs, BOB), 0);
	assert_true(loop_run_once(f->loop, 20) >= 0);
	certs_unwant(f->certs, BOB);
	f->certs = certs_free(f->certs);
	assert_true(loop_run_once(f->loop, 20) >= 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_certificate_comes_is_shown_and_goes),
		T(it_is_tried_again_until_the_control_plane_is_there),
		T(more_identities_than_requests_at_once_are_all_served),
		T(malformed_identities_are_refused),
		T(a_clock_set_past_half_life_renews),
		T(a_clock_set_past_the_end_drops_and_renews),
		T(a_clock_set_before_the_beginning_renews_and_keeps),
		T(a_clock_set_a_little_renews_nothing),
		T(a_clock_hours_before_the_cas_asks_not_every_second),
		T(it_expires_while_the_ca_is_away_and_comes_back_with_it),
		T(what_the_ca_did_not_give_is_asked_for_when_it_is_back),
		T(freeing_with_requests_out_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
