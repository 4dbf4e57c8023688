/* SPDX-License-Identifier: Apache-2.0 */
/* outbound - connections that are tried again, and nothing of what the application said is lost:
 * a stream that a tunnel refuses, a plain dial that the kernel refuses. On the rig, beside a node
 * that the test plays. */
#include "ztunnel/outbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/str.h"
#include "hbone/tunnel.h"
#include "net/addr.h"
#include "tests/unit/ztunnel/apps.h"
#include "tls/identity.h"

#define PEERS 8

/* A tunnel of the node that the test plays; its stream echoes. */
struct peer {
	struct hbone_tunnel *t;
	struct hbone_stream st;
	struct buf echo;
	bool is_refusing, is_eof;
	struct peer_node *node;
};

struct peer_node {
	struct loop_fd listener;
	struct rig *rig;
	struct hbone_scratch *scratch;
	struct peer peers[PEERS];
	unsigned int count, refusing; /* the first so many tunnels refuse */
	bool is_slow;                 /* the test answers */
	bool is_changing;             /* whoever is refused finds another mesh */
};

static ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	struct peer *e = container_of(st, struct peer, st);

	n = MIN(n, buf_len(&e->echo));
	if (n == 0)
		return e->is_eof ? 0 : -EAGAIN;
	memcpy(p, buf_head(&e->echo), n);
	buf_consume(&e->echo, n);
	return (ssize_t)n;
}

static void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct peer *e = container_of(st, struct peer, st);

	for (int i = 0; i < n_iov; i++)
		assert_int_equal(buf_append(&e->echo, iov[i].iov_base, iov[i].iov_len), 0);
	hbone_stream_consume(st, len);
	hbone_stream_resume(st);
}

static void on_eof(struct hbone_stream *st)
{
	container_of(st, struct peer, st)->is_eof = true;
	hbone_stream_resume(st);
}

static void on_close(struct hbone_stream *st, uint32_t code)
{
	buf_reset(&container_of(st, struct peer, st)->echo);
}

static const struct hbone_stream_ops stream_ops = {
	.on_read = on_read, .on_data = on_data, .on_eof = on_eof, .on_close = on_close};

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct peer *e = arg;
	struct hbone_session *s = hbone_tunnel_session(e->t);

	if (e->is_refusing) {
		if (e->node->is_changing)
			rig_publish(e->node->rig, true, false);
		assert_int_equal(hbone_session_goaway(s, HBONE_NO_ERROR), 0);
		return -ESHUTDOWN;
	}
	assert_int_equal(hbone_stream_bind(s, &e->st, &stream_ops, id), 0);
	return e->node->is_slow ? 0 : hbone_stream_respond(&e->st, 200, NULL);
}

static void on_closed(void *arg, enum hbone_stage stage, int error, const char *text)
{
	((struct peer *)arg)->t = NULL;
}

static const struct hbone_tunnel_ops tunnel_ops = {.on_connect = on_connect,
						   .on_closed = on_closed};

static void on_accept(struct loop_fd *w, uint32_t events)
{
	struct peer_node *n = container_of(w, struct peer_node, listener);
	struct peer *e = &n->peers[n->count];
	const struct hbone_tunnel_config c = {
		.loop = n->rig->loop,
		.scratch = n->scratch,
		.fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC),
		.ssl = SSL_new(n->rig->server_id->server_ctx),
		.is_server = true,
		.ops = &tunnel_ops,
		.arg = e,
	};

	assert_true(c.fd >= 0 && n->count < PEERS);
	e->node = n;
	e->is_refusing = n->count++ < n->refusing;
	assert_int_equal(hbone_tunnel_new(&c, &e->t), 0);
}

static void node_start(struct peer_node *n, struct rig *f, unsigned int refusing)
{
	memset(n, 0, sizeof(*n));
	n->rig = f;
	n->refusing = refusing;
	assert_int_equal(hbone_scratch_new(&n->scratch), 0);
	n->listener.fd = rig_listen(PEER_ADDR, CV_HBONE_PORT);
	n->listener.on_event = on_accept;
	assert_int_equal(loop_add(f->loop, &n->listener, EPOLLIN), 0);
}

static void node_stop(struct peer_node *n)
{
	loop_close(&n->listener);
	for (unsigned int i = 0; i < n->count; i++)
		if (n->peers[i].t)
			hbone_tunnel_abandon(n->peers[i].t);
	for (int i = 0; i < 3; i++)
		(void)loop_run_once(n->rig->loop, 0);
	hbone_scratch_free(n->scratch);
}

/* hear() - what comes back, while the node works. Return: bytes; 0 the end; -1 reset or nothing. */
static ssize_t hear(struct rig *f, int fd, char *p, size_t n)
{
	for (int i = 0; i < WAIT_MS / 10; i++) {
		ssize_t k = recv(fd, p, n, MSG_DONTWAIT);

		if (k >= 0 || errno != EAGAIN)
			return k;
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	}
	return -1;
}

