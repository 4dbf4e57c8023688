/* SPDX-License-Identifier: Apache-2.0 */
/* refuse - when in doubt, ECONNREFUSED and an event, on every way to connect; and what a second
 * connect finds. */
#include <errno.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "stage.h"
#include "watch.h"

static void check_refused(int family, const char *to)
{
	int client = tcp(family);

	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(client, family, to), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, to);
}

TEST(without_a_ztunnel_ipv4_is_refused)
{
	struct cv_event ev;

	check_refused(AF_INET, MESH4);
	CHECK(event_of(CV_DROP_ZTUNNEL_DEAD, &ev));
	if (is_old_kernel())
		return;
	CHECK_EQ(ev.pid, getpid());
	CHECK(strncmp(ev.comm, "test-bpf", 8) == 0);
}

TEST(without_a_ztunnel_ipv6_is_refused)
{
	check_refused(AF_INET6, MESH6);
}

TEST(without_a_ztunnel_mapped_ipv4_is_refused)
{
	check_refused(AF_INET6, MESH4);
}

TEST(without_a_ztunnel_a_service_is_refused)
{
	check_refused(AF_INET, SERVICE);
}

/* SO_ERROR of a connection under way, once it is known. */
static int pending_error(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	CHECK_EQ(poll(&p, 1, WAIT_MS), 1);
	CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
	return error;
}

TEST(without_a_ztunnel_a_non_blocking_connect_is_refused)
{
	int client = tcp(AF_INET);

	pod_flags(CV_POD_CAPTURE);
	set_nonblock(client);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4),
		    is_old_kernel() ? EINPROGRESS : ECONNREFUSED);
	if (is_old_kernel())
		CHECK_EQ(pending_error(client), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4);
}

TEST(without_a_ztunnel_fast_open_is_refused)
{
	int client = tcp(AF_INET);
	struct sockaddr_storage ss;
	socklen_t len = native(MESH4, AF_INET, &ss);

	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(sendto(client, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&ss, len),
		    ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4);
}

TEST(without_a_ztunnel_mptcp_is_refused)
{
	int client = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	if (client < 0)
		test_skip("no MPTCP");
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4);
}

TEST(without_a_ztunnel_a_socket_bound_to_a_device_is_refused)
{
	int client = tcp(AF_INET);

	CHECK_OK(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), bare_refusal());
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4);
}

TEST(without_a_ztunnel_hosts_outside_the_mesh_are_reached)
{
	int listening, client;

	pod_flags(CV_POD_CAPTURE);
	enter_peer();
	listening = listener(AF_INET, PEER4 ":8080");
	enter_pod();
	client = connected(AF_INET, PEER4 ":8080");
	exchange(client, accepted(listening, NULL));
}

TEST(when_ztunnel_is_back_a_refused_socket_connects)
{
	int client = tcp(AF_INET);
	const char *shown;

	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), ECONNREFUSED);
	pod_flags(CV_POD_CAPTURE | CV_POD_ALIVE);
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, MESH4);
}

/* ztunnel's death closes its listeners before the agent has noticed: the kernel refuses by itself.
 */
TEST(a_closed_listener_refuses_before_alive_is_cleared)
{
	int client = tcp(AF_INET);

	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		close(pod.outbound[i]);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), ECONNREFUSED);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

static int refused_by_a_closed_listener(int family, const char *to)
{
	int client = tcp(family);

	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		close(pod.outbound[i]);
	CHECK_ERRNO(connect_to(client, family, to), ECONNREFUSED);
	return client;
}

TEST(a_second_connect_forgets_the_first)
{
	int client = refused_by_a_closed_listener(AF_INET, MESH4), listening;

	enter_peer();
	listening = listener(AF_INET, PEER4 ":8080");
	enter_pod();
	CHECK_OK(connect_to(client, AF_INET, PEER4 ":8080"));
	CHECK_NAME(client, PEER4 ":8080");
	CHECK_STR(own_name(client), text(POD4, own_port(client)));
	exchange(client, accepted(listening, NULL));
}

static void check_binding_is_undone(int family, const char *first, const char *host)
{
	int client = refused_by_a_closed_listener(family, first);
	int listening = listener(AF_INET6, "[::]:8080");

	CHECK_OK(connect_to(client, family, text(host, 8080)));
	CHECK_NAME(client, text(host, 8080));
	CHECK_STR(own_name(client), text(host, own_port(client)));
	exchange(client, accepted(listening, NULL));
}

TEST(the_bound_pod_address_is_forgotten_by_the_next_connect_on_ipv4)
{
	check_binding_is_undone(AF_INET, MESH4, "127.0.0.1");
}

