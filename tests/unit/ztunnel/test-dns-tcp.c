/* SPDX-License-Identifier: Apache-2.0 */
/* dns - over TCP: answered, forwarded, and what a client does in between. */
#include "ztunnel/dns.h"

#include "tests/unit/ztunnel/dns_fixture.h"

/* Without the hook accept shows the client itself: so the client borrows the nameserver's address.
 */
static int tcp_client(struct fixture *f)
{
	int fd = tcp_socket("10.99.0.1:5300", false);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(5353),
				 .sin_addr.s_addr = inet_addr("10.99.0.1")};

	assert_true(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
	turn(f);
	return fd;
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tcp_queries_are_answered_and_forwarded),
		T(a_tcp_client_that_is_gone_is_not_waited_for),
		T(tcp_junk_hangs_up),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
