/* SPDX-License-Identifier: Apache-2.0 */
/* guard - packets of a pod as they enter the host, one by one: what may leave it. Made by hand,
 * since a pod that gets round its sockets' hooks makes them by hand too. */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "harness.h"
#include "net/addr.h"
#include "stage.h"

#define LOOPBACK 1 /* any interface will do */
#define PASS     TC_ACT_UNSPEC

static struct frame syn4(const char *to, uint16_t port)
{
	return frame_tcp4(&(struct ipv4){POD4, to, IPPROTO_TCP, 0, 0}, port, SYN);
}

/* The verdict. */
static int sent(const struct frame *f)
{
	return frame_run(skel->progs.cv_guard, f, LOOPBACK, 0);
}

static void passes(struct frame f)
{
	CHECK_EQ(sent(&f), PASS);
}

static void drops(struct frame f, enum cv_reason reason)
{
	uint64_t before = counted(reason);
	struct cv_event ev;

	CHECK_EQ(sent(&f), TC_ACT_SHOT);
	CHECK_EQ(counted(reason), before + 1);
	CHECK(event_of(reason, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
}

static void begin(void)
{
	uint32_t ifindex = LOOPBACK;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_links), &ifindex, &pod.cookie,
				     BPF_ANY));
}

static struct cv_tuple tuple_to(uint64_t cookie, const char *to)
{
	struct cv_tuple t = {.netns_cookie = cookie, .local_port = htons(40000)};
	struct cv_sockaddr sa;

	CHECK_OK(cv_sockaddr_parse(to, &sa));
	CHECK_OK(cv_addr_parse(POD4, &t.local));
	t.remote = sa.addr;
	t.remote_port = sa.port;
	return t;
}

TEST(guard_lets_no_plaintext_syn_out_to_the_mesh)
{
	struct cv_event ev;
	char buf[CV_SOCKADDR_STRLEN];

	begin();
	drops(syn4("10.244.9.9", 80), CV_GUARD_PLAINTEXT);
	CHECK(event_of(CV_GUARD_PLAINTEXT, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), MESH4);
	CHECK_STR(cv_sockaddr_format(&ev.local, buf), POD4 ":40000");
	drops(syn4("10.96.0.10", 80), CV_GUARD_PLAINTEXT); /* before kube-proxy's DNAT */
	passes(syn4("10.96.0.10", 8080));
	passes(syn4("192.0.2.7", 80));
	passes(syn4("10.244.9.9", CV_HBONE_PORT));
}

TEST(guard_lets_ztunnel_out_to_an_entrys_address)
{
	struct cv_dest dest = {.flags = CV_DEST_MESH | CV_DEST_OURS, .name = "demo/api"};
	struct cv_service_key key = {.port = htons(443)};

	begin();
	CHECK_OK(cv_addr_parse("192.0.2.7", &key.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_services), &key, &dest, BPF_ANY));
	passes(syn4("192.0.2.7", 443));
	dest.flags = CV_DEST_MESH;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_services), &key, &dest, BPF_ANY));
	drops(syn4("192.0.2.7", 443), CV_GUARD_PLAINTEXT);
}

TEST(guard_knows_node_ports)
{
	struct cv_dest node = {.flags = CV_DEST_NODE, .name = "node/n2"};
	struct cv_dest service = {.flags = CV_DEST_MESH, .name = "demo/web"};
	struct cv_service_key key = {.port = htons(30080)};
	struct cv_addr addr;

	begin();
	passes(syn4("192.0.2.7", 30080));
	CHECK_OK(cv_addr_parse("192.0.2.7", &addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &addr, &node, BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_services), &key, &service, BPF_ANY));
	drops(syn4("192.0.2.7", 30080), CV_GUARD_PLAINTEXT); /* before kube-proxy's DNAT */
	passes(syn4("192.0.2.7", 30081));
	passes(syn4("192.0.2.8", 30080));
}

TEST(guard_leaves_what_is_no_beginning)
{
	struct frame f = syn4("10.244.9.9", 80), udp = ethernet(ETH_P_IP),
		     arp = ethernet(ETH_P_ARP);

	begin();
	set_flags(&f, SYN | ACK);
	passes(f);
	set_flags(&f, ACK);
	passes(f);
	add_ipv4(&udp, &(struct ipv4){POD4, "10.244.9.9", IPPROTO_UDP, 0, 0});
	passes(udp);
	passes(arp);
}

