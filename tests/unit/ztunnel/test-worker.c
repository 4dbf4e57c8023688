/* SPDX-License-Identifier: Apache-2.0 */
/* worker - the data path in one process and one network namespace (rig.h). What an application at
 * one end does, the application at the other end sees. */
#include "ztunnel/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "tests/unit/ztunnel/apps.h"
#include "ztunnel/pod.h"

TEST(carries_small_messages_both_ways)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	for (int i = 0; i < 100; i++) {
		app_pass(p.client, p.server, "question");
		app_pass(p.server, p.client, "answer");
	}
	app_pair_close(&p);
}

TEST(server_may_speak_first)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.server, p.client, "220 hello");
	app_pair_close(&p);
}

TEST(half_close_passes_each_way_on_its_own)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_say(p.client, "all");
	(void)shutdown(p.client, SHUT_WR);
	app_expect(p.server, "all");
	assert_int_equal(app_read_end(p.server), 0);
	app_pass(p.server, p.client, "still here");
	(void)shutdown(p.server, SHUT_WR);
	assert_int_equal(app_read_end(p.client), 0);
	app_pair_close(&p);

	p = app_connect_pair(f);
	(void)shutdown(p.server, SHUT_WR);
	assert_int_equal(app_read_end(p.client), 0);
	app_pass(p.client, p.server, "and back");
	app_pair_close(&p);
}

TEST(reset_passes_each_way)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "x");
	app_close_rst(p.client);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	(void)close(p.server);

	p = app_connect_pair(f);
	app_close_rst(p.server);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	(void)close(p.client);
}

TEST(reset_passes_after_a_half_close)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	(void)shutdown(p.client, SHUT_WR);
	assert_int_equal(app_read_end(p.server), 0);
	app_close_rst(p.server);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	(void)close(p.client);

	p = app_connect_pair(f);
	(void)shutdown(p.client, SHUT_WR);
	assert_int_equal(app_read_end(p.server), 0);
	app_close_rst(p.client);
	for (int i = 0; i < 500 && send(p.server, "x", 1, MSG_NOSIGNAL) == 1; i++)
		(void)loop_run_once(f->loop, 10);
	assert_int_equal(send(p.server, "x", 1, MSG_NOSIGNAL), -1);
	(void)close(p.server);
}

TEST(reset_passes_while_the_reader_sleeps)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);
	static uint8_t buf[65536];
	ssize_t n;

	(void)fcntl(p.client, F_SETFL, O_NONBLOCK);
	for (int quiet = 0; quiet < 20;) {
		quiet = send(p.client, buf, sizeof(buf), MSG_NOSIGNAL) > 0 ? 0 : quiet + 1;
		(void)loop_run_once(f->loop, quiet ? 5 : 0);
	}
	app_close_rst(p.client);
	for (int i = 0; i < 600; i++)
		(void)loop_run_once(f->loop, 5);
	do
		n = recv(p.server, buf, sizeof(buf), 0);
	while (n > 0);
	assert_int_equal(n, -1);
	assert_int_equal(errno, ECONNRESET);
	(void)close(p.server);
}

static uint8_t pattern(size_t at, uint8_t seed)
{
	return (uint8_t)((at * 131 + at / 8191) ^ seed);
}

/* pump() - send @n bytes each way at once, in odd sizes, reading in odd sizes; every byte is
 * checked. */
static void pump(struct rig *f, const struct pair *p, size_t n)
{
	static uint8_t buf[300000];
	struct {
		int fd;
		size_t out, in;
	} ends[2] = {{p->client, 0, 0}, {p->server, 0, 0}};
	unsigned int turn = 0;

	for (int i = 0; i < 2; i++)
		(void)fcntl(ends[i].fd, F_SETFL, O_NONBLOCK);
	while (ends[0].in < n || ends[1].in < n) {
		for (int i = 0; i < 2; i++) {
			size_t want = MIN(n - ends[i].out, (size_t)(1 + (turn * 7919) % 200000));
			ssize_t k;

			for (size_t b = 0; b < want; b++)
				buf[b] = pattern(ends[i].out + b, (uint8_t)i);
			k = want ? send(ends[i].fd, buf, want, MSG_NOSIGNAL) : 0;
			assert_true(k >= 0 || errno == EAGAIN);
			ends[i].out += k > 0 ? (size_t)k : 0;
			k = recv(ends[i].fd, buf, 1 + (turn * 104729) % sizeof(buf), 0);
			assert_true(k > 0 || errno == EAGAIN);
			for (ssize_t b = 0; b < k; b++)
				assert_int_equal(buf[b],
						 pattern(ends[i].in + (size_t)b, (uint8_t)!i));
			ends[i].in += k > 0 ? (size_t)k : 0;
		}
		if (++turn % 16 == 0)
			(void)loop_run_once(f->loop, 0);
	}
	assert_int_equal(ends[0].in, n);
	assert_int_equal(ends[1].in, n);
}