static void hear_text(struct rig *f, int fd, const char *text)
{
	char got[64];
	size_t len = 0, want = strlen(text);

	while (len < want) {
		ssize_t n = hear(f, fd, got + len, want - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_memory_equal(got, text, want);
}

/* echo() - what is said comes back. */
static void echo(struct rig *f, int fd, const char *text)
{
	app_say(fd, text);
	hear_text(f, fd, text);
}

#define PEER_TEXT PEER_ADDR ":8080"

/* What some versions of Envoy say when they break off, and what anybody may who has got a whole
 * answer across. */
TEST(a_stream_reset_without_an_error_is_no_end)
{
	struct rig *f = *cmocka_state;

	for (int is_whole = 0; is_whole < 2; is_whole++) {
		struct peer_node n;
		char byte;
		int fd;

		node_start(&n, f, 0);
		fd = app_dial(f, PEER_TEXT);
		echo(f, fd, "half");
		n.peers[0].is_eof = is_whole;
		hbone_stream_resume(&n.peers[0].st);
		for (int i = 0; i < 10 && is_whole; i++)
			assert_int_equal(loop_run_once(f->loop, 1), 0);
		hbone_stream_reset(&n.peers[0].st, HBONE_NO_ERROR);
		assert_int_equal(hear(f, fd, &byte, 1), is_whole ? 0 : -1);
		assert_true(is_whole || errno == ECONNRESET);
		buf_reset(&n.peers[0].echo);
		(void)close(fd);
		node_stop(&n);
	}
}

/* It was taken before; the listener's backlog has its tunnel by then, and nobody has answered. */
TEST(a_connection_whose_tunnel_is_being_made_outlives_a_drain)
{
	struct rig *f = *cmocka_state;
	struct pollfd arrived = {.events = POLLIN};
	struct peer_node n;
	int fd;

	node_start(&n, f, 0);
	loop_del(&n.listener);
	arrived.fd = n.listener.fd;
	fd = app_dial(f, PEER_TEXT);
	app_say(fd, "taken");
	for (int i = 0; i < WAIT_MS / 10 && poll(&arrived, 1, 0) == 0; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	for (int i = 0; i < WORKERS; i++)
		worker_post_drain(&f->workers[i]);
	rig_turn_workers(f);
	assert_int_equal(loop_add(f->loop, &n.listener, EPOLLIN), 0);
	hear_text(f, fd, "taken");
	assert_int_equal(f->drained, WORKERS - 1);
	(void)close(fd);
	rig_turn_until(f, &f->drained, WORKERS);
	node_stop(&n);
}

TEST(a_stream_refused_by_a_goaway_is_taken_by_another_tunnel)
{
	struct rig *f = *cmocka_state;
	struct peer_node n;
	int fd;

	node_start(&n, f, 1);
	fd = app_dial(f, PEER_TEXT);
	echo(f, fd, "first words");
	echo(f, fd, "and more");
	assert_int_equal(n.count, 2);
	(void)close(fd);
	node_stop(&n);
}

TEST(a_half_closed_connection_is_refused_and_taken_whole)
{
	struct rig *f = *cmocka_state;
	struct peer_node n;
	char byte;
	int fd;

	node_start(&n, f, 2);
	fd = app_dial(f, PEER_TEXT);
	app_say(fd, "all I have to say");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	hear_text(f, fd, "all I have to say");
	assert_int_equal(hear(f, fd, &byte, 1), 0);
	assert_int_equal(n.count, 3);
	(void)close(fd);
	node_stop(&n);
}

TEST(a_peer_that_refuses_every_stream_is_given_up)
{
	struct rig *f = *cmocka_state;
	struct peer_node n;
	char byte;
	int fd;

	node_start(&n, f, PEERS);
	fd = app_dial(f, PEER_TEXT);
	app_say(fd, "anybody there");
	assert_int_equal(hear(f, fd, &byte, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_in_range(n.count, 2, PEERS - 1);
	(void)close(fd);
	node_stop(&n);
}

/* As ServiceEntries have them for the applications' own TLS. */
TEST(a_name_of_a_service_that_is_no_identity_is_in_nobodys_way)
{
	struct rig *f = *cmocka_state;
	struct peer_node n;
	int fd;

	f->peer_san = "peer.example.com";
	rig_publish(f, true, false);
	rig_turn_workers(f);
	node_start(&n, f, 0);
	fd = app_dial(f, PEER_SERVICE_ADDR ":80");
	echo(f, fd, "words");
	(void)close(fd);
	node_stop(&n);
}

/* Another endpoint has come meanwhile, and so what the application says waits for an answer. */
TEST(what_a_lone_endpoint_refused_is_said_to_one_of_two)
{
	struct rig *f = *cmocka_state;

	for (int is_closed = 0; is_closed < 2; is_closed++) {
		struct peer_node n;
		char byte;
		int fd;

		f->has_peer_twin = false;
		rig_publish(f, true, false);
		f->has_peer_twin = true;
		node_start(&n, f, 1);
		n.is_changing = true;
		fd = app_dial(f, PEER_SERVICE_ADDR ":80");
		app_say(fd, "first words");
		if (is_closed)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		hear_text(f, fd, "first words");
		if (is_closed)
			assert_int_equal(hear(f, fd, &byte, 1), 0);
		else
			echo(f, fd, "and more");
		(void)close(fd);
		node_stop(&n);
	}
}

/* An application that takes its time, and nobody who could be asked in its place. */
TEST(the_last_endpoint_may_take_as_long_as_a_lone_one)
{
	struct rig *f = *cmocka_state;
	uint64_t end = now_monotonic_us() + 4 * 1000 * 1000;
	struct peer_node n;
	int fd;

	f->has_peer_twin = f->is_twin_weightless = true;
	rig_publish(f, true, false);
	rig_turn_workers(f);
	node_start(&n, f, 0);
	n.is_slow = true;
	fd = app_dial(f, PEER_SERVICE_ADDR ":80");
	app_say(fd, "first words");
	while (now_monotonic_us() < end)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_non_null(n.peers[0].st.session);
	assert_int_equal(hbone_stream_respond(&n.peers[0].st, 200, NULL), 0);
	hear_text(f, fd, "first words");
	(void)close(fd);
	node_stop(&n);
}

/* Its pod leaves the mesh: what has been read for the tunnel goes the plain way, with its end. */
TEST(what_was_said_to_a_pod_that_leaves_the_mesh_arrives)
{
	struct rig *f = *cmocka_state;

	for (int is_closed = 0; is_closed < 2; is_closed++) {
		int l = rig_listen(PEER_ADDR, APP_PORT), app = f->app, fd, server;
		struct peer_node n;

		f->is_peer_plain = false;
		rig_publish(f, true, false);
		f->is_peer_plain = true;
		node_start(&n, f, PEERS);
		n.is_changing = true;
		fd = app_dial(f, PEER_TEXT);
		app_say(fd, "first words");
		if (is_closed)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		f->app = l;
		server = app_accept(f, WAIT_MS);
		f->app = app;
		assert_true(server >= 0);
		app_expect(server, "first words");
		app_pass(server, fd, "an answer");
		if (!is_closed) {
			app_pass(fd, server, "and more");
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		}
		assert_int_equal(app_read_end(server), 0);
		(void)close(server);
		assert_int_equal(app_read_end(fd), 0);
		(void)close(fd);
		(void)close(l);
		node_stop(&n);
	}
}

/* Its pod is deleted while nobody answers there: who has its address then has not been asked for,
 * known or not. */
TEST(what_was_said_to_a_pod_that_is_gone_is_said_to_nobody)
{
	for (int has_heir = 0; has_heir < 2; has_heir++) {
		struct rig *f = *cmocka_state;
		int l = rig_listen(PEER_ADDR, APP_PORT), app = f->app, fd;

		f->is_peer_gone = f->has_peer_heir = false;
		rig_publish(f, true, false);
		fd = app_dial(f, PEER_TEXT);
		app_say(fd, "first words");
		f->app = l;
		assert_true(app_accept(f, 200) < 0);
		f->is_peer_gone = true;
		f->has_peer_heir = has_heir;
		rig_publish(f, true, false);
		assert_true(app_accept(f, 500) < 0);
		f->app = app;
		assert_int_equal(app_read_end(fd), -ECONNRESET);
		(void)close(fd);
		(void)close(l);
	}
}

/* The programs refuse in connect(2) itself what they know to be in the mesh; here a blocking one to
 * where nobody listens does. */
TEST(a_plain_dial_that_the_kernel_refuses_is_resolved_again)
{
	struct rig *f = *cmocka_state;
	int fd, app;

	f->is_plain_blocking = true;
	rig_publish_without_server(f);
	fd = app_dial(f, SERVICE_ADDR ":80");
	app_say(fd, "hello");
	rig_turn_until(f, &f->plain_asked, 1);
	rig_publish(f, true, false);
	app = app_accept(f, WAIT_MS);
	assert_true(app >= 0);
	app_expect(app, "hello");
	(void)close(app);
	(void)close(fd);
}

/* A worker that does nothing until it is told to. */
struct halt {
	struct message m;
	sem_t *until;
};

static void run_halt(void *target, struct message *m)
{
	struct halt *h = container_of(m, struct halt, m);

	while (sem_wait(h->until) < 0)
		continue;
	free(h);
}

static void halt(struct rig *f, sem_t *until)
{
	assert_int_equal(sem_init(until, 0, 0), 0);
	for (int i = 0; i < WORKERS; i++) {
		struct halt *h = calloc(1, sizeof(*h));

		assert_non_null(h);
		h->m.run = run_halt;
		h->until = until;
		inbox_post(&f->workers[i].inbox, &h->m);
	}
}

static void go_on(sem_t *until)
{
	for (int i = 0; i < WORKERS; i++)
		(void)sem_post(until);
}

/* A connection to @to, which comes to @listener. */
static struct pair connect_to(struct rig *f, const char *to, int listener)
{
	struct pair p = {.client = app_dial(f, to)};
	int app = f->app;

	f->app = listener;
	p.server = app_accept(f, WAIT_MS);
	f->app = app;
	assert_true(p.server >= 0);
	return p;
}

/* A read ends before a byte that is marked urgent, though more has come: no edge tells of that. As
 * when an FTP client breaks a transfer off. */
TEST(what_follows_an_urgent_byte_does_not_wait)
{
	struct rig *f = *cmocka_state;
	const struct {
		const char *to;
		int listener;
	} ways[] = {{SERVER_ADDR ":8080", f->app},
		    {OUTSIDE_ADDR ":8080", rig_listen(OUTSIDE_ADDR, APP_PORT)}};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct pair p = connect_to(f, ways[i].to, ways[i].listener);
		sem_t until;

		app_pass(p.client, p.server, "transfer");
		halt(f, &until);
		app_say(p.client, "before");
		assert_int_equal(send(p.client, "!", 1, MSG_OOB), 1);
		app_say(p.client, "behind");
		go_on(&until);
		app_expect(p.server, "beforebehind");
		app_pair_close(&p);
		rig_turn_workers(f);
		(void)sem_destroy(&until);
	}
	(void)close(ways[1].listener);
}

/* The kernel has told the application that it is connected. */
TEST(what_waits_to_be_accepted_outlives_a_drain)
{
	struct rig *f = *cmocka_state;
	int app = f->app, fd, server;
	sem_t until;

	halt(f, &until);
	fd = app_dial_captured(f, OUTSIDE_ADDR ":8080");
	f->app = rig_listen(OUTSIDE_ADDR, APP_PORT);
	for (int i = 0; i < WORKERS; i++)
		worker_post_drain(&f->workers[i]);
	go_on(&until);
	server = app_accept(f, WAIT_MS);
	assert_true(server >= 0);
	app_pass(fd, server, "question");
	app_pass(server, fd, "answer");
	(void)close(fd);
	(void)close(server);
	(void)close(f->app);
	f->app = app;
	rig_turn_until(f, &f->drained, WORKERS);
	(void)sem_destroy(&until);
}

/* An answer to a request that was too long for the server, which hangs up. */
TEST(what_was_said_before_a_plain_connection_broke_arrives)
{
	struct rig *f = *cmocka_state;
	int l = rig_listen(OUTSIDE_ADDR, APP_PORT);
	struct pair p = connect_to(f, OUTSIDE_ADDR ":8080", l);
	sem_t until;

	app_pass(p.client, p.server, "much");
	halt(f, &until);
	app_say(p.client, "more");
	app_say(p.server, "too much");
	app_close_rst(p.server);
	go_on(&until);
	app_expect(p.client, "too much");
	assert_int_equal(app_read_end(p.client), -ECONNRESET);
	(void)close(p.client);
	(void)close(l);
	rig_turn_workers(f);
	(void)sem_destroy(&until);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_stream_refused_by_a_goaway_is_taken_by_another_tunnel),
		T(a_half_closed_connection_is_refused_and_taken_whole),
		T(a_name_of_a_service_that_is_no_identity_is_in_nobodys_way),
		T(what_a_lone_endpoint_refused_is_said_to_one_of_two),
		T(the_last_endpoint_may_take_as_long_as_a_lone_one),
		T(what_was_said_to_a_pod_that_leaves_the_mesh_arrives),
		T(what_was_said_to_a_pod_that_is_gone_is_said_to_nobody),
		T(a_peer_that_refuses_every_stream_is_given_up),
		T(a_plain_dial_that_the_kernel_refuses_is_resolved_again),
		T(a_stream_reset_without_an_error_is_no_end),
		T(a_connection_whose_tunnel_is_being_made_outlives_a_drain),
		T(what_waits_to_be_accepted_outlives_a_drain),
		T(what_follows_an_urgent_byte_does_not_wait),
		T(what_was_said_before_a_plain_connection_broke_arrives),
	};

	return rig_run(tests);
}
