/* SPDX-License-Identifier: Apache-2.0 */
/* dns - over UDP: answered, forwarded, failed, bounded. */
#include "ztunnel/dns.h"

#include "base/buf.h"
#include "tests/unit/ztunnel/dns_fixture.h"
#include "ztunnel/dns_internal.h"
#include "ztunnel/memory_limit.h"

#define LARGE 60000

/* Ask nameserver number 5. */
static void client_put(struct fixture *f, const void *p, size_t len)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port_of(f->listen_udp)),
				 .sin_addr.s_addr = htonl(0x7f400005)};

	assert_int_equal(sendto(f->client, p, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
}

static void client_send(struct fixture *f, const void *p, size_t len)
{
	client_put(f, p, len);
	turn(f);
}

static ssize_t client_recv(struct fixture *f, uint8_t *into, size_t size)
{
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(f->client, into, size, 0, (struct sockaddr *)&from, &len);

	/* the answer comes from where the question went */
	if (n >= 0)
		assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f400005);
	return n;
}

static void names_of_the_mesh_are_answered_at_once(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];
	ssize_t n;

	client_send(f, ask_httpd, sizeof(ask_httpd) - 1);
	n = client_recv(f, got, sizeof(got));
	assert_int_equal(n, sizeof(ask_httpd) - 1 + 16);
	assert_memory_equal(got + n - 4, "\x0a\x60\x00\x01", 4);
	assert_int_equal(f->asked, 0);
}

#define DB                                                                                         \
	"\x02"                                                                                     \
	"db\x04"                                                                                   \
	"demo\x03svc\x04"                                                                          \
	"corp\x05local\x00"

/* A service without an address of its own is ours to answer for in the cluster's domain alone. */
static void the_clusters_domain_is_the_control_planes_to_say(void **state)
{
	static const char ask[] = HEAD DB TYPE_A, short_name[] = HEAD "\x02"
								      "db\x00" TYPE_A;
	struct state_builder *b = NULL;
	struct fixture *f = *state;
	struct state *s;
	uint8_t got[512];

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(
		b, &(struct mesh_service){.name = "db", .hostname = "db.demo.svc.corp.local"});
	mesh_put_workload(b, &(struct mesh_workload){.name = "db-0",
						     .addrs = {"10.0.0.9"},
						     .services = {"demo/db.demo.svc.corp.local"}});
	s = mesh_build(b);
	state_builder_free(b);
	dns_set_state(f->dns, s);
	state_unref(s);
	client_send(f, ask, sizeof(ask) - 1);
	assert_int_equal(client_recv(f, got, sizeof(got)), -1);
	dns_set_cluster_domain(f->dns, "corp.local");
	client_send(f, ask, sizeof(ask) - 1);
	assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(ask) - 1 + 16);
	/* and of a pod whose search list is not known */
	client_send(f, short_name, sizeof(short_name) - 1);
	assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(short_name) - 1 + 16);
}