TEST(guard_sees_through_other_flags_on_a_syn)
{
	struct frame f = syn4("10.244.9.9", 80);

	begin();
	for (unsigned int more = 0; more < 0x100; more++) {
		set_flags(&f, (uint8_t)((more & ~(unsigned int)ACK) | SYN));
		CHECK_EQ(sent(&f), TC_ACT_SHOT);
	}
}

TEST(guard_lets_exempt_beginnings_out)
{
	struct cv_tuple exempt = tuple_to(pod.cookie, MESH4_B);
	uint64_t now = 1;

	begin();
	drops(syn4("10.244.9.10", 80), CV_GUARD_PLAINTEXT);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_exempt), &exempt, &now, BPF_ANY));
	passes(syn4("10.244.9.10", 80));
}

/* It had given itself the address, and dialled it then. */
TEST(guard_lets_out_no_dial_of_the_pod_to_itself)
{
	struct cv_tuple vouched = tuple_to(0, MESH4);
	struct cv_vouch v = {.time_s = 1, .netns_cookie = (uint32_t)pod.cookie};

	begin();
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_vouched), &vouched, &v, BPF_ANY));
	drops(syn4("10.244.9.9", 80), CV_GUARD_PLAINTEXT);
}

TEST(guard_lets_out_what_annotations_exclude)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + 128,
		.kind = CV_OUT_EXCLUDE_PORT,
		.netns_cookie = pod.cookie,
		.addr = {.w = {80}},
	};
	uint32_t one = 1;

	begin();
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_outbound_rules), &key, &one,
				     BPF_ANY));
	drops(syn4("10.244.9.9", 80), CV_GUARD_PLAINTEXT);
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_OUT_RULES);
	passes(syn4("10.244.9.9", 80));
}

TEST(guard_knows_a_pod_by_its_link_and_leaves_the_others)
{
	begin();
	pod_flags(0); /* is leaving */
	passes(syn4("10.244.9.9", 80));
	pod_remove();
	passes(syn4("10.244.9.9", 80));
}

static const uint8_t after_syn[] = {ACK, ACK | FIN, ACK | RST, RST, 0, ACK | 0x08};

/* A direct connection of the pod's whose packets skip the host's stack, as its client or (`turned`)
 * its server. */
static void direct_begin(const char *to, uint32_t turned)
{
	struct cv_direct d = {
		.src_cookie = pod.cookie,
		.dst_cookie = pod.cookie,
		.flags = turned,
		.to_client.ifindex = LOOPBACK,
		.to_server.ifindex = LOOPBACK,
	};
	struct cv_tuple t = tuple_to(0, to);

	if (!cv_tuple_is_first(&t)) {
		t = cv_tuple_turned(&t);
		d.flags ^= CV_DIRECT_TURNED;
	}
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_directs), &t, &d, BPF_ANY));
}

TEST(guard_hands_on_what_a_pod_that_has_left_began)
{
	struct frame begun = syn4("10.244.9.9", 80), other = syn4("10.244.9.10", 80);

	begin();
	direct_begin(MESH4, 0);
	set_flags(&begun, ACK);
	set_flags(&other, ACK);
	CHECK_EQ(sent(&begun), TC_ACT_REDIRECT);
	pod_flags(0);
	CHECK_EQ(sent(&begun), TC_ACT_REDIRECT);
	passes(other);
	pod_remove();
	CHECK_EQ(sent(&begun), TC_ACT_REDIRECT);
	passes(other);
	passes(syn4("10.244.9.9", 80));
}

static struct cv_direct direct_of(const char *to)
{
	struct cv_tuple t = tuple_to(0, to);
	struct cv_tuple key = cv_tuple_is_first(&t) ? t : cv_tuple_turned(&t);
	struct cv_direct d;

	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_directs), &key, &d));
	return d;
}

/* The host may hand it to anyone who says that he is the server. */
TEST(guard_sends_nothing_by_the_hosts_way_but_a_handshake_without_data)
{
	struct frame f = syn4("10.244.9.9", 80), more = syn4("10.244.9.9", 80);

	begin();
	direct_begin(MESH4, 0);
	passes(f);
	CHECK_EQ(direct_of(MESH4).flags & CV_DIRECT_ANSWERED, 0);
	for (size_t i = 0; i < ARRAY_SIZE(after_syn); i++) {
		set_flags(&f, after_syn[i]);
		CHECK_EQ(sent(&f), TC_ACT_REDIRECT);
	}
	add8(&more, 'x');
	more.bytes[ETH_HLEN + 3]++;
	drops(more, CV_GUARD_PLAINTEXT);
}

