/* SPDX-License-Identifier: Apache-2.0 */
/* node_drain - what the agent says between the signal and the moment when it is left. */
#include "ztunnel/node_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/seqpacket.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/dns.h"
#include "ztunnel/dns_wire.h"
#include "ztunnel/node.h"

#define STEP_US    2000
#define SLOW_US    (2 * 1000 * 1000ULL)
#define WAIT_US    (1000 * 1000ULL)
#define NAMESERVER 0x7f400005 /* number 5 */

static const char query[] = "\x12\x34\x01\0\0\1\0\0\0\0\0\0\3www\6debian\3org\0\0\1\0\1";

/* What an agent does, all in the node's loop. */
struct fixture {
	struct node *n;
	struct loop_timer step;
	char dir[64], agent_dir[96], ztunnel_dir[96], path[128], admin_path[128];
	int listener, agent;
	bool is_drain_begun, is_answered;
	bool is_pod_offered;
	bool is_memory_over; /* when the answer comes */
	uint64_t slow_until_us;
	bool is_slow;        /* to answer */
	bool is_handed_over; /* what comes to the worker when it drains; nothing waits before */
	struct message handed, asked;
	int acks, needs;
	int client; /* of the pod's DNS */
};

static _Thread_local bool is_out;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return is_out ? NULL : __real_calloc(n, size);
}

static void greet(struct fixture *f)
{
	struct zds_hello m;
	size_t n_fds;

	if (f->agent < 0)
		f->agent = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (f->agent >= 0 && seqpacket_recv(f->agent, &m, sizeof(m), NULL, 0, &n_fds) == sizeof(m))
		assert_int_equal(seqpacket_send(f->agent, &m, sizeof(m), NULL, 0), 0);
}

static void offer_pod(struct fixture *f)
{
	struct zds_pod_add m = {.h = {ZDS_POD_ADD, sizeof(m)}, .netns_cookie = 7};
	int fds[ZDS_LISTENERS];

	for (int i = 0; i < ZDS_LISTENERS; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(seqpacket_send(f->agent, &m, sizeof(m), fds, ZDS_LISTENERS), 0);
	for (int i = 0; i < ZDS_LISTENERS; i++)
		assert_int_equal(close(fds[i]), 0);
}

/* Served, with one DNS listener that is real. */
static void offer_dns_pod(struct fixture *f)
{
	struct zds_pod_add m = {
		.h = {ZDS_POD_ADD, sizeof(m)}, .netns_cookie = 7, .uid = "u", .addr_count = 1};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(NAMESERVER)};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), on = 1;
	int dns = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	int fds[ZDS_LISTENERS];

	assert_int_equal(setsockopt(dns, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
	assert_int_equal(bind(dns, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(dns, (struct sockaddr *)&at, &len), 0);
	for (int i = 0; i < ZDS_LISTENERS; i++)
		fds[i] = i == ZDS_LISTEN_DNS_UDP ? dns : null;
	assert_int_equal(seqpacket_send(f->agent, &m, sizeof(m), fds, ZDS_LISTENERS), 0);
	assert_int_equal(close(null), 0);
	assert_int_equal(close(dns), 0);
	f->client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->client, (struct sockaddr *)&at, sizeof(at)), 0);
}

static const struct zds_sockets need = {.h = {ZDS_SOCKETS, sizeof(need)},
					.netns_cookie = 8,
					.kind = CV_SOCKET_DNS,
					.error = ENETDOWN};

/* A connection that another worker has accepted asks for a socket. */
static void run_asked(void *target, struct message *m)
{
	struct fixture *f = container_of(m, struct fixture, asked);
	struct zds_sockets one = need;

	one.count = 1;
	one.error = 0;
	if (target)
		f->n->workers[0].ops->on_need(target, 0, &one);
}

static void run_handed(void *target, struct message *m)
{
	struct fixture *f = container_of(m, struct fixture, handed);

	f->asked.run = run_asked;
	inbox_post(&f->n->inbox, &f->asked);
}

static void drain_begin(struct fixture *f)
{
	f->is_drain_begun = true;
	f->slow_until_us = loop_now_us(f->n->loop) + (f->is_slow ? SLOW_US : 0);
	f->n->drained--; /* as with a connection that stays */
	if (!f->is_handed_over)
		assert_int_equal(needs_add(&f->n->needs, NEED_BY_DNS, &need), 0);
	node_drain(f->n);
	if (!f->is_handed_over)
		return;
	f->is_answered = true;
	f->handed.run = run_handed;
	inbox_post(&f->n->workers[0].inbox, &f->handed);
}

/* When it is all that the node waits for. */
static void answer_when_alone(struct fixture *f)
{
	if (f->n->rounds > 0 || loop_now_us(f->n->loop) < f->slow_until_us)
		return;
	f->is_answered = true;
	if (f->is_pod_offered)
		offer_pod(f);
	assert_int_equal(seqpacket_send(f->agent, &need, sizeof(need), NULL, 0), 0);
	is_out = f->is_memory_over;
}