static int listener_dropped(struct fixture *f)
{
	struct buf b = {0};
	const char *found;
	int n;

	assert_int_equal(dns_metrics(f->dns, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	found = strstr((char *)buf_head(&b), "\nculvert_dns_dropped_total ");
	assert_non_null(found);
	n = atoi(strchr(found + 1, ' '));
	buf_reset(&b);
	return n;
}

/* Ask at @addr, without the hooks that lead the pod's own questions elsewhere. Return: bytes of
 * what the client hears; -1 nothing. */
static ssize_t ask_at(struct fixture *f, const char *addr, const void *p, size_t len)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port_of(f->listen_udp))};
	int on = 1, fd = udp_socket(AF_INET);
	uint8_t got[512];
	ssize_t n;

	assert_int_equal(inet_pton(AF_INET, addr, &to.sin_addr), 1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	assert_int_equal(sendto(fd, p, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
	turn(f);
	n = recv(fd, got, sizeof(got), 0);
	close(fd);
	return n;
}

static void who_asks_at_the_pods_address_is_not_heard(void **state)
{
	static const char *const outside[] = {POD_ADDR, "10.255.255.255"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		assert_int_equal(ask_at(f, outside[i], ask_httpd, sizeof(ask_httpd) - 1), -1);
		assert_int_equal(ask_at(f, outside[i], ask_elsewhere, sizeof(ask_elsewhere) - 1),
				 -1);
	}
	assert_int_equal(listener_dropped(f), 2 * ARRAY_SIZE(outside));
	assert_int_equal(f->asked, 0);
}

static void a_machine_in_the_pod_asks_at_its_nameservers_address(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask_at(f, MACHINE_ASKS, ask_httpd, sizeof(ask_httpd) - 1),
			 sizeof(ask_httpd) - 1 + 16);
	/* its nameserver refuses */
	assert_int_equal(ask_at(f, MACHINE_ASKS, ask_elsewhere, sizeof(ask_elsewhere) - 1),
			 sizeof(ask_elsewhere) - 1);
	assert_int_not_equal(f->asked, 0);
	assert_int_equal(listener_dropped(f), 0);
}

static void everything_else_is_forwarded_byte_for_byte(void **state)
{
	struct fixture *f = *state;
	const char *const asked[] = {ask_elsewhere, ask_txt,
				     "\x12\x34\x28\0\0\1\0\0\0\0\0\0 update"};
	const size_t lens[] = {sizeof(ask_elsewhere) - 1, sizeof(ask_txt) - 1, 19};
	static const char reply[] = "\x12\x34\x81\x80\0\0whatever it says\x00\xff";
	uint8_t got[512];

	know_nameserver(f);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);

		client_send(f, asked[i], lens[i]);
		assert_int_equal(
			recvfrom(f->server, got, sizeof(got), 0, (struct sockaddr *)&from, &len),
			lens[i]);
		assert_memory_equal(got, asked[i], lens[i]);
		assert_true(sendto(f->server, reply, sizeof(reply), 0, (struct sockaddr *)&from,
				   len) > 0);
		turn(f);
		assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(reply));
		assert_memory_equal(got, reply, sizeof(reply));
	}
}

/* Have the nameserver answer what it is asked. Return: length of what the client hears. */
static ssize_t ask_and_reply(struct fixture *f, const void *reply, size_t reply_len, uint8_t *got,
			     size_t size)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);

	client_send(f, ask_below, sizeof(ask_below) - 1);
	assert_int_equal(recvfrom(f->server, got, size, 0, (struct sockaddr *)&from, &len),
			 sizeof(ask_below) - 1);
	assert_memory_equal(got, ask_below, sizeof(ask_below) - 1);
	assert_int_equal(sendto(f->server, reply, reply_len, 0, (struct sockaddr *)&from, len),
			 reply_len);
	turn(f);
	return client_recv(f, got, size);
}

/* There is no such name, it has no address, the nameserver failed. */
static void below_a_wildcard_a_nameservers_no_is_passed_on(void **state)
{
	static const char *const flags[] = {"\x81\x83\0\1\0\0", "\x81\x80\0\1\0\0",
					    "\x81\x82\0\1\0\1"};
	char host[256], reply[sizeof(ask_below) - 1];
	struct fixture *f = *state;
	uint8_t got[512];

	know_nameserver(f);
	memcpy(reply, ask_below, sizeof(reply));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		memcpy(reply + 2, flags[i], 6);
		assert_int_equal(ask_and_reply(f, reply, sizeof(reply), got, sizeof(got)),
				 sizeof(reply));
		assert_memory_equal(got, reply, sizeof(reply));
	}
	/* nor has the name an address of ours now */
	for (int i = 0; i < 256; i++) {
		struct cv_addr a = mesh_addr("241.0.7.0");

		a.bytes[15] = (uint8_t)i;
		(void)str_copy(host, sizeof(host), "*.wild.org");
		assert_int_equal(dns_name_at(f->dns, COOKIE, &a, host), -EADDRNOTAVAIL);
	}
}

static void below_a_wildcard_a_name_that_there_is_has_an_address_of_ours(void **state)
{
	static const char reply[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0" BELOW TYPE_A
				    "\xc0\x0c" TYPE_A "\0\0\0\x1e\0\4\xc0\0\2\1";
	char host[256] = "*.wild.org";
	struct fixture *f = *state;
	struct cv_addr a = mesh_addr("241.0.7.0");
	uint8_t got[512];

	know_nameserver(f);
	assert_int_equal(ask_and_reply(f, reply, sizeof(reply) - 1, got, sizeof(got)),
			 sizeof(reply) - 1);
	assert_memory_equal(got + sizeof(reply) - 1 - 4, "\xf1\x00\x07", 3);
	a.bytes[15] = got[sizeof(reply) - 2];
	assert_int_equal(dns_name_at(f->dns, COOKIE + 1, &a, host), -EADDRNOTAVAIL);
	assert_string_equal(host, "*.wild.org");
	assert_int_equal(dns_name_at(f->dns, COOKIE, &a, host), 0);
	assert_string_equal(host, "x.wild.org");
}

static void a_query_waits_for_its_nameserver_to_be_known(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];

	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	assert_int_equal(recv(f->server, got, sizeof(got), 0), -1);
	know_nameserver(f);
	turn(f);
	assert_int_equal(recv(f->server, got, sizeof(got), 0), sizeof(ask_elsewhere) - 1);
}

