/* SPDX-License-Identifier: Apache-2.0 */
/* inbound - tunnels from peers: handshakes that do not end, floods of tiny frames. On the rig,
 * beside a node that the test plays. */
#include "ztunnel/inbound.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/files_limit.h"
#include "base/str.h"
#include "tests/unit/hbone/certs.h"
#include "tests/unit/ztunnel/apps.h"
#include "tls/identity.h"
#include "tls/trust.h"
#include "ztunnel/access_log.h"
#include "ztunnel/telemetry.h"

/* peer_dial_from() - a node that dials the server's 15008. @from: NULL: any address. Return: its
 * socket, connected and silent, or reset. */
static int peer_dial_from(const char *from)
{
	const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(CV_HBONE_PORT)};
	struct sockaddr_in own = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (from) {
		assert_int_equal(inet_pton(AF_INET, from, &own.sin_addr), 1);
		assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	}
	assert_int_equal(inet_pton(AF_INET, SERVER_ADDR, &sa.sin_addr), 1);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* who is closed at once may be told of it by connect(2) already */
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		assert_int_equal(errno, ECONNRESET);
	return fd;
}

static int peer_dial(void)
{
	return peer_dial_from(NULL);
}

static SSL *peer_ssl(struct rig *f)
{
	SSL *ssl = SSL_new(f->client_id->client_ctx);
	const char *expected = f->server_id->id;

	assert_non_null(ssl);
	assert_int_equal(tls_expect_identities(ssl, &expected, 1), 0);
	SSL_set_connect_state(ssl);
	return ssl;
}

/* destination_services() - how often connections_opened_total of @reporter names the service of the
 * server, not of the endpoint that may have been tried before it. */
