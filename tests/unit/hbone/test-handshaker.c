/* SPDX-License-Identifier: Apache-2.0 */
/* handshaker: handshakes in a thread of their own, and what becomes of them when nobody waits any
 * more. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/hbone/tunnel_fixture.h"

static pthread_t loop_thread;
static atomic_uint steps_here, steps_away;
/* The next step elsewhere says that it has begun, and waits. */
static atomic_bool is_held;
static sem_t begun, go_on;

int __real_SSL_do_handshake(SSL *ssl);
int __wrap_SSL_do_handshake(SSL *ssl);

int __wrap_SSL_do_handshake(SSL *ssl)
{
	if (pthread_equal(pthread_self(), loop_thread)) {
		atomic_fetch_add(&steps_here, 1);
		return __real_SSL_do_handshake(ssl);
	}
	atomic_fetch_add(&steps_away, 1);
	if (atomic_exchange(&is_held, false)) {
		(void)sem_post(&begun);
		(void)sem_wait(&go_on);
	}
	return __real_SSL_do_handshake(ssl);
}

static int setup_away(void **state)
{
	struct fixture *f;

	(void)setup(state);
	f = *state;
	loop_thread = pthread_self();
	atomic_store(&steps_here, 0);
	atomic_store(&steps_away, 0);
	assert_int_equal(sem_init(&begun, 0, 0), 0);
	assert_int_equal(sem_init(&go_on, 0, 0), 0);
	assert_int_equal(hbone_handshaker_new(&f->handshaker), 0);
	assert_int_equal(hbone_desk_new(f->handshaker, f->loop, &f->desk), 0);
	return 0;
}

static void no_step_is_made_in_the_loop(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(atomic_load(&steps_here), 0);
	assert_true(atomic_load(&steps_away) >= 4);
}

static void what_is_said_afterwards_arrives(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_stream(f, 1000000);
	run_until(f, f->client.end.received == 1000000);
}

static void a_stranger_is_refused(void **state)
{
	struct fixture *f = *state;

	start_as(f, f->stranger_id, SERVER);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_false(f->server.is_ready);
	assert_int_equal(f->server.stage, HBONE_STAGE_TLS);
	assert_int_equal(f->server.error, -EPROTO);
	assert_non_null(strstr(f->client.text, "certificate verify failed"));
}

static void a_peer_that_goes_is_noticed(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	start_side(f, &f->server, fds[1], SSL_new(f->server_id->server_ctx), true);
	(void)close(fds[0]);
	run_until(f, f->server.is_closed);
	assert_int_equal(f->server.error, -ECONNRESET);
}

/* hold() - a client's step has begun, and goes on with sem_post(&go_on). */
static void hold(struct fixture *f)
{
	atomic_store(&is_held, true);
	start_as(f, f->client_id, SERVER);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(sem_wait(&begun), 0);
}

static void one_in_a_step_may_be_closed(void **state)
{
	struct fixture *f = *state;

	hold(f);
	hbone_tunnel_close(f->client.t, -ETIMEDOUT, "too late");
	run_until(f, f->client.is_closed); /* does not wait for the step */
	assert_int_equal(f->client.error, -ETIMEDOUT);
	assert_int_equal(f->client.stage, HBONE_STAGE_TLS);
	(void)sem_post(&go_on);
	run_until(f, f->server.is_closed);
}

/* As where the worker ends before the handshaker's thread. */
static void the_desk_may_go_in_a_step(void **state)
{
	struct fixture *f = *state;

	hold(f);
	hbone_tunnel_abandon(f->client.t);
	hbone_tunnel_abandon(f->server.t);
	f->client.t = f->server.t = NULL;
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	f->desk = hbone_desk_free(f->desk);
	(void)sem_post(&go_on);
	f->handshaker = hbone_handshaker_free(f->handshaker);
}

static void what_is_over_may_be_closed_before_it_is_heard_of(void **state)
{
	struct fixture *f = *state;

	start_as(f, f->client_id, SERVER);
	for (int i = 0; i < TURNS && !f->client.is_ready; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	usleep(20000); /* the server's waits on the desk */
	hbone_tunnel_close(f->server.t, -ECANCELED, "enough");
	run_until(f, f->server.is_closed && f->client.is_closed);
}

/* knock() - a client whose first flight is on its way. Return: its socket. */
static int knock(struct fixture *f, struct side *server, uint64_t share)
{
	SSL *ssl = client_ssl(f->client_id, SERVER);
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	assert_int_equal(SSL_set_fd(ssl, fds[0]), 1);
	assert_int_equal(SSL_connect(ssl), -1);
	SSL_free(ssl);
	f->share = share;
	start_side(f, server, fds[1], SSL_new(f->server_id->server_ctx), true);
	return fds[0];
}

#define CROWD 5

/* In the loop, where a turn has one step. */
static void a_crowd_keeps_no_other_share_waiting(void **state)
{
	struct fixture *f = *state;
	struct side servers[CROWD + 1] = {0};
	int fds[CROWD + 1];
	char byte;

	f->desk = hbone_desk_free(f->desk);
	for (int i = 0; i <= CROWD; i++)
		fds[i] = knock(f, &servers[i], i < CROWD ? 1 : 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(recv(fds[CROWD], &byte, 1, MSG_PEEK), 1);
	for (int i = 0; i <= CROWD; i++) {
		(void)close(fds[i]);
		run_until(f, servers[i].is_closed);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_away, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_step_is_made_in_the_loop),
		T(what_is_said_afterwards_arrives),
		T(a_stranger_is_refused),
		T(a_peer_that_goes_is_noticed),
		T(one_in_a_step_may_be_closed),
		T(the_desk_may_go_in_a_step),
		T(what_is_over_may_be_closed_before_it_is_heard_of),
		T(a_crowd_keeps_no_other_share_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
