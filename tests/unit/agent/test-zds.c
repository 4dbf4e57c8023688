/* SPDX-License-Identifier: Apache-2.0 */
/* zds - the agent's end of the socket to ztunnel: greeting, replacement, queueing, hostile
 * messages. */
#include "userspace/agent/zds.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "net/seqpacket.h"
#include "tests/unit/agent/no-fds.h"

struct fixture {
	struct loop *loop;
	struct zds *zds;
	char dir[32], path[64];
	int connected, lost, acks, needs, verdicts, policies, asks;
	uint64_t cookie;
	int error;
};

static void on_connected(void *arg)
{
	((struct fixture *)arg)->connected++;
}

static void on_lost(void *arg)
{
	((struct fixture *)arg)->lost++;
}

static void on_ack(void *arg, uint64_t cookie, int error)
{
	struct fixture *f = arg;

	f->acks++;
	f->cookie = cookie;
	f->error = error;
}

static void on_need(void *arg, const struct zds_sockets *need)
{
	struct fixture *f = arg;

	f->needs++;
	f->cookie = need->netns_cookie;
}

static void on_verdict(void *arg, const struct zds_verdict *verdict)
{
	struct fixture *f = arg;

	f->verdicts++;
	f->cookie = verdict->src_cookie;
}

static void on_policy(void *arg)
{
	((struct fixture *)arg)->policies++;
}

static void on_direct_ask(void *arg, const struct zds_direct_ask *ask)
{
	struct fixture *f = arg;

	f->asks++;
	f->cookie = ask->id + ask->at;
}

static const struct zds_ops ops = {on_connected, on_lost,   on_ack,       on_need,
				   on_verdict,   on_policy, on_direct_ask};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct zds_config config = {
		.node = "n1", .uid = geteuid(), .gid = getegid(), .ops = &ops, .arg = f};

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-zds-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	config.path = f->path;
	if (loop_new(&f->loop) < 0)
		return -1;
	config.loop = f->loop;
	*state = f;
	return geteuid() == 0 ? zds_new(&config, &f->zds) : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	zds_free(f->zds);
	loop_free(f->loop);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f->loop, 0) >= 0);
}

static int dial_as(struct fixture *f, const char *node, uint32_t version)
{
	struct zds_hello hello = {.h = {ZDS_HELLO, sizeof(hello)}, .version = version};
	int fd = -1;

	if (!f->zds)
		skip();
	(void)snprintf(hello.node, sizeof(hello.node), "%s", node);
	assert_int_equal(seqpacket_connect(f->path, &fd), 0);
	assert_int_equal(seqpacket_send(fd, &hello, sizeof(hello), NULL, 0), 0);
	turn(f);
	return fd;
}

static int dial(struct fixture *f, const char *node)
{
	return dial_as(f, node, ZDS_VERSION);
}

static ssize_t receive(int fd, void *buf, size_t size)
{
	size_t n = 0;
	int fds[ZDS_MAX_FDS];
	ssize_t len = seqpacket_recv(fd, buf, size, fds, ZDS_MAX_FDS, &n);

	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
	return len;
}

static void both_sides_say_hello(void **state)
{
	struct fixture *f = *state;
	struct zds_hello hello;
	int fd = dial(f, "n1");

	assert_int_equal(f->connected, 1);
	assert_true(zds_is_connected(f->zds));
	assert_int_equal(zds_peer_pid(f->zds), getpid());
	assert_int_equal(receive(fd, &hello, sizeof(hello)), sizeof(hello));
	assert_int_equal(hello.h.type, ZDS_HELLO);
	assert_string_equal(hello.node, "n1");
	(void)close(fd);
	turn(f);
	assert_int_equal(f->lost, 1);
	assert_false(zds_is_connected(f->zds));
}

static void another_node_or_version_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *node;
		uint32_t version;
	} others[] = {{"n2", ZDS_VERSION}, {"n1", ZDS_VERSION + 1}, {"n1", ZDS_VERSION - 1}};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		int fd = dial_as(f, others[i].node, others[i].version);
		char byte;

		assert_int_equal(f->connected, 0);
		assert_int_equal(receive(fd, &byte, 1), 0);
		(void)close(fd);
	}
}

static void a_newer_one_replaces_the_older(void **state)
{
	struct fixture *f = *state;
	struct zds_hello hello;
	int old = dial(f, "n1"), new = dial(f, "n1");

	assert_int_equal(f->connected, 2);
	assert_int_equal(f->lost, 1);
	assert_int_equal(receive(old, &hello, sizeof(hello)), sizeof(hello));
	assert_int_equal(receive(old, &hello, sizeof(hello)), 0);
	(void)close(old);
	turn(f);
	assert_int_equal(f->lost, 1);
	(void)close(new);
}

