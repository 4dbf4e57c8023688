/* SPDX-License-Identifier: Apache-2.0 */
/* dns - port 53 reaches ztunnel, which learns the nameserver; answers seem to come from it. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "harness.h"
#include "net/addr.h"
#include "question.h"

#define NS_A "10.96.0.53:53"
#define NS_B "10.96.0.54:53"

/* The nameserver that a question was for: by number for IPv4, by slot for IPv6. */
static uint32_t number_of(const struct question *q, uint32_t slot)
{
	struct cv_nameserver_slot key = {.netns_cookie = pod.cookie, .slot = slot};
	uint32_t number = ntohl(q->to.s6_addr32[3]) - 0x7f400000;

	if (!IN6_IS_ADDR_V4MAPPED(&q->to))
		CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_nameserver_slots), &key,
					     &number));
	return number;
}

static void check_number(uint32_t number, const char *server)
{
	struct cv_sockaddr sa = {.port = htons(53)};
	char buf[CV_SOCKADDR_STRLEN];

	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_nameserver_addrs), &number,
				     &sa.addr));
	CHECK_STR(cv_sockaddr_format(&sa, buf), server);
}

static void check_answered(int fd, const char *wanted, const char *server)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char data[32] = "", buf[CV_SOCKADDR_STRLEN];
	struct cv_sockaddr sa;

	CHECK_OK(recvfrom(fd, data, sizeof(data) - 1, 0, (struct sockaddr *)&ss, &len));
	CHECK_STR(data, wanted);
	CHECK_OK(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &sa));
	CHECK_STR(cv_sockaddr_format(&sa, buf), server);
}

/* Two nameservers on one socket, answered in the other order. */
static void check_two(int family, const char *a, const char *b, bool is_v6)
{
	struct question first, second;
	int fd = udp(family), other = pod.dns_udp[is_v6 ? 1 : 0];

	CHECK_EQ(ask(fd, family, a, "a?"), 2);
	CHECK_EQ(ask(fd, family, b, "b?"), 2);
	ztunnel_receive(pod.dns_udp[0], &first);
	ztunnel_receive(other, &second);
	CHECK_STR(first.data, "a?");
	CHECK_STR(second.data, "b?");
	check_number(number_of(&first, 0), a);
	check_number(number_of(&second, 1), b);
	ztunnel_answer(other, &second, "b!");
	ztunnel_answer(pod.dns_udp[0], &first, "a!");
	check_answered(fd, "b!", b);
	check_answered(fd, "a!", a);
	CHECK_EQ(counted(CV_DNS), 2);
	CHECK_EQ(counted(CV_NAMESERVER_NEW), 2);
}

TEST(two_ipv4_nameservers_on_one_socket_stay_apart)
{
	struct cv_event ev;
	char buf[CV_SOCKADDR_STRLEN];

	check_two(AF_INET, NS_A, NS_B, false);
	CHECK(event_of(CV_NAMESERVER_NEW, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), NS_B);
	CHECK_EQ(ev.arg, 2);
	CHECK_EQ(ev.arg2, 0);
}

TEST(two_mapped_ipv4_nameservers_on_one_socket_stay_apart)
{
	check_two(AF_INET6, NS_A, NS_B, false);
}