TEST(no_byte_is_lost_in_bulk)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	pump(f, &p, 30 * 1000 * 1000 + 7);
	app_pair_close(&p);
}

TEST(last_bytes_before_a_fin_arrive)
{
	struct rig *f = *cmocka_state;

	for (int i = 0; i < 50; i++) {
		struct pair p = app_connect_pair(f);
		static uint8_t buf[500000];
		size_t n = 0;
		ssize_t k;

		memset(buf, i, sizeof(buf));
		assert_int_equal(send(p.server, buf, 100000, MSG_NOSIGNAL), 100000);
		(void)close(p.server);
		while ((k = recv(p.client, buf, sizeof(buf), 0)) > 0)
			n += (size_t)k;
		assert_int_equal(k, 0);
		assert_int_equal(n, 100000);
		(void)close(p.client);
	}
}

TEST(slow_reader_holds_the_sender_and_nobody_else)
{
	struct rig *f = *cmocka_state;
	struct pair slow = app_connect_pair(f), quick = app_connect_pair(f);
	static uint8_t buf[65536];
	size_t sent = 0;

	(void)fcntl(slow.client, F_SETFL, O_NONBLOCK);
	for (int quiet = 0; quiet < 20;) {
		ssize_t k = send(slow.client, buf, sizeof(buf), MSG_NOSIGNAL);

		quiet = k > 0 ? 0 : quiet + 1;
		sent += k > 0 ? (size_t)k : 0;
		(void)loop_run_once(f->loop, quiet ? 5 : 0);
		assert_true(sent < 64 * 1024 * 1024);
	}
	pump(f, &quick, 1000000);
	for (size_t got = 0; got < sent;) {
		ssize_t k = recv(slow.server, buf, sizeof(buf), 0);

		assert_true(k > 0);
		got += (size_t)k;
	}
	app_pair_close(&slow);
	app_pair_close(&quick);
}

TEST(many_connections_at_once)
{
	enum { N = 300 };
	struct rig *f = *cmocka_state;
	static struct pair pairs[N];

	for (int i = 0; i < N; i++)
		pairs[i].client = app_dial(f, SERVER_ADDR ":8080");
	app_all_arrive(f, pairs, N);
}

TEST(closed_port_is_refused)
{
	struct rig *f = *cmocka_state;

	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8081"), WAIT_MS);
}

/* Whatever is chosen first, the bytes that the client sent at once arrive once. */
TEST(next_endpoint_is_tried_when_one_refuses)
{
	struct rig *f = *cmocka_state;

	for (int i = 0; i < 24; i++) {
		struct pair p = {.client = app_dial(f, SERVICE_ADDR ":80")};

		app_say(p.client, "first words");
		p.server = app_accept(f, WAIT_MS);
		assert_true(p.server >= 0);
		app_expect(p.server, "first words");
		app_pass(p.server, p.client, "heard");
		(void)shutdown(p.client, SHUT_WR);
		assert_int_equal(app_read_end(p.server), 0);
		app_pair_close(&p);
	}
}

/* All at once, whichever endpoint is asked first. */
static void served_are(struct rig *f, struct pair *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		p[i].client = app_dial(f, SERVICE_ADDR ":80");
		app_say(p[i].client, "first words");
	}
	for (size_t i = 0; i < n; i++) {
		p[i].server = app_accept(f, WAIT_MS);
		assert_true(p[i].server >= 0);
		app_expect(p[i].server, "first words");
	}
	for (size_t i = 0; i < n; i++)
		app_pair_close(&p[i]);
}

