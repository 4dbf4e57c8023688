/* SPDX-License-Identifier: Apache-2.0 */
/* sockdestroy - real connections, both families and mapped, are reset; others stay. */
#include "userspace/agent/sockdestroy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/addr.h"

static struct cv_sockaddr own(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct cv_sockaddr sa;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &sa), 0);
	return sa;
}

static void check(int family, const char *at)
{
	struct sockaddr_storage ss;
	struct cv_sockaddr sa, a, b;
	socklen_t len = sizeof(ss);
	int listening = socket(family, SOCK_STREAM, 0), client = socket(family, SOCK_STREAM, 0);
	int server;
	char byte;

	assert_int_equal(cv_sockaddr_parse(at, &sa), 0);
	assert_int_equal(cv_sockaddr_to_native(&sa, family, &ss, &len), 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&ss, len), 0);
	server = accept(listening, NULL, NULL);
	assert_true(server >= 0);
	a = own(client);
	b = own(server);
	b.port = htons((uint16_t)(ntohs(b.port) ^ 1));
	assert_int_equal(sockdestroy_tcp(&a, &b), -ENOENT);
	b = own(server);
	assert_int_equal(sockdestroy_tcp(&a, &b), 0);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNABORTED);
	assert_int_equal(recv(server, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	(void)close(client);
	(void)close(server);
	(void)close(listening);
}

static void connections_are_reset(void **state)
{
	if (geteuid() != 0)
		skip();
	check(AF_INET, "127.0.0.1:0");
	check(AF_INET6, "[::1]:0");
	check(AF_INET6, "127.0.0.1:0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(connections_are_reset)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