static void look(struct fixture *f)
{
	union {
		struct zds_header h;
		struct zds_sockets longest;
	} m;
	size_t n_fds;
	ssize_t k;

	while ((k = seqpacket_recv(f->agent, &m, sizeof(m), NULL, 0, &n_fds)) > 0) {
		f->acks += m.h.type == ZDS_POD_ACK;
		if (m.h.type != ZDS_NEED)
			continue;
		f->needs++;
		assert_int_equal(seqpacket_send(f->agent, &need, sizeof(need), NULL, 0), 0);
	}
	if (k != 0)
		return;
	is_out = false;
	loop_stop(f->n->loop, 0);
}

static void on_step(struct loop_timer *t)
{
	struct fixture *f = container_of(t, struct fixture, step);

	if (f->is_answered)
		look(f);
	else if (f->is_drain_begun)
		answer_when_alone(f);
	else if (agent_link_is_connected(f->n->agent))
		drain_begin(f);
	else
		greet(f);
	assert_int_equal(loop_timer_set(f->n->loop, t, STEP_US), 0);
}

/* The pod asks, and then the drain begins. */
static void on_dns_step(struct loop_timer *t)
{
	struct fixture *f = container_of(t, struct fixture, step);

	assert_int_equal(loop_timer_set(f->n->loop, t, STEP_US), 0);
	if (!agent_link_is_connected(f->n->agent)) {
		greet(f);
	} else if (f->client < 0) {
		offer_dns_pod(f);
	} else if (f->acks == 0) {
		look(f);
		if (f->acks > 0)
			assert_int_equal(send(f->client, query, sizeof(query) - 1, 0),
					 sizeof(query) - 1);
	} else if (!dns_is_idle(f->n->dns)) {
		f->slow_until_us = loop_now_us(f->n->loop) + WAIT_US;
		loop_timer_del(t);
		node_drain(f->n);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct node_config c = {.name = "n1", .workers = 1, .drain_us = 60000000};
	char err[256];

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/node-drain-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->agent_dir, sizeof(f->agent_dir), "%s/agent", f->dir);
	(void)snprintf(f->ztunnel_dir, sizeof(f->ztunnel_dir), "%s/ztunnel", f->dir);
	(void)snprintf(f->path, sizeof(f->path), "%s/zds.sock", f->agent_dir);
	(void)snprintf(f->admin_path, sizeof(f->admin_path), "%s/admin.sock", f->ztunnel_dir);
	assert_int_equal(mkdir(f->agent_dir, 0700), 0);
	assert_int_equal(mkdir(f->ztunnel_dir, 0700), 0);
	assert_int_equal(seqpacket_listen(f->path, 0600, &f->listener), 0);
	f->agent = f->client = -EBADF;
	c.run_dir = f->dir;
	assert_int_equal(node_new(&c, err, sizeof(err), &f->n), 0);
	f->step.on_timer = on_step;
	assert_int_equal(loop_timer_set(f->n->loop, &f->step, STEP_US), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_del(&f->step);
	node_free(f->n);
	(void)close_fd(f->agent);
	(void)close_fd(f->client);
	(void)close_fd(f->listener);
	(void)unlink(f->path);
	(void)unlink(f->admin_path);
	(void)rmdir(f->agent_dir);
	(void)rmdir(f->ztunnel_dir);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* The agent would take that for a fault of the pod's, and wait before it offers it again. */
static void a_pod_that_comes_in_a_drain_is_not_refused(void **state)
{
	struct fixture *f = *state;

	f->is_pod_offered = true;
	assert_int_equal(node_run(f->n), 0);
	assert_int_equal(f->acks, 0);
}

static void the_agent_is_not_left_while_it_speaks(void **state)
{
	struct fixture *f = *state;

	f->is_memory_over = true;
	assert_int_equal(node_run(f->n), 0);
}

/* On a busy node. */
static void an_agent_that_takes_its_time_is_not_left(void **state)
{
	struct fixture *f = *state;

	f->is_slow = true;
	assert_int_equal(node_run(f->n), 0);
	assert_true(f->is_answered);
}

/* It was accepted before the signal, by a worker that had more to do. */
static void the_agent_is_not_left_before_what_is_handed_over_has_asked(void **state)
{
	struct fixture *f = *state;

	f->is_handed_over = true;
	assert_int_equal(node_run(f->n), 0);
	assert_int_equal(f->needs, 1);
}

/* Its nameserver is silent: no answer, but the end of the wait, so that it asks again at once. */
static void what_a_pod_has_asked_is_waited_for(void **state)
{
	struct fixture *f = *state;
	uint8_t got[sizeof(query)];

	f->step.on_timer = on_dns_step;
	assert_int_equal(node_run(f->n), 0);
	assert_true(loop_now_us(f->n->loop) >= f->slow_until_us);
	loop_timer_del(&f->step);
	f->n = node_free(f->n);
	assert_int_equal(recv(f->client, got, sizeof(got), 0), sizeof(query) - 1);
	assert_int_equal(got[3] & 15, DNS_SERVFAIL);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_pod_that_comes_in_a_drain_is_not_refused),
		TEST(the_agent_is_not_left_while_it_speaks),
		TEST(an_agent_that_takes_its_time_is_not_left),
		TEST(the_agent_is_not_left_before_what_is_handed_over_has_asked),
		TEST(what_a_pod_has_asked_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