/* A node that vanished: its address takes the connection, and then nothing comes. */
TEST(another_endpoint_is_asked_when_one_says_nothing)
{
	struct rig *f = *cmocka_state;
	int silent = rig_listen(REFUSING_ADDR, 15008);
	struct pair p[6];

	served_are(f, p, ARRAY_SIZE(p));
	(void)close_fd(silent);
}

/* More of the service's endpoints are there than may fail a connection. */
TEST(a_node_that_says_nothing_is_asked_once_for_a_connection)
{
	struct rig *f = *cmocka_state;
	int silent[7];
	struct pair p[12];

	f->silent = ARRAY_SIZE(silent);
	rig_publish(f, true, false);
	rig_turn_workers(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(silent); i++) {
		char addr[32];

		(void)snprintf(addr, sizeof(addr), SILENT_ADDR, i + 1);
		silent[i] = rig_listen(addr, 15008);
	}
	served_are(f, p, ARRAY_SIZE(p));
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		(void)close_fd(silent[i]);
}

TEST(next_plain_endpoint_is_tried_when_one_refuses)
{
	struct rig *f = *cmocka_state;
	int outside = rig_listen(OUTSIDE_ADDR, APP_PORT);

	(void)close_fd(f->app);
	f->app = outside;
	for (int i = 0; i < 12; i++) {
		struct pair p = {.client = app_dial(f, PLAIN_SERVICE_ADDR ":80")};

		p.server = app_accept(f, WAIT_MS);
		assert_true(p.server >= 0);
		app_pass(p.client, p.server, "plain");
		app_pair_close(&p);
	}
}

TEST(all_endpoints_refusing_is_refused)
{
	struct rig *f = *cmocka_state;

	app_expect_refused(f, app_dial(f, PLAIN_SERVICE_ADDR ":80"), WAIT_MS);
	f->app = close_fd(f->app);
	app_expect_refused(f, app_dial(f, SERVICE_ADDR ":80"), WAIT_MS);
	f->app = rig_listen(SERVER_ADDR, APP_PORT);
}

TEST(ztunnel_itself_is_no_destination)
{
	struct rig *f = *cmocka_state;
	char to[64];

	app_expect_refused(f, app_dial(f, SERVER_ADDR ":15008"), WAIT_MS);
	(void)snprintf(to, sizeof(to), SERVER_ADDR ":%d", f->plain_port);
	app_expect_refused(f, app_dial(f, to), WAIT_MS);
	(void)snprintf(to, sizeof(to), CLIENT_ADDR ":%d", f->client->own_ports[0]);
	app_expect_refused(f, app_dial(f, to), WAIT_MS);
	(void)snprintf(to, sizeof(to), "127.0.0.1:%d", f->client->own_ports[0]);
	app_expect_refused(f, app_dial(f, to), WAIT_MS);
	app_expect_refused(f, app_dial(f, "0.0.0.0:0"), WAIT_MS);
}

TEST(policy_denies_and_cuts)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "x");
	rig_publish(f, true, true);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	app_pair_close(&p);
	app_expect_refused(f, app_dial(f, SERVER_ADDR ":8080"), WAIT_MS);
	rig_publish(f, true, false);
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "again");
	app_pair_close(&p);
}

TEST(waits_for_its_certificate)
{
	struct rig *f = *cmocka_state;
	int fd;

	rig_publish(f, false, false);
	fd = app_dial(f, SERVER_ADDR ":8080");
	app_say(fd, "early");
	assert_int_equal(app_accept(f, 300), -1);
	rig_publish(f, true, false);
	{
		struct pair p = {fd, app_accept(f, WAIT_MS)};

		app_expect(p.server, "early");
		app_pair_close(&p);
	}
}

TEST(plain_destination_is_passed_through)
{
	struct rig *f = *cmocka_state;
	int l = rig_listen("10.99.3.1", 8080);
	struct pair p = {.client = app_dial(f, "10.99.3.1:8080")};
	int app = f->app;

	f->app = l;
	p.server = app_accept(f, WAIT_MS);
	f->app = app;
	assert_true(p.server >= 0);
	app_pass(p.client, p.server, "plain");
	(void)shutdown(p.server, SHUT_WR);
	assert_int_equal(app_read_end(p.client), 0);
	pump(f, &(struct pair){p.client, p.server}, 0);
	app_close_rst(p.client);
	(void)fcntl(p.server, F_SETFL, 0);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	(void)close(p.server);
	(void)close(l);
}

