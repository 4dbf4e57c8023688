/* SPDX-License-Identifier: Apache-2.0 */
/* dns - real sockets in a network namespace of our own: answered, forwarded, failed, bounded.
 * Without the hooks a client itself sends to the address that a nameserver is encoded as. */
#include "ztunnel/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/str.h"
#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"

#define COOKIE 42
#define HEAD   "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define HTTPD                                                                                      \
	"\x05httpd\x04"                                                                            \
	"demo\x03svc\x07"                                                                          \
	"cluster\x05local\x00"
#define ELSEWHERE                                                                                  \
	"\x03www\x06"                                                                              \
	"debian\x03org\x00"
#define BELOW                                                                                      \
	"\x01x\x04"                                                                                \
	"wild\x03org\x00"
#define ANSWER "\x81\x80\0\1\0\0\0\0\0\0" /* a header behind its id */
#define TYPE_A "\x00\x01\x00\x01"

static const char ask_httpd[] = HEAD HTTPD TYPE_A;
static const char ask_elsewhere[] = HEAD ELSEWHERE TYPE_A;
static const char ask_below[] = HEAD BELOW TYPE_A;
static const char ask_txt[] = HEAD HTTPD "\x00\x10\x00\x01";

struct fixture {
	struct loop *loop;
	struct dns *dns;
	int listen_udp;
	int client;  /* UDP */
	int server;  /* the pod's own nameserver, 127.0.0.53:53 */
	bool is_dry; /* the agent gives nothing */
	unsigned int asked;
};

static int udp_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void bind_to(int fd, const char *text, int family)
{
	struct cv_sockaddr sa = mesh_sockaddr(text);
	struct sockaddr_storage native;
	socklen_t len;

	assert_int_equal(cv_sockaddr_to_native(&sa, family, &native, &len), 0);
	if (bind(fd, (struct sockaddr *)&native, len) < 0)
		fail_msg("bind %s: %s", text, strerror(errno));
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage native;
	socklen_t len = sizeof(native);
	struct cv_sockaddr sa;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&native, &len), 0);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&native, len, &sa), 0);
	return ntohs(sa.port);
}

static int dns_listener(void)
{
	int fd = udp_socket(AF_INET6);
	int on = 1, off = 0;

	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
	bind_to(fd, "[::]:0", AF_INET6);
	return fd;
}

static int tcp_socket(const char *at, bool is_listening)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
	if (at)
		bind_to(fd, at, AF_INET);
	if (is_listening)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* The agent's answer comes in a later turn, as the real one's does. */
static struct {
	struct loop_task task;
	struct fixture *f;
	uint32_t kind;
	uint32_t family;
	uint32_t count;
} later;

static void on_later(struct loop_task *t _unused_)
{
	int fds[8];

	for (uint32_t i = 0; i < later.count; i++) {
		fds[i] = later.kind == CV_SOCKET_DNS
				 ? udp_socket(later.family == ZDS_INET ? AF_INET : AF_INET6)
				 : tcp_socket(NULL, false);
	}
	dns_sockets_give(later.f->dns, COOKIE, later.kind, later.family, fds, later.count);
}

static void need_sockets(void *arg, uint64_t cookie, uint32_t kind, uint32_t family, uint32_t count)
{
	struct fixture *f = arg;

	assert_int_equal(cookie, COOKIE);
	assert_true(count <= 8);
	f->asked++;
	if (f->is_dry)
		return;
	later.f = f;
	later.kind = kind;
	later.family = family;
	later.count = count;
	later.task.on_task = on_later;
	loop_task_queue(f->loop, &later.task);
}

static struct state *world(void)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(b, &(struct mesh_service){.name = "httpd", .vips = {"10.96.0.1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "wild",
						   .hostname = "*.wild.org",
						   .vips = {"241.0.7.0"},
						   .vip_bits = 24,
						   .ports = {443, 443}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "wild",
						     .services = {"demo/*.wild.org"},
						     .ports = {443, 443},
						     .dns_host = "*.wild.org",
						     .is_tcp = true,
						     .is_host_network = true});
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

static int setup(void **state)
{
	static struct fixture f;
	struct dns_config config = {.need_sockets = need_sockets, .arg = &f};
	struct zds_pod_add pod = {.namespace_ = "demo"};
	int udp[CV_DNS_PORTS];
	struct state *s = world();

	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_new(&f.loop), 0);
	config.loop = f.loop;
	assert_int_equal(dns_new(&config, &f.dns), 0);
	dns_set_state(f.dns, s);
	state_unref(s);
	for (int i = 0; i < CV_DNS_PORTS; i++)
		udp[i] = dns_listener();
	f.listen_udp = udp[0];
	assert_int_equal(dns_pod_add(f.dns, COOKIE, &pod, udp, tcp_socket("10.99.0.1:5353", true)),
			 0);
	f.client = udp_socket(AF_INET);
	f.server = udp_socket(AF_INET);
	bind_to(f.server, "127.0.0.53:53", AF_INET);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_task_del(&later.task);
	dns_free(f->dns);
	loop_free(f->loop);
	close(f->client);
	close(f->server);
	return 0;
}

static void know_nameserver(struct fixture *f)
{
	struct zds_nameserver ns = {.number = 5, .addr = mesh_addr("127.0.0.53")};

	dns_nameserver(f->dns, &ns);
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f->loop, 1) >= 0);
}

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

static void everything_else_is_forwarded_byte_for_byte(void **state)
{
	struct fixture *f = *state;
	const char *const asked[] = {ask_elsewhere, ask_txt,
				     "\x12\x34\x28\0\0\1\0\0\0\0\0\0 update"};
	const size_t lens[] = {sizeof(ask_elsewhere) - 1, sizeof(ask_txt) - 1, 19};
	static const char reply[] = "\x12\x34\x81\x80whatever it says\x00\xff";
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

static void an_answer_with_another_id_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t got[512];

	know_nameserver(f);
	client_send(f, ask_elsewhere, sizeof(ask_elsewhere) - 1);
	assert_true(recvfrom(f->server, got, sizeof(got), 0, (struct sockaddr *)&from, &len) > 0);
	got[0] ^= 1;
	assert_true(sendto(f->server, got, 40, 0, (struct sockaddr *)&from, len) > 0);
	turn(f);
	assert_int_equal(client_recv(f, got, sizeof(got)), -1);
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

static void set_address(const char *name, const char *addr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&r.ifr_addr;

	(void)str_copy(r.ifr_name, sizeof(r.ifr_name), name);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(addr);
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
	r.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static int own_namespace(void **state _unused_)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		print_message("skipped: no network namespace of our own: %s\n", strerror(errno));
		exit(0);
	}
	set_address("lo", "127.0.0.1");
	set_address("lo:1", "10.99.0.1");
	return 0;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_of_the_mesh_are_answered_at_once),
		T(everything_else_is_forwarded_byte_for_byte),
		T(below_a_wildcard_a_nameservers_no_is_passed_on),
		T(below_a_wildcard_a_name_that_there_is_has_an_address_of_ours),
		T(a_query_waits_for_its_nameserver_to_be_known),
		T(a_refusing_nameserver_gives_servfail),
		T(an_answer_with_another_id_is_not_taken),
		T(without_sockets_queries_are_bounded),
		T(junk_is_dropped),
		T(unknown_pods_get_their_sockets_closed),
		T(ipv6_nameservers_outlive_their_pods_return),
		T(tcp_queries_are_answered_and_forwarded),
		T(tcp_junk_hangs_up),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
