/* SPDX-License-Identifier: Apache-2.0 */
/* pace - what a tunnel reads, and works off in a turn of the loop, of a client that writes frames
 * of its own. */
#include "hbone/pace.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "hbone/tunnel.h"
#include "tests/unit/hbone/certs.h"
#include "tls/identity.h"
#include "tls/records.h"

#define CLIENT  "spiffe://cluster.local/ns/a/sa/client"
#define SERVER  "spiffe://cluster.local/ns/b/sa/server"
#define TURNS   2000
#define RECORDS 9  /* fit into a socket */
#define SMALL   10 /* bytes of a frame of one */

struct fixture {
	struct loop *loop;
	struct hbone_scratch *scratch;
	const struct tls_identity *client_id, *server_id;
	struct hbone_tunnel *server;
	struct hbone_stream stream;
	struct hbone_stream other;
	struct hbone_stream *more; /* of the ids from 5 on */
	size_t n_more;
	size_t received;
	bool is_ended;
	bool is_silent; /* CONNECTs have no answer yet */
	bool is_slow;   /* the one who takes what is received */
	bool is_closed;
	int error;
	int fd; /* the client's */
	SSL *ssl;
};

static ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	return -EAGAIN;
}

static void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct fixture *f = container_of(st, struct fixture, stream);

	f->received += len;
	/* more than a turn has for small frames */
	if (f->is_slow)
		(void)usleep(200);
	hbone_stream_consume(st, len);
}

static void on_other_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	container_of(st, struct fixture, other)->received += len;
	hbone_stream_consume(st, len);
}

static void on_eof(struct hbone_stream *st)
{
	container_of(st, struct fixture, stream)->is_ended = true;
}

static unsigned int closed; /* streams, in this test */

static void on_stream_close(struct hbone_stream *st, uint32_t code)
{
	closed++;
}

static const struct hbone_stream_ops stream_ops = {NULL, on_read, on_data, on_eof, on_stream_close};

static void on_other_eof(struct hbone_stream *st)
{
}

static const struct hbone_stream_ops other_ops = {NULL, on_read, on_other_data, on_other_eof,
						  on_stream_close};

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct fixture *f = arg;
	struct hbone_stream *st = id == 1 ? &f->stream : &f->other;

	if (id >= 5)
		st = &f->more[f->n_more++];

	assert_int_equal(hbone_stream_bind(hbone_tunnel_session(f->server), st,
					   id == 1 ? &stream_ops : &other_ops, id),
			 0);
	return f->is_silent ? 0 : hbone_stream_respond(st, 200, NULL);
}

static void on_ready(void *arg)
{
}

static void on_closed(void *arg, enum hbone_stage stage, int error, const char *text)
{
	struct fixture *f = arg;

	f->is_closed = true;
	f->error = error;
	f->server = NULL;
}

static const struct hbone_tunnel_ops tunnel_ops = {on_connect, on_ready, NULL, on_closed};

static void server_start(struct fixture *f, int fd)
{
	const struct hbone_tunnel_config c = {.loop = f->loop,
					      .scratch = f->scratch,
					      .fd = fd,
					      .ssl = SSL_new(f->server_id->server_ctx),
					      .is_server = true,
					      .ops = &tunnel_ops,
					      .arg = f};

	assert_non_null(c.ssl);
	assert_int_equal(hbone_tunnel_new(&c, &f->server), 0);
}

static void client_write(struct fixture *f, const void *p, size_t n)
{
	assert_int_equal(SSL_write(f->ssl, p, (int)n), (int)n);
}

static uint64_t frames(const struct fixture *f)
{
	struct hbone_session *s = hbone_tunnel_session(f->server);

	assert_non_null(s);
	return hbone_session_frames(s);
}