TEST(plaintext_is_delivered_where_policy_allows)
{
	struct rig *f = *cmocka_state;
	struct pair p = {.client = app_dial_as(f, f->server, true, SERVER_ADDR ":8080")};

	p.server = app_accept(f, WAIT_MS);
	assert_true(p.server >= 0);
	app_pass(p.client, p.server, "clear");
	rig_publish(f, true, true);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	app_pair_close(&p);
	app_expect_refused(f, app_dial_as(f, f->server, true, SERVER_ADDR ":8080"), WAIT_MS);
}

TEST(plaintext_to_ztunnel_itself_is_refused)
{
	struct rig *f = *cmocka_state;
	/* Without BPF the address that was dialled is the listener's own: refused, and nothing
	 * reaches the application. */
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->plain_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, SERVER_ADDR, &sa.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	app_expect_refused(f, fd, WAIT_MS);
}

TEST(drain_keeps_connections_and_takes_no_new_ones)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "before");
	for (int i = 0; i < WORKERS; i++)
		worker_post_drain(&f->workers[i]);
	for (int i = 0; i < 100; i++)
		(void)loop_run_once(f->loop, 5);
	/* A worker that carries no end of the connection is done at once. */
	assert_true(f->drained < WORKERS);
	app_pass(p.client, p.server, "during");
	app_pass(p.server, p.client, "too");
	app_pair_close(&p);
	rig_turn_until(f, &f->drained, WORKERS);
}

TEST(released_pod_keeps_its_connections)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	app_pass(p.client, p.server, "before");
	for (int i = 0; i < WORKERS; i++) {
		worker_post_pod_del(&f->workers[i], 1);
		worker_post_pod_del(&f->workers[i], 2);
	}
	for (int i = 0; i < 300; i++)
		(void)loop_run_once(f->loop, 5);
	app_pass(p.client, p.server, "after");
	app_pair_close(&p);
}

TEST(garbage_on_15008_is_closed)
{
	struct rig *f = *cmocka_state;
	static const char *const lines[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x40\x00garbage",
					    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(CV_HBONE_PORT)};
	struct pair p;

	assert_int_equal(inet_pton(AF_INET, SERVER_ADDR, &sa.sin_addr), 1);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		char buf[100];

		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
		app_say(fd, lines[i]);
		/* An alert at most, then the end. */
		errno = 0;
		while (recv(fd, buf, sizeof(buf), 0) > 0)
			continue;
		assert_true(errno != EAGAIN);
		(void)close(fd);
	}
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "fine");
	app_pair_close(&p);
}

TEST(dies_with_connections_open)
{
	struct rig *f = *cmocka_state;
	struct pair p = app_connect_pair(f);

	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	assert_int_equal(app_read_end(p.server), -ECONNRESET);
	app_pair_close(&p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(carries_small_messages_both_ways),
		T(server_may_speak_first),
		T(half_close_passes_each_way_on_its_own),
		T(reset_passes_each_way),
		T(reset_passes_after_a_half_close),
		T(reset_passes_while_the_reader_sleeps),
		T(no_byte_is_lost_in_bulk),
		T(last_bytes_before_a_fin_arrive),
		T(slow_reader_holds_the_sender_and_nobody_else),
		T(many_connections_at_once),
		T(closed_port_is_refused),
		T(next_endpoint_is_tried_when_one_refuses),
		T(another_endpoint_is_asked_when_one_says_nothing),
		T(a_node_that_says_nothing_is_asked_once_for_a_connection),
		T(next_plain_endpoint_is_tried_when_one_refuses),
		T(all_endpoints_refusing_is_refused),
		T(ztunnel_itself_is_no_destination),
		T(policy_denies_and_cuts),
		T(waits_for_its_certificate),
		T(plain_destination_is_passed_through),
		T(plaintext_is_delivered_where_policy_allows),
		T(plaintext_to_ztunnel_itself_is_refused),
		T(drain_keeps_connections_and_takes_no_new_ones),
		T(released_pod_keeps_its_connections),
		T(garbage_on_15008_is_closed),
		T(dies_with_connections_open),
	};

	return rig_run(tests);
}
