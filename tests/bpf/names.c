/* SPDX-License-Identifier: Apache-2.0 */
/* names - the application sees the client that ztunnel named; nobody else may name one. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "harness.h"
#include "net/addr.h"

/* ztunnel's dial to the application: from a spread loopback address, on behalf of `client`. */
static int dial_app(int family, const char *from, const char *client, const char *to)
{
	int fd = kind_tcp(family, CV_SOCKET_DIAL_APP);

	bind_to(fd, family, from);
	CHECK_OK(set_client(fd, client));
	CHECK_OK(connect_to(fd, family, to));
	return fd;
}

static void check_app_sees(int app, int dial, const char *client)
{
	const char *shown;
	int server = accepted(app, &shown);

	CHECK_STR(shown, client);
	CHECK_NAME(server, client);
	CHECK_NAME(server, client);
	exchange(dial, server);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	close(server);
	close(dial);
}

TEST(the_application_sees_the_named_client)
{
	int app = listener(AF_INET, "0.0.0.0:80");
	int dial = dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:4321", POD4 ":80");

	/* ztunnel itself sees the connection as it is. */
	CHECK_NAME(dial, POD4 ":80");
	check_app_sees(app, dial, "10.244.7.7:4321");
}

TEST(the_application_sees_the_named_client_on_ipv6)
{
	int app = listener(AF_INET6, "[::]:80");

	check_app_sees(app, dial_app(AF_INET6, "[::1]:0", "[fd00::7]:4321", "[" POD6 "]:80"),
		       "[fd00::7]:4321");
}

TEST(a_dual_stack_application_sees_the_named_client)
{
	int app = listener(AF_INET6, "[::]:80");

	check_app_sees(app, dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:1", POD4 ":80"),
		       "10.244.7.7:1");
	check_app_sees(app, dial_app(AF_INET6, "127.64.3.5:0", "10.244.7.7:2", POD4 ":80"),
		       "10.244.7.7:2");
	check_app_sees(app, dial_app(AF_INET, "127.64.3.4:0", "[fd00::7]:3", POD4 ":80"),
		       "[fd00::7]:3");
}

TEST(an_ipv4_application_cannot_be_shown_an_ipv6_client)
{
	int app = listener(AF_INET, "0.0.0.0:80");
	int dial = dial_app(AF_INET, "127.64.3.4:0", "[fd00::7]:4321", POD4 ":80");

	check_app_sees(app, dial, text("127.64.3.4", own_port(dial)));
}

TEST(an_mptcp_application_sees_the_named_client)
{
	int app = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	if (app < 0)
		test_skip("no MPTCP");
	bind_to(app, AF_INET, "0.0.0.0:80");
	CHECK_OK(listen(app, 4));
	check_app_sees(app, dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:4321", POD4 ":80"),
		       "10.244.7.7:4321");
}

TEST(the_client_is_named_where_the_application_is_behind_sk_lookup_too)
{
	int app = listener(AF_INET, "0.0.0.0:80");

	steer_all();
	check_app_sees(app, dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:4321", POD4 ":80"),
		       "10.244.7.7:4321");
	CHECK_EQ(counted(CV_VOUCHED), 1);
	CHECK_EQ(counted(CV_STEERED), 0);
}

TEST(ways_between_application_and_ztunnel_begin_with_reno)
{
	int app = listener(AF_INET, "0.0.0.0:80"), other = listener(AF_INET, "127.0.0.1:99");
	const char *own = congestion(-1);

	CHECK_STR(congestion(connected(AF_INET, MESH4)), "reno");
	CHECK_STR(congestion(ztunnel_accept(NULL)), "reno");
	CHECK_STR(congestion(dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:4321", POD4 ":80")),
		  "reno");
	CHECK_STR(congestion(accepted(app, NULL)), "reno");
	CHECK_STR(congestion(connected(AF_INET, "127.0.0.1:99")), own); /* nothing of ours */
	CHECK_STR(congestion(accepted(other, NULL)), own);
}

TEST(ways_between_application_and_ztunnel_leave_what_was_chosen)
{
	int app = listener(AF_INET, "0.0.0.0:80"), client = tcp(AF_INET);
	const char *own = congestion(-1);

	congestion_choose(client, own);
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	CHECK_STR(congestion(client), own);
	CHECK_STR(congestion(ztunnel_accept(NULL)), "reno");
	congestion_choose(app, own);
	dial_app(AF_INET, "127.64.3.4:0", "10.244.7.7:4321", POD4 ":80");
	CHECK_STR(congestion(accepted(app, NULL)), own);
}

TEST(only_app_diallers_may_name_a_client)
{
	const enum cv_socket_kind others[] = {CV_SOCKET_APP, CV_SOCKET_LISTEN, CV_SOCKET_DIAL_HBONE,
					      CV_SOCKET_DIAL_PLAIN, CV_SOCKET_DNS};

	CHECK_ERRNO(set_client(tcp(AF_INET), "10.0.0.1:1"), ENOPROTOOPT);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		CHECK_ERRNO(set_client(kind_tcp(AF_INET, others[i]), "10.0.0.1:1"), ENOPROTOOPT);
	CHECK_OK(set_client(kind_tcp(AF_INET, CV_SOCKET_DIAL_APP), "10.0.0.1:1"));
}

TEST(a_client_of_the_wrong_size_or_option_is_refused)
{
	struct cv_sockaddr sa[2];
	int fd = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);
	struct cv_socket value;

	memset(sa, 0x41, sizeof(sa));
	for (socklen_t len = 0; len <= sizeof(sa); len++)
		if (len != sizeof(sa[0]))
			CHECK_ERRNO(setsockopt(fd, CV_SOL_CULVERT, CV_SO_CLIENT, sa, len),
				    ENOPROTOOPT);
	CHECK_ERRNO(setsockopt(fd, CV_SOL_CULVERT, 2, sa, sizeof(sa[0])), ENOPROTOOPT);
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_sockets), &fd, &value));
	CHECK_EQ(value.flags, 0);
}

TEST(long_options_of_others_are_left_alone)
{
	static char option[16384];
	int fd = tcp(AF_INET), size = 65536;

	memcpy(option, &size, sizeof(size));
	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, option, sizeof(option)));
	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, option, 4096));
}

/* What is on no record of ours keeps its name. */
TEST(connections_inside_the_pod_keep_their_names)
{
	int app = listener(AF_INET, "0.0.0.0:80"), client = connected(AF_INET, "127.0.0.1:80");
	const char *shown;

	CHECK_OK(accepted(app, &shown));
	CHECK_STR(shown, text("127.0.0.1", own_port(client)));
	CHECK_NAME(client, "127.0.0.1:80");
	CHECK_EQ(counted(CV_SELF), 1);
}

/* accept(2) without an address leaves the destination for the first getpeername: documented in
 * bpf/README.md. */
TEST(the_destination_is_told_once)
{
	int client = connected(AF_INET, MESH4), z;
	int at = pod.outbound[first_readable(pod.outbound, CV_OUTBOUND_PORTS)];

	z = accept4(at, NULL, NULL, SOCK_CLOEXEC);
	CHECK_OK(z);
	CHECK_NAME(z, MESH4);
	CHECK_NAME(z, text(POD4, own_port(client)));
}