/* Preface, SETTINGS and the ACK of the server's, a CONNECT. */
static void client_open(struct fixture *f)
{
	static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
				      "\0\0\0\4\1\0\0\0\0"
				      "\0\0\x0e\1\4\0\0\0\1\x02\x07"
				      "CONNECT\x01\x03"
				      "a:1";
	const char *expected = SERVER;
	int r = -1;

	f->ssl = SSL_new(f->client_id->client_ctx);
	assert_int_equal(tls_expect_identities(f->ssl, &expected, 1), 0);
	assert_int_equal(SSL_set_fd(f->ssl, f->fd), 1);
	for (int i = 0; i < TURNS && r != 1; i++) {
		r = SSL_connect(f->ssl);
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	}
	assert_int_equal(r, 1);
	client_write(f, opening, sizeof(opening) - 1);
	for (int i = 0; i < TURNS && !f->stream.session; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_non_null(f->stream.session);
	assert_int_equal(frames(f), 3);
}

static int setup(void **state)
{
	struct certs_root *root = certs_root_new();
	struct fixture *f = calloc(1, sizeof(*f));
	int large = 4 * 1024 * 1024, fds[2];

	closed = 0;
	assert_non_null(f);
	f->client_id = certs_identity(root, CLIENT);
	f->server_id = certs_identity(root, SERVER);
	certs_root_free(root);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(hbone_scratch_new(&f->scratch), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	/* as much as there may be; RECORDS fit into less */
	(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
	f->fd = fds[0];
	server_start(f, fds[1]);
	client_open(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server)
		hbone_tunnel_abandon(f->server);
	for (int i = 0; i < 3; i++)
		(void)loop_run_once(f->loop, 0);
	SSL_free(f->ssl);
	(void)close(f->fd);
	hbone_scratch_free(f->scratch);
	loop_free(f->loop);
	(void)tls_identity_unref(f->client_id);
	(void)tls_identity_unref(f->server_id);
	free(f);
	return 0;
}

/* Records of DATA frames of one byte each, as many as fit. Return: how many in all. */
static size_t client_bytes(struct fixture *f)
{
	static const uint8_t one[SMALL] = {0, 0, 1, 0, 0, 0, 0, 0, 1, 'x'};
	uint8_t record[16384];
	size_t n = 0;

	for (; n + sizeof(one) <= sizeof(record); n += sizeof(one))
		memcpy(record + n, one, sizeof(one));
	for (int i = 0; i < RECORDS; i++)
		client_write(f, record, n);
	return RECORDS * (n / sizeof(one));
}

/* Records of one DATA frame each. */
static size_t client_data(struct fixture *f)
{
	uint8_t record[16384] = {0, 0x3f, 0xf7, 0, 0, 0, 0, 0, 1};

	for (int i = 0; i < RECORDS; i++)
		client_write(f, record, sizeof(record));
	return RECORDS;
}

/* turns() - that the server needs for @n frames, which are all there; *@ret_most: of the turn that
 * has most of them. */
static int turns(struct fixture *f, size_t n, uint64_t *ret_most)
{
	uint64_t at = frames(f), end = at + n;
	int count = 0;

	*ret_most = 0;
	for (; count < TURNS && at < end; count++) {
		uint64_t before = at;

		assert_int_equal(loop_run_once(f->loop, 5), 0);
		at = frames(f);
		*ret_most = MAX(*ret_most, at - before);
	}
	assert_int_equal(at, end);
	return count;
}

/* Nobody else has to wait until all small frames of a peer are worked off. */
static void a_turn_has_few_small_frames(void **state)
{
	struct fixture *f = *state;
	uint64_t most;
	size_t n = client_bytes(f);

	/* and one without any behind it; two records may come together */
	assert_true(turns(f, n, &most) > 2 * (RECORDS - 2));
	assert_true(most <= 2 * n / RECORDS);
}

/* client_turns() - records of @size bytes of DATA frames of one byte each, of two streams that take
 * turns. Return: how many frames. */
static size_t client_turns(struct fixture *f, int records, size_t size)
{
	static const uint8_t two[2 * SMALL] = {0, 0, 1, 0, 0, 0, 0, 0, 1, 'x',
					       0, 0, 1, 0, 0, 0, 0, 0, 3, 'x'};
	uint8_t record[16384];
	size_t n = 0;

	for (; n + sizeof(two) <= size; n += sizeof(two))
		memcpy(record + n, two, sizeof(two));
	for (int i = 0; i < records; i++)
		client_write(f, record, n);
	return (size_t)records * (n / SMALL);
}

static void client_opens_another(struct fixture *f)
{
	static const char head[] = "\0\0\x0e\1\4\0\0\0\3\x02\x07"
				   "CONNECT\x01\x03"
				   "a:1";

	client_write(f, head, sizeof(head) - 1);
	for (int i = 0; i < TURNS && !f->other.session; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_non_null(f->other.session);
}

/* What one read brought is worked off in parts of whole frames where it takes long. */
static void a_turn_has_a_part_of_what_takes_long(void **state)
{
	struct fixture *f = *state;
	uint64_t most;
	size_t n;

	client_opens_another(f);
	f->is_slow = true;
	n = client_turns(f, 2, 16384);
	(void)turns(f, n, &most);
	/* the turn that reads begins with the rest, too */
	assert_true(most <= 2 * (128 / SMALL + 1));
	assert_int_equal(f->received, n);
}

/* However many parts a read is worked off in, its frames count as those of one. */
static void parts_of_a_read_are_one_read_to_pace(void **state)
{
	struct fixture *f = *state;
	uint64_t most, before;
	size_t n;

	client_opens_another(f);
	f->is_slow = true;
	before = hbone_session_repeats(hbone_tunnel_session(f->server));
	n = client_turns(f, 1, 4000);
	(void)turns(f, n, &most);
	assert_true(most < n / 4);
	assert_int_equal(hbone_session_repeats(hbone_tunnel_session(f->server)) - before, n - 2);
}

/* client_messages() - two records of DATA frames of 100 bytes, the last of which ends the stream.
 * Return: how many bytes of data. */
static size_t client_messages(struct fixture *f)
{
	uint8_t record[2][150 * 109] = {{0, 0, 100, 0, 0, 0, 0, 0, 1}};

	for (size_t at = 109; at < sizeof(record); at += 109)
		memcpy(&record[0][0] + at, record[0], 9);
	record[1][149 * 109 + 4] = 1;
	for (int i = 0; i < 2; i++)
		client_write(f, record[i], sizeof(record[i]));
	return (size_t)2 * 150 * 100;
}

static void what_came_before_a_goodbye_is_worked_off_first(void **state)
{
	struct fixture *f = *state;
	size_t n;

	client_opens_another(f);
	f->is_slow = true;
	n = client_turns(f, 1, 16384);
	n += client_messages(f);
	(void)SSL_shutdown(f->ssl);
	(void)close(f->fd);
	f->fd = -1;
	for (int i = 0; i < TURNS && !f->is_closed; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(f->received, n);
	assert_true(f->is_ended);
}

static void a_tunnel_may_be_closed_amid_what_it_has_read(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	client_opens_another(f);
	f->is_slow = true;
	(void)client_turns(f, 1, 16384);
	for (before = frames(f); frames(f) == before;)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	hbone_tunnel_close(f->server, -ECANCELED, "enough");
	assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_true(f->is_closed);
	assert_int_equal(f->error, -ECANCELED);
}

/* What is answered after the tunnel has failed, in the same turn, has nobody to go to. */
/* Nobody else has to wait until all streams of a tunnel that ends are closed. */
static void a_turn_closes_a_few_streams(void **state)
{
	enum { STREAMS = 9 };
	struct hbone_stream *many = calloc(STREAMS, sizeof(*many));
	struct fixture *f = *state;
	uint8_t head[] = "\0\0\x0e\1\4\0\0\0\3\x02\x07"
			 "CONNECT\x01\x03"
			 "a:1";

	assert_non_null(many);
	f->more = many;
	for (int i = 0; i < STREAMS; i++) {
		head[8] = (uint8_t)(5 + 2 * i);
		client_write(f, head, sizeof(head) - 1);
	}
	for (int i = 0; i < TURNS && f->n_more < STREAMS; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(f->n_more, STREAMS);
	hbone_tunnel_close(f->server, -ECANCELED, "enough");
	assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(closed, 4);
	assert_false(f->is_closed);
	for (int i = 0; i < 2; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_true(f->is_closed);
	assert_int_equal(closed, STREAMS + 1);
	free(many);
}

static void an_answer_to_a_tunnel_that_is_closing_goes_nowhere(void **state)
{
	struct fixture *f = *state;

	f->is_silent = true;
	client_opens_another(f);
	f->is_silent = false;
	hbone_tunnel_close(f->server, -ECANCELED, "enough");
	assert_int_equal(hbone_stream_respond(&f->other, 200, NULL), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_true(f->is_closed);
}

static void a_turn_has_many_bytes_of_large_frames(void **state)
{
	struct fixture *f = *state;
	uint64_t most;

	assert_true(turns(f, client_data(f), &most) <= RECORDS - 3);
	assert_int_equal(f->received, RECORDS * (16384 - 9));
	assert_true(turns(f, client_data(f), &most) <= 2);
}

static void what_was_large_may_become_small(void **state)
{
	struct fixture *f = *state;
	uint64_t most;

	(void)turns(f, client_data(f), &most);
	/* the first turn is too long, the second one knows */
	(void)turns(f, client_bytes(f), &most);
	(void)turns(f, client_bytes(f), &most);
	assert_true(most <= 2 * (16384 / SMALL));
}

static void a_peer_that_floods_is_told_apart(void **state)
{
	uint8_t record[500 * 17] = {0};
	struct fixture *f = *state;

	for (size_t n = 0; n < sizeof(record); n += 17)
		memcpy(record + n, "\0\0\x8\6", 4);
	for (int i = 0; i < RECORDS; i++)
		client_write(f, record, sizeof(record));
	for (int i = 0; i < TURNS && !f->is_closed; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(f->error, -EDQUOT);
}

/* Without an end to the rest what is left would be read at once: it cannot be told epoll not to say
 * that the peer is gone. */
static void what_is_left_of_a_flood_whose_peer_is_gone_is_not_read(void **state)
{
	struct fixture *f = *state;
	uint64_t before = frames(f);

	(void)client_bytes(f);
	for (int i = 0; i < TURNS && frames(f) == before; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	(void)close(f->fd);
	f->fd = -1;
	for (int i = 0; i < TURNS && !f->is_closed; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(f->error, -ECONNABORTED);
	assert_true(f->received <= 2 * 16384 / SMALL);
}

/* client_keys() - so many new keys of the client's. */
static void client_keys(struct fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(SSL_key_update(f->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(f->ssl), 1);
	}
}

static void new_keys_again_and_again_are_a_flood(void **state)
{
	struct fixture *f = *state;

	client_keys(f, 200);
	for (int i = 0; i < TURNS && !f->is_closed; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(f->error, -EDQUOT);
}

static void some_new_keys_are_borne(void **state)
{
	struct fixture *f = *state;
	uint64_t before = frames(f);

	client_keys(f, 50);
	(void)client_data(f);
	for (int i = 0; i < TURNS && frames(f) < before + RECORDS; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	assert_int_equal(frames(f), before + RECORDS);
}

/* put_ignored() - a block of a stream that is past, behind which others have been opened. */
static size_t put_ignored(uint8_t *at, size_t n)
{
	const uint8_t head[] = {0, (uint8_t)(n >> 8), (uint8_t)n, 1, 4, 0, 0, 0, 1};

	memcpy(at, head, sizeof(head));
	memset(at + sizeof(head), 0x90, n);
	return sizeof(head) + n;
}

/* end_after() - the client sends so many blocks for nothing, of 1000 bytes, resets its stream and
 * closes. Return: how the tunnel ends. */
static int end_after(struct fixture *f, unsigned int blocks, bool is_polite)
{
	static const uint8_t reset[] = {0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8};
	uint8_t block[9 + 1000];
	uint64_t before = frames(f);

	client_write(f, reset, sizeof(reset));
	for (unsigned int i = 0; i < blocks; i++)
		client_write(f, block, put_ignored(block, 1000));
	for (int i = 0; i < TURNS && frames(f) < before + 1 + 32 * blocks; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	if (is_polite)
		(void)SSL_shutdown(f->ssl);
	(void)close(f->fd);
	f->fd = -1;
	for (int i = 0; i < TURNS && !f->is_closed; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
	return f->error;
}

static void who_breaks_off_before_its_blocks_are_a_flood_is_told_apart(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(end_after(f, 12, false), -ECONNABORTED);
}

static void a_goodbye_amid_blocks_for_nothing_is_no_better(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(end_after(f, 12, true), -ECONNABORTED);
}

static void some_blocks_for_nothing_are_no_flood(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(end_after(f, 6, true), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_turn_has_few_small_frames),
		T(a_turn_has_a_part_of_what_takes_long),
		T(what_came_before_a_goodbye_is_worked_off_first),
		T(parts_of_a_read_are_one_read_to_pace),
		T(a_tunnel_may_be_closed_amid_what_it_has_read),
		T(a_turn_closes_a_few_streams),
		T(an_answer_to_a_tunnel_that_is_closing_goes_nowhere),
		T(a_turn_has_many_bytes_of_large_frames),
		T(what_was_large_may_become_small),
		T(a_peer_that_floods_is_told_apart),
		T(what_is_left_of_a_flood_whose_peer_is_gone_is_not_read),
		T(new_keys_again_and_again_are_a_flood),
		T(some_new_keys_are_borne),
		T(who_breaks_off_before_its_blocks_are_a_flood_is_told_apart),
		T(a_goodbye_amid_blocks_for_nothing_is_no_better),
		T(some_blocks_for_nothing_are_no_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