TEST(two_ipv6_nameservers_on_one_socket_stay_apart)
{
	struct cv_event ev;

	check_two(AF_INET6, "[fd00::53]:53", "[fd00::54]:53", true);
	CHECK(event_of(CV_NAMESERVER_NEW, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	CHECK_EQ(ev.arg2, 2);
	check_number(ev.arg, "[fd00::54]:53");
}

TEST(a_nameserver_is_announced_once)
{
	struct question q;
	int fd = udp(AF_INET);

	for (int i = 0; i < 3; i++) {
		CHECK_OK(ask(fd, AF_INET, NS_A, "q"));
		ztunnel_receive(pod.dns_udp[0], &q);
		CHECK_EQ(number_of(&q, 0), 1);
	}
	CHECK_EQ(counted(CV_NAMESERVER_NEW), 1);
}

static void check_connected(int family, const char *server)
{
	struct question q;
	int fd = udp(family);
	char buf[8];

	CHECK_OK(connect_to(fd, family, server));
	CHECK_NAME(fd, server);
	CHECK_EQ(send(fd, "a?", 2, 0), 2);
	ztunnel_receive(pod.dns_udp[0], &q);
	check_number(number_of(&q, 0), server);
	ztunnel_answer(pod.dns_udp[0], &q, "a!");
	check_answered(fd, "a!", server);
	CHECK_EQ(send(fd, "b?", 2, 0), 2);
	ztunnel_receive(pod.dns_udp[0], &q);
	ztunnel_answer(pod.dns_udp[0], &q, "b!");
	CHECK_EQ(recv(fd, buf, sizeof(buf), 0), 2);
	CHECK_NAME(fd, server);
}

TEST(connected_ipv4_dns_is_captured)
{
	check_connected(AF_INET, NS_A);
}

TEST(connected_ipv6_dns_is_captured)
{
	check_connected(AF_INET6, "[fd00::53]:53");
}

TEST(connected_mapped_dns_is_captured)
{
	check_connected(AF_INET6, NS_A);
}

TEST(a_connected_dns_socket_connects_elsewhere_afterwards)
{
	int fd = udp(AF_INET), host;
	char buf[8];

	CHECK_OK(connect_to(fd, AF_INET, NS_A));
	enter_peer();
	host = udp(AF_INET);
	bind_to(host, AF_INET, PEER4 ":9");
	enter_pod();
	CHECK_OK(connect_to(fd, AF_INET, PEER4 ":9"));
	CHECK_NAME(fd, PEER4 ":9");
	CHECK_EQ(send(fd, "x", 1, 0), 1);
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 1);
}

static void check_tcp(int family, const char *server)
{
	int client = connected(family, server), z;
	const char *shown;

	z = accepted(pod.dns_tcp, &shown);
	CHECK_STR(shown, server);
	CHECK_NAME(client, server);
	exchange(client, z);
	CHECK_EQ(counted(CV_DNS), 1);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

TEST(dns_over_tcp_is_captured)
{
	check_tcp(AF_INET, NS_A);
}

TEST(dns_over_tcp_and_ipv6_is_captured)
{
	check_tcp(AF_INET6, "[fd00::53]:53");
}

TEST(dns_over_tcp_mapped_is_captured)
{
	check_tcp(AF_INET6, NS_A);
}

TEST(dns_over_tcp_to_a_mesh_workload_is_tunnelled)
{
	const char *shown;

	CHECK_OK(connected(AF_INET, "10.244.9.9:53"));
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, "10.244.9.9:53");
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

TEST(without_a_ztunnel_dns_is_refused)
{
	pod_flags(CV_POD_CAPTURE | CV_POD_DNS);
	CHECK_ERRNO(ask(udp(AF_INET), AF_INET, NS_A, "q"), bare_refusal());
	check_dropped(CV_DROP_ZTUNNEL_DEAD, NS_A);
	CHECK_ERRNO(ask(udp(AF_INET6), AF_INET6, "[fd00::53]:53", "q"), bare_refusal());
	CHECK_ERRNO(connect_to(udp(AF_INET), AF_INET, NS_A), bare_refusal());
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, NS_A), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_ZTUNNEL_DEAD), 4);
}

/* A nameserver in the peer's namespace, asked for real. */
static void check_untouched(int fd, const char *server)
{
	int host;
	char buf[8];

	enter_peer();
	host = udp(AF_INET);
	bind_to(host, AF_INET, server);
	enter_pod();
	CHECK_EQ(ask(fd, AF_INET, server, "q"), 1);
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 1);
	CHECK_EQ(counted(CV_DNS), 0);
}

TEST(with_dns_capture_off_nameservers_are_asked_directly)
{
	pod_flags(CV_POD_CAPTURE | CV_POD_ALIVE);
	check_untouched(udp(AF_INET), PEER4 ":53");
}

TEST(port_5353_is_untouched)
{
	check_untouched(udp(AF_INET), PEER4 ":5353");
}

TEST(a_device_bound_datagram_socket_is_left_alone)
{
	int fd = udp(AF_INET);

	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
	check_untouched(fd, PEER4 ":53");
}

