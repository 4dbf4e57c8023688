/* SPDX-License-Identifier: Apache-2.0 */
/* lookup - inbound: vouched connections reach the application, all others ztunnel, or nobody. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"

static int connect_from_peer(int family, const char *to)
{
	int client;

	enter_peer();
	client = tcp(family);
	CHECK_OK(connect_to(client, family, to));
	enter_pod();
	return client;
}

/* sk_lookup's drop makes the kernel answer with a reset: nobody waits for a timeout. */
static void check_reset(int client, int family, const char *to)
{
	CHECK_ERRNO(connect_to(client, family, to), ECONNREFUSED);
	close(client);
}

static void check_steered(int family, const char *to, int to_listener, const char *from)
{
	int app = listener(AF_INET6, "[::]:80"), client, server;
	const char *shown;

	steer_all();
	client = connect_from_peer(family, to);
	CHECK(!is_pending(app));
	server = accepted(to_listener, &shown);
	/* Plaintext listeners see the real source, and the address that was asked for as their own.
	 */
	CHECK_STR(shown, text(from, own_port(client)));
	CHECK_STR(own_name(server), to);
	exchange(client, server);
	CHECK_EQ(counted(CV_STEERED), 1);
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

TEST(inbound_ipv4_is_steered_to_the_plaintext_listener)
{
	check_steered(AF_INET, POD4 ":80", pod.plain, PEER4);
}

TEST(inbound_ipv6_is_steered_to_the_plaintext_listener)
{
	check_steered(AF_INET6, "[" POD6 "]:80", pod.plain, PEER6);
}

TEST(inbound_to_a_closed_port_is_steered_too)
{
	check_steered(AF_INET, POD4 ":9", pod.plain, PEER4);
}

TEST(inbound_15008_over_ipv4_is_steered_to_the_hbone_listener)
{
	check_steered(AF_INET, POD4 ":15008", pod.hbone, PEER4);
}

TEST(inbound_15008_over_ipv6_is_steered_to_the_hbone_listener)
{
	check_steered(AF_INET6, "[" POD6 "]:15008", pod.hbone, PEER6);
}

TEST(inbound_to_the_redirect_ports_is_steered_away_from_them)
{
	int client;

	steer_all();
	client = connect_from_peer(AF_INET, text(POD4, pod.value.outbound_ports[0]));
	CHECK(!is_pending(pod.outbound[0]));
	exchange(client, accepted(pod.plain, NULL));
}

TEST(loopback_connections_reach_the_application)
{
	int app = listener(AF_INET6, "[::]:80"), client;

	steer_all();
	client = connected(AF_INET, "127.0.0.1:80");
	exchange(client, accepted(app, NULL));
	client = connected(AF_INET6, "[::1]:80");
	exchange(client, accepted(app, NULL));
	CHECK_EQ(counted(CV_STEERED) + counted(CV_VOUCHED), 0);
}

static void check_self(int family, const char *to)
{
	int app = listener(AF_INET6, "[::]:80"), client;

	steer_all();
	client = connected(family, to);
	exchange(client, accepted(app, NULL));
	CHECK_EQ(counted(CV_VOUCHED), 1);
	CHECK_EQ(counted(CV_SELF), 1);
	CHECK_EQ(counted(CV_STEERED), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
}

TEST(a_pod_dialling_its_own_ipv4_address_reaches_its_application)
{
	check_self(AF_INET, POD4 ":80");
}

TEST(a_pod_dialling_its_own_ipv6_address_reaches_its_application)
{
	check_self(AF_INET6, "[" POD6 "]:80");
}

TEST(a_pod_dialling_its_own_mapped_address_reaches_its_application)
{
	check_self(AF_INET6, POD4 ":80");
}

/* An enrolled workload's own address is in cv_workloads as well: self comes first. */
TEST(self_comes_before_mesh)
{
	int app = listener(AF_INET, "0.0.0.0:80"), client;
	struct cv_dest dest = {.flags = CV_DEST_MESH};

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &pod.value.addr4, &dest,
				     BPF_ANY));
	client = connected(AF_INET, POD4 ":80");
	exchange(client, accepted(app, NULL));
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_workloads), &pod.value.addr4));
	CHECK_EQ(counted(CV_SELF), 1);
}

/* ztunnel tunnels a pod's own Service back to the pod: that is not vouched for, it is HBONE like
 * any other. */
TEST(an_hbone_dial_to_the_own_pod_reaches_the_hbone_listener)
{
	int dial = kind_tcp(AF_INET, CV_SOCKET_DIAL_HBONE);

	steer_all();
	CHECK_OK(connect_to(dial, AF_INET, POD4 ":15008"));
	exchange(dial, accepted(pod.hbone, NULL));
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

TEST(an_app_dial_to_a_closed_port_is_refused_and_forgotten)
{
	int dial = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);

	steer_all();
	CHECK_OK(set_client(dial, "10.244.7.7:1"));
	CHECK_ERRNO(connect_to(dial, AF_INET, POD4 ":81"), ECONNREFUSED);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
	CHECK_EQ(counted(CV_VOUCHED), 1);
}

