/* SPDX-License-Identifier: Apache-2.0 */
/* reroute - a machine behind an interface of the pod: what it opens to the mesh comes to ztunnel as
 * the pod's own, and what does not concern the mesh goes where the pod's routes lead. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "harness.h"
#include "net/addr.h"
#include "question.h"

#define MACHINE4   "10.0.2.2"
#define MACHINE4_B "10.0.2.3"
#define MACHINE6   "fd10:0:2::2"
#define PLAIN4     PEER4 ":7000"
#define NS4        "10.96.0.53:53"
#define NS6        "[fd00:96::53]:53"
#define CAPTURED   ((uint32_t)(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DNS | CV_POD_REROUTE))
#define LOCAL      "fwmark 0x43560001"
#define REFUSED    "fwmark 0x43560002"

static int machine;

static void enter_machine(void)
{
	CHECK_OK(setns(machine, CLONE_NEWNET));
}

/* As the agent does it. */
static void listed(const char *name)
{
	const struct bpf_program *progs[] = {skel->progs.cv_reroute, skel->progs.cv_reroute_back};
	const enum bpf_tc_attach_point points[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};

	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(name),
			    .attach_point = points[i]);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1,
			    .prog_fd = bpf_program__fd(progs[i]));
		int r = bpf_tc_hook_create(&hook);

		CHECK(r == 0 || r == -EEXIST);
		CHECK_OK(bpf_tc_attach(&hook, &opts));
	}
	for (int version = 4; version <= 6; version += 2)
		shell("ip -%d -batch - <<'END'\n"
		      "rule add pref 99 iif %s " LOCAL " lookup 4356\n"
		      "rule add pref 99 iif %s " REFUSED " prohibit\n"
		      "route add local default dev lo table 4356\n"
		      "END",
		      version, name, name);
}

/* A namespace behind vif0 of the pod. Leaves the process in the machine. */
static void begin(bool is_listed)
{
	machine = enter_new();
	shell("ip -batch - <<'END'\n"
	      "link set lo up\n"
	      "link add eth0 address 02:00:00:00:02:02 type veth peer name vif0 "
	      "address 02:00:00:00:02:01 netns /proc/%d/fd/%d\n"
	      "addr add " MACHINE4 "/24 dev eth0\n"
	      "addr add " MACHINE6 "/64 dev eth0 nodad\n"
	      "link set eth0 up\n"
	      "route add default via 10.0.2.1\n"
	      "route add ::/0 via fd10:0:2::1\n"
	      "neigh add 10.0.2.1 lladdr 02:00:00:00:02:01 nud permanent dev eth0\n"
	      "neigh add fd10:0:2::1 lladdr 02:00:00:00:02:01 nud permanent dev eth0\n"
	      "END",
	      (int)getpid(), pod.netns);
	enter_peer();
	shell("ip route add 10.0.2.0/24 via " POD4);
	enter_pod();
	shell("ip -batch - <<'END'\n"
	      "addr add 10.0.2.1/24 dev vif0\n"
	      "addr add fd10:0:2::1/64 dev vif0 nodad\n"
	      "link set vif0 up\n"
	      "neigh add " MACHINE4 " lladdr 02:00:00:00:02:02 nud permanent dev vif0\n"
	      "neigh add " MACHINE6 " lladdr 02:00:00:00:02:02 nud permanent dev vif0\n"
	      "END");
	shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
	shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
	pod_flags(CAPTURED);
	if (is_listed)
		listed("vif0");
	enter_machine();
}

static void check_ends(int client, int child)
{
	char byte;

	exchange(client, child);
	CHECK_OK(shutdown(client, SHUT_WR));
	CHECK_EQ(recv(child, &byte, 1, 0), 0);
	CHECK_OK(send(child, "x", 1, 0));
	CHECK_EQ(recv(client, &byte, 1, 0), 1);
	close_fd(child);
	CHECK_EQ(recv(client, &byte, 1, 0), 0);
}

