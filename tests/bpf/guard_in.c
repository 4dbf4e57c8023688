/* SPDX-License-Identifier: Apache-2.0 */
/* guard_in - packets for a pod as they leave the host, one by one: what may come as a part of a
 * connection that the mesh vouches for. Made by hand, as who forges them makes them by hand. */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "frame.h"
#include "harness.h"
#include "net/addr.h"
#include "stage.h"

#define LOOPBACK 1 /* any interface will do */
#define PASS     TC_ACT_UNSPEC
#define SENDER   "10.244.9.9" /* says that it is */
#define ISN      0x12345678

static uint32_t came_by = LOOPBACK; /* from another pod, or another node */

static void passes(struct frame f)
{
	CHECK_EQ(frame_run(skel->progs.cv_guard_in, &f, LOOPBACK, came_by), PASS);
}

static void drops(struct frame f, enum cv_reason reason)
{
	uint64_t before = counted(reason);
	struct cv_event ev;

	CHECK_EQ(frame_run(skel->progs.cv_guard_in, &f, LOOPBACK, came_by), TC_ACT_SHOT);
	CHECK_EQ(counted(reason), before + 1);
	CHECK(event_of(reason, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
}

/* From the sender's port 40000 to the pod's port 80. */
static struct frame to_pod(uint8_t flags)
{
	struct frame f = frame_tcp4(&(struct ipv4){SENDER, POD4, IPPROTO_TCP, 0, 0}, 80, flags);

	set_seq(&f, ISN);
	return f;
}

static struct frame with_data(struct frame f)
{
	add8(&f, 'x');
	f.bytes[ETH_HLEN + 3]++; /* total length */
	return f;
}

static void begin(void)
{
	uint32_t ifindex = LOOPBACK;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_links), &ifindex, &pod.cookie,
				     BPF_ANY));
}

/* The connection that to_pod() says it is of. */
static void direct_set(const char *sender, const char *address, bool is_to_server, uint32_t flags)
{
	struct cv_direct d = {
		.src_cookie = pod.cookie,
		.dst_cookie = pod.cookie,
		.flags = flags | (is_to_server ? 0 : CV_DIRECT_TURNED),
		.answer_seq = htonl(ISN),
	};
	struct cv_tuple t = {.local_port = htons(40000), .remote_port = htons(80)};

	begin();
	CHECK_OK(cv_addr_parse(sender, &t.local));
	CHECK_OK(cv_addr_parse(address, &t.remote));
	if (!cv_tuple_is_first(&t)) {
		t = cv_tuple_turned(&t);
		d.flags ^= CV_DIRECT_TURNED;
	}
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_directs), &t, &d, BPF_ANY));
}

static void to_server(uint32_t flags)
{
	direct_set(SENDER, POD4, true, flags);
}

static void to_client(uint32_t flags)
{
	direct_set(SENDER, POD4, false, flags);
}

TEST(guard_in_takes_a_beginning_that_says_nothing)
{
	to_server(0);
	passes(to_pod(SYN));
	passes(to_pod(SYN | 0xc0)); /* ECN */
	drops(with_data(to_pod(SYN)), CV_GUARD_FORGED);
	for (uint32_t flags = 0; flags < 0x40; flags++)
		if ((flags & (SYN | ACK | FIN)) != SYN && !(flags & RST))
			drops(to_pod((uint8_t)flags), CV_GUARD_FORGED);
	drops(with_data(to_pod(ACK)), CV_GUARD_FORGED);
}

TEST(guard_in_takes_the_servers_own_answer_alone)
{
	struct frame other = to_pod(SYN | ACK);

	set_seq(&other, ISN + 1);
	to_client(0);
	drops(to_pod(SYN | ACK), CV_GUARD_FORGED); /* it has not answered */
	to_client(CV_DIRECT_ANSWERED);
	passes(to_pod(SYN | ACK));
	drops(other, CV_GUARD_FORGED);
	drops(with_data(to_pod(SYN | ACK)), CV_GUARD_FORGED);
	drops(to_pod(SYN), CV_GUARD_FORGED);
	drops(to_pod(ACK), CV_GUARD_FORGED);
	drops(with_data(to_pod(ACK)), CV_GUARD_FORGED);
	drops(to_pod(ACK | FIN), CV_GUARD_FORGED);
}

/* Its server may wait for an ACK that only another could still send. */
TEST(guard_in_lets_nothing_on_to_a_server_whose_client_has_given_up)
{
	to_server(CV_DIRECT_LET_IN | CV_DIRECT_CLIENT_CLOSED);
	drops(to_pod(SYN), CV_GUARD_FORGED);
	drops(to_pod(ACK), CV_GUARD_FORGED);
	drops(with_data(to_pod(ACK)), CV_GUARD_FORGED);
}

static void host_dials(uint64_t cookie, uint32_t flags)
{
	struct cv_vouch v = {.time_s = 1 | flags, .netns_cookie = (uint32_t)cookie};
	struct cv_tuple t = {.local_port = htons(40000), .remote_port = htons(80)};

	begin();
	CHECK_OK(cv_addr_parse(SENDER, &t.local));
	CHECK_OK(cv_addr_parse(POD4, &t.remote));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_vouched), &t, &v, BPF_ANY));
}

