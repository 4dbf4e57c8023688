/* SPDX-License-Identifier: Apache-2.0 */
/* dns - over TCP: answered, forwarded, and what a client does in between. */
#include "ztunnel/dns.h"

#include <sys/resource.h>

#include "base/map.h"
#include "tests/unit/ztunnel/dns_fixture.h"
#include "ztunnel/descriptors.h"
#include "ztunnel/dns_internal.h"

#define LARGE   60000
#define N_LARGE 40
#define N_AGAIN 40

static bool is_scarce;

bool __wrap_descriptors_are_scarce(int fd);
bool __wrap_descriptors_are_scarce(int fd)
{
	return fd >= 0 && is_scarce;
}

/* Without the hook accept shows the client itself: so the client borrows the nameserver's address.
 */
static int tcp_client_start(const char *nameserver)
{
	int fd = tcp_socket(nameserver, false);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(5353),
				 .sin_addr.s_addr = inet_addr("10.99.0.1")};

	assert_true(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
	return fd;
}

static int tcp_client_at(struct fixture *f, const char *nameserver)
{
	int fd = tcp_client_start(nameserver);

	turn(f);
	return fd;
}

static int tcp_client(struct fixture *f)
{
	return tcp_client_at(f, "10.99.0.1:5300");
}

static void send_prefixed(int fd, const char *p, size_t len)
{
	uint8_t bytes[600] = {(uint8_t)(len >> 8), (uint8_t)len};

	memcpy(bytes + 2, p, len);
	assert_int_equal(send(fd, bytes, len + 2, 0), len + 2);
}

static void tcp_queries_are_answered_and_forwarded(void **state)
{
	struct fixture *f = *state;
	int server = tcp_socket("10.99.0.1:5300", true);
	int client = tcp_client(f);
	uint8_t got[512];
	int up;

	send_prefixed(client, ask_httpd, sizeof(ask_httpd) - 1);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 2 + sizeof(ask_httpd) - 1 + 16);
	send_prefixed(client, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	up = accept(server, NULL, NULL);
	assert_true(up >= 0);
	turn(f);
	assert_int_equal(recv(up, got, sizeof(got), 0), 2 + sizeof(ask_elsewhere) - 1);
	assert_memory_equal(got + 2, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	/* what nobody has asked for is not passed on */
	assert_int_equal(send(up, "\0\15\x12\x35" ANSWER "x", 15, 0), 15);
	assert_int_equal(send(up, "\0\16\x12\x34" ANSWER "a", 15, 0), 15);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), -1);
	assert_int_equal(send(up, "b", 1, 0), 1);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 16);
	assert_memory_equal(got, "\0\16\x12\x34" ANSWER "ab", 16);
	/* of a name below a wildcard that there is the address is ours */
	send_prefixed(client, ask_below, sizeof(ask_below) - 1);
	turn(f);
	assert_int_equal(recv(up, got, sizeof(got), 0), 2 + sizeof(ask_below) - 1);
	assert_int_equal(send(up, "\0\16\x12\x34\x81\x80\0\0\0\1\0\0\0\0ab", 16, 0), 16);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 2 + sizeof(ask_below) - 1 + 16);
	assert_memory_equal(got + 2 + sizeof(ask_below) - 1 + 12, "\xf1\x00\x07", 3);
	close(up);
	close(server);
	close(client);
	turn(f);
}

/* The kernel tells of it in every turn until the connection is closed. */
static void a_tcp_client_that_is_gone_is_not_waited_for(void **state)
{
	const struct linger rst = {.l_onoff = 1};
	struct fixture *f = *state;
	int server = tcp_socket("10.99.0.1:5300", true);
	int client = tcp_client(f);
	unsigned int turns = 0;
	uint8_t got[512];
	int up;

	send_prefixed(client, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	up = accept4(server, NULL, NULL, SOCK_NONBLOCK);
	assert_true(up >= 0);
	turn(f);
	assert_int_equal(recv(up, got, sizeof(got), 0), 2 + sizeof(ask_elsewhere) - 1);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	turn(f);
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst)), 0);
	close(client);
	while (recv(up, got, sizeof(got), 0) < 0 && ++turns < 1000)
		assert_int_equal(loop_run_once(f->loop, 100), 0);
	assert_in_range(turns, 0, 100);
	close(up);
	close(server);
}