/* The other way it would be seen, and not be let in. */
TEST(guard_hands_on_odd_packets_of_a_short_connection_too)
{
	const struct ipv4 options = {POD4, "10.244.9.9", IPPROTO_TCP, 0, 8},
			  other = {POD4, "10.244.9.10", IPPROTO_TCP, 0, 8};
	struct frame odd;

	begin();
	direct_begin(MESH4, 0);
	passes(frame_tcp4(&other, 80, ACK));
	odd = frame_tcp4(&options, 80, ACK);
	CHECK_EQ(sent(&odd), TC_ACT_REDIRECT);
}

/* Until then nobody waits for an ACK of the node's. */
TEST(guard_remembers_that_the_pod_has_answered_the_node)
{
	struct cv_vouch v = {.time_s = 1, .netns_cookie = STAGE_HOST_COOKIE};
	struct frame f =
		frame_tcp4(&(struct ipv4){POD4, "10.244.1.1", IPPROTO_TCP, 0, 0}, 50000, SYN | ACK);
	struct cv_tuple t = tuple_to(0, "10.244.1.1:50000");

	begin();
	t = cv_tuple_turned(&t);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_vouched), &t, &v, BPF_ANY));
	passes(f);
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_vouched), &t, &v));
	CHECK_EQ(v.time_s, 1 | CV_VOUCH_ANSWERED);
}

TEST(guard_remembers_what_the_server_has_answered)
{
	struct frame f = syn4("10.244.9.9", 80);

	begin();
	direct_begin(MESH4, CV_DIRECT_TURNED); /* 10.244.9.9:80 is the client */
	set_flags(&f, SYN | ACK);
	set_seq(&f, 0x12345678);
	passes(f);
	CHECK_EQ(direct_of(MESH4).flags & CV_DIRECT_ANSWERED, CV_DIRECT_ANSWERED);
	CHECK_EQ(ntohl(direct_of(MESH4).answer_seq), 0x12345678);
}

/* Its handshake takes the host's way, from the links of its two ends alone. */
TEST(guard_passes_the_handshake_of_a_direct_connection_from_its_own_link)
{
	struct cv_tuple t = tuple_to(0, MESH4);
	struct cv_tuple key = cv_tuple_is_first(&t) ? t : cv_tuple_turned(&t);
	struct cv_direct d;

	begin();
	direct_begin(MESH4, 0);
	passes(syn4("10.244.9.9", 80));
	drops(syn4("10.244.9.10", 80), CV_GUARD_PLAINTEXT);
	d = direct_of(MESH4);
	d.src_cookie = 0;
	d.to_client.ifindex = d.to_server.ifindex = LOOPBACK + 1;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_directs), &key, &d, BPF_ANY));
	drops(syn4("10.244.9.9", 80), CV_GUARD_PLAINTEXT);
}

/* A second link of the pod's, or one made anew: what was led from link to link would take the
 * host's way. */
TEST(guard_drops_of_a_direct_connection_what_comes_by_another_link)
{
	const struct ipv4 options = {POD4, "10.244.9.9", IPPROTO_TCP, 0, 8};
	struct cv_tuple t = tuple_to(0, MESH4);
	struct cv_tuple key = cv_tuple_is_first(&t) ? t : cv_tuple_turned(&t);
	struct frame f = syn4("10.244.9.9", 80);
	struct cv_direct d;

	begin();
	direct_begin(MESH4, 0);
	d = direct_of(MESH4);
	d.to_client.ifindex = d.to_server.ifindex = LOOPBACK + 1;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_directs), &key, &d, BPF_ANY));
	for (size_t i = 0; i < ARRAY_SIZE(after_syn); i++) {
		set_flags(&f, after_syn[i]);
		drops(f, CV_GUARD_PLAINTEXT);
	}
	drops(frame_tcp4(&options, 80, ACK), CV_GUARD_PLAINTEXT);
	pod_flags(0); /* also when it has left */
	drops(f, CV_GUARD_PLAINTEXT);
}