/* The machine is told, and so is the agent, at the latest at its second SYN. */
static void check_refused(int family, const char *to, enum cv_reason reason)
{
	uint64_t before = counted(reason);
	char buf[CV_SOCKADDR_STRLEN];
	struct cv_event ev;
	int fd = tcp(family);

	CHECK_ERRNO(connect_to(fd, family, to), family == AF_INET ? EHOSTUNREACH : EACCES);
	close_fd(fd);
	CHECK(counted(reason) > before);
	CHECK(event_of(reason, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), to);
}

/* To a server of the peer's, as if there were no mesh. */
static void check_forwarded(int server, const char *to)
{
	int client = connected(AF_INET, to);
	const char *peer;
	int child = accepted(server, &peer);

	CHECK_STR(peer, text(MACHINE4, own_port(client)));
	check_ends(client, child);
	close_fd(client);
}

static int peer_listener(const char *on)
{
	int fd;

	enter_peer();
	fd = listener(AF_INET, on);
	enter_machine();
	return fd;
}

static void check_tunnelled(int family, const char *to, const char *pod_addr)
{
	int client, child;
	const char *asked;

	client = connected(family, to);
	child = ztunnel_accept(&asked);
	CHECK_STR(asked, to);
	CHECK_NAME(child, text(pod_addr, own_port(client)));
	CHECK_NAME(client, to);
	check_ends(client, child);
	close_fd(client);
}

TEST(a_machine_in_a_pod_reaches_the_mesh_as_the_pod)
{
	begin(true);
	check_tunnelled(AF_INET, MESH4, POD4);
	check_tunnelled(AF_INET6, MESH6, POD6);
	check_tunnelled(AF_INET, SERVICE, POD4);
	CHECK_EQ(counted(CV_TUNNEL), 3);
	CHECK_EQ(counted(CV_DROP_NO_STEER), 0);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
}

TEST(what_a_machine_in_a_pod_sends_elsewhere_is_forwarded)
{
	begin(true);
	check_forwarded(peer_listener(PLAIN4), PLAIN4);
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	CHECK_EQ(counted(CV_DROP_NO_STEER), 0);
}

TEST(a_machine_behind_an_interface_that_is_not_listed_is_left_alone)
{
	begin(false);
	check_forwarded(peer_listener(MESH4), MESH4);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

TEST(a_machine_in_a_pod_is_refused_without_ztunnel)
{
	int server;

	begin(true);
	server = peer_listener(MESH4);
	pod_flags(CAPTURED & ~(uint32_t)CV_POD_ALIVE);
	check_refused(AF_INET, MESH4, CV_DROP_ZTUNNEL_DEAD);
	check_refused(AF_INET6, MESH6, CV_DROP_ZTUNNEL_DEAD);
	pod_flags(CAPTURED); /* as the agent has not seen its end yet */
	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		pod.outbound[i] = close_fd(pod.outbound[i]);
	check_refused(AF_INET, MESH4, CV_DROP_ZTUNNEL_DEAD);
	CHECK(!is_pending(server));
}

TEST(a_machine_in_a_pod_is_refused_what_the_registry_does_not_know)
{
	begin(true);
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	check_refused(AF_INET, PLAIN4, CV_DROP_REGISTRY_ONLY);
	check_tunnelled(AF_INET, MESH4, POD4);
}

TEST(exclusions_of_a_pod_hold_for_a_machine_in_it)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + 128,
		.kind = CV_OUT_EXCLUDE_PORT,
		.netns_cookie = pod.cookie,
		.addr = {.w = {80}},
	};
	uint32_t one = 1;

	begin(true);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_outbound_rules), &key, &one,
				     BPF_ANY));
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_forwarded(peer_listener(MESH4), MESH4);
}

TEST(a_machine_keeps_its_connections_when_the_pod_leaves_the_mesh)
{
	int client, child;

	begin(true);
	client = connected(AF_INET, MESH4);
	child = ztunnel_accept(NULL);
	pod_flags(CV_POD_ALIVE | CV_POD_REROUTE);
	exchange(client, child);
	check_forwarded(peer_listener(MESH4), MESH4);
	check_ends(client, child);
}

