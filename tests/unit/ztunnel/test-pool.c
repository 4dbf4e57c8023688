/* SPDX-License-Identifier: Apache-2.0 */
/* pool - tunnels are shared, spread when busy, dialled again while a peer starts, and closed when
 * the peer is gone. Seen from outside, on the rig. */
#include "ztunnel/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "tests/unit/hbone/certs.h"
#include "tests/unit/ztunnel/apps.h"
#include "tls/identity.h"
#include "tls/trust.h"
#include "ztunnel/pod.h"

/* tunnels() - connections from peers over all workers, once they are no less than @least and have
 * had the time to become more. */
static uint32_t tunnels(struct rig *f, uint32_t least)
{
	uint32_t n = 0;

	for (int i = 0; i < WAIT_MS / 5 && (i < 20 || n < least); i++) {
		(void)loop_run_once(f->loop, 5);
		n = 0;
		for (int k = 0; k < WORKERS; k++)
			n += atomic_load(&f->workers[k].load_tunnels);
	}
	return n;
}

/* server_goes() - its pod is deleted, and nobody listens at its address any more. */
static void server_goes(struct rig *f)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(CV_HBONE_PORT)};
	int r = 0;

	assert_int_equal(inet_pton(AF_INET, SERVER_ADDR, &sa.sin_addr), 1);
	for (int i = 0; i < WORKERS; i++)
		worker_post_pod_del(&f->workers[i], f->server->netns_cookie);
	for (int i = 0; i < WAIT_MS / 5 && r == 0; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		(void)loop_run_once(f->loop, 5);
		r = connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
		(void)close(fd);
	}
	assert_int_equal(r, -1);
}

TEST(connections_share_tunnels)
{
	struct rig *f = *cmocka_state;
	struct pair p[POOL_SPREAD_STREAMS];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = app_connect_pair(f);
	assert_in_range(tunnels(f, 1), 1, WORKERS);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		app_pair_close(&p[i]);
}

TEST(busy_pairs_get_more_than_one_tunnel)
{
	struct rig *f = *cmocka_state;
	struct pair p[40];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = app_connect_pair(f);
	assert_int_equal(tunnels(f, WORKERS * POOL_SPREAD_TUNNELS), WORKERS * POOL_SPREAD_TUNNELS);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		app_pair_close(&p[i]);
}

TEST(tunnels_close_when_the_workload_is_gone)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "x");
	rig_publish_without_server(f);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	app_pair_close(&p);
	rig_publish(f, true, false);
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "back");
	app_pair_close(&p);
}

TEST(tunnels_close_when_another_pod_has_the_name_and_address)
{
	struct rig *f = *cmocka_state;
	struct pair old = app_connect_pair(f), p;

	f->server_incarnation = 1;
	rig_publish(f, true, false);
	assert_int_equal(app_read_end(old.client), -ECONNRESET);
	assert_int_equal(app_read_end(old.server), -ECONNRESET);
	app_pair_close(&old);
	p = app_connect_pair(f);
	/* a change of something else cuts nothing */
	rig_publish(f, true, false);
	app_pass(p.client, p.server, "new");
	app_pair_close(&p);
}

TEST(a_peer_that_starts_a_little_later_is_reached)
{
	struct rig *f = *cmocka_state;
	struct pair p;

	server_goes(f);
	p.client = app_dial(f, SERVER_ADDR ":8080");
	app_say(p.client, "early");
	assert_int_equal(app_accept(f, 300), -1);
	rig_add_server(f);
	p.server = app_accept(f, WAIT_MS);
	assert_true(p.server >= 0);
	app_expect(p.server, "early");
	app_pair_close(&p);
}

/* It has left the mesh and comes back: its tunnels from before are for what is open in them. */
TEST(a_peer_that_comes_back_is_reached_by_who_has_a_tunnel_still)
{
	struct rig *f = *cmocka_state;
	struct pair old = app_connect_pair(f), p[4];

	server_goes(f);
	/* The client has heard the GOAWAY, which went before this. */
	app_pass(old.server, old.client, "still");
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i].client = app_dial(f, SERVER_ADDR ":8080");
		app_say(p[i].client, "early");
	}
	assert_int_equal(app_accept(f, 50), -1);
	rig_add_server(f);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i].server = app_accept(f, WAIT_MS);
		assert_true(p[i].server >= 0);
		app_expect(p[i].server, "early");
	}
	app_pass(old.client, old.server, "not cut");
	app_pair_close(&old);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		app_pair_close(&p[i]);
}

TEST(tunnels_of_a_pod_that_left_end_with_what_is_open_in_them)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	server_goes(f);
	app_pass(p.client, p.server, "on");
	app_pair_close(&p);
	for (int i = 0; i < WAIT_MS / 100 && tunnels(f, 0) > 0; i++)
		;
	assert_int_equal(tunnels(f, 0), 0);
}

