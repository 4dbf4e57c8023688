/* SPDX-License-Identifier: Apache-2.0 */
/* capture - outbound connections of an enrolled pod: tunnel, passthrough, refuse. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "harness.h"
#include "net/addr.h"
#include "stage.h"

#define ALIVE_NO_DNS (CV_POD_ALIVE | CV_POD_CAPTURE)

/* Both ends see what they should: ztunnel the destination that was meant and then the client, the
 * client its own choice and the pod's address. */
static void check_tunnelled(int client, const char *meant, const char *pod_address)
{
	const char *shown;
	int z = ztunnel_accept(&shown);

	CHECK_STR(shown, meant);
	CHECK_NAME(client, meant);
	CHECK_NAME(client, meant);
	CHECK_STR(own_name(client), text(pod_address, own_port(client)));
	CHECK_NAME(z, text(pod_address, own_port(client)));
	CHECK_NAME(z, text(pod_address, own_port(client)));
	exchange(client, z);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	close(z);
	close(client);
}

TEST(ipv4_to_a_mesh_workload_goes_to_ztunnel)
{
	check_tunnelled(connected(AF_INET, MESH4), MESH4, POD4);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	CHECK_EQ(counted(CV_PASSTHROUGH), 0);
}

TEST(ipv6_to_a_mesh_workload_goes_to_ztunnel)
{
	check_tunnelled(connected(AF_INET6, MESH6), MESH6, POD6);
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

TEST(mapped_ipv4_to_a_mesh_workload_goes_to_ztunnel)
{
	check_tunnelled(connected(AF_INET6, MESH4), MESH4, POD4);
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

TEST(a_mesh_service_goes_to_ztunnel_other_ports_of_its_address_do_not)
{
	int host, client, server;

	check_tunnelled(connected(AF_INET, SERVICE), SERVICE, POD4);
	enter_peer();
	host = listener(AF_INET, OTHER_PORT);
	enter_pod();
	client = connected(AF_INET, OTHER_PORT);
	server = accepted(host, NULL);
	exchange(client, server);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
}

static void check_passthrough(int family, const char *host, const char *pod_address)
{
	const char *shown;
	int listening, client, server;

	enter_peer();
	listening = listener(family, host);
	enter_pod();
	client = connected(family, host);
	server = accepted(listening, &shown);
	CHECK_STR(shown, text(pod_address, own_port(client)));
	CHECK_NAME(client, host);
	CHECK_STR(own_name(client), shown);
	exchange(client, server);
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

/* PEER4 and PEER6 are a node's addresses; 30080 is a node port of a service. */
static void node_port_put(void)
{
	struct cv_service_key key = {.port = htons(30080)};
	struct cv_addr addr;

	CHECK_OK(cv_addr_parse(PEER4, &addr));
	dest_put(skel->maps.cv_workloads, &addr, CV_DEST_NODE);
	CHECK_OK(cv_addr_parse(PEER6, &addr));
	dest_put(skel->maps.cv_workloads, &addr, CV_DEST_NODE);
	dest_put(skel->maps.cv_services, &key, CV_DEST_MESH);
}

TEST(a_node_port_at_a_nodes_address_goes_to_ztunnel)
{
	node_port_put();
	check_tunnelled(connected(AF_INET, PEER4 ":30080"), PEER4 ":30080", POD4);
	check_tunnelled(connected(AF_INET6, PEER4 ":30080"), PEER4 ":30080", POD4);
	check_tunnelled(connected(AF_INET6, "[" PEER6 "]:30080"), "[" PEER6 "]:30080", POD6);
	CHECK_EQ(counted(CV_TUNNEL), 3);
}

TEST(another_port_of_a_node_passes)
{
	node_port_put();
	check_passthrough(AF_INET6, "[" PEER6 "]:30081", POD6);
}

TEST(a_node_port_at_no_nodes_address_passes)
{
	node_port_put();
	check_passthrough(AF_INET, "10.96.0.10:30080", POD4);
}

TEST(without_ztunnel_a_node_port_is_refused)
{
	node_port_put();
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, PEER4 ":30080"), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, PEER4 ":30080");
}

TEST(ztunnel_may_not_dial_a_node_port_in_plaintext)
{
	node_port_put();
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, PEER4 ":30080"),
		    ECONNREFUSED);
	check_dropped(CV_DROP_KIND, PEER4 ":30080");
}