/* Each of them gets its own, in whatever order, and below a wildcard the address is its name's. */
static void two_tcp_queries_of_one_number_are_told_apart(void **state)
{
	struct fixture *f = *state;
	int server = tcp_socket("10.99.0.1:5300", true);
	int client = tcp_client(f);
	uint8_t got[512], reply[sizeof(ask_below) - 1];
	int up;

	send_prefixed(client, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	send_prefixed(client, ask_below, sizeof(ask_below) - 1);
	turn(f);
	up = accept4(server, NULL, NULL, SOCK_NONBLOCK);
	assert_true(up >= 0);
	turn(f);
	memcpy(reply, ask_below, sizeof(reply));
	memcpy(reply + 2, "\x81\x83", 2); /* there is no such name */
	send_prefixed(up, (char *)reply, sizeof(reply));
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 2 + sizeof(reply));
	assert_memory_equal(got + 2, reply, sizeof(reply));
	/* it has been answered: this one is nobody's */
	send_prefixed(up, (char *)reply, sizeof(reply));
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), -1);
	assert_int_equal(send(up, "\0\14\x12\x34" ANSWER, 14, 0), 14);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 14);
	close(up);
	close(server);
	close(client);
	turn(f);
}

static struct dns_pod *pod_of(struct fixture *f)
{
	uint64_t cookie = COOKIE;

	return map_get(f->dns->pods, &cookie, sizeof(cookie));
}

static const char ask_zone[] = HEAD ELSEWHERE "\x00\xfc\x00\x01";

/* A client that asks for a zone, and its nameserver. */
struct transfer {
	int server, up, client;
};

static struct transfer transfer_start(struct fixture *f)
{
	struct transfer t = {.server = tcp_socket("10.99.0.1:5300", true)};
	uint8_t got[512];

	t.client = tcp_client(f);
	send_prefixed(t.client, ask_zone, sizeof(ask_zone) - 1);
	turn(f);
	t.up = accept4(t.server, NULL, NULL, SOCK_NONBLOCK);
	assert_true(t.up >= 0);
	turn(f);
	assert_int_equal(recv(t.up, got, sizeof(got), 0), 2 + sizeof(ask_zone) - 1);
	return t;
}

static void transfer_end(struct fixture *f, const struct transfer *t)
{
	(void)close_fd(t->up);
	close(t->server);
	close(t->client);
	turn(f);
}

/* One message of it: 15 bytes with its length. */
static void transfer_send(struct fixture *f, int up, int what)
{
	char message[] = "\x12\x34\x84\0\0\0\0\1\0\0\0\0?";

	message[12] = (char)what;
	send_prefixed(up, message, 13);
	turn(f);
}

static void transfer_expect(int client, int what)
{
	uint8_t got[512];

	assert_int_equal(recv(client, got, sizeof(got), 0), 15);
	assert_int_equal(got[14], what);
}

/* RFC 5936, section 2.2: "an AXFR response [...] will consist of one or more DNS messages". */
static void a_zone_comes_in_as_many_messages_as_it_takes(void **state)
{
	struct fixture *f = *state;
	struct transfer t = transfer_start(f);
	uint8_t got[512];

	for (int what = 'a'; what < 'd'; what++) {
		transfer_send(f, t.up, what);
		transfer_expect(t.client, what);
	}
	/* nobody is asked again for what has come, and who has had it may ask for more */
	assert_int_equal(f->dns->tcp_queries, 0);
	send_prefixed(t.client, ask_below, sizeof(ask_below) - 1);
	turn(f);
	assert_int_equal(recv(t.up, got, sizeof(got), 0), 2 + sizeof(ask_below) - 1);
	transfer_send(f, t.up, 'd');
	assert_int_equal(f->dns->tcp_queries, 0);
	transfer_end(f, &t);
}

static void a_transfer_that_breaks_off_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct transfer t = transfer_start(f);
	uint8_t got[512];

	transfer_send(f, t.up, 'a');
	t.up = close_fd(t.up);
	turn(f);
	transfer_expect(t.client, 'a');
	assert_int_equal(recv(t.client, got, sizeof(got), 0), 0);
	transfer_end(f, &t);
}

