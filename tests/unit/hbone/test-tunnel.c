/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel - two ends in one loop over real sockets: who is let in, bytes through full sockets, every
 * way to end. */
#include "hbone/tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/hbone/buffers.h"
#include "tests/unit/hbone/tunnel_fixture.h"
#include "tls/gcm.h"

static void both_ends_know_each_other(void **state)
{
	struct fixture *f = *state;
	char id[600];

	start(f);
	assert_int_equal(hbone_tunnel_peer_identity(f->client.t, id, sizeof(id)), 0);
	assert_string_equal(id, SERVER);
	assert_int_equal(hbone_tunnel_peer_identity(f->server.t, id, sizeof(id)), 0);
	assert_string_equal(id, CLIENT);
}

static void another_server_is_not_talked_to(void **state)
{
	struct fixture *f = *state;

	start_as(f, f->client_id, "spiffe://cluster.local/ns/b/sa/other");
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_false(f->client.is_ready);
	assert_int_equal(f->client.stage, HBONE_STAGE_TLS);
	assert_true(strlen(f->client.text) > 0);
}

static void a_client_of_another_root_is_not_let_in(void **state)
{
	struct fixture *f = *state;

	start_as(f, f->stranger_id, SERVER);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_false(f->server.is_ready);
	assert_int_equal(f->server.stage, HBONE_STAGE_TLS);
}