static void a_refusing_nameserver_gives_servfail(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];

	know_nameserver(f);
	close(f->server);
	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(ask_elsewhere) - 1);
	assert_int_equal(got[3] & 15, 2);
	f->server = -1;
}

/* Another id; no response; another name; another type. Then in capitals, and it is. */
static void an_answer_to_something_else_is_not_taken(void **state)
{
	static const struct {
		size_t at;
		uint8_t flip;
	} changes[] = {{0, 1}, {2, 0x80}, {14, 1}, {sizeof(ask_elsewhere) - 4, 1}};
	struct fixture *f = *state;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t asked[512], got[512];
	ssize_t n;

	know_nameserver(f);
	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	n = recvfrom(f->server, asked, sizeof(asked), 0, (struct sockaddr *)&from, &len);
	assert_int_equal(n, sizeof(ask_elsewhere) - 1);
	asked[2] |= 0x80;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		asked[changes[i].at] ^= changes[i].flip;
		assert_true(sendto(f->server, asked, (size_t)n, 0, (struct sockaddr *)&from, len) >
			    0);
		turn(f);
		assert_int_equal(client_recv(f, got, sizeof(got)), -1);
		asked[changes[i].at] ^= changes[i].flip;
	}
	asked[14] ^= 0x20;
	assert_true(sendto(f->server, asked, (size_t)n, 0, (struct sockaddr *)&from, len) > 0);
	turn(f);
	assert_int_equal(client_recv(f, got, sizeof(got)), n);
}