static void messages_reach_their_callbacks(void **state)
{
	struct fixture *f = *state;
	struct zds_pod_ref ack = {{ZDS_POD_ACK, sizeof(ack)}, .netns_cookie = 77, .error = 5};
	struct zds_sockets need = {
		{ZDS_NEED, sizeof(need)}, 78, CV_SOCKET_DIAL_APP, ZDS_INET, 8, 0};
	int fd = dial(f, "n1");

	assert_int_equal(seqpacket_send(fd, &ack, sizeof(ack), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->acks, 1);
	assert_int_equal(f->cookie, 77);
	assert_int_equal(f->error, 5);
	assert_int_equal(seqpacket_send(fd, &need, sizeof(need), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->needs, 1);
	(void)close(fd);
}

static void a_message_before_hello_closes(void **state)
{
	struct fixture *f = *state;
	struct zds_pod_ref ack = {{ZDS_POD_ACK, sizeof(ack)}, 0, 0, 0};
	int fd = -1;

	if (!f->zds)
		skip();
	assert_int_equal(seqpacket_connect(f->path, &fd), 0);
	assert_int_equal(seqpacket_send(fd, &ack, sizeof(ack), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->acks, 0);
	assert_int_equal(receive(fd, &ack, sizeof(ack)), 0);
	(void)close(fd);
}

static void descriptors_from_ztunnel_close_it(void **state)
{
	struct fixture *f = *state;
	struct zds_pod_ref ack = {{ZDS_POD_ACK, sizeof(ack)}, 0, 0, 0};
	int fd = dial(f, "n1");

	assert_int_equal(seqpacket_send(fd, &ack, sizeof(ack), &fd, 1), 0);
	turn(f);
	assert_int_equal(f->acks, 0);
	assert_int_equal(f->lost, 1);
	(void)close(fd);
}

static void what_does_not_fit_waits_in_order(void **state)
{
	struct fixture *f = *state;
	struct zds_nameserver m = {.h.type = ZDS_NAMESERVER};
	struct zds_hello hello;
	int fd = dial(f, "n1"), null = open("/dev/null", O_RDONLY);
	const uint32_t total = 1500;
	uint32_t seen = 0;

	assert_int_equal(receive(fd, &hello, sizeof(hello)), sizeof(hello));
	for (m.number = 0; m.number < total; m.number++)
		assert_int_equal(zds_send(f->zds, &m.h, sizeof(m), &null, 1), 0);
	while (seen < total) {
		while (receive(fd, &m, sizeof(m)) == (ssize_t)sizeof(m))
			assert_int_equal(m.number, seen++);
		turn(f);
	}
	assert_int_equal(f->lost, 0);
	(void)close(null);
	(void)close(fd);
}

static void one_that_never_reads_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct zds_nameserver m = {.h.type = ZDS_NAMESERVER};
	int fd = dial(f, "n1"), r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = zds_send(f->zds, &m.h, sizeof(m), NULL, 0);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(zds_send(f->zds, &m.h, sizeof(m), NULL, 0), -ENOTCONN);
	assert_int_equal(f->lost, 0); /* never inside zds_send() */
	turn(f);
	assert_int_equal(f->lost, 1);
	(void)close(fd);
}

static void one_that_asks_and_never_reads_is_dropped_sooner(void **state)
{
	_Alignas(struct zds_direct_page) static uint8_t m[ZDS_MAX_MESSAGE / 2];
	struct zds_direct_page *page = (void *)m;
	struct fixture *f = *state;
	int fd = dial(f, "n1"), r = 0, sent;

	page->h.type = ZDS_DIRECT_PAGE;
	for (sent = 0; sent < 4096 && r == 0; sent++)
		r = zds_send(f->zds, &page->h, sizeof(m), NULL, 0);
	assert_int_equal(r, -ENOBUFS);
	assert_true((size_t)sent * sizeof(m) < 32 * 1024 * 1024);
	turn(f);
	assert_int_equal(f->lost, 1);
	(void)close(fd);
}

static void questions_about_connections_arrive(void **state)
{
	struct fixture *f = *state;
	struct zds_direct_ask m = {.h = {ZDS_DIRECT_ASK, sizeof(m)}, .id = 40, .at = 2};
	int fd = dial(f, "n1");

	assert_int_equal(seqpacket_send(fd, &m, sizeof(m), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->asks, 1);
	assert_int_equal(f->cookie, 42);
	m.h.len--;
	assert_int_equal(zds_check(&m, sizeof(m) - 1, 0), -EBADMSG);
	(void)close(fd);
}

static void verdicts_and_policy_changes_arrive(void **state)
{
	struct fixture *f = *state;
	struct zds_verdict v = {
		.h = {ZDS_VERDICT, sizeof(v)}, .src_cookie = 7, .verdict = ZDS_VERDICT_ZTUNNELS};
	struct zds_header policy = {ZDS_POLICY, sizeof(policy)};
	int fd = dial(f, "n1");

	assert_int_equal(seqpacket_send(fd, &v, sizeof(v), NULL, 0), 0);
	assert_int_equal(seqpacket_send(fd, &policy, sizeof(policy), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->verdicts, 1);
	assert_int_equal(f->cookie, 7);
	assert_int_equal(f->policies, 1);
	v.verdict = ZDS_VERDICT_ZTUNNELS + 1;
	assert_int_equal(zds_check(&v, sizeof(v), 0), -EBADMSG);
	assert_int_equal(seqpacket_send(fd, &v, sizeof(v), NULL, 0), 0);
	turn(f);
	assert_int_equal(f->verdicts, 1);
	assert_int_equal(f->lost, 1);
	(void)close(fd);
}

static void malformed_messages_are_recognised(void **state)
{
	struct zds_sockets need = {
		{ZDS_NEED, sizeof(need)}, 1, CV_SOCKET_DNS, ZDS_INET6, ZDS_MAX_FDS, 0};
	struct zds_sockets bad;

	assert_int_equal(zds_check(&need, sizeof(need), 0), 0);
	assert_int_equal(zds_check(&need, sizeof(need), 1), -EBADMSG);
	for (size_t len = 0; len < sizeof(need); len++)
		assert_int_equal(zds_check(&need, len, 0), -EBADMSG);
	bad = need;
	bad.kind = CV_SOCKET_LISTEN;
	assert_int_equal(zds_check(&bad, sizeof(bad), 0), -EBADMSG);
	bad = need;
	bad.kind = CV_SOCKET_KIND_MAX;
	assert_int_equal(zds_check(&bad, sizeof(bad), 0), -EBADMSG);
	bad = need;
	bad.count = 0;
	assert_int_equal(zds_check(&bad, sizeof(bad), 0), -EBADMSG);
	bad.count = ZDS_MAX_FDS + 1;
	assert_int_equal(zds_check(&bad, sizeof(bad), 0), -EBADMSG);
	bad = need;
	bad.family = 2;
	assert_int_equal(zds_check(&bad, sizeof(bad), 0), -EBADMSG);
	for (uint32_t type = 0; type < 20; type++) {
		bad = need;
		bad.h.type = type;
		assert_int_equal(zds_check(&bad, sizeof(bad), 0), type == ZDS_NEED ? 0 : -EBADMSG);
	}
}

/* The socket's owner is set with CAP_CHOWN. */
#define as_root(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void without_descriptors_the_loop_does_not_spin(void **state)
{
	struct fixture *f = *state;
	struct zds_hello hello = {.h = {ZDS_HELLO, sizeof(hello)}, .version = ZDS_VERSION};
	int fd = -1;

	if (!f->zds)
		skip();
	(void)snprintf(hello.node, sizeof(hello.node), "n1");
	assert_int_equal(seqpacket_connect(f->path, &fd), 0);
	assert_int_equal(seqpacket_send(fd, &hello, sizeof(hello), NULL, 0), 0);
	assert_in_range(turns_without_fds(f->loop), 1, 100);
	for (int i = 0; i < 300 && !f->connected; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_int_equal(f->connected, 1);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_descriptors_the_loop_does_not_spin, setup,
						teardown),
		cmocka_unit_test(malformed_messages_are_recognised),
		as_root(verdicts_and_policy_changes_arrive),
		as_root(both_sides_say_hello),
		as_root(another_node_or_version_is_refused),
		as_root(a_newer_one_replaces_the_older),
		as_root(messages_reach_their_callbacks),
		as_root(a_message_before_hello_closes),
		as_root(descriptors_from_ztunnel_close_it),
		as_root(questions_about_connections_arrive),
		as_root(one_that_asks_and_never_reads_is_dropped_sooner),
		as_root(what_does_not_fit_waits_in_order),
		as_root(one_that_never_reads_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