/* It may have closed one way, or both: the kernel does not say. */
static void a_client_that_says_no_more_gets_the_rest_of_its_zone(void **state)
{
	struct fixture *f = *state;
	struct transfer t = transfer_start(f);
	uint8_t got[512];

	transfer_send(f, t.up, 'a');
	assert_int_equal(shutdown(t.client, SHUT_WR), 0);
	turn(f);
	transfer_send(f, t.up, 'b');
	assert_int_equal(recv(t.client, got, sizeof(got), 0), 30);
	for (int i = 0; i < 100 && pod_of(f)->clients_count > 0; i++)
		assert_int_equal(loop_run_once(f->loop, 100), 0);
	assert_int_equal(pod_of(f)->clients_count, 0);
	transfer_end(f, &t);
}

static void a_zone_that_is_refused_is_answered_once(void **state)
{
	struct fixture *f = *state;
	struct transfer t = transfer_start(f);
	uint8_t got[512];

	for (int i = 0; i < 2; i++) {
		send_prefixed(t.up, "\x12\x34\x84\x05\0\0\0\0\0\0\0\0", 12);
		turn(f);
	}
	assert_int_equal(recv(t.client, got, sizeof(got), 0), 14);
	transfer_end(f, &t);
}

/* Read all that is there. Return: bytes. */
static size_t drain(int fd)
{
	static uint8_t bytes[65536];
	ssize_t n;
	size_t sum = 0;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		sum += (size_t)n;
	return sum;
}

/* The pod's own nameserver reads what comes and is silent. */
static void large_tcp_queries_are_bounded_by_their_bytes(void **state)
{
	static uint8_t query[2 + LARGE] = {LARGE >> 8, LARGE & 0xff, 0x12, 0x34, 1, 0, 0, 2};
	struct fixture *f = *state;
	int server = tcp_socket("10.99.0.1:5300", true);
	int client = tcp_client(f), up = -1;
	size_t sent = 0, forwarded = 0, answered = 0;

	while (sent < N_LARGE * sizeof(query)) {
		size_t at = sent % sizeof(query);
		ssize_t n = send(client, query + at, sizeof(query) - at, MSG_NOSIGNAL);

		assert_true(n > 0 || errno == EAGAIN);
		sent += (size_t)MAX(n, 0);
		turn(f);
		if (up < 0)
			up = accept4(server, NULL, NULL, SOCK_NONBLOCK);
		forwarded += drain(up);
		answered += drain(client);
	}
	for (int i = 0; i < 20; i++) {
		turn(f);
		forwarded += drain(up);
		answered += drain(client);
	}
	/* room is left for the buffers that they come and go through */
	assert_in_range(forwarded / sizeof(query), 8, DNS_POD_BYTES / LARGE);
	assert_int_equal(forwarded % sizeof(query), 0);
	/* no more than the header of a SERVFAIL: nothing in it can be quoted */
	assert_int_equal(forwarded / sizeof(query) + answered / (2 + DNS_HEADER_LEN), N_LARGE);
	assert_in_range(f->dns->held, forwarded, DNS_POD_BYTES);
	close(client);
	close(up);
	close(server);
	dns_pod_del(f->dns, COOKIE);
	assert_int_equal(f->dns->held, 0);
}

/* Messages that never become whole. */
static void so_are_the_buffers_of_tcp_connections(void **state)
{
	static const uint8_t part[LARGE] = {0xff, 0xff};
	struct fixture *f = *state;
	int clients[20], closed = 0;
	char at[32];
	uint8_t got;

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		(void)snprintf(at, sizeof(at), "10.99.0.1:%zu", 5400 + i);
		clients[i] = tcp_client_at(f, at);
		assert_int_equal(send(clients[i], part, sizeof(part), 0), sizeof(part));
		turn(f);
		assert_in_range(f->dns->held, 1, DNS_POD_BYTES);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		closed += recv(clients[i], &got, 1, 0) == 0 || errno == ECONNRESET;
		close(clients[i]);
	}
	turn(f);
	assert_in_range(closed, 4, 13);
	assert_int_equal(f->dns->held, 0);
}