static unsigned int destination_services(struct rig *f, const char *reporter)
{
	struct telemetry *all[WORKERS];
	unsigned int n = 0;
	struct buf text = {0};

	for (int i = 0; i < WORKERS; i++)
		all[i] = f->workers[i].telemetry;
	assert_int_equal(telemetry_write(all, WORKERS, 1, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	for (char *line = strtok((char *)buf_head(&text), "\n"); line; line = strtok(NULL, "\n"))
		n += strstr(line, "connections_opened_total{") && strstr(line, reporter) &&
		     strstr(line, "destination_workload=\"server\"") &&
		     strstr(line, "destination_service=\"web.demo.svc.cluster.local\"");
	buf_reset(&text);
	return n;
}

TEST(both_ends_name_the_service_that_was_dialled)
{
	struct rig *f = *cmocka_state;
	struct pair p = {.client = app_dial(f, SERVICE_ADDR ":80")};

	p.server = app_accept(f, WAIT_MS);
	app_pass(p.client, p.server, "hello");
	app_pass(p.server, p.client, "hello");
	assert_int_equal(destination_services(f, "reporter=\"source\""), 1);
	assert_int_equal(destination_services(f, "reporter=\"destination\""), 1);
	app_pair_close(&p);
}

TEST(who_dials_15008_and_says_nothing_keeps_nobody_out)
{
	enum { SILENT = WORKERS * HANDSHAKES_MAX + 100 };
	struct rig *f = *cmocka_state;
	static int fds[SILENT];
	struct pair p;

	assert_true(files_limit_raise(3 * SILENT) >= 3 * SILENT);
	for (int i = 0; i < SILENT; i++)
		fds[i] = peer_dial();
	p = app_connect_pair(f);
	app_pass(p.client, p.server, "let me in");
	app_pair_close(&p);
	for (int i = 0; i < SILENT; i++)
		(void)close(fds[i]);
}

/* Its own handshakes make room for those that it begins, not those that somebody else began before:
 * who dials fast enough would else have all the places at any time. */
TEST(who_dials_15008_all_the_time_takes_nobodys_place)
{
	enum { DIALS = 2 * WORKERS * HANDSHAKES_MAX };
	struct rig *f = *cmocka_state;
	SSL *ssl = peer_ssl(f);
	static int fds[DIALS];
	int honest = peer_dial();

	assert_true(files_limit_raise(3 * DIALS) >= 3 * DIALS);
	rig_turn_workers(f);
	for (int i = 0; i < DIALS; i++)
		fds[i] = peer_dial_from(OUTSIDE_ADDR);
	rig_turn_workers(f);
	assert_int_equal(SSL_set_fd(ssl, honest), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_free(ssl);
	(void)close(honest);
	for (int i = 0; i < DIALS; i++)
		(void)close(fds[i]);
}

/* Several tunnels that somebody begins at once are not each other's: the places are another's. */
TEST(who_dials_15008_all_the_time_does_not_turn_others_on_themselves)
{
	enum { DIALS = 2 * WORKERS * HANDSHAKES_MAX, HONEST = 4 * WORKERS };
	struct rig *f = *cmocka_state;
	static int fds[DIALS];
	int honest[HONEST];

	assert_true(files_limit_raise(3 * DIALS) >= 3 * DIALS);
	for (int i = 0; i < DIALS; i++)
		fds[i] = peer_dial_from(OUTSIDE_ADDR);
	rig_turn_workers(f);
	for (int i = 0; i < HONEST; i++)
		honest[i] = peer_dial();
	rig_turn_workers(f);
	for (int i = 0; i < HONEST; i++) {
		SSL *ssl = peer_ssl(f);

		assert_int_equal(SSL_set_fd(ssl, honest[i]), 1);
		assert_int_equal(SSL_connect(ssl), 1);
		SSL_free(ssl);
		(void)close(honest[i]);
	}
	for (int i = 0; i < DIALS; i++)
		(void)close(fds[i]);
}

/* From so many addresses that none of them has many: still more than who begins one. */
TEST(who_dials_15008_from_many_addresses_throws_nobody_out)
{
	enum { DIALS = 2 * WORKERS * HANDSHAKES_MAX, ADDRESSES = 250 };
	struct rig *f = *cmocka_state;
	SSL *ssl = peer_ssl(f);
	static int fds[DIALS];
	int honest = peer_dial(), late;

	assert_true(files_limit_raise(3 * DIALS) >= 3 * DIALS);
	rig_turn_workers(f);
	for (int i = 0; i < DIALS; i++) {
		char from[16];

		(void)snprintf(from, sizeof(from), "127.9.0.%d", 1 + i % ADDRESSES);
		fds[i] = peer_dial_from(from);
	}
	rig_turn_workers(f);
	assert_int_equal(SSL_set_fd(ssl, honest), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_free(ssl);
	/* nor keeps he anybody out */
	late = peer_dial();
	ssl = peer_ssl(f);
	assert_int_equal(SSL_set_fd(ssl, late), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_free(ssl);
	(void)close(late);
	(void)close(honest);
	for (int i = 0; i < DIALS; i++)
		(void)close(fds[i]);
}

/* Its client would take an end for a failure, and a tunnel that went on would take new streams. */
TEST(a_handshake_with_a_pod_that_leaves_ends_in_a_goaway)
{
	struct rig *f = *cmocka_state;
	int fd = peer_dial();
	SSL *ssl = peer_ssl(f);
	uint8_t head[9], payload[64];

	for (int i = 0; i < WORKERS; i++)
		worker_post_pod_del(&f->workers[i], 2);
	rig_turn_workers(f);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	do {
		assert_int_equal(SSL_read(ssl, head, sizeof(head)), sizeof(head));
		assert_true(head[0] == 0 && head[1] == 0 && head[2] <= sizeof(payload));
		if (head[2] > 0)
			assert_int_equal(SSL_read(ssl, payload, head[2]), head[2]);
	} while (head[3] != 7);
	SSL_free(ssl);
	(void)close(fd);
}

/* Its certificate was good when it was looked at. */
TEST(who_is_revoked_within_the_handshake_is_not_let_in)
{
	struct rig *f = *cmocka_state;
	char *list = certs_revoke(f->root, f->client_id);
	struct tls_trust *trust = NULL;
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL *ssl = peer_ssl(f);
	int fd = peer_dial();
	static char buf[65536];
	size_t revoked;
	long n;
	ssize_t k;

	assert_int_equal(tls_trust_new(&trust), 0);
	assert_int_equal(tls_trust_use(trust, f->server_id), 0);
	SSL_set_bio(ssl, in, out);
	while (SSL_do_handshake(ssl) != 1) {
		n = BIO_read(out, buf, sizeof(buf));
		if (n > 0)
			assert_int_equal(send(fd, buf, (size_t)n, MSG_NOSIGNAL), n);
		k = recv(fd, buf, sizeof(buf), 0);
		assert_true(k > 0);
		assert_int_equal(BIO_write(in, buf, (int)k), k);
	}
	n = BIO_read(out, buf, sizeof(buf));
	assert_true(n > 1);
	assert_int_equal(send(fd, buf, (size_t)n - 1, MSG_NOSIGNAL), n - 1);
	rig_turn_workers(f);
	usleep(20000); /* its certificate is looked at; where that is not over, by the new list */
	assert_int_equal(tls_trust_load_crl(trust, list, strlen(list), &revoked), 0);
	for (int i = 0; i < WORKERS; i++)
		worker_post_trust(&f->workers[i]);
	rig_turn_workers(f);
	assert_int_equal(send(fd, buf + n - 1, 1, MSG_NOSIGNAL), 1);
	errno = 0;
	/* An alert at most, not even SETTINGS. */
	while ((k = recv(fd, buf, sizeof(buf), 0)) > 0) {
		assert_int_equal(BIO_write(in, buf, (int)k), k);
		assert_true(SSL_read(ssl, buf, sizeof(buf)) <= 0);
	}
	assert_int_not_equal(errno, EAGAIN);
	rig_turn_workers(f);
	assert_true(rig_metrics_have(
		f, "\nistio_crl_policy_rejections_total{reporter=\"destination\"} 1\n"));
	(void)close(fd);
	SSL_free(ssl);
	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	(void)tls_trust_free(trust);
	free(list);
}

/* What a client that writes its frames itself says first, and asks for. */
#define OPENING "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define CONNECT_TO(stream, port)                                                                   \
	"\0\0\x19\1\4\0\0\0" stream "\x02\x07"                                                     \
	"CONNECT\x01\x0e" SERVER_ADDR ":" port
#define CONNECT_OF(stream)   CONNECT_TO(stream, "8080")
#define FIVE(stream, letter) "\0\0\5\0\0\0\0\0" stream letter letter letter letter letter
#define ONE_BYTE             10    /* with the head of its frame */
#define ONE_BYTE_MAX         16380 /* in a record */

struct raw {
	int fd;
	SSL *ssl;
};

/* raw_open() - Return: whether the server has answered @opening by anything. */
static bool raw_open(struct rig *f, struct raw *c, const char *opening, size_t n)
{
	uint8_t any;

	c->fd = peer_dial();
	c->ssl = peer_ssl(f);
	return SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1 &&
	       SSL_write(c->ssl, opening, (int)n) > 0 && SSL_read(c->ssl, &any, 1) == 1;
}

/* raw_bytes() - a record of DATA frames of one byte each, of the streams 1, 3, ... up to @streams
 * in turns. */
static bool raw_bytes(struct raw *c, unsigned int streams)
{
	uint8_t record[ONE_BYTE_MAX] = {0};

	for (unsigned int i = 0; i < ONE_BYTE_MAX / ONE_BYTE; i++) {
		record[i * ONE_BYTE + 2] = 1;
		record[i * ONE_BYTE + 8] = (uint8_t)(1 + 2 * (i % streams));
	}
	return SSL_write(c->ssl, record, sizeof(record)) > 0;
}

/* flood_and_break_off() - a tunnel with more DATA of one byte each than is read at once, and its
 * end before it is all read. Return: whether there was a tunnel. */
static bool flood_and_break_off(struct rig *f)
{
	static const char opening[] = OPENING CONNECT_OF("\1");
	struct raw c;
	bool is_heard = raw_open(f, &c, opening, sizeof(opening) - 1);

	for (int i = 0; i < 8 && is_heard; i++)
		is_heard = raw_bytes(&c, 1);
	rig_turn_workers(f); /* one read of them, which are some 130 KB */
	SSL_free(c.ssl);
	app_close_rst(c.fd);
	return is_heard;
}

/* Each of its handshakes costs us as much as it, and the first read of each tunnel more. */
TEST(who_floods_tunnels_with_tiny_frames_and_breaks_them_off_is_not_heard)
{
	struct rig *f = *cmocka_state;
	int heard = 0;

	while (heard < 1000 && flood_and_break_off(f))
		heard++;
	assert_in_range(heard, PENALTY_FLOOD / PENALTY_BROKEN_OFF, 999);
}

/* Who is not heard by the worker that he flooded would else flood the other one. */
TEST(who_is_not_heard_by_one_worker_is_by_none)
{
	struct rig *f = *cmocka_state;
	struct raw c;

	for (int i = 0; i < PENALTY_FLOOD / PENALTY_BROKEN_OFF; i++) {
		struct cv_addr peer = mesh_addr(CLIENT_ADDR);

		penalty_add(worker_penalty(&f->workers[i % WORKERS]), &peer, PENALTY_BROKEN_OFF,
			    now_monotonic_us());
	}
	for (int i = 0; i < 2 * WORKERS; i++) {
		c.fd = peer_dial_from(CLIENT_ADDR);
		c.ssl = peer_ssl(f);
		assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
		assert_int_not_equal(SSL_connect(c.ssl), 1);
		SSL_free(c.ssl);
		(void)close(c.fd);
	}
}

/* ask_for_nothing() - 64 streams to no target, and an answer to one of those before. Return:
 * whether there was one. */
static bool ask_for_nothing(struct raw *c, uint32_t *stream)
{
	static const uint8_t one[] = "\0\0\x12\1\5\0\0\0\0\x02\x07"
				     "CONNECT\x01\x07nowhere";
	enum { SIZE = sizeof(one) - 1, MANY = 64 };
	uint8_t record[MANY * SIZE], answers[16384];

	for (unsigned int i = 0; i < MANY; i++, *stream += 2) {
		const uint32_t id = htonl(*stream);

		memcpy(record + i * SIZE, one, SIZE);
		memcpy(record + i * SIZE + 5, &id, sizeof(id));
	}
	return SSL_write(c->ssl, record, sizeof(record)) > 0 &&
	       SSL_read(c->ssl, answers, sizeof(answers)) > 0;
}

/* Each costs us several times what it costs him; no application asks so fast for so long. */
TEST(who_asks_all_the_time_for_what_is_refused_is_cut_and_not_heard)
{
	struct rig *f = *cmocka_state;
	struct raw c;
	uint32_t stream = 1;

	access_log_set_default(false);
	assert_true(raw_open(f, &c, OPENING, sizeof(OPENING) - 1));
	while (stream < 20 * REFUSED_LIMIT && ask_for_nothing(&c, &stream))
		;
	assert_in_range(stream / 2, REFUSED_LIMIT, 10 * REFUSED_LIMIT - 1);
	SSL_free(c.ssl);
	(void)close(c.fd);
	rig_turn_workers(f); /* which end it after its client has heard of it */
	assert_false(raw_open(f, &c, OPENING, sizeof(OPENING) - 1));
	SSL_free(c.ssl);
	(void)close(c.fd);
	access_log_set_default(true);
}

/* He did not make the control plane slow. */
TEST(what_is_refused_since_we_do_not_know_the_pod_is_nobody_s_flood)
{
	struct rig *f = *cmocka_state;
	struct raw c;
	uint32_t stream = 1;

	access_log_set_default(false);
	assert_true(raw_open(f, &c, OPENING, sizeof(OPENING) - 1));
	rig_publish_without_server(f);
	rig_turn_workers(f);
	while (stream < 20 * REFUSED_LIMIT && ask_for_nothing(&c, &stream))
		;
	assert_true(stream >= 20 * REFUSED_LIMIT);
	SSL_free(c.ssl);
	(void)close(c.fd);
	access_log_set_default(true);
}

/* A write for each would cost us a hundred times what the frame cost its sender. */
TEST(the_bytes_of_streams_that_take_turns_are_written_together)
{
	enum { STREAMS = 2, EACH = ONE_BYTE_MAX / ONE_BYTE / STREAMS };
	static const char opening[] = OPENING CONNECT_OF("\1") CONNECT_OF("\3");
	struct rig *f = *cmocka_state;
	static char got[EACH];
	int apps[STREAMS];
	struct raw c;

	assert_true(raw_open(f, &c, opening, sizeof(opening) - 1));
	for (int i = 0; i < STREAMS; i++) {
		apps[i] = app_accept(f, WAIT_MS);
		assert_true(apps[i] >= 0);
	}
	rig_turn_workers(f);
	assert_true(raw_bytes(&c, STREAMS));
	for (int i = 0; i < STREAMS; i++) {
		struct tcp_info info;
		socklen_t len = sizeof(info);

		assert_int_equal(recv(apps[i], got, sizeof(got), MSG_WAITALL), sizeof(got));
		assert_int_equal(getsockopt(apps[i], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		assert_in_range(info.tcpi_data_segs_in, 1, EACH / 10);
		(void)close(apps[i]);
	}
	SSL_free(c.ssl);
	(void)close(c.fd);
}

/* Nor a later connection's through the same tunnel: this one gets its own bytes and no others. */
TEST(what_is_said_before_a_refusal_reaches_no_application)
{
	static const char denied[] = OPENING CONNECT_OF("\1") FIVE("\1", "x");
	static const char closed[] = OPENING CONNECT_TO("\1", "8081") FIVE("\1", "x");
	static const char later[] = CONNECT_OF("\3") FIVE("\3", "y");
	struct rig *f = *cmocka_state;

	for (int is_denied = 0; is_denied < 2; is_denied++) {
		struct raw c;
		int app;

		rig_publish(f, true, is_denied);
		rig_turn_workers(f);
		assert_true(raw_open(f, &c, is_denied ? denied : closed, sizeof(denied) - 1));
		assert_int_equal(app_accept(f, 200), -1);
		assert_true(rig_metrics_have(f, is_denied ? "response_flags=\"DENY\""
							  : "response_flags=\"CONNECT\""));
		rig_publish(f, true, false);
		rig_turn_workers(f);
		assert_int_equal(SSL_write(c.ssl, later, sizeof(later) - 1), sizeof(later) - 1);
		app = app_accept(f, WAIT_MS);
		assert_true(app >= 0);
		app_expect(app, "yyyyy");
		SSL_free(c.ssl);
		app_close_rst(c.fd);
		assert_int_equal(app_read_end(app), -ECONNRESET);
		(void)close(app);
	}
}

/* Of its own the others go on; and neither certificate is on any list. */
TEST(a_peer_whose_trust_domain_is_ours_no_more_is_cut_and_told_as_such)
{
	static const char opening[] = OPENING CONNECT_OF("\1") CONNECT_OF("\3");
	const char *const names[] = {"old.example"};
	struct rig *f = *cmocka_state;
	const struct tls_identity *own = f->client_id;
	const struct tls_identity *old =
		certs_identity(f->root, "spiffe://old.example/ns/demo/sa/client");
	struct pair p = app_connect_pair(f);
	struct tls_trust *trust = NULL;
	struct raw c;
	int apps[2];

	assert_int_equal(tls_trust_new(&trust), 0);
	assert_int_equal(tls_trust_use(trust, f->server_id), 0);
	assert_int_equal(tls_trust_use(trust, old), 0);
	assert_int_equal(tls_trust_set_domains(trust, names, 1), 0);
	f->client_id = old;
	assert_true(raw_open(f, &c, opening, sizeof(opening) - 1));
	f->client_id = own;
	for (size_t i = 0; i < ARRAY_SIZE(apps); i++) {
		apps[i] = app_accept(f, WAIT_MS);
		assert_true(apps[i] >= 0);
	}
	assert_int_equal(tls_trust_set_domains(trust, NULL, 0), 0);
	for (int i = 0; i < WORKERS; i++)
		worker_post_trust(&f->workers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(apps); i++) {
		assert_int_equal(app_read_end(apps[i]), -ECONNRESET);
		(void)close(apps[i]);
	}
	rig_turn_workers(f);
	assert_true(rig_metrics_have(f, "response_flags=\"TRUST_DOMAIN\""));
	assert_false(rig_metrics_have(f, "CERT_REVOKED"));
	assert_false(rig_metrics_have(f, "istio_crl_policy_rejections_total{"));
	app_pass(p.client, p.server, "not meant");
	app_pair_close(&p);
	SSL_free(c.ssl);
	(void)close(c.fd);
	for (int i = 0; i < WORKERS; i++)
		worker_stop(&f->workers[i]);
	(void)tls_identity_unref(old);
	(void)tls_trust_free(trust);
}

/* Such as a StatefulSet makes, before the control plane has said so: neither is it shown as the one
 * before it, nor do that one's policies let anybody in. */
TEST(a_pod_made_anew_is_not_taken_for_the_one_before_it)
{
	struct rig *f = *cmocka_state;
	int tunnel, app, arrived;
	SSL *ssl = peer_ssl(f);

	f->server_account = "client";
	rig_publish(f, true, false);
	rig_turn_workers(f);
	tunnel = peer_dial();
	app = app_dial_as(f, f->server, true, SERVER_ADDR ":8080");
	rig_turn_workers(f);
	assert_int_equal(app_accept(f, 100), -1);
	f->server_account = NULL;
	rig_publish(f, true, false);
	arrived = app_accept(f, WAIT_MS);
	assert_true(arrived >= 0);
	assert_int_equal(SSL_set_fd(ssl, tunnel), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_free(ssl);
	(void)close(tunnel);
	(void)close(app);
	(void)close(arrived);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_ends_name_the_service_that_was_dialled),
		T(who_dials_15008_and_says_nothing_keeps_nobody_out),
		T(who_dials_15008_all_the_time_takes_nobodys_place),
		T(who_dials_15008_all_the_time_does_not_turn_others_on_themselves),
		T(who_dials_15008_from_many_addresses_throws_nobody_out),
		T(a_handshake_with_a_pod_that_leaves_ends_in_a_goaway),
		T(who_is_revoked_within_the_handshake_is_not_let_in),
		T(who_floods_tunnels_with_tiny_frames_and_breaks_them_off_is_not_heard),
		T(who_is_not_heard_by_one_worker_is_by_none),
		T(who_asks_all_the_time_for_what_is_refused_is_cut_and_not_heard),
		T(what_is_refused_since_we_do_not_know_the_pod_is_nobody_s_flood),
		T(the_bytes_of_streams_that_take_turns_are_written_together),
		T(what_is_said_before_a_refusal_reaches_no_application),
		T(a_peer_whose_trust_domain_is_ours_no_more_is_cut_and_told_as_such),
		T(a_pod_made_anew_is_not_taken_for_the_one_before_it),
	};

	return rig_run(tests);
}