TEST(ipv4_to_a_host_outside_the_mesh_is_untouched)
{
	check_passthrough(AF_INET, PEER4 ":8080", POD4);
}

TEST(ipv6_to_a_host_outside_the_mesh_is_untouched)
{
	check_passthrough(AF_INET6, "[" PEER6 "]:8080", POD6);
}

TEST(mapped_ipv4_to_a_host_outside_the_mesh_is_untouched)
{
	check_passthrough(AF_INET6, PEER4 ":8080", POD4);
}

TEST(while_the_maps_lack_destinations_what_they_do_not_know_goes_to_ztunnel)
{
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DNS | CV_POD_UNKNOWN_TO_TUNNEL);
	check_tunnelled(connected(AF_INET, PEER4 ":8080"), PEER4 ":8080", POD4);
	check_tunnelled(connected(AF_INET6, "[" PEER6 "]:8080"), "[" PEER6 "]:8080", POD6);
	check_tunnelled(connected(AF_INET, OTHER_PORT), OTHER_PORT, POD4);
	CHECK_EQ(counted(CV_TUNNEL), 3);
	CHECK_EQ(counted(CV_PASSTHROUGH), 0);
}

TEST(while_the_maps_lack_destinations_and_ztunnel_is_dead_the_unknown_is_refused)
{
	pod_flags(CV_POD_CAPTURE | CV_POD_UNKNOWN_TO_TUNNEL);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, PEER4 ":8080"), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, PEER4 ":8080");
}

static void fresh_for(int64_t seconds)
{
	uint64_t until_ns = now_monotonic_us() * 1000 + (uint64_t)(seconds * 1000000000);
	uint32_t zero = 0;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_fresh_until), &zero, &until_ns,
				     BPF_ANY));
}

static void pods_ranges_put(void)
{
	range_put(PEER4 "/32", 0, CV_DEST_NODE);
	range_put(PEER6 "/64", 0, CV_DEST_NODE);
}

TEST(while_nobody_tells_of_new_pods_what_may_be_one_goes_to_ztunnel)
{
	pods_ranges_put();
	fresh_for(-1);
	check_tunnelled(connected(AF_INET, PEER4 ":8080"), PEER4 ":8080", POD4);
	check_tunnelled(connected(AF_INET6, PEER4 ":8080"), PEER4 ":8080", POD4);
	check_tunnelled(connected(AF_INET6, "[" PEER6 "]:8080"), "[" PEER6 "]:8080", POD6);
	CHECK_EQ(counted(CV_PASSTHROUGH), 0);
}

TEST(while_somebody_tells_of_new_pods_an_unknown_address_of_pods_passes)
{
	pods_ranges_put();
	fresh_for(600);
	check_passthrough(AF_INET, PEER4 ":8080", POD4);
}

TEST(while_somebody_tells_of_new_pods_an_unknown_ipv6_address_of_pods_passes)
{
	pods_ranges_put();
	fresh_for(600);
	check_passthrough(AF_INET6, "[" PEER6 "]:8080", POD6);
}

TEST(while_nobody_tells_of_new_pods_other_addresses_pass)
{
	range_put(POD4 "/32", 0, CV_DEST_NODE);
	range_put(PEER4 "/32", 0, 0);
	fresh_for(-1);
	check_passthrough(AF_INET, PEER4 ":8080", POD4);
}

TEST(while_nobody_tells_of_new_pods_one_that_is_known_to_be_outside_passes)
{
	struct cv_addr addr;

	CHECK_OK(cv_addr_parse(PEER4, &addr));
	dest_put(skel->maps.cv_workloads, &addr, 0);
	pods_ranges_put();
	fresh_for(-1);
	check_passthrough(AF_INET, PEER4 ":8080", POD4);
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_workloads), &addr));
}

TEST(while_nobody_tells_of_new_pods_and_ztunnel_is_dead_what_may_be_one_is_refused)
{
	range_put("0.0.0.0/0", 0, CV_DEST_NODE);
	fresh_for(-1);
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, PEER4 ":8080"), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, PEER4 ":8080");
}

TEST(a_namespace_that_is_not_enrolled_is_untouched)
{
	int listening, client;

	enter_peer();
	listening = listener(AF_INET, MESH4);
	client = connected(AF_INET, MESH4);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_TUNNEL) + counted(CV_PASSTHROUGH) + counted(CV_SELF), 0);
}