static void without_sockets_queries_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct buf b = {0};

	f->is_dry = true;
	know_nameserver(f);
	/* quickly: in a few seconds they are given up, and make room */
	for (int i = 0; i < 300; i++) {
		client_put(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
		assert_true(loop_run_once(f->loop, 0) >= 0);
	}
	turn(f);
	assert_true(f->asked >= 1 && f->asked < 20);
	assert_int_equal(dns_metrics(f->dns, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	assert_non_null(strstr((char *)buf_head(&b), "culvert_dns_dropped_total 44\n"));
	assert_non_null(strstr((char *)buf_head(&b),
			       "istio_dns_requests_total{request_query_type=\"a\",request_protocol="
			       "\"udp\",source_canonical_service=\"unknown\",source_canonical_"
			       "revision=\"unknown\"} 300\n"));
	assert_non_null(strstr((char *)buf_head(&b), "istio_dns_upstream_requests_total{"));
	assert_non_null(strstr((char *)buf_head(&b), "istio_dns_upstream_failures_total{"));
	buf_reset(&b);
}

/* Some pods with a nameserver that is silent are not to take the names from all others. */
static void other_pods_queries_leave_room_for_some(void **state)
{
	struct fixture *f = *state;
	struct buf b = {0};

	f->is_dry = true;
	know_nameserver(f);
	f->dns->queries += DNS_ALL_QUERIES;
	for (int i = 0; i < DNS_POD_SHARE + 3; i++)
		client_put(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	turn(f);
	assert_int_equal(dns_metrics(f->dns, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	assert_non_null(strstr((char *)buf_head(&b), "culvert_dns_dropped_total 3\n"));
	buf_reset(&b);
}

/* Large queries that nobody answers. Return: how many were refused at once. */
static unsigned int ask_large(struct fixture *f, int count)
{
	static uint8_t query[LARGE] = HEAD;
	unsigned int refused = 0;
	uint8_t got[512];

	/* two questions: none of ours */
	query[5] = 2;
	know_nameserver(f);
	for (int i = 0; i < count; i++) {
		client_send(f, query, sizeof(query));
		if (client_recv(f, got, sizeof(got)) < 0)
			continue;
		assert_int_equal(got[3] & 15, DNS_SERVFAIL);
		refused++;
	}
	return refused;
}

static void large_queries_of_a_pod_are_bounded_by_their_bytes(void **state)
{
	struct fixture *f = *state;
	unsigned int refused = ask_large(f, 30), taken = 30 - refused;

	assert_in_range(taken, DNS_POD_BYTES / LARGE - 1, DNS_POD_BYTES / LARGE);
	assert_in_range(f->dns->held, taken * LARGE, DNS_POD_BYTES);
	dns_pod_del(f->dns, COOKIE);
	assert_int_equal(f->dns->held, 0);
}

static void so_are_those_of_all_pods_but_for_some_of_each(void **state)
{
	struct fixture *f = *state;

	f->dns->held += DNS_ALL_BYTES;
	assert_int_equal(ask_large(f, 3), 2);
	f->dns->held -= DNS_ALL_BYTES;
}

static void when_memory_is_short_queries_are_refused(void **state)
{
	static const char *const files[] = {"memory.max", "memory.current", "memory.stat"};
	char dir[] = "/tmp/culvert-test-dns-XXXXXX", path[128];
	struct fixture *f = *state;

	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		assert_int_equal(file_write_atomic(path, "1\n", 2, 0600), 0);
	}
	memory_limit_init(dir);
	assert_int_equal(ask_large(f, 2), 2);
	memory_limit_init("/nowhere");
	assert_int_equal(ask_large(f, 2), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
}

static void junk_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];

	client_send(f, "x", 1);
	client_send(f, "\x12\x34\x81\x80\0\0\0\0\0\0\0\0", 12);
	assert_int_equal(client_recv(f, got, sizeof(got)), -1);
}

static void unknown_pods_get_their_sockets_closed(void **state)
{
	struct fixture *f = *state;
	int fd = udp_socket(AF_INET);

	dns_sockets_give(f->dns, COOKIE + 1, CV_SOCKET_DNS, ZDS_INET, &fd, 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	dns_pod_del(f->dns, COOKIE);
	dns_pod_del(f->dns, COOKIE);
	assert_int_equal(fcntl(f->listen_udp, F_GETFD), -1);
}

/* Forward a query. Return: length of what the nameserver got. */
static size_t ask_server(struct fixture *f, uint8_t got[512], struct sockaddr_in *from)
{
	socklen_t len = sizeof(*from);

	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	assert_int_equal(recvfrom(f->server, got, 512, 0, (struct sockaddr *)from, &len),
			 sizeof(ask_elsewhere) - 1);
	got[2] |= 0x80;
	return sizeof(ask_elsewhere) - 1;
}

static void answer_by_server(struct fixture *f, const uint8_t *reply, size_t len,
			     const struct sockaddr_in *to)
{
	assert_int_equal(sendto(f->server, reply, len, 0, (struct sockaddr *)to, sizeof(*to)), len);
	turn(f);
}

/* By the old one as well as by the new one, where the pod is led meanwhile. */
static void what_is_in_flight_is_answered_when_the_agent_makes_new_listeners(void **state)
{
	struct fixture *f = *state;
	int old = f->listen_udp, ports[2] = {port_of(old)};
	struct sockaddr_in asker, from = {0};
	socklen_t from_len = sizeof(from);
	uint8_t asked[512], got[512];
	size_t len;

	know_nameserver(f);
	len = ask_server(f, asked, &asker);
	serve(f, tcp_socket(NULL, true));
	ports[1] = port_of(f->listen_udp);
	answer_by_server(f, asked, len, &asker);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(recvfrom(f->client, got, sizeof(got), 0, (struct sockaddr *)&from,
					  &from_len),
				 len);
		assert_memory_equal(got, asked, len);
		assert_int_equal(ntohs(from.sin_port), ports[i]);
	}
	leave(f);
	assert_int_equal(fcntl(old, F_GETFD), -1);
	(void)ask_server(f, asked, &asker);
}

static void who_waits_for_sockets_has_those_of_the_next_agent(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];

	know_nameserver(f);
	f->is_dry = true;
	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	f->is_dry = false;
	serve(f, tcp_socket(NULL, true));
	turn(f);
	assert_int_equal(recv(f->server, got, sizeof(got), 0), sizeof(ask_elsewhere) - 1);
}

static void what_is_in_flight_in_a_drain_is_answered(void **state)
{
	struct sockaddr_in asker;
	struct fixture *f = *state;
	uint8_t asked[512], got[512];
	size_t len;

	know_nameserver(f);
	assert_true(dns_is_idle(f->dns));
	len = ask_server(f, asked, &asker);
	assert_false(dns_is_idle(f->dns));
	dns_pod_leave(f->dns, COOKIE);
	answer_by_server(f, asked, len, &asker);
	assert_int_equal(client_recv(f, got, sizeof(got)), len);
	assert_memory_equal(got, asked, len);
	assert_true(dns_is_idle(f->dns));
	/* what comes a moment later, too */
	client_send(f, ask_httpd, sizeof(ask_httpd) - 1);
	assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(ask_httpd) - 1 + 16);
	leave(f);
}

static void who_waits_for_sockets_in_a_drain_hears_that_there_are_none(void **state)
{
	struct fixture *f = *state;
	uint8_t got[512];
	unsigned int asked;

	know_nameserver(f);
	f->is_dry = true;
	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	asked = f->asked;
	dns_pod_leave(f->dns, COOKIE);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(ask_elsewhere) - 1);
		assert_int_equal(got[3] & 15, DNS_SERVFAIL);
		client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	}
	/* that would keep the agent from being left */
	assert_int_equal(f->asked, asked);
}

