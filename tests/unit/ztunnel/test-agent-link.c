/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link - every message is checked; the link greets, reconnects, and drops whoever sends
 * rubbish. */
#include "ztunnel/agent_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "net/seqpacket.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/needs.h"
#include "ztunnel/pod.h"

/* A timer needs memory, but for one that is set to another time. */
static bool is_out_of_timers;

int __real_loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_us);
int __wrap_loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_us);
int __wrap_loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_us)
{
	return is_out_of_timers && !t->loop ? -ENOMEM : __real_loop_timer_set(l, t, delay_us);
}

struct seen {
	int connected, lost, adds, dels, synced, sockets, nameservers;
	size_t metrics_len;
	uint64_t cookie, page_id;
};

struct fixture {
	struct loop *loop;
	struct agent_link *link;
	struct seen seen;
	char dir[64], path[96];
	int listener, agent;
};

static void on_connected(void *arg)
{
	((struct fixture *)arg)->seen.connected++;
}

static void on_lost(void *arg)
{
	((struct fixture *)arg)->seen.lost++;
}

static void on_pod_add(void *arg, const struct zds_pod_add *m, const int *fds)
{
	((struct fixture *)arg)->seen.adds++;
	for (int i = 0; i < ZDS_LISTENERS; i++)
		assert_int_equal(close(fds[i]), 0);
}

static void on_pod_del(void *arg, uint64_t cookie)
{
	((struct fixture *)arg)->seen.dels++;
	((struct fixture *)arg)->seen.cookie = cookie;
}

static void on_synced(void *arg)
{
	((struct fixture *)arg)->seen.synced++;
}

static void on_sockets(void *arg, const struct zds_sockets *m, const int *fds)
{
	((struct fixture *)arg)->seen.sockets += (int)m->count;
	for (uint32_t i = 0; i < m->count; i++)
		assert_int_equal(close(fds[i]), 0);
}

static void on_nameserver(void *arg, const struct zds_nameserver *m)
{
	((struct fixture *)arg)->seen.nameservers++;
}

static void on_metrics(void *arg, const char *text, size_t len)
{
	((struct fixture *)arg)->seen.metrics_len = len;
}

static void on_direct_page(void *arg, const struct zds_direct_page *m)
{
	((struct fixture *)arg)->seen.page_id = m->id;
}

static const struct agent_link_ops ops = {
	.on_direct_page = on_direct_page,
	.on_connected = on_connected,
	.on_lost = on_lost,
	.on_pod_add = on_pod_add,
	.on_pod_del = on_pod_del,
	.on_synced = on_synced,
	.on_sockets = on_sockets,
	.on_nameserver = on_nameserver,
	.on_metrics = on_metrics,
};

static void turn(struct fixture *f, int times)
{
	for (int i = 0; i < times; i++)
		assert_int_equal(loop_run_once(f->loop, 5), 0);
}