static void tcp_junk_hangs_up(void **state)
{
	struct fixture *f = *state;
	int client = tcp_client(f);
	uint8_t got[16];

	assert_int_equal(send(client, "\0\1x", 3, 0), 3);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 0);
	close(client);
}

static void tcp_queries_in_flight_outlive_their_listener(void **state)
{
	struct fixture *f = *state;
	int server = tcp_socket("10.99.0.1:5300", true);
	int client = tcp_client(f);
	uint8_t got[512];
	int up;

	send_prefixed(client, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	up = accept(server, NULL, NULL);
	assert_true(up >= 0);
	assert_false(dns_is_idle(f->dns));
	serve(f, tcp_socket(NULL, true));
	turn(f);
	assert_int_equal(send(up, "\0\14\x12\x34" ANSWER, 14, 0), 14);
	turn(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 14);
	assert_true(dns_is_idle(f->dns));
	/* and at its end */
	send_prefixed(client, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	leave(f);
	assert_int_equal(recv(client, got, sizeof(got), 0), 2 + sizeof(ask_elsewhere) - 1);
	assert_int_equal(got[2 + 3] & 15, DNS_SERVFAIL);
	assert_int_equal(recv(client, got, sizeof(got), 0), 0);
	close(up);
	close(server);
	close(client);
	turn(f);
}

/* Others have something to do in this loop. */
static void a_pod_that_dials_all_the_time_takes_turns(void **state)
{
	struct fixture *f = *state;
	struct dns_pod *pod = pod_of(f);
	int clients[N_AGAIN];
	char at[32];

	assert_int_equal(listen(pod->tcp.w.fd, N_AGAIN), 0);
	for (int i = 0; i < N_AGAIN; i++) {
		(void)snprintf(at, sizeof(at), "10.99.0.1:%d", 5500 + i);
		clients[i] = tcp_client_start(at);
	}
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_in_range(pod->clients_count, 1, N_AGAIN / 2);
	turn(f);
	assert_int_equal(pod->clients_count, N_AGAIN);
	for (int i = 0; i < N_AGAIN; i++)
		close(clients[i]);
	turn(f);
}

static void the_last_descriptors_are_the_agents(void **state)
{
	struct fixture *f = *state;
	uint8_t got;
	int client;

	is_scarce = true;
	client = tcp_client(f);
	is_scarce = false;
	assert_int_equal(recv(client, &got, 1, 0), 0);
	assert_int_equal(f->dns->stats.dropped, 1);
	close(client);
}

/* The listener stays readable. */
static void without_descriptors_the_loop_does_not_spin(void **state)
{
	struct fixture *f = *state;
	int client = tcp_client_start("10.99.0.1:5600"), next = dup(client);
	struct dns_pod *pod = pod_of(f);
	struct rlimit usual, low;
	uint64_t before;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	low = (struct rlimit){(rlim_t)next, usual.rlim_max};
	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	turn(f);
	before = loop_waited_us(f->loop);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	assert_true(loop_waited_us(f->loop) - before >= 20 * 1000);
	assert_int_equal(pod->clients_count, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	for (int i = 0; i < 100 && pod->clients_count == 0; i++)
		assert_int_equal(loop_run_once(f->loop, 100), 0);
	assert_int_equal(pod->clients_count, 1);
	close(client);
	turn(f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tcp_queries_are_answered_and_forwarded),
		T(a_tcp_client_that_is_gone_is_not_waited_for),
		T(two_tcp_queries_of_one_number_are_told_apart),
		T(a_zone_comes_in_as_many_messages_as_it_takes),
		T(a_transfer_that_breaks_off_ends_the_connection),
		T(a_client_that_says_no_more_gets_the_rest_of_its_zone),
		T(a_zone_that_is_refused_is_answered_once),
		T(large_tcp_queries_are_bounded_by_their_bytes),
		T(so_are_the_buffers_of_tcp_connections),
		T(tcp_junk_hangs_up),
		T(tcp_queries_in_flight_outlive_their_listener),
		T(a_pod_that_dials_all_the_time_takes_turns),
		T(the_last_descriptors_are_the_agents),
		T(without_descriptors_the_loop_does_not_spin),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