/* With SYN cookies the kernel looks the connection up once more, at the ACK. */
TEST(vouching_outlasts_syn_cookies)
{
	int app = listener(AF_INET, "0.0.0.0:80"), client;

	shell("echo 2 > /proc/sys/net/ipv4/tcp_syncookies");
	steer_all();
	client = connected(AF_INET, POD4 ":80");
	exchange(client, accepted(app, NULL));
	CHECK(counted(CV_VOUCHED) >= 1);
	CHECK_EQ(counted(CV_STEERED), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
}

/* A port in TIME_WAIT taken again for the same peer: a listener lookup of its own in the kernel. */
TEST(a_reused_time_wait_tuple_is_vouched_for_again)
{
	int app = listener(AF_INET, "0.0.0.0:80");

	shell("echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse; "
	      "echo 100 > /proc/sys/net/ipv4/tcp_tw_reuse_delay 2>/dev/null || true");
	steer_all();
	for (int i = 0; i < 2; i++) {
		int client = tcp(AF_INET), server;

		bind_to(client, AF_INET, POD4 ":7100");
		CHECK_OK(connect_to(client, AF_INET, POD4 ":80"));
		server = accepted(app, NULL);
		exchange(client, server);
		/* The dialling end closes first and keeps the TIME_WAIT. */
		close(client);
		CHECK(is_readable(server, WAIT_MS));
		close(server);
		usleep(1200000);
	}
	CHECK_EQ(counted(CV_STEERED), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
}

TEST(without_a_steer_entry_inbound_is_dropped)
{
	int app = listener(AF_INET6, "[::]:80");
	struct cv_steer_key key = {.local = pod.value.addr4, .kind = CV_STEER_PLAIN};
	struct cv_event ev;
	char buf[CV_SOCKADDR_STRLEN];

	steer_all();
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_steer), &key));
	enter_peer();
	check_reset(tcp(AF_INET), AF_INET, POD4 ":80");
	CHECK(!is_pending(app));
	CHECK_EQ(counted(CV_DROP_NO_STEER), 1);
	CHECK(event_of(CV_DROP_NO_STEER, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.local, buf), POD4 ":80");
}

TEST(when_ztunnels_listener_is_closed_inbound_is_dropped)
{
	int app = listener(AF_INET6, "[::]:80");

	steer_all();
	close(pod.plain);
	enter_peer();
	check_reset(tcp(AF_INET), AF_INET, POD4 ":80");
	check_reset(tcp(AF_INET6), AF_INET6, "[" POD6 "]:80");
	CHECK(!is_pending(app));
	CHECK_EQ(counted(CV_DROP_NO_STEER), 2);
}

/* Steering ztunnel's own dial back to ztunnel would go round for ever. */
TEST(an_app_dial_that_could_not_be_vouched_for_is_dropped)
{
	int app = listener(AF_INET, "0.0.0.0:80"), dial = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);

	steer_all();
	map_fill(skel->maps.cv_vouched);
	bind_to(dial, AF_INET, "127.64.1.1:0");
	check_reset(dial, AF_INET, POD4 ":80");
	CHECK(!is_pending(app));
	CHECK(!is_pending(pod.plain));
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	CHECK_EQ(counted(CV_DROP_NO_STEER), 0);
}

/* The kernel looks for a listener then, too: a reset, but no connection that was refused. */
TEST(what_comes_late_for_an_apps_socket_is_no_refused_connection)
{
	int app = listener(AF_INET, "0.0.0.0:80"), dial = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP),
	    server, on = 1;
	char byte;

	steer_all();
	bind_to(dial, AF_INET, "127.64.1.1:0");
	CHECK_OK(connect_to(dial, AF_INET, POD4 ":80"));
	server = accepted(app, NULL);
	exchange(dial, server);
	/* In this mode it goes without a word to its peer. */
	CHECK_OK(setsockopt(server, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
	close(server);
	CHECK_EQ(write(dial, "x", 1), 1);
	CHECK(is_readable(dial, WAIT_MS));
	CHECK_ERRNO((int)read(dial, &byte, 1), ECONNRESET);
	CHECK_EQ(counted(CV_STEERED), 0);
	CHECK_EQ(counted(CV_DROP_NO_STEER), 0);
}

TEST(a_self_dial_that_could_not_be_vouched_for_meets_policy)
{
	int app = listener(AF_INET, "0.0.0.0:80"), client;

	steer_all();
	map_fill(skel->maps.cv_vouched);
	client = connected(AF_INET, POD4 ":80");
	CHECK(!is_pending(app));
	exchange(client, accepted(pod.plain, NULL));
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
}

TEST(a_pod_dialling_its_own_15008_reaches_the_hbone_listener)
{
	int app = listener(AF_INET, "0.0.0.0:15008"), client;

	steer_all();
	client = connected(AF_INET, POD4 ":15008");
	CHECK(!is_pending(app));
	exchange(client, accepted(pod.hbone, NULL));
}

/* Both ends' view of a direct connection of which the peer's port 7200 is an end. */
static void direct_put(uint32_t flags, bool is_peer_client)
{
	struct cv_tuple t = {0}, key;
	struct cv_direct d = {.flags = flags};
	struct cv_sockaddr peer, own;

	CHECK_OK(cv_sockaddr_parse(PEER4 ":7200", &peer));
	CHECK_OK(cv_sockaddr_parse(POD4 ":80", &own));
	t.local = peer.addr;
	t.local_port = peer.port;
	t.remote = own.addr;
	t.remote_port = own.port;
	key = cv_tuple_is_first(&t) ? t : cv_tuple_turned(&t);
	if (cv_tuple_is_first(&t) != is_peer_client)
		d.flags |= CV_DIRECT_TURNED;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_directs), &key, &d, BPF_ANY));
}