TEST(before_capture_is_on_connections_are_untouched)
{
	int listening, client;

	pod_flags(CV_POD_ALIVE);
	enter_peer();
	listening = listener(AF_INET, MESH4);
	enter_pod();
	client = connected(AF_INET, MESH4);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

TEST(the_loopback_address_depends_on_the_destination)
{
	const char *a, *b;

	/* Seen by ztunnel as its own end. */
	CHECK_OK(connected(AF_INET, MESH4));
	a = own_name(ztunnel_accept(NULL));
	CHECK_OK(connected(AF_INET, MESH4_B));
	b = own_name(ztunnel_accept(NULL));
	CHECK(strcmp(a, b) != 0);
	CHECK(strncmp(a, "127.", 4) == 0);
	CHECK_OK(connected(AF_INET, MESH4));
	CHECK_STR(own_name(ztunnel_accept(NULL)), a);
}

TEST(non_blocking_connect_is_captured)
{
	int client = tcp(AF_INET);
	struct pollfd p = {.fd = client, .events = POLLOUT};

	set_nonblock(client);
	CHECK_ERRNO(connect_to(client, AF_INET, MESH4), EINPROGRESS);
	CHECK_EQ(poll(&p, 1, WAIT_MS), 1);
	CHECK_NAME(client, MESH4);
	CHECK_STR(peer_name(client), MESH4);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	CHECK_OK(ztunnel_accept(NULL));
}

TEST(fast_open_by_sendto_is_captured)
{
	int client = tcp(AF_INET), z;
	struct sockaddr_storage ss;
	socklen_t len = native(MESH4, AF_INET, &ss);
	const char *shown;
	char buf[5];

	CHECK_EQ(sendto(client, "early", 5, MSG_FASTOPEN, (struct sockaddr *)&ss, len), 5);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	CHECK_EQ(recv(z, buf, 5, MSG_WAITALL), 5);
	CHECK_NAME(client, MESH4);
	CHECK_STR(own_name(client), text(POD4, own_port(client)));
}

TEST(deferred_fast_open_connect_is_captured)
{
	int client = tcp(AF_INET), on = 1, z;
	const char *shown;
	char byte;

	CHECK_OK(setsockopt(client, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	CHECK_EQ(send(client, "x", 1, 0), 1);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	CHECK_EQ(recv(z, &byte, 1, 0), 1);
	exchange(z, client);
}

static void check_mptcp(int family, const char *meant, const char *pod_address)
{
	int client = socket(family, SOCK_STREAM, IPPROTO_MPTCP), z;
	const char *shown;

	if (client < 0)
		test_skip("no MPTCP");
	CHECK_OK(connect_to(client, family, meant));
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, meant);
	CHECK_NAME(z, text(pod_address, own_port(client)));
	CHECK_NAME(client, meant);
	CHECK_STR(own_name(client), text(pod_address, own_port(client)));
	exchange(client, z);
	CHECK_EQ(map_size(skel->maps.cv_conns), 1);
	close(z);
	close(client);
	check_emptied(skel->maps.cv_conns);
}

TEST(mptcp_over_ipv4_is_captured)
{
	check_mptcp(AF_INET, MESH4, POD4);
}

TEST(mptcp_over_ipv6_is_captured)
{
	check_mptcp(AF_INET6, MESH6, POD6);
}

TEST(mptcp_over_mapped_ipv4_is_captured)
{
	check_mptcp(AF_INET6, MESH4, POD4);
}

TEST(bind_to_an_address_and_port_before_connect_is_captured)
{
	int client = tcp(AF_INET);

	bind_to(client, AF_INET, POD4 ":7001");
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	CHECK_STR(own_name(client), POD4 ":7001");
	check_tunnelled(client, MESH4, POD4);
}

TEST(bind_to_an_address_before_connect_is_captured)
{
	int client = tcp(AF_INET6);

	bind_to(client, AF_INET6, "[" POD6 "]:0");
	CHECK_OK(connect_to(client, AF_INET6, MESH6));
	check_tunnelled(client, MESH6, POD6);
}

TEST(bind_without_a_port_before_connect_is_captured)
{
	int client = tcp(AF_INET), on = 1;

	CHECK_OK(setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)));
	bind_to(client, AF_INET, POD4 ":0");
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

/* The kernel does not bind such a socket again: it comes from a loopback address, and the names
 * cover that. */
TEST(bind_to_a_port_alone_before_connect_is_captured)
{
	int client = tcp(AF_INET);

	bind_to(client, AF_INET, "0.0.0.0:7002");
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

TEST(bind_to_a_port_alone_before_connect_is_captured_on_ipv6)
{
	int client = tcp(AF_INET6);

	bind_to(client, AF_INET6, "[::]:7003");
	CHECK_OK(connect_to(client, AF_INET6, MESH6));
	check_tunnelled(client, MESH6, POD6);
}

TEST(one_source_port_reaches_several_destinations_at_once)
{
	const char *const to[] = {MESH4, MESH4_B, SERVICE};
	const char *shown;

	for (int i = 0; i < 3; i++) {
		int client = tcp(AF_INET);

		bind_to(client, AF_INET, POD4 ":7004");
		CHECK_OK(connect_to(client, AF_INET, to[i]));
		CHECK_OK(ztunnel_accept(&shown));
		CHECK_STR(shown, to[i]);
	}
}

static int bound_to_device(int family)
{
	int client = tcp(family);

	CHECK_OK(setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
	return client;
}

TEST(a_device_binding_is_lifted)
{
	int client = bound_to_device(AF_INET);

	CHECK_OK(connect_to(client, AF_INET, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

TEST(a_device_binding_is_lifted_on_ipv6_and_mapped)
{
	int client = bound_to_device(AF_INET6);

	CHECK_OK(connect_to(client, AF_INET6, MESH6));
	check_tunnelled(client, MESH6, POD6);
	client = bound_to_device(AF_INET6);
	CHECK_OK(connect_to(client, AF_INET6, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

TEST(a_device_binding_of_an_unprivileged_process_is_lifted_or_refused)
{
	int client = bound_to_device(AF_INET);

	CHECK_OK(setresuid(65534, 65534, 0));
	if (connect_to(client, AF_INET, MESH4) < 0) {
		CHECK_EQ(errno, bare_refusal());
		CHECK_OK(setresuid(0, 0, 0));
		check_dropped(CV_DROP_BIND, MESH4);
		return;
	}
	CHECK_OK(setresuid(0, 0, 0));
	check_tunnelled(client, MESH4, POD4);
}

TEST(a_mark_with_a_route_of_its_own_does_not_lead_out)
{
	int client = tcp(AF_INET), mark = 0x4356;

	shell("ip rule add fwmark 0x4356 table 77 && ip route add default via " PEER4 " table 77");
	CHECK_OK(setsockopt(client, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)));
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

TEST(a_socket_made_before_enrolment_is_captured_when_it_connects_after)
{
	int client;

	pod_remove();
	client = tcp(AF_INET);
	pod_flags(ALIVE_NO_DNS);
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	check_tunnelled(client, MESH4, POD4);
}

TEST(a_connection_open_at_enrolment_is_left_as_it_is)
{
	int listening, client, server;

	pod_remove();
	enter_peer();
	listening = listener(AF_INET, MESH4);
	enter_pod();
	client = connected(AF_INET, MESH4);
	server = accepted(listening, NULL);
	steer_all();
	pod_flags(ALIVE_NO_DNS);
	exchange(client, server);
	CHECK_NAME(client, MESH4);
	pod_remove();
	exchange(client, server);
}

TEST(a_connection_open_at_release_goes_on_through_ztunnel)
{
	int client = connected(AF_INET, MESH4), z = ztunnel_accept(NULL);

	pod_remove();
	exchange(client, z);
	CHECK_NAME(client, MESH4);
}

TEST(udp_to_other_ports_is_untouched)
{
	int host = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = native(MESH4, AF_INET, &ss);
	char buf[8];

	close(host);
	enter_peer();
	host = socket(AF_INET, SOCK_DGRAM, 0);
	bind_to(host, AF_INET, MESH4);
	enter_pod();
	CHECK_EQ(sendto(client, "plain", 5, 0, (struct sockaddr *)&ss, len), 5);
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 5);
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	CHECK_EQ(send(client, "again", 5, 0), 5);
	CHECK_EQ(recv(host, buf, sizeof(buf), 0), 5);
	CHECK_EQ(counted(CV_DNS) + counted(CV_TUNNEL), 0);
}