TEST(guard_in_takes_what_the_node_dials_from_the_node_alone)
{
	const uint32_t flags[] = {0, CV_VOUCH_ANSWERED, CV_VOUCH_ANSWERED | CV_VOUCH_ACCEPTED,
				  CV_VOUCH_ANSWERED | CV_VOUCH_CLOSED};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		host_dials(STAGE_HOST_COOKIE, flags[i]);
		came_by = 0;
		passes(to_pod(SYN));
		passes(with_data(to_pod(ACK)));
		came_by = LOOPBACK;
		drops(to_pod(SYN), CV_GUARD_FORGED);
		drops(to_pod(ACK), CV_GUARD_FORGED);
		drops(with_data(to_pod(ACK)), CV_GUARD_FORGED);
	}
	host_dials(pod.cookie, 0); /* its own, at an address that is another's now */
	passes(to_pod(SYN));
}

/* A filter of the host's may refuse it by a reset. */
TEST(guard_in_takes_a_reset_until_an_end_has_seen_it_established)
{
	to_server(CV_DIRECT_ESTABLISHED);
	passes(to_pod(RST));
	to_server(CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED);
	drops(to_pod(RST), CV_GUARD_FORGED);
	to_client(CV_DIRECT_ANSWERED);
	passes(to_pod(RST | ACK));
	to_client(CV_DIRECT_ANSWERED | CV_DIRECT_ESTABLISHED);
	drops(to_pod(RST | ACK), CV_GUARD_FORGED);
}

TEST(guard_in_takes_nothing_of_what_skips_the_host_from_the_first_on)
{
	to_server(CV_DIRECT_SHORT_SYN);
	drops(to_pod(SYN), CV_GUARD_FORGED);
	drops(to_pod(RST), CV_GUARD_FORGED);
	drops(to_pod(ACK), CV_GUARD_FORGED);
}

TEST(guard_in_leaves_what_nobody_vouches_for)
{
	begin();
	passes(to_pod(SYN));
	passes(with_data(to_pod(ACK)));
}

/* It hands on what was begun before, and so it does not let others break in. */
TEST(guard_in_protects_what_a_pod_that_has_left_began)
{
	struct frame v5 = to_pod(ACK);

	v5.bytes[ETH_HLEN] = 0x55;
	to_server(0);
	drops(v5, CV_GUARD_MALFORMED);
	pod_flags(0);
	drops(with_data(to_pod(ACK)), CV_GUARD_FORGED);
	passes(v5);
}

TEST(guard_in_reads_what_hides_the_ports)
{
	const struct ipv4 first = {SENDER, POD4, IPPROTO_TCP, 0x2000, 0},
			  later = {SENDER, POD4, IPPROTO_TCP, 0x2003, 0},
			  options = {SENDER, POD4, IPPROTO_TCP, 0, 8};
	struct frame tags = ethernet(ETH_P_8021AD);

	to_server(0);
	drops(frame_tcp4(&first, 80, ACK), CV_GUARD_FORGED);
	drops(frame_tcp4(&first, 80, SYN), CV_GUARD_FORGED);
	passes(frame_tcp4(&first, 81, ACK));
	passes(frame_tcp4(&later, 80, ACK)); /* without its first it is nothing */
	drops(frame_tcp4(&options, 80, ACK), CV_GUARD_FORGED);
	add_vlan(&tags, 0, ETH_P_8021Q);
	add_vlan(&tags, 0, ETH_P_IP);
	add_ipv4(&tags, &(struct ipv4){SENDER, POD4, IPPROTO_TCP, 0, 0});
	add_tcp(&tags, 80, ACK);
	drops(tags, CV_GUARD_FORGED);
}

TEST(guard_in_reads_ipv6)
{
	struct frame behind = ethernet(ETH_P_IPV6), first = ethernet(ETH_P_IPV6);

	direct_set("fd00:10:244:9::9", POD6, true, 0);
	passes(frame_tcp6("fd00:10:244:9::9", POD6, 80, SYN));
	drops(frame_tcp6("fd00:10:244:9::9", POD6, 80, ACK), CV_GUARD_FORGED);
	add_ipv6(&behind, "fd00:10:244:9::9", POD6, IPPROTO_DSTOPTS);
	add8(&behind, IPPROTO_TCP);
	add_zero(&behind, 7);
	add_tcp(&behind, 80, ACK);
	drops(behind, CV_GUARD_FORGED);
	add_ipv6(&first, "fd00:10:244:9::9", POD6, IPPROTO_FRAGMENT);
	add8(&first, IPPROTO_TCP);
	add8(&first, 0);
	add16(&first, 1);
	add_zero(&first, 4);
	add_tcp(&first, 80, SYN);
	drops(first, CV_GUARD_FORGED);
}

/* Bytes of any kind: a verdict, never trouble. */
TEST(guard_in_survives_random_packets)
{
	struct frame f;
	int verdict;

	to_server(0);
	srand(6);
	for (int i = 0; i < 20000; i++) {
		f = i % 2 ? ethernet(ETH_P_IPV6) : ethernet(ETH_P_IP);
		while (f.len < 200)
			add8(&f, (uint8_t)(i % 3 ? rand() : rand() % 64));
		if (i % 5)
			f.bytes[ETH_HLEN] = i % 2 ? 0x60 : 0x45;
		verdict = frame_run(skel->progs.cv_guard_in, &f, LOOPBACK, LOOPBACK);
		CHECK(verdict == PASS || verdict == TC_ACT_SHOT);
	}
}