TEST(guard_holds_while_ztunnel_is_dead)
{
	begin();
	pod_flags(CV_POD_CAPTURE);
	drops(syn4("10.244.9.9", 80), CV_GUARD_PLAINTEXT);
}

static struct frame ipv4_of(const struct ipv4 *ip)
{
	return frame_tcp4(ip, 80, ACK);
}

TEST(guard_drops_foreign_sources)
{
	begin();
	drops(ipv4_of(&(struct ipv4){"10.244.1.3", "192.0.2.7", IPPROTO_TCP, 0, 0}),
	      CV_GUARD_SOURCE);
	drops(ipv4_of(&(struct ipv4){"10.244.1.3", "192.0.2.7", IPPROTO_UDP, 0, 0}),
	      CV_GUARD_SOURCE);
	drops(ipv4_of(&(struct ipv4){"0.0.0.0", "192.0.2.7", IPPROTO_TCP, 0, 0}), CV_GUARD_SOURCE);
	passes(ipv4_of(&(struct ipv4){"0.0.0.0", "255.255.255.255", IPPROTO_UDP, 0, 0})); /* DHCP */
}

TEST(guard_drops_tcp_in_fragments)
{
	begin();
	drops(ipv4_of(&(struct ipv4){POD4, "192.0.2.7", IPPROTO_TCP, 0x2000, 0}),
	      CV_GUARD_FRAGMENT);
	drops(ipv4_of(&(struct ipv4){POD4, "192.0.2.7", IPPROTO_TCP, 0x0001, 0}),
	      CV_GUARD_FRAGMENT);
	passes(ipv4_of(&(struct ipv4){POD4, "192.0.2.7", IPPROTO_UDP, 0x2000, 0}));
	passes(ipv4_of(&(struct ipv4){POD4, "192.0.2.7", IPPROTO_TCP, 0x4000, 0})); /* DF */
}

TEST(guard_reads_past_ipv4_options_and_wants_none_on_a_syn)
{
	struct frame f = ipv4_of(&(struct ipv4){POD4, "192.0.2.7", IPPROTO_TCP, 0, 8});

	begin();
	passes(f);
	set_flags(&f, SYN);
	drops(f, CV_GUARD_MALFORMED);
}

TEST(guard_reads_vlan_tags)
{
	struct frame one = ethernet(ETH_P_8021Q), two = ethernet(ETH_P_8021AD),
		     three = ethernet(ETH_P_8021Q);
	const struct ipv4 ip = {POD4, "10.244.9.9", IPPROTO_TCP, 0, 0};

	begin();
	add_vlan(&one, 5, ETH_P_IP);
	add_ipv4(&one, &ip);
	add_tcp(&one, 80, SYN);
	drops(one, CV_GUARD_PLAINTEXT);
	add_vlan(&two, 5, ETH_P_8021Q);
	add_vlan(&two, 6, ETH_P_IP);
	add_ipv4(&two, &ip);
	add_tcp(&two, 80, SYN);
	drops(two, CV_GUARD_PLAINTEXT);
	for (int i = 0; i < 2; i++)
		add_vlan(&three, 5, ETH_P_8021Q);
	drops(three, CV_GUARD_MALFORMED);
}

/* An IPv6 SYN to the mesh behind extension headers: `first`, then what `fill` adds. */
static struct frame syn6_behind(uint8_t first, void (*fill)(struct frame *f))
{
	struct frame f = ethernet(ETH_P_IPV6);

	add_ipv6(&f, POD6, "fd00:10:244:9::9", first);
	if (fill)
		fill(&f);
	add_tcp(&f, 80, SYN);
	return f;
}

static void add_ext(struct frame *f, uint8_t next)
{
	add8(f, next);
	add_zero(f, 7);
}

static void hop_and_dest(struct frame *f)
{
	add_ext(f, IPPROTO_DSTOPTS);
	add8(f, IPPROTO_TCP);
	add8(f, 1); /* 16 bytes */
	add_zero(f, 14);
}

static void many(struct frame *f)
{
	for (int i = 0; i < 8; i++)
		add_ext(f, IPPROTO_DSTOPTS);
	add_ext(f, IPPROTO_TCP);
}

static void auth(struct frame *f)
{
	add8(f, IPPROTO_TCP);
	add8(f, 1); /* 12 bytes */
	add_zero(f, 10);
}

static void route_done(struct frame *f)
{
	add_ext(f, IPPROTO_TCP);
}