/* accept_link() - the agent's side: take the connection and its HELLO, answer with ours. */
static void accept_link(struct fixture *f)
{
	struct zds_hello m = {0};
	ssize_t n = -1;
	size_t n_fds;

	f->agent = -1;
	for (int i = 0; i < 500 && f->agent < 0; i++) {
		turn(f, 1);
		f->agent = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	assert_true(f->agent >= 0);
	for (int i = 0; i < 100 && n < 0; i++) {
		turn(f, 1);
		n = seqpacket_recv(f->agent, &m, sizeof(m), NULL, 0, &n_fds);
	}
	assert_int_equal(n, sizeof(m));
	assert_int_equal(m.h.type, ZDS_HELLO);
	assert_int_equal(m.version, ZDS_VERSION);
	assert_string_equal(m.node, "n1");
	assert_int_equal(seqpacket_send(f->agent, &m, sizeof(m), NULL, 0), 0);
	turn(f, 3);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct agent_link_config c = {.node = "n1", .ops = &ops};

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/agent-link-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/zds.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(seqpacket_listen(f->path, 0600, &f->listener), 0);
	c.loop = f->loop;
	c.path = f->path;
	c.arg = f;
	assert_int_equal(agent_link_new(&c, &f->link), 0);
	accept_link(f);
	assert_int_equal(f->seen.connected, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_link_free(f->link);
	(void)close_fd(f->agent);
	(void)close_fd(f->listener);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void send_msg(struct fixture *f, const void *m, size_t len, uint32_t n_fds)
{
	int fds[ZDS_MAX_FDS] = {0};

	for (uint32_t i = 0; i < n_fds; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(seqpacket_send(f->agent, m, len, fds, n_fds), 0);
	for (uint32_t i = 0; i < n_fds; i++)
		(void)close(fds[i]);
	turn(f, 3);
}

TEST(messages_reach_their_callbacks)
{
	struct fixture *f = *cmocka_state;
	struct zds_pod_add add = {.h = {ZDS_POD_ADD, sizeof(add)}};
	struct zds_pod_ref del = {.h = {ZDS_POD_DEL, sizeof(del)}, .netns_cookie = 42};
	struct zds_header synced = {ZDS_SYNCED, sizeof(synced)};
	struct zds_sockets sockets = {.h = {ZDS_SOCKETS, sizeof(sockets)},
				      .kind = CV_SOCKET_DIAL_APP,
				      .count = ZDS_MAX_FDS};
	struct zds_nameserver ns = {.h = {ZDS_NAMESERVER, sizeof(ns)}};
	struct {
		struct zds_header h;
		char text[5];
	} metrics = {{ZDS_METRICS, sizeof(struct zds_header) + 5}, "a 1\n"};

	send_msg(f, &add, sizeof(add), ZDS_LISTENERS);
	send_msg(f, &del, sizeof(del), 0);
	send_msg(f, &synced, sizeof(synced), 0);
	send_msg(f, &sockets, sizeof(sockets), ZDS_MAX_FDS);
	send_msg(f, &ns, sizeof(ns), 0);
	send_msg(f, &metrics, sizeof(struct zds_header) + 5, 0);
	assert_int_equal(f->seen.adds, 1);
	assert_int_equal(f->seen.cookie, 42);
	assert_int_equal(f->seen.synced, 1);
	assert_int_equal(f->seen.sockets, ZDS_MAX_FDS);
	assert_int_equal(f->seen.nameservers, 1);
	assert_int_equal(f->seen.metrics_len, 5);
	assert_int_equal(f->seen.lost, 0);
}

TEST(what_is_asked_reaches_the_agent)
{
	struct fixture *f = *cmocka_state;
	const struct zds_sockets need = {
		.netns_cookie = 7, .kind = CV_SOCKET_DIAL_HBONE, .count = 3};
	struct zds_sockets got;
	struct zds_pod_ref ack;
	size_t n_fds;

	assert_int_equal(agent_link_need(f->link, &need), 0);
	assert_int_equal(agent_link_ack(f->link, 9, ENOMEM), 0);
	assert_int_equal(seqpacket_recv(f->agent, &got, sizeof(got), NULL, 0, &n_fds), sizeof(got));
	assert_int_equal(got.h.type, ZDS_NEED);
	assert_int_equal(got.count, 3);
	assert_int_equal(seqpacket_recv(f->agent, &ack, sizeof(ack), NULL, 0, &n_fds), sizeof(ack));
	assert_int_equal(ack.h.type, ZDS_POD_ACK);
	assert_int_equal(ack.netns_cookie, 9);
	assert_int_equal(ack.error, ENOMEM);
}

TEST(a_slow_agent_gets_everything_in_order)
{
	struct fixture *f = *cmocka_state;
	uint64_t next = 0;

	for (uint64_t i = 0; i < 2000; i++)
		assert_int_equal(agent_link_ack(f->link, i, 0), 0);
	while (next < 2000) {
		struct zds_pod_ref ack;
		size_t n_fds;
		ssize_t n = seqpacket_recv(f->agent, &ack, sizeof(ack), NULL, 0, &n_fds);

		if (n == sizeof(ack))
			assert_int_equal(ack.netns_cookie, next++);
		else
			turn(f, 1);
	}
}

static void is_left_and_found(struct fixture *f)
{
	assert_true(agent_link_is_connected(f->link));
	turn(f, 1);
	assert_false(agent_link_is_connected(f->link));
	assert_int_equal(f->seen.lost, 1);
	assert_int_equal(close(f->agent), 0);
	accept_link(f);
}

/* What has not gone might have been that no verdict holds any more: when it comes back all is asked
 * anew. */
TEST(an_agent_that_hears_nothing_is_left_before_it_misses_something)
{
	struct fixture *f = *cmocka_state;

	for (int i = 0; i < 100000 && agent_link_policy(f->link) == 0; i++)
		continue;
	is_left_and_found(f);
	assert_true(agent_link_is_connected(f->link));
	assert_int_equal(f->seen.connected, 2);
}

TEST(without_memory_an_agent_is_left_before_it_misses_something)
{
	struct fixture *f = *cmocka_state;

	is_out_of_timers = true;
	for (int i = 0; i < 100000 && agent_link_policy(f->link) == 0; i++)
		continue;
	is_out_of_timers = false;
	is_left_and_found(f);
	assert_int_equal(f->seen.connected, 2);
}

TEST(without_memory_an_agent_that_went_is_looked_for)
{
	struct fixture *f = *cmocka_state;

	is_out_of_timers = true;
	f->agent = close_fd(f->agent);
	turn(f, 1);
	is_out_of_timers = false;
	assert_int_equal(f->seen.lost, 1);
	accept_link(f);
	assert_int_equal(f->seen.connected, 2);
}

TEST(comes_back_when_the_agent_does)
{
	struct fixture *f = *cmocka_state;
	const struct zds_sockets need = {.count = 1};

	f->agent = close_fd(f->agent);
	turn(f, 3);
	assert_int_equal(f->seen.lost, 1);
	assert_int_equal(agent_link_need(f->link, &need), -ENOTCONN);
	accept_link(f);
	assert_int_equal(f->seen.connected, 2);
}

TEST(rubbish_closes_the_link)
{
	struct fixture *f = *cmocka_state;
	struct zds_pod_ref del = {.h = {ZDS_POD_DEL, sizeof(del)}};

	send_msg(f, &del, sizeof(del), 2);
	assert_int_equal(f->seen.dels, 0);
	assert_int_equal(f->seen.lost, 1);
}

TEST(a_second_hello_closes_the_link)
{
	struct fixture *f = *cmocka_state;
	struct zds_hello m = {.h = {ZDS_HELLO, sizeof(m)}, .version = ZDS_VERSION};

	send_msg(f, &m, sizeof(m), 0);
	assert_int_equal(f->seen.lost, 1);
}

TEST(malformed_messages_are_told_apart)
{
	union {
		struct zds_header h;
		struct zds_hello hello;
		struct zds_sockets sockets;
		struct zds_pod_add add;
		uint8_t bytes[sizeof(struct zds_pod_add)];
	} m = {0};

	assert_int_equal(agent_link_check(&m, 0, 0), -EBADMSG);
	assert_int_equal(agent_link_check(&m, sizeof(m.h) - 1, 0), -EBADMSG);
	for (uint32_t type = 0; type < ZDS_TYPE_MAX + 3; type++) {
		m.h.type = type;
		m.h.len = sizeof(m.h) + 1;
		if (type != ZDS_METRICS)
			assert_int_equal(agent_link_check(&m, sizeof(m.h) + 1, 0), -EBADMSG);
		m.h.len = UINT32_MAX;
		assert_int_equal(agent_link_check(&m, sizeof(m), 0), -EBADMSG);
	}
	m.hello = (struct zds_hello){.h = {ZDS_HELLO, sizeof(m.hello)}, .version = 99};
	assert_int_equal(agent_link_check(&m, sizeof(m.hello), 0), -EBADMSG);
	m.sockets = (struct zds_sockets){
		.h = {ZDS_SOCKETS, sizeof(m.sockets)}, .kind = CV_SOCKET_DIAL_APP, .count = 5};
	assert_int_equal(agent_link_check(&m, sizeof(m.sockets), 4), -EBADMSG);
	assert_int_equal(agent_link_check(&m, sizeof(m.sockets), 5), 0);
	m.sockets.kind = CV_SOCKET_LISTEN;
	assert_int_equal(agent_link_check(&m, sizeof(m.sockets), 5), -EBADMSG);
	m.sockets.kind = CV_SOCKET_DNS;
	m.sockets.family = 2;
	assert_int_equal(agent_link_check(&m, sizeof(m.sockets), 5), -EBADMSG);
	m.add = (struct zds_pod_add){.h = {ZDS_POD_ADD, sizeof(m.add)}};
	assert_int_equal(agent_link_check(&m, sizeof(m.add), ZDS_LISTENERS - 1), -EBADMSG);
}

TEST(news_of_direct_connections_come_one_or_several_at_a_time)
{
	struct zds_direct m[3] = {{.h = {ZDS_DIRECT, sizeof(m)}}};

	assert_int_equal(agent_link_check(m, sizeof(m), 0), 0);
	assert_int_equal(agent_link_check(m, sizeof(m), 1), -EBADMSG);
	m[2].what = ZDS_DIRECT_CUT;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), 0);
	m[2].what = ZDS_DIRECT_DENIED;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), 0);
	m[2].what = ZDS_DIRECT_DENIED + 1;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), -EBADMSG);
	m[0].h.len = 2 * sizeof(m[0]);
	assert_int_equal(agent_link_check(m, 2 * sizeof(m[0]), 0), 0);
	m[0].h.len -= 8;
	assert_int_equal(agent_link_check(m, 2 * sizeof(m[0]) - 8, 0), -EBADMSG);
}