/* A tunnel counts once, whatever is open in it; then a handshake. */
TEST(tunnels_of_a_revoked_peer_are_cut_refused_and_counted)
{
	struct rig *f = *cmocka_state;
	char *list = certs_revoke(f->root, f->server_id), want[96];
	struct pair p[] = {app_connect_pair(f), app_connect_pair(f)};
	uint32_t n = tunnels(f, 1);
	struct tls_trust *trust = NULL;
	size_t revoked;

	assert_false(rig_metrics_have(f, "istio_crl_policy_rejections_total{"));
	assert_int_equal(tls_trust_new(&trust), 0);
	assert_int_equal(tls_trust_use(trust, f->client_id), 0);
	assert_int_equal(tls_trust_load_crl(trust, list, strlen(list), &revoked), 0);
	for (int i = 0; i < WORKERS; i++)
		worker_post_trust(&f->workers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		assert_int_equal(app_read_end(p[i].client), -ECONNRESET);
		app_pair_close(&p[i]);
	}
	rig_turn_workers(f);
	(void)snprintf(want, sizeof(want),
		       "\nistio_crl_policy_rejections_total{reporter=\"source\"} %u\n", n);
	assert_true(rig_metrics_have(f, want));
	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), WAIT_MS);
	(void)snprintf(want, sizeof(want),
		       "\nistio_crl_policy_rejections_total{reporter=\"source\"} %u\n", n + 1);
	assert_true(rig_metrics_have(f, want));
	assert_false(rig_metrics_have(f, "rejections_total{reporter=\"destination\"}"));
	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	(void)tls_trust_free(trust);
	free(list);
}

/* flight_of() - what @ssl, a server on buffers, answers to who has dialled @fd. Return: its length.
 */
static size_t flight_of(SSL *ssl, int fd, uint8_t *flight, size_t size)
{
	BIO *in = SSL_get_rbio(ssl), *out = SSL_get_wbio(ssl);
	int n;

	do {
		ssize_t k = recv(fd, flight, size, 0);

		assert_true(k > 0);
		assert_int_equal(BIO_write(in, flight, (int)k), k);
		assert_int_equal(SSL_do_handshake(ssl), -1);
		n = BIO_read(out, flight, (int)size);
	} while (n <= 0);
	return (size_t)n;
}

/* Its certificate was good when it was looked at; whoever has stolen its key waits with the end of
 * the handshake. */
TEST(a_peer_that_is_revoked_within_the_handshake_hears_nothing)
{
	struct rig *f = *cmocka_state;
	char *list = certs_revoke(f->root, f->server_id);
	int listener = rig_listen(PEER_ADDR, CV_HBONE_PORT), app, fd;
	SSL *ssl = SSL_new(f->server_id->server_ctx);
	struct pollfd poll_listener = {.fd = listener, .events = POLLIN};
	struct tls_trust *trust = NULL;
	static uint8_t buf[65536];
	size_t len, revoked;

	assert_int_equal(tls_trust_new(&trust), 0);
	assert_int_equal(tls_trust_use(trust, f->client_id), 0);
	SSL_set_accept_state(ssl);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	app = app_dial(f, PEER_ADDR ":8080");
	app_say(app, "secret");
	for (int i = 0; i < WAIT_MS / 10 && poll(&poll_listener, 1, 0) == 0; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	len = flight_of(ssl, fd, buf, sizeof(buf));
	assert_int_equal(send(fd, buf, len - 1, MSG_NOSIGNAL), len - 1);
	rig_turn_workers(f);
	assert_int_equal(tls_trust_load_crl(trust, list, strlen(list), &revoked), 0);
	for (int i = 0; i < WORKERS; i++)
		worker_post_trust(&f->workers[i]);
	rig_turn_workers(f);
	assert_int_equal(send(fd, buf + len - 1, 1, MSG_NOSIGNAL), 1);
	app_expect_refused(f, app, WAIT_MS);
	rig_turn_workers(f);
	assert_true(rig_metrics_have(
		f, "\nistio_crl_policy_rejections_total{reporter=\"source\"} 1\n"));
	(void)close(fd);
	(void)close(listener);
	SSL_free(ssl);
	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	(void)tls_trust_free(trust);
	free(list);
}

/* Its address may be another pod's by now. */
TEST(a_peer_that_goes_while_a_dial_waits_for_a_socket_is_not_dialled)
{
	struct rig *f = *cmocka_state;
	int listener = rig_listen(PEER_ADDR, CV_HBONE_PORT), app;
	struct pollfd poll_listener = {.fd = listener, .events = POLLIN};

	f->is_agent_slow = true;
	app = app_dial(f, PEER_ADDR ":8080");
	rig_turn_until(f, &f->late_count, 1);
	f->is_peer_gone = true;
	rig_publish(f, true, false);
	rig_turn_workers(f);
	rig_give_late(f);
	app_expect_refused(f, app, WAIT_MS);
	assert_int_equal(poll(&poll_listener, 1, 0), 0);
	(void)close(listener);
}

TEST(a_peer_that_never_comes_is_given_up)
{
	struct rig *f = *cmocka_state;
	int fd;

	server_goes(f);
	fd = app_dial(f, SERVER_ADDR ":8080");
	app_expect_refused(f, fd, WAIT_MS);
}

TEST(without_an_agent_a_dial_ends_in_time)
{
	struct rig *f = *cmocka_state;

	f->is_agent_dead = true;
	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), 15000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(connections_share_tunnels),
		T(busy_pairs_get_more_than_one_tunnel),
		T(tunnels_close_when_the_workload_is_gone),
		T(tunnels_close_when_another_pod_has_the_name_and_address),
		T(a_peer_that_starts_a_little_later_is_reached),
		T(a_peer_that_comes_back_is_reached_by_who_has_a_tunnel_still),
		T(tunnels_of_a_pod_that_left_end_with_what_is_open_in_them),
		T(tunnels_of_a_revoked_peer_are_cut_refused_and_counted),
		T(a_peer_that_is_revoked_within_the_handshake_hears_nothing),
		T(a_peer_that_goes_while_a_dial_waits_for_a_socket_is_not_dialled),
		T(a_peer_that_never_comes_is_given_up),
		T(without_an_agent_a_dial_ends_in_time),
	};

	return rig_run(tests);
}