static void a_refused_connect_says_so(void **state)
{
	struct fixture *f = *state;
	/* Port 1: nobody listens. */
	const struct sockaddr_in sa = {.sin_family = AF_INET,
				       .sin_port = htons(1),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
	start_side(f, &f->client, fd, client_ssl(f->client_id, SERVER), false);
	run_until(f, f->client.is_closed);
	assert_int_equal(f->client.stage, HBONE_STAGE_CONNECT);
	assert_int_equal(f->client.error, -ECONNREFUSED);
}

static void bytes_pass_through_small_sockets(void **state)
{
	struct fixture *f = *state;
	int small = 4096;

	start(f);
	(void)setsockopt(f->client_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	open_stream(f, 5000000);
	run_until(f, f->client.end.received == 5000000);
	assert_int_equal(f->server.end.received, 5000000);
}

static void a_peer_that_vanishes_resets_the_streams(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_stream(f, 10);
	run_until(f, f->client.end.received == 10);
	(void)shutdown(f->client_fd, SHUT_RDWR);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_true(f->client.end.is_closed && f->server.end.is_closed);
	assert_int_not_equal(f->server.end.code, 0);
	assert_int_equal(f->server.error, -ECONNRESET);
}

static void a_peer_that_answers_no_ping_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct loop *ours = f->loop, *silent;
	int fds[2];

	assert_int_equal(loop_new(&silent), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	f->loop = silent;
	start_side(f, &f->server, fds[1], SSL_new(f->server_id->server_ctx), true);
	f->loop = ours;
	f->ping_interval_us = 1000;
	f->pong_timeout_us = 20000;
	start_side(f, &f->client, fds[0], client_ssl(f->client_id, SERVER), false);
	for (int i = 0; i < TURNS && !f->client.is_ready; i++) {
		assert_int_equal(loop_run_once(ours, 5), 0);
		assert_int_equal(loop_run_once(silent, 5), 0);
	}
	open_stream(f, 10);
	/* The server's loop stands still: its kernel takes bytes, nobody answers. */
	run_until(f, f->client.is_closed);
	assert_int_equal(f->client.stage, HBONE_STAGE_OPEN);
	assert_int_equal(f->client.error, -ETIMEDOUT);
	assert_true(f->client.end.is_closed);
	assert_int_not_equal(f->client.end.code, 0);
	hbone_tunnel_abandon(f->server.t);
	f->server.t = NULL;
	for (int i = 0; i < 3; i++)
		(void)loop_run_once(silent, 0);
	loop_free(silent);
}

static void a_close_without_streams_is_no_error(void **state)
{
	struct fixture *f = *state;

	start(f);
	hbone_tunnel_close(f->client.t, 0, "");
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_int_equal(f->client.error, 0);
	assert_int_equal(f->server.error, 0);
}

static void drain_ends_with_the_last_stream(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_stream(f, 10);
	run_until(f, f->client.end.received == 10);
	hbone_tunnel_drain(f->server.t);
	run_until(f, f->client.is_goaway);
	/* Past the notice. */
	for (int i = 0; i < 300; i++)
		(void)loop_run_once(f->loop, 5);
	assert_false(f->server.is_closed);
	f->client.end.to_send = 20;
	hbone_stream_resume(&f->client.end.st);
	run_until(f, f->client.end.received == 20);
	hbone_stream_reset(&f->client.end.st, HBONE_CANCEL);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_int_equal(f->server.error, 0);
}

static void an_idle_tunnel_drains_by_itself(void **state)
{
	struct fixture *f = *state;

	start(f);
	hbone_tunnel_drain(f->client.t);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_int_equal(f->client.error, 0);
	assert_int_equal(f->server.error, 0);
}

static void an_abandoned_tunnel_calls_nobody(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_stream(f, 10);
	run_until(f, f->client.end.received == 10);
	hbone_tunnel_abandon(f->client.t);
	f->client.t = NULL;
	run_until(f, f->server.is_closed);
	assert_false(f->client.is_closed);
	assert_true(f->client.end.is_closed);
}

static void garbage_ends_a_tunnel(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	start_side(f, &f->server, fds[1], SSL_new(f->server_id->server_ctx), true);
	assert_int_equal(write(fds[0], "GET / HTTP/1.1\r\n\r\n", 18), 18);
	run_until(f, f->server.is_closed);
	assert_int_equal(f->server.stage, HBONE_STAGE_TLS);
	(void)close(fds[0]);
}

static bool is_keeping_buffers(const struct fixture *f)
{
	return !(SSL_get_mode(f->ssl) & SSL_MODE_RELEASE_BUFFERS);
}

static void busy_tunnel_keeps_its_buffers_until_it_is_calm(void **state)
{
	struct fixture *f = *state;
	struct end *e = &f->client.end;

	f->ping_interval_us = 1000 * 1000;
	start(f);
	assert_false(is_keeping_buffers(f));
	open_stream(f, 1);
	while (e->received < TURNS && !(is_keeping_buffers(f) && buffers_nr > 0)) {
		run_until(f, e->received == e->to_send);
		if (is_keeping_buffers(f)) /* a record that is OpenSSL's, so that it has some */
			assert_int_equal(SSL_key_update(f->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		e->to_send++;
		hbone_stream_resume(&e->st);
	}
	assert_true(is_keeping_buffers(f));
	assert_true(buffers_nr > 0);
	run_until(f, !is_keeping_buffers(f) && buffers_nr == 0);
	assert_false(f->client.is_closed);
}

/* Whose next records are lost when some of them are made. */
static const SSL *failing;
static int failure = -EIO;

int __real_scratch_encrypt(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p, size_t n);
int __wrap_scratch_encrypt(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p, size_t n);

int __wrap_scratch_encrypt(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p, size_t n)
{
	int r = __real_scratch_encrypt(s, tls, p, n);

	return tls->ssl == failing ? failure : r;
}

static void send_more(struct fixture *f)
{
	f->client.end.to_send += 1000;
	hbone_stream_resume(&f->client.end.st);
}

static void what_one_could_not_send_no_other_sends(void **state)
{
	struct fixture *f = *state, other = *f;

	start(f);
	start(&other);
	open_stream(f, 1000);
	open_stream(&other, 1000);
	run_until(f, f->client.end.received == 1000 && other.client.end.received == 1000);
	failing = f->ssl;
	send_more(f);
	send_more(&other); /* in the same turn, after it */
	run_until(f, f->client.is_closed && f->server.is_closed);
	failing = NULL;
	assert_int_equal(f->client.error, -EIO);
	run_until(f, other.client.end.received == 2000 || other.client.is_closed);
	assert_int_equal(other.client.end.received, 2000);
	hbone_tunnel_close(other.client.t, 0, "");
	run_until(f, other.client.is_closed && other.server.is_closed);
}

static void what_had_no_memory_says_so(void **state)
{
	struct fixture *f = *state;

	start(f);
	failing = f->ssl;
	failure = -ENOMEM;
	open_stream(f, 1000);
	run_until(f, f->client.is_closed && f->server.is_closed);
	failing = NULL;
	assert_string_equal(f->client.text, "out of memory");
	assert_int_equal(f->client.end.code, HBONE_NO_MEMORY);
}

#define CROWD 5

/* knock() - a client whose first flight is on its way. Return: its socket. */
static int knock(struct fixture *f, struct side *server)
{
	SSL *ssl = client_ssl(f->client_id, SERVER);
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	assert_int_equal(SSL_set_fd(ssl, fds[0]), 1);
	assert_int_equal(SSL_connect(ssl), -1);
	SSL_free(ssl);
	start_side(f, server, fds[1], SSL_new(f->server_id->server_ctx), true);
	return fds[0];
}

static int count_answered(const int *fds)
{
	int n = 0;
	char byte;

	for (int i = 0; i < CROWD; i++)
		n += recv(fds[i], &byte, 1, MSG_PEEK) == 1;
	return n;
}

static void each_turn_has_one_step_of_a_handshake(void **state)
{
	struct fixture *f = *state;
	struct side servers[CROWD] = {0};
	int fds[CROWD];

	for (int i = 0; i < CROWD; i++)
		fds[i] = knock(f, &servers[i]);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(loop_run_once(f->loop, 5), 0);
		assert_int_equal(count_answered(fds), i + 1);
	}
	for (int i = 0; i < CROWD; i++) {
		(void)close(fds[i]);
		run_until(f, servers[i].is_closed);
	}
}

static void one_that_waits_for_its_step_may_be_closed(void **state)
{
	struct fixture *f = *state;
	struct side servers[CROWD] = {0};
	int fds[CROWD];

	for (int i = 0; i < CROWD; i++)
		fds[i] = knock(f, &servers[i]);
	assert_int_equal(loop_run_once(f->loop, 5), 0);
	hbone_tunnel_drain(servers[1].t);
	hbone_tunnel_close(servers[2].t, -ETIMEDOUT, "too late");
	(void)close(fds[3]);
	hbone_tunnel_abandon(servers[4].t);
	run_until(f, servers[1].is_closed && servers[2].is_closed && servers[3].is_closed);
	assert_false(servers[4].is_closed);
	(void)close(fds[0]);
	run_until(f, servers[0].is_closed);
	for (int i = 1; i < CROWD; i++)
		if (i != 3)
			(void)close(fds[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int load_gcm(void **state)
{
	const char *why;
	int r = tls_gcm_load(&why);

	print_message("AES-GCM: %s\n", why);
	return r == -EIO ? r : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_ends_know_each_other),
		T(another_server_is_not_talked_to),
		T(a_client_of_another_root_is_not_let_in),
		T(a_refused_connect_says_so),
		T(bytes_pass_through_small_sockets),
		T(a_peer_that_vanishes_resets_the_streams),
		T(a_peer_that_answers_no_ping_is_given_up),
		T(a_close_without_streams_is_no_error),
		T(drain_ends_with_the_last_stream),
		T(an_idle_tunnel_drains_by_itself),
		T(an_abandoned_tunnel_calls_nobody),
		T(garbage_ends_a_tunnel),
		T(busy_tunnel_keeps_its_buffers_until_it_is_calm),
		T(what_one_could_not_send_no_other_sends),
		T(what_had_no_memory_says_so),
		T(each_turn_has_one_step_of_a_handshake),
		T(one_that_waits_for_its_step_may_be_closed),
	};

	buffers_count();
	return cmocka_run_group_tests(tests, load_gcm, NULL);
}