TEST(a_page_of_connections_has_as_many_as_it_says)
{
	_Alignas(struct zds_direct_page)
		uint8_t m[sizeof(struct zds_direct_page) + 2 * sizeof(struct zds_direct)] = {0};
	struct zds_direct_page *page = (void *)m;

	page->h = (struct zds_header){ZDS_DIRECT_PAGE, sizeof(m)};
	page->count = 2;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), 0);
	assert_int_equal(agent_link_check(m, sizeof(m), 1), -EBADMSG);
	page->count = 3;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), -EBADMSG);
	page->count = UINT32_MAX;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), -EBADMSG);
	page->count = 0;
	assert_int_equal(agent_link_check(m, sizeof(m), 0), -EBADMSG);
	page->h.len = sizeof(*page);
	assert_int_equal(agent_link_check(m, sizeof(*page), 0), 0);
	page->h.len--;
	assert_int_equal(agent_link_check(m, sizeof(*page) - 1, 0), -EBADMSG);
}

TEST(a_page_is_asked_for_and_comes)
{
	struct fixture *f = *cmocka_state;
	struct zds_direct_page page = {.h = {ZDS_DIRECT_PAGE, sizeof(page)}, .next = 9};
	struct zds_direct_ask ask = {0};
	size_t n_fds;

	assert_int_equal(agent_link_direct_ask(f->link, 7, 3), 0);
	assert_int_equal(seqpacket_recv(f->agent, &ask, sizeof(ask), NULL, 0, &n_fds), sizeof(ask));
	assert_int_equal(ask.h.type, ZDS_DIRECT_ASK);
	assert_int_equal(ask.id, 7);
	assert_int_equal(ask.at, 3);
	page.id = ask.id;
	send_msg(f, &page, sizeof(page), 0);
	assert_int_equal(f->seen.page_id, 7);
	assert_int_equal(f->seen.lost, 0);
}