TEST(the_bound_pod_address_is_forgotten_by_the_next_connect_on_ipv6)
{
	check_binding_is_undone(AF_INET6, MESH6, "::1");
}

TEST(the_bound_pod_address_is_forgotten_by_the_next_connect_when_mapped)
{
	check_binding_is_undone(AF_INET6, MESH4, "127.0.0.1");
}

TEST(a_pod_address_that_the_pod_does_not_have_refuses)
{
	pod.value.addr4 = pod.value.addr6;
	pod.value.addr4.w[0] = 0;
	pod.value.addr4.w[1] = 0;
	pod.value.addr4.w[2] = htonl(0xffff);
	pod.value.addr4.w[3] = htonl(0x0af40105);
	pod_flags(CV_POD_CAPTURE | CV_POD_ALIVE);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, MESH4), ECONNREFUSED);
	check_dropped(CV_DROP_BIND, MESH4);
}

TEST(a_pod_without_an_ipv4_address_is_captured_all_the_same)
{
	const char *shown;

	memset(&pod.value.addr4, 0, sizeof(pod.value.addr4));
	pod_flags(CV_POD_CAPTURE | CV_POD_ALIVE);
	CHECK_OK(connected(AF_INET, MESH4));
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, MESH4);
}

TEST(a_pod_may_not_dial_the_redirect_listeners_itself)
{
	const char *const own[] = {"127.0.0.1", "127.64.0.9", POD4, "0.0.0.0"};

	for (int i = 0; i < 4; i++)
		CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET,
				       text(own[i], pod.value.outbound_ports[0])),
			    ECONNREFUSED);
	CHECK_ERRNO(connect_to(tcp(AF_INET6), AF_INET6, text("::1", pod.value.outbound_ports[3])),
		    ECONNREFUSED);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, text("127.0.0.1", pod.value.dns_tcp_port)),
		    ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_NO_ORIGIN), 6);
	CHECK(!is_pending(pod.outbound[0]));
}

/* A connection that came before capture, say: ztunnel must not take the client's address for a
 * destination. */
TEST(a_redirect_listener_is_shown_nothing_when_the_origin_is_unknown)
{
	const char *shown;
	struct cv_event ev;
	int client;

	pod_flags(CV_POD_ALIVE);
	client = connected(AF_INET, text("127.0.0.1", pod.value.outbound_ports[0]));
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, "[::]:0");
	CHECK_EQ(counted(CV_DROP_NO_ORIGIN), 1);
	CHECK(event_of(CV_DROP_NO_ORIGIN, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	close(client);
}

/* Of a kernel without IPv6. */
TEST(an_ipv4_redirect_listener_is_shown_nothing_either)
{
	int listening = listener(AF_INET, "0.0.0.0:0"), client;
	const char *shown;

	set_kind(listening, CV_SOCKET_LISTEN);
	pod.value.outbound_ports[0] = own_port(listening);
	pod_flags(CV_POD_ALIVE);
	client = connected(AF_INET, text("127.0.0.1", pod.value.outbound_ports[0]));
	CHECK_OK(accepted(listening, &shown));
	CHECK_STR(shown, "0.0.0.0:0");
	CHECK_EQ(counted(CV_DROP_NO_ORIGIN), 1);
	close(client);
}

TEST(a_full_connection_map_shows_ztunnel_no_origin)
{
	const char *shown;
	struct cv_event ev;
	int client;

	map_fill(skel->maps.cv_conns);
	client = connected(AF_INET, MESH4);
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, "[::]:0");
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	CHECK_EQ(counted(CV_DROP_NO_ORIGIN), 1);
	CHECK(event_of(CV_DROP_MAP_FULL, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	close(client);
}

/* Before 6.1 a program cannot choose the error: the connection goes to port 0 of this host, or gets
 * EPERM. */
TEST(without_the_newer_helpers_it_is_refused_as_well)
{
	int client;

	stage_cgroup_leave();
	CHECK_OK(stage_cgroup("culvert-test-bpf-old"));
	CHECK_OK(stage_load(true, &skel));
	CHECK(is_old_kernel());
	stage_pod();
	watch_start();
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, MESH4), ECONNREFUSED);
	CHECK_ERRNO(connect_to(tcp(AF_INET6), AF_INET6, MESH6), ECONNREFUSED);
	CHECK_ERRNO(connect_to(tcp(AF_INET6), AF_INET6, MESH4), ECONNREFUSED);
	client = tcp(AF_INET);
	CHECK_OK(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), EPERM);
	CHECK_EQ(counted(CV_DROP_ZTUNNEL_DEAD), 4);
	stage_cgroup_leave();
}