static void what_is_in_flight_at_the_end_hears_so(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in asker;
	uint8_t got[512];

	know_nameserver(f);
	(void)ask_server(f, got, &asker);
	dns_pod_del(f->dns, COOKIE);
	assert_int_equal(client_recv(f, got, sizeof(got)), sizeof(ask_elsewhere) - 1);
	assert_int_equal(got[3] & 15, DNS_SERVFAIL);
}

/* An IPv6 nameserver is known by the listener that it comes to, and is told before the pod when an
 * agent is new. */
static void ipv6_nameservers_outlive_their_pods_return(void **state)
{
	struct fixture *f = *state;
	struct zds_nameserver ns = {.netns_cookie = COOKIE, .slot = 1, .addr = mesh_addr("::1")};
	struct zds_pod_add pod = {.namespace_ = "demo"};
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int client = udp_socket(AF_INET6);
	int server = udp_socket(AF_INET6);
	int udp[CV_DNS_PORTS];
	uint8_t got[512];

	bind_to(server, "[::1]:53", AF_INET6);
	dns_nameserver(f->dns, &ns);
	dns_pod_del(f->dns, COOKIE);
	for (int i = 0; i < CV_DNS_PORTS; i++)
		udp[i] = dns_listener();
	to.sin6_port = htons(port_of(udp[1]));
	assert_int_equal(dns_pod_add(f->dns, COOKIE, &pod, udp, tcp_socket(NULL, true)), 0);
	assert_true(sendto(client, ask_elsewhere, sizeof(ask_elsewhere) - 1, 0,
			   (struct sockaddr *)&to, sizeof(to)) > 0);
	turn(f);
	assert_int_equal(recv(server, got, sizeof(got), 0), sizeof(ask_elsewhere) - 1);
	close(client);
	close(server);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_of_the_mesh_are_answered_at_once),
		T(the_clusters_domain_is_the_control_planes_to_say),
		T(who_asks_at_the_pods_address_is_not_heard),
		T(a_machine_in_the_pod_asks_at_its_nameservers_address),
		T(everything_else_is_forwarded_byte_for_byte),
		T(below_a_wildcard_a_nameservers_no_is_passed_on),
		T(below_a_wildcard_a_name_that_there_is_has_an_address_of_ours),
		T(a_query_waits_for_its_nameserver_to_be_known),
		T(a_refusing_nameserver_gives_servfail),
		T(an_answer_to_something_else_is_not_taken),
		T(without_sockets_queries_are_bounded),
		T(other_pods_queries_leave_room_for_some),
		T(large_queries_of_a_pod_are_bounded_by_their_bytes),
		T(so_are_those_of_all_pods_but_for_some_of_each),
		T(when_memory_is_short_queries_are_refused),
		T(junk_is_dropped),
		T(unknown_pods_get_their_sockets_closed),
		T(what_is_in_flight_is_answered_when_the_agent_makes_new_listeners),
		T(who_waits_for_sockets_has_those_of_the_next_agent),
		T(what_is_in_flight_in_a_drain_is_answered),
		T(who_waits_for_sockets_in_a_drain_hears_that_there_are_none),
		T(what_is_in_flight_at_the_end_hears_so),
		T(ipv6_nameservers_outlive_their_pods_return),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