TEST(pods_with_bad_fields_are_refused)
{
	struct zds_pod_add m = {.netns_cookie = 1, .addr_count = 1};
	int fds[ZDS_LISTENERS];
	struct pod *pod = NULL;

	for (int i = 0; i < ZDS_LISTENERS; i++)
		fds[i] = -1;
	assert_int_equal(pod_new(&m, fds, &pod), 0);
	assert_true(pod_is_own_port(pod, CV_HBONE_PORT));
	assert_false(pod_is_own_port(pod, 80));
	pod_unref(pod);
	pod = NULL;
	m.netns_cookie = 0;
	assert_int_equal(pod_new(&m, fds, &pod), -EBADMSG);
	m.netns_cookie = 1;
	m.addr_count = ZDS_MAX_ADDRS + 1;
	assert_int_equal(pod_new(&m, fds, &pod), -EBADMSG);
	m.addr_count = 1;
	memset(m.uid, 'x', sizeof(m.uid));
	assert_int_equal(pod_new(&m, fds, &pod), -EBADMSG);
	assert_null(pod);
}

/* Both ends of needs. */
struct ends {
	int result; /* of sending */
	uint32_t sent, by, error;
};

static int ends_send(void *arg, const struct zds_sockets *m)
{
	struct ends *e = arg;

	e->sent++;
	return e->result;
}