/* The rest of a connection that ztunnel closed first meets the next one from the same port. */
TEST(a_machine_may_use_a_port_again)
{
	const char *asked;
	int client, child;
	uint16_t port;
	char byte;

	begin(true);
	client = connected(AF_INET, MESH4);
	port = own_port(client);
	child = ztunnel_accept(NULL);
	close_fd(child);
	CHECK_EQ(recv(client, &byte, 1, 0), 0);
	close_fd(client);
	client = tcp(AF_INET);
	bind_to(client, AF_INET, text("0.0.0.0", port));
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	child = ztunnel_accept(&asked);
	CHECK_STR(asked, MESH4);
	exchange(client, child);
}

/* Only a reset of ztunnel's can reach the machine: the peer has no way back to it. */
static void begin_without_way_back(void)
{
	begin(true);
	enter_peer();
	shell("ip route del 10.0.2.0/24");
	enter_machine();
}

static void close_quietly(int fd)
{
	int on = 1;

	CHECK_OK(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
	close_fd(fd);
}

/* ztunnel died, and @client has not heard of it. */
static void check_not_forwarded(int client, int child)
{
	uint64_t refused = counted(CV_DROP_ZTUNNEL_DEAD);
	char byte;

	close_quietly(child);
	pod_flags(CAPTURED & ~(uint32_t)CV_POD_ALIVE);
	CHECK_OK(send(client, "x", 1, 0));
	for (int ms = 0; counted(CV_DROP_ZTUNNEL_DEAD) == refused; ms += 10) {
		CHECK(ms < WAIT_MS);
		CHECK(!is_readable(client, 10));
	}
	CHECK(!is_readable(client, 100));
	pod_flags(CAPTURED); /* another ztunnel, which does not know it */
	CHECK_ERRNO(recv(client, &byte, 1, 0), ECONNRESET);
	close_fd(client);
}

TEST(what_a_machine_sends_of_a_tunnelled_connection_is_not_forwarded_once_its_socket_is_gone)
{
	int client, child;

	begin_without_way_back();
	client = connected(AF_INET, MESH4);
	child = ztunnel_accept(NULL);
	exchange(client, child);
	check_not_forwarded(client, child);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	CHECK_EQ(counted(CV_DROP_NO_STEER), 0);
}

/* Beginnings from an address at which nobody resets what is answered. */
static void flood(uint32_t beginnings)
{
	enter_pod();
	shell("ip neigh add " MACHINE4_B " lladdr 02:00:00:00:02:99 nud permanent dev vif0");
	enter_machine();
	shell("ip addr add " MACHINE4_B "/24 dev eth0");
	for (uint32_t i = 0; i < beginnings; i++) {
		int fd = tcp(AF_INET);

		set_nonblock(fd);
		bind_to(fd, AF_INET, text(MACHINE4_B, (uint16_t)(1024 + i)));
		CHECK_ERRNO(connect_to(fd, AF_INET, MESH4_B), EINPROGRESS);
		close_quietly(fd);
	}
}

TEST(a_machines_flood_makes_nothing_of_what_ztunnel_was_given_plaintext)
{
	unsigned before = map_size(skel->maps.cv_given);
	int client, child;

	begin_without_way_back();
	client = connected(AF_INET, MESH4);
	child = ztunnel_accept(NULL);
	exchange(client, child);
	flood(bpf_map__max_entries(skel->maps.cv_given) + 1000);
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	CHECK(map_size(skel->maps.cv_given) < before + CV_GIVEN_OF_POD + 1);
	check_not_forwarded(client, child);
}

/* Of the others nothing goes for it, and of what is not remembered nothing is forwarded. */
TEST(without_room_for_its_connections_a_machine_is_tunnelled_and_nothing_is_forwarded)
{
	int before, before_child, client, child;

	begin_without_way_back();
	before = connected(AF_INET, MESH4);
	before_child = ztunnel_accept(NULL);
	map_fill(skel->maps.cv_given);
	client = connected(AF_INET, MESH4);
	child = ztunnel_accept(NULL);
	exchange(client, child);
	check_not_forwarded(client, child);
	client = connected(AF_INET, MESH4_B);
	child = ztunnel_accept(NULL);
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	exchange(client, child);
	check_not_forwarded(client, child);
	check_not_forwarded(before, before_child);
	map_empty(skel->maps.cv_given);
}

TEST(without_room_for_its_pod_a_machine_is_refused)
{
	begin(true);
	map_fill(skel->maps.cv_given_pods);
	check_refused(AF_INET, MESH4, CV_DROP_MAP_FULL);
	check_refused(AF_INET6, MESH6, CV_DROP_MAP_FULL);
	check_forwarded(peer_listener(PLAIN4), PLAIN4);
	map_empty(skel->maps.cv_given_pods);
	check_tunnelled(AF_INET, MESH4, POD4);
}

/* Before the pod was in the mesh, or from outside. */
TEST(a_machine_keeps_what_ztunnel_was_not_given)
{
	int server, client, child;
	const char *peer;

	begin(true);
	pod_flags(CV_POD_ALIVE | CV_POD_REROUTE);
	server = peer_listener(MESH4);
	client = connected(AF_INET, MESH4);
	child = accepted(server, &peer);
	CHECK_STR(peer, text(MACHINE4, own_port(client)));
	pod_flags(CAPTURED);
	check_ends(client, child);
}

TEST(what_a_machine_has_ended_is_forgotten)
{
	unsigned before = map_size(skel->maps.cv_given);
	int client, child;
	char byte;

	begin(true);
	client = connected(AF_INET, MESH4);
	child = ztunnel_accept(NULL);
	CHECK_EQ(map_size(skel->maps.cv_given), before + 1);
	close_fd(client);
	CHECK_EQ(recv(child, &byte, 1, 0), 0);
	CHECK_EQ(map_size(skel->maps.cv_given), before);
}

TEST(a_machine_reaches_the_mesh_by_syn_cookies)
{
	begin(true);
	enter_pod();
	shell("echo 2 > /proc/sys/net/ipv4/tcp_syncookies");
	enter_machine();
	check_tunnelled(AF_INET, MESH4, POD4);
	check_tunnelled(AF_INET6, MESH6, POD6);
}

static void check_asked(int family, const char *server)
{
	struct question q;
	char answer[16] = "";
	int fd = udp(family);
	struct sockaddr_storage ss;
	socklen_t len = native(server, family, &ss);

	CHECK_OK(connect(fd, (struct sockaddr *)&ss, len)); /* answers of nobody else */
	CHECK_EQ(send(fd, "who", 3, 0), 3);
	ztunnel_receive(pod.dns_udp[0], &q);
	CHECK_STR(q.data, "who");
	enter_pod();
	ztunnel_answer(pod.dns_udp[0], &q, "me");
	enter_machine();
	CHECK_EQ(recv(fd, answer, sizeof(answer) - 1, 0), 2);
	CHECK_STR(answer, "me");
	close_fd(fd);
}

TEST(a_machine_in_a_pod_asks_ztunnel_for_names)
{
	int client, child;
	const char *asked;

	begin(true);
	check_asked(AF_INET, NS4);
	check_asked(AF_INET6, NS6);
	client = connected(AF_INET, NS4);
	child = accepted(pod.dns_tcp, &asked);
	CHECK_STR(asked, NS4);
	exchange(client, child);
	CHECK_EQ(counted(CV_DNS), 3);
	pod_flags(CAPTURED & ~(uint32_t)CV_POD_ALIVE);
	client = udp(AF_INET);
	CHECK_EQ(ask(client, AF_INET, NS4, "who"), 3);
	CHECK(!is_readable(pod.dns_udp[0], 100));
	CHECK_EQ(counted(CV_DROP_ZTUNNEL_DEAD), 1);
}

/* A datagram of the peer's, which has the port of ztunnel's resolver by chance. */
TEST(a_port_that_is_not_ztunnels_is_left_to_who_has_it)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd, other;
	char byte;

	begin(true);
	fd = udp(AF_INET);
	bind_to(fd, AF_INET, MACHINE4 ":5000");
	enter_peer();
	other = udp(AF_INET);
	bind_to(other, AF_INET, text(PEER4, pod.value.dns_udp_ports[0]));
	len = native(MACHINE4 ":5000", AF_INET, &ss);
	CHECK_EQ(sendto(other, "x", 1, 0, (struct sockaddr *)&ss, len), 1);
	enter_machine();
	len = sizeof(ss);
	CHECK_EQ(recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&ss, &len), 1);
	CHECK_EQ(ntohs(((struct sockaddr_in *)&ss)->sin_port), pod.value.dns_udp_ports[0]);
}