static void route_on(struct frame *f)
{
	add8(f, IPPROTO_TCP);
	add_zero(f, 2);
	add8(f, 1); /* segments left */
	add_zero(f, 4);
}

static void atomic_fragment(struct frame *f)
{
	add_ext(f, IPPROTO_TCP);
}

static void first_fragment(struct frame *f)
{
	add8(f, IPPROTO_TCP);
	add8(f, 0);
	add16(f, 1); /* more follow */
	add_zero(f, 4);
}

static void first_fragment_hidden(struct frame *f)
{
	add8(f, IPPROTO_DSTOPTS);
	add8(f, 0);
	add16(f, 1);
	add_zero(f, 4);
	add_ext(f, IPPROTO_TCP);
}

static void later_fragment(struct frame *f)
{
	add8(f, IPPROTO_TCP);
	add8(f, 0);
	add16(f, 8);
	add_zero(f, 4);
}

static void later_fragment_hidden(struct frame *f)
{
	add8(f, IPPROTO_DSTOPTS);
	add8(f, 0);
	add16(f, 8);
	add_zero(f, 4);
}

TEST(guard_reads_ipv6_extension_headers)
{
	begin();
	drops(syn6_behind(IPPROTO_TCP, NULL), CV_GUARD_PLAINTEXT);
	drops(syn6_behind(IPPROTO_HOPOPTS, hop_and_dest), CV_GUARD_PLAINTEXT);
	drops(syn6_behind(IPPROTO_AH, auth), CV_GUARD_PLAINTEXT);
	drops(syn6_behind(IPPROTO_ROUTING, route_done), CV_GUARD_PLAINTEXT);
	drops(syn6_behind(IPPROTO_FRAGMENT, atomic_fragment), CV_GUARD_PLAINTEXT);
	drops(syn6_behind(IPPROTO_ROUTING, route_on), CV_GUARD_MALFORMED);
	drops(syn6_behind(IPPROTO_DSTOPTS, many), CV_GUARD_MALFORMED);
	drops(syn6_behind(IPPROTO_FRAGMENT, first_fragment), CV_GUARD_FRAGMENT);
	drops(syn6_behind(IPPROTO_FRAGMENT, first_fragment_hidden), CV_GUARD_FRAGMENT);
	drops(syn6_behind(IPPROTO_FRAGMENT, later_fragment), CV_GUARD_FRAGMENT);
	drops(syn6_behind(IPPROTO_FRAGMENT, later_fragment_hidden), CV_GUARD_FRAGMENT);
}

TEST(guard_lets_ipv6_find_its_neighbours)
{
	struct frame f = ethernet(ETH_P_IPV6), local = ethernet(ETH_P_IPV6);

	begin();
	add_ipv6(&f, "::", "ff02::1:ff00:2", IPPROTO_ICMPV6);
	passes(f);
	add_ipv6(&local, "fe80::5", "ff02::2", IPPROTO_ICMPV6);
	passes(local);
	drops(frame_tcp6("fe80::5", "fe80::6", 80, ACK), CV_GUARD_SOURCE);
}

TEST(guard_drops_what_it_cannot_read)
{
	struct frame v5 = syn4("192.0.2.7", 80), shortened = syn4("192.0.2.7", 80),
		     v6 = syn6_behind(IPPROTO_TCP, NULL);

	begin();
	v5.bytes[ETH_HLEN] = 0x55;
	drops(v5, CV_GUARD_MALFORMED);
	shortened.bytes[ETH_HLEN] = 0x44;
	drops(shortened, CV_GUARD_MALFORMED);
	v6.bytes[ETH_HLEN] = 0x40;
	drops(v6, CV_GUARD_MALFORMED);
}

/* Bytes of any kind: a verdict, never trouble. */
TEST(guard_survives_random_packets)
{
	struct frame f;
	int verdict;

	begin();
	srand(5);
	for (int i = 0; i < 20000; i++) {
		f = i % 2 ? ethernet(ETH_P_IPV6) : ethernet(ETH_P_IP);
		while (f.len < 200)
			add8(&f, (uint8_t)(i % 3 ? rand() : rand() % 64));
		f.bytes[ETH_HLEN] = (uint8_t)(i % 2 ? 0x60 : 0x45);
		verdict = sent(&f);
		CHECK(verdict == PASS || verdict == TC_ACT_SHOT);
	}
}