static void ends_give(void *arg, uint32_t by, const struct zds_sockets *m, const int *fds)
{
	struct ends *e = arg;

	assert_int_equal(m->count, 0);
	assert_int_equal(m->kind, CV_SOCKET_DIAL_APP);
	e->by = by;
	e->error = m->error;
}

TEST(what_the_agent_will_not_hear_of_is_answered_at_once)
{
	const struct zds_sockets m = {.netns_cookie = 1, .kind = CV_SOCKET_DIAL_APP, .count = 4};
	struct ends e = {.by = 99};
	const struct needs_ops both = {.send = ends_send, .give = ends_give, .arg = &e};
	struct needs n;
	uint32_t by;

	needs_init(&n);
	needs_ask(&n, &both, 0, &m);
	assert_int_equal(e.by, 99);
	e.result = -ENOBUFS;
	needs_ask(&n, &both, 1, &m);
	assert_int_equal(e.sent, 2);
	assert_int_equal(e.by, 1);
	assert_int_equal(e.error, ENOBUFS);
	e.by = 99;
	needs_ask(&n, &both, NEED_BY_DNS, &m);
	assert_int_equal(e.by, 99);
	/* what the agent was asked before is for who asked then */
	assert_true(needs_take(&n, &m, &by));
	assert_int_equal(by, 0);
	assert_false(needs_take(&n, &m, &by));
}

TEST(what_the_agent_will_not_answer_any_more_is_answered_at_once)
{
	const struct zds_sockets m = {.netns_cookie = 1, .kind = CV_SOCKET_DIAL_APP, .count = 4};
	struct ends e = {.by = 99};
	const struct needs_ops both = {.send = ends_send, .give = ends_give, .arg = &e};
	struct needs n;

	needs_init(&n);
	needs_ask(&n, &both, 0, &m);
	needs_ask(&n, &both, NEED_BY_DNS, &m);
	assert_int_equal(e.by, 99);
	needs_refuse(&n, &both, -ENETDOWN);
	assert_int_equal(e.by, 0);
	assert_int_equal(e.error, ENETDOWN);
	assert_int_equal(n.count, 0);
}

TEST(answers_go_to_who_asked_first)
{
	const struct zds_sockets a = {.netns_cookie = 1, .kind = CV_SOCKET_DIAL_APP};
	const struct zds_sockets b = {.netns_cookie = 1, .kind = CV_SOCKET_DIAL_HBONE};
	struct needs n;
	uint32_t by = 99;

	needs_init(&n);
	assert_int_equal(needs_add(&n, 0, &a), 0);
	assert_int_equal(needs_add(&n, NEED_BY_DNS, &b), 0);
	assert_int_equal(needs_add(&n, 1, &a), 0);
	assert_true(needs_take(&n, &b, &by));
	assert_int_equal(by, NEED_BY_DNS);
	assert_true(needs_take(&n, &a, &by));
	assert_int_equal(by, 0);
	assert_true(needs_take(&n, &a, &by));
	assert_int_equal(by, 1);
	assert_false(needs_take(&n, &a, &by));
	assert_int_equal(needs_add(&n, 1, &a), 0);
	needs_clear(&n);
	assert_int_equal(n.count, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(messages_reach_their_callbacks),
		T(what_is_asked_reaches_the_agent),
		T(a_page_is_asked_for_and_comes),
		T(a_slow_agent_gets_everything_in_order),
		T(an_agent_that_hears_nothing_is_left_before_it_misses_something),
		T(without_memory_an_agent_is_left_before_it_misses_something),
		T(without_memory_an_agent_that_went_is_looked_for),
		T(comes_back_when_the_agent_does),
		T(rubbish_closes_the_link),
		T(a_second_hello_closes_the_link),
		cmocka_unit_test(malformed_messages_are_told_apart),
		cmocka_unit_test(news_of_direct_connections_come_one_or_several_at_a_time),
		cmocka_unit_test(a_page_of_connections_has_as_many_as_it_says),
		cmocka_unit_test(pods_with_bad_fields_are_refused),
		cmocka_unit_test(what_the_agent_will_not_hear_of_is_answered_at_once),
		cmocka_unit_test(what_the_agent_will_not_answer_any_more_is_answered_at_once),
		cmocka_unit_test(answers_go_to_who_asked_first),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