/* As resolv.conf's fe80::53%eth0, at which the peer listens. */
static int link_local_nameserver(int type, struct sockaddr_in6 *ret)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
	int host;

	CHECK_EQ(inet_pton(AF_INET6, "fe80::53", &sa.sin6_addr), 1);
	enter_peer();
	shell("ip addr add fe80::53/64 dev eth0 nodad && "
	      "ip neigh replace fe80::2 lladdr 02:00:00:00:00:02 nud permanent dev eth0");
	sa.sin6_scope_id = if_nametoindex("eth0");
	host = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
	CHECK_OK(host);
	CHECK_OK(bind(host, (struct sockaddr *)&sa, sizeof(sa)));
	enter_pod();
	shell("ip addr add fe80::2/64 dev eth0 nodad && "
	      "ip neigh replace fe80::53 lladdr 02:00:00:00:00:01 nud permanent dev eth0");
	sa.sin6_scope_id = if_nametoindex("eth0");
	*ret = sa;
	return host;
}

/* Only the application knows its zone: nobody could ask it for the pod. */
TEST(a_link_local_nameserver_is_asked_directly)
{
	struct sockaddr_in6 sa;
	int host = link_local_nameserver(SOCK_DGRAM, &sa), fd = udp(AF_INET6);
	char buf[8];

	CHECK_EQ(sendto(fd, "a", 1, 0, (struct sockaddr *)&sa, sizeof(sa)), 1);
	CHECK(is_readable(host, WAIT_MS));
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 1);
	CHECK_OK(connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
	CHECK_EQ(send(fd, "b", 1, 0), 1);
	CHECK(is_readable(host, WAIT_MS));
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 1);
	CHECK_EQ(counted(CV_DNS), 0);
	CHECK_EQ(counted(CV_NAMESERVER_NEW), 0);
}

TEST(a_link_local_nameserver_is_asked_directly_over_tcp)
{
	struct sockaddr_in6 sa;
	int host = link_local_nameserver(SOCK_STREAM, &sa), fd = tcp(AF_INET6);

	CHECK_OK(listen(host, 1));
	CHECK_OK(connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
	CHECK_OK(accept(host, NULL, NULL));
	CHECK_EQ(counted(CV_DNS), 0);
}

TEST(a_nameserver_inside_the_pod_is_asked_directly)
{
	int local = udp(AF_INET), fd = udp(AF_INET);
	char buf[8];

	bind_to(local, AF_INET, "127.0.0.53:53");
	CHECK_EQ(ask(fd, AF_INET, "127.0.0.53:53", "q"), 1);
	CHECK_EQ(recv(local, buf, sizeof(buf), 0), 1);
	CHECK_EQ(counted(CV_DNS), 0);
}

TEST(without_room_a_nameserver_is_asked_directly)
{
	uint32_t zero = 0, last = CV_MAX_NAMESERVERS - 1;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_nameserver_last), &zero, &last,
				     BPF_ANY));
	check_untouched(udp(AF_INET), PEER4 ":53");
	CHECK_EQ(counted(CV_NAMESERVER_FULL), 1);
}

TEST(a_fourth_ipv6_nameserver_of_a_pod_is_left_alone)
{
	int fd = udp(AF_INET6);

	for (int i = 1; i <= CV_DNS_PORTS + 1; i++)
		CHECK_OK(ask(fd, AF_INET6, text("fd00::53", 53), "q"));
	CHECK_OK(ask(fd, AF_INET6, "[fd00::54]:53", "q"));
	CHECK_OK(ask(fd, AF_INET6, "[fd00::55]:53", "q"));
	CHECK_EQ(counted(CV_NAMESERVER_FULL), 0);
	CHECK_OK(ask(fd, AF_INET6, "[fd00::56]:53", "q"));
	CHECK_EQ(counted(CV_NAMESERVER_FULL), 1);
	CHECK_EQ(counted(CV_NAMESERVER_NEW), 3);
}

/* What an application receives from its own resolver on loopback is no answer of ours. */
TEST(loopback_datagrams_keep_their_source)
{
	int local = udp(AF_INET), fd = udp(AF_INET);

	bind_to(local, AF_INET, "127.0.0.1:5300");
	bind_to(fd, AF_INET, "127.0.0.1:5301");
	CHECK_EQ(ask(local, AF_INET, "127.0.0.1:5301", "x"), 1);
	check_answered(fd, "x", "127.0.0.1:5300");
}
