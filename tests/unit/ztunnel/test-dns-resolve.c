/* SPDX-License-Identifier: Apache-2.0 */
/* dns-resolve - names that a connection needs, asked of the pod's nameserver by c-ares. */
#include "base/map.h"
#include "tests/unit/ztunnel/dns_fixture.h"
#include "ztunnel/dns_internal.h"

#define QUESTION   (sizeof(ask_elsewhere) - 1)
#define TYPE_AT    (QUESTION - 4)
#define IS_CUT     0x02
#define ADDRESS    "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x01\x02\x03"
#define PREFIX     2
#define ANSWER_LEN (QUESTION + sizeof(ADDRESS) - 1)

struct asked {
	struct dns_ask ask;
	bool is_answered;
	int error;
	size_t count;
	struct cv_addr first;
};

static void on_answer(struct dns_ask *ask, int error, const struct cv_addr *addrs, size_t count)
{
	struct asked *a = container_of(ask, struct asked, ask);

	a->is_answered = true;
	a->error = error;
	a->count = count;
	if (count > 0)
		a->first = addrs[0];
}

/* reply_write() - to one of c-ares' own questions. @flags: 2: it is cut. Return: its length. */
static size_t reply_write(const uint8_t *query, uint8_t flags, bool has_address, uint8_t *into)
{
	memcpy(into, query, QUESTION);
	into[2] = 0x81 | flags;
	into[3] = 0x80;
	into[7] = has_address;
	if (!has_address)
		return QUESTION;
	memcpy(into + QUESTION, ADDRESS, sizeof(ADDRESS) - 1);
	return ANSWER_LEN;
}

/* udp_answer() - what has come: of addresses of IPv6 there are none, those of IPv4 do not fit. */
static void udp_answer(struct fixture *f)
{
	uint8_t query[512], reply[512];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);

	while (recvfrom(f->server, query, sizeof(query), 0, (struct sockaddr *)&from, &len) ==
	       (ssize_t)QUESTION) {
		bool is_v4 = query[TYPE_AT + 1] == DNS_TYPE_A;
		size_t size = reply_write(query, is_v4 ? IS_CUT : 0, false, reply);

		assert_int_equal(sendto(f->server, reply, size, 0, (struct sockaddr *)&from, len),
				 size);
	}
}

/* tcp_answer() - whole. Return: whether somebody has asked. */
static bool tcp_answer(struct fixture *f, int listener)
{
	uint8_t query[512], reply[512] = {0, ANSWER_LEN};
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return false;
	turn(f);
	assert_int_equal(recv(fd, query, sizeof(query), 0), PREFIX + QUESTION);
	assert_int_equal(reply_write(query + PREFIX, 0, true, reply + PREFIX), ANSWER_LEN);
	assert_int_equal(send(fd, reply, PREFIX + ANSWER_LEN, 0), PREFIX + ANSWER_LEN);
	turn(f);
	close(fd);
	return true;
}

/* Hosts with many addresses, or behind a long chain of aliases: the very first one of a pod. */
static void an_answer_that_does_not_fit_is_had_by_tcp_at_once(void **state)
{
	const uint64_t cookie = COOKIE;
	struct fixture *f = *state;
	struct dns_pod *pod = map_get(f->dns->pods, &cookie, sizeof(cookie));
	struct asked a = {.ask = {.host = "www.debian.org", .on_answer = on_answer}};
	int listener = tcp_socket("127.0.0.53:53", true);
	const struct cv_addr expected = mesh_addr("10.1.2.3");
	bool has_come = false;

	pod->nameservers[0] = mesh_addr("127.0.0.53");
	pod->nameservers_count = 1;
	dns_resolve(f->dns, COOKIE, &a.ask);
	for (int i = 0; i < 100 && !a.is_answered; i++) {
		turn(f);
		udp_answer(f);
		has_come |= tcp_answer(f, listener);
	}
	assert_true(a.is_answered && has_come);
	assert_int_equal(a.error, 0);
	assert_int_equal(a.count, 1);
	assert_true(cv_addr_equal(&a.first, &expected));
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_that_does_not_fit_is_had_by_tcp_at_once,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
