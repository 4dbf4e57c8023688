/* SPDX-License-Identifier: Apache-2.0 */
/* host - what the node itself dials, past the guards on a pod's link: here the peer is the node. */
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/macros.h"
#include "pair.h"
#include "stage.h"

#define FRONTEND4 "10.97.0.1:443"
#define FRONTEND6 "[fd00:97::1]:443"

/* As the agent does it. */
static void guard(void)
{
	const struct bpf_program *progs[] = {skel->progs.cv_guard, skel->progs.cv_guard_in};
	const enum bpf_tc_attach_point points[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("eth0"),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	CHECK_OK(bpf_tc_hook_create(&hook));
	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1,
			    .prog_fd = bpf_program__fd(progs[i]));

		hook.attach_point = points[i];
		CHECK_OK(bpf_tc_attach(&hook, &opts));
	}
}

/* Leaves the process on the node. */
static int begin(void)
{
	const struct cv_addr *const own[] = {&pod.value.addr4, &pod.value.addr6};
	uint32_t ifindex;
	int app;

	stage_cgroup_leave();
	CHECK_OK(stage_cgroup("culvert-test-bpf-host"));
	enter_peer();
	CHECK_OK(stage_load_for(own_cookie()));
	enter_pod();
	steer_all();
	app = listener(AF_INET6, "[::]:80");
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), own[i], &pod.cookie,
					     BPF_ANY));
	enter_peer();
	ifindex = if_nametoindex("eth0");
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_links), &ifindex, &pod.cookie,
				     BPF_ANY));
	guard();
	return app;
}

/* As kube-proxy does it. @more: rules of the chain "post". */
static void frontend_begin(const char *more)
{
	if (system("nft add table inet node 2>/dev/null") != 0)
		test_skip("needs nft and a kernel that has it");
	shell("ip -batch - <<'END'\n"
	      "route add 10.97.0.0/16 dev eth0\n"
	      "route add fd00:97::/64 dev eth0\n"
	      "END\n"
	      "nft -f - <<'END'\n"
	      "add chain inet node out { type nat hook output priority -100; }\n"
	      "add rule inet node out ip daddr 10.97.0.1 tcp dport 443 dnat ip to " POD4 ":80\n"
	      "add rule inet node out ip6 daddr fd00:97::1 tcp dport 443 dnat ip6 to [" POD6
	      "]:80\n"
	      "add chain inet node post { type nat hook postrouting priority 100; }\n"
	      "%s\n"
	      "END",
	      more);
}

static void check_reached(int app, int family, const char *to)
{
	int client = connected(family, to), server;

	server = accepted(app, NULL);
	exchange(client, server);
	CHECK_EQ(counted(CV_STEERED), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 1);
	close(client);
	CHECK(is_readable(server, WAIT_MS));
	close(server);
	check_emptied(skel->maps.cv_vouched);
}

TEST(what_the_node_dials_reaches_the_application)
{
	int app = begin();

	check_reached(app, AF_INET, POD4 ":80");
	check_reached(app, AF_INET6, "[" POD6 "]:80");
	stage_cgroup_leave();
}

TEST(what_the_node_dials_by_a_service_reaches_the_application)
{
	int app = begin();

	frontend_begin("");
	check_reached(app, AF_INET, FRONTEND4);
	check_reached(app, AF_INET6, FRONTEND6);
	stage_cgroup_leave();
}

TEST(what_the_node_dials_by_a_service_and_masquerades_reaches_the_application)
{
	int app = begin();

	shell("ip addr add 10.244.1.77/24 dev eth0");
	frontend_begin("add rule inet node post ip daddr " POD4 " snat ip to 10.244.1.77");
	check_reached(app, AF_INET, FRONTEND4);
	stage_cgroup_leave();
}

/* A namespace of the process's own, of another enrolled pod; nothing is steered there. */
static void enter_other(void)
{
	struct cv_pod other = {.name = "test/other", .flags = CV_POD_ALIVE | CV_POD_CAPTURE};
	uint64_t cookie;

	(void)enter_new();
	cookie = own_cookie();
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pods), &cookie, &other, BPF_ANY));
}

/* Nobody hears of it, but the same programs see it. */
TEST(what_another_pod_plays_with_the_nodes_and_this_pods_addresses_is_no_end_of_the_nodes)
{
	int app = begin(), client = tcp(AF_INET), server, own_app, own_client, own_server;
	struct cv_vouch before = {0}, v = {0};
	struct cv_tuple key;

	bind_to(client, AF_INET, PEER4 ":7300");
	CHECK_OK(connect_to(client, AF_INET, POD4 ":80"));
	server = accepted(app, NULL);
	CHECK_OK(bpf_map_get_next_key(bpf_map__fd(skel->maps.cv_vouched), NULL, &key));
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_vouched), &key, &before));
	enter_other();
	shell("ip link set lo up; ip addr add " PEER4 "/32 dev lo; ip addr add " POD4 "/32 dev lo");
	own_app = listener(AF_INET, "0.0.0.0:80");
	own_client = tcp(AF_INET);
	bind_to(own_client, AF_INET, PEER4 ":7300");
	CHECK_OK(connect_to(own_client, AF_INET, POD4 ":80"));
	own_server = accepted(own_app, NULL);
	reset(own_client);
	CHECK(is_readable(own_server, WAIT_MS));
	close(own_server);
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_vouched), &key, &v));
	CHECK_EQ(v.time_s, before.time_s);
	exchange(client, server);
	stage_cgroup_leave();
}

/* Where it goes on to is not the node's to say. */
TEST(what_the_node_dials_by_a_service_to_15008_is_no_plaintext)
{
	int client;

	(void)begin();
	frontend_begin("");
	shell("nft insert rule inet node out ip daddr 10.97.0.1 tcp dport 443 dnat ip to " POD4
	      ":15008");
	client = connected(AF_INET, FRONTEND4);
	exchange(client, accepted(pod.hbone, NULL));
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	stage_cgroup_leave();
}

/* Another one's, who dials the Service and is led on by the node, maybe under its address. */
TEST(what_the_node_leads_on_by_a_service_is_steered)
{
	int client, netns;

	(void)begin();
	frontend_begin("add rule inet node post ip daddr " POD4 " masquerade");
	shell("echo 1 > /proc/sys/net/ipv4/ip_forward; nft -f - <<'END'\n"
	      "add chain inet node pre { type nat hook prerouting priority -100; }\n"
	      "add rule inet node pre ip daddr 10.97.0.1 tcp dport 443 dnat ip to " POD4 ":80\n"
	      "END");
	netns = enter_new();
	shell("ip -batch - <<'END'\n"
	      "link add eth0 type veth peer name other netns /proc/%d/fd/%d\n"
	      "addr add 10.98.0.2/24 dev eth0\n"
	      "link set eth0 up\n"
	      "END",
	      (int)getpid(), pod.peer_netns);
	enter_peer();
	shell("ip addr add 10.98.0.1/24 dev other; ip link set other up");
	CHECK_OK(setns(netns, CLONE_NEWNET));
	shell("ip route add default via 10.98.0.1");
	client = connected(AF_INET, FRONTEND4);
	exchange(client, accepted(pod.plain, NULL));
	CHECK_EQ(counted(CV_STEERED), 1);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	stage_cgroup_leave();
}