static void check_direct_reaches(int listening)
{
	int client;

	steer_all();
	enter_peer();
	client = tcp(AF_INET);
	bind_to(client, AF_INET, PEER4 ":7200");
	CHECK_OK(connect_to(client, AF_INET, POD4 ":80"));
	enter_pod();
	exchange(client, accepted(listening, NULL));
}

TEST(a_direct_connection_vouches_for_its_client)
{
	int app = listener(AF_INET, "0.0.0.0:80");

	direct_put(0, true);
	check_direct_reaches(app);
	CHECK_EQ(counted(CV_VOUCHED), 1);
}

TEST(a_direct_connection_that_was_accepted_vouches_for_no_other)
{
	(void)listener(AF_INET, "0.0.0.0:80");
	direct_put(CV_DIRECT_ACCEPTED, true);
	check_direct_reaches(pod.plain);
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

TEST(a_direct_connection_does_not_vouch_for_its_server)
{
	(void)listener(AF_INET, "0.0.0.0:80");
	direct_put(0, false);
	check_direct_reaches(pod.plain);
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

static void peer_link(const char *lladdr)
{
	shell("ip neigh replace " PEER4 " lladdr %s nud permanent dev eth0", lladdr);
}

/* The pod has given itself the second pod's address too, and dials it. Nobody answers, and the SYN
 * is sent again when the address is an own one of the pod no more, or still. Returns the errno. */
static int dial_again(const char *from, int listening, bool is_own)
{
	struct cv_pod_addr_key had = {.netns_cookie = pod.cookie};
	struct pollfd p = {.fd = tcp(AF_INET), .events = POLLOUT};
	socklen_t len = sizeof(int);
	uint32_t one = 1;
	int error;

	pod_flags(CV_POD_ALIVE); /* no hook has a say in a SYN that is sent again */
	CHECK_OK(cv_addr_parse(PEER4, &had.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pod_addrs), &had, &one, BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), &pod.value.addr4,
				     &pod.cookie, BPF_ANY));
	peer_link("02:00:00:00:00:99");
	bind_to(p.fd, AF_INET, from);
	set_nonblock(p.fd);
	CHECK_ERRNO(connect_to(p.fd, AF_INET, SERVER4), EINPROGRESS);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 1);
	if (!is_own)
		CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_pod_addrs), &had));
	peer_link("02:00:00:00:00:01");
	CHECK_EQ(poll(&p, 1, WAIT_MS), 1);
	CHECK_OK(getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len));
	/* who dials may know of it before the listener does */
	CHECK_EQ(is_readable(listening, error == 0 ? WAIT_MS : 0), error == 0);
	CHECK_EQ(counted(CV_VOUCHED), error == 0);
	return error;
}

TEST(what_a_pod_dialled_at_an_address_of_its_own_reaches_no_other_pod_there)
{
	int listening;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	CHECK_EQ(dial_again(POD4 ":7200", listening, false), ECONNREFUSED);
}

TEST(nor_does_it_from_a_second_address_that_the_pod_gave_itself)
{
	int listening;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	shell("ip addr add 10.244.1.77/24 dev eth0");
	CHECK_EQ(dial_again("10.244.1.77:7200", listening, false), ECONNREFUSED);
}

TEST(what_a_pod_dialled_at_an_address_that_is_still_its_own_gets_there)
{
	int listening;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	CHECK_EQ(dial_again(POD4 ":7200", listening, true), 0);
}

TEST(datagrams_are_not_looked_up)
{
	int app = socket(AF_INET, SOCK_DGRAM, 0), client;
	char buf[4];

	bind_to(app, AF_INET, POD4 ":80");
	steer_all();
	enter_peer();
	client = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK_OK(connect_to(client, AF_INET, POD4 ":80"));
	CHECK_EQ(send(client, "udp", 3, 0), 3);
	CHECK(is_readable(app, WAIT_MS));
	CHECK_EQ(recv(app, buf, sizeof(buf), MSG_DONTWAIT), 3);
	CHECK_EQ(counted(CV_STEERED) + counted(CV_DROP_NO_STEER), 0);
}

TEST(a_redirected_connection_works_behind_sk_lookup)
{
	int client, z;
	const char *shown;

	steer_all();
	client = connected(AF_INET, MESH4);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	exchange(client, z);
	client = connected(AF_INET6, MESH6);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH6);
	exchange(client, z);
	CHECK_EQ(counted(CV_STEERED), 0);
}
