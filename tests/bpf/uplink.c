/* SPDX-License-Identifier: Apache-2.0 */
/* uplink - packets from other nodes, before there is an skb. */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <unistd.h>

#include "frame.h"
#include "harness.h"
#include "net/addr.h"
#include "stage.h"

static void verdict_of_anyone(uint16_t port, bool is_allowed)
{
	struct cv_verdict_key key = {
		.src_cookie = CV_SRC_ANYONE, .dst_cookie = pod.cookie, .port = htons(port)};
	struct cv_verdict v = {.generation = 9, .is_allowed = is_allowed};
	uint64_t generation = 9;
	uint32_t zero = 0;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_generation), &zero, &generation,
				     BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_verdicts), &key, &v, BPF_ANY));
}

static void local(const char *address)
{
	struct cv_addr a;

	CHECK_OK(cv_addr_parse(address, &a));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), &a, &pod.cookie, BPF_ANY));
}

static int arrives(const struct frame *f)
{
	uint8_t out[FRAME * 2];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->bytes, .data_size_in = (uint32_t)f->len,
		    .data_out = out, .data_size_out = sizeof(out));

	CHECK_OK(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.cv_uplink), &opts));
	return (int)opts.retval;
}

static const struct ipv4 arrival = {"192.0.2.7", POD4, IPPROTO_TCP, 0, 0};

static int arrives4(uint16_t port, uint8_t flags)
{
	struct frame f = frame_tcp4(&arrival, port, flags);

	return arrives(&f);
}

TEST(uplink_drops_beginnings_that_nobody_may_make_in_plaintext)
{
	struct frame v6 = frame_tcp6("2001:db8::7", POD6, 80, SYN), vlan = ethernet(ETH_P_8021Q);
	struct cv_event ev;
	char buf[CV_SOCKADDR_STRLEN];

	local(POD4);
	local(POD6);
	CHECK_EQ(arrives4(80, SYN), XDP_PASS); /* nothing is known */
	verdict_of_anyone(80, true);
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
	verdict_of_anyone(80, false);
	CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	CHECK_EQ(counted(CV_UPLINK_PLAINTEXT), 1);
	CHECK_EQ(arrives4(80, ACK), XDP_PASS);
	CHECK_EQ(arrives4(80, SYN | ACK), XDP_PASS);
	CHECK_EQ(arrives4(81, SYN), XDP_PASS);
	CHECK_EQ(arrives(&v6), XDP_DROP);
	add_vlan(&vlan, 5, ETH_P_IP);
	add_ipv4(&vlan, &arrival);
	add_tcp(&vlan, 80, SYN);
	CHECK_EQ(arrives(&vlan), XDP_DROP);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	CHECK(event_of(CV_UPLINK_PLAINTEXT, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), "192.0.2.7:40000");
	CHECK_STR(cv_sockaddr_format(&ev.local, buf), POD4 ":80");
}

TEST(uplink_drops_a_source_that_is_denied_by_its_address)
{
	struct cv_denied_key key = {.dst_cookie = pod.cookie, .port = htons(80)};
	uint32_t zero = 0;
	uint64_t generation;
	struct cv_event ev;

	local(POD4);
	verdict_of_anyone(81, true); /* sets the generation */
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_generation), &zero, &generation));
	CHECK_OK(cv_addr_parse("192.0.2.7", &key.src));
	CHECK_OK(
		bpf_map_update_elem(bpf_map__fd(skel->maps.cv_denied), &key, &generation, BPF_ANY));
	CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	CHECK_EQ(counted(CV_UPLINK_DENIED), 1);
	CHECK_EQ(counted(CV_UPLINK_PLAINTEXT), 0);
	CHECK(event_of(CV_UPLINK_DENIED, &ev));
	CHECK_EQ(arrives4(81, SYN), XDP_PASS);
	generation++; /* an older policy */
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_generation), &zero, &generation,
				     BPF_ANY));
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
}

/* Many others have come since. */
TEST(uplink_forgets_a_denied_source_that_stays_quiet)
{
	struct cv_denied_key key = {.dst_cookie = pod.cookie, .port = htons(80)}, others = {0};
	int fd = bpf_map__fd(skel->maps.cv_denied);
	uint64_t generation = 9;

	local(POD4);
	verdict_of_anyone(81, true);
	CHECK_OK(cv_addr_parse("192.0.2.7", &key.src));
	CHECK_OK(bpf_map_update_elem(fd, &key, &generation, BPF_ANY));
	for (uint32_t n = 0; n < 3 * bpf_map__max_entries(skel->maps.cv_denied); n++) {
		others.src.w[3] = n;
		CHECK_OK(bpf_map_update_elem(fd, &others, &generation, BPF_ANY));
	}
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
	CHECK_OK(bpf_map_update_elem(fd, &key, &generation, BPF_ANY));
	CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	CHECK_OK(bpf_map_delete_elem(fd, &key));
}

TEST(uplink_leaves_what_the_pod_may_take)
{
	local(POD4);
	verdict_of_anyone(CV_HBONE_PORT, false);
	CHECK_EQ(arrives4(CV_HBONE_PORT, SYN), XDP_PASS);
	verdict_of_anyone(80, false);
	pod_flags(CV_POD_ALIVE); /* is leaving */
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE);
	CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	inbound_put(POD4, 0, CV_IN_EXCLUDE);
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
}

TEST(uplink_leaves_what_comes_from_an_excluded_source)
{
	struct frame v6 = frame_tcp6("2001:db8::7", POD6, 80, SYN);

	local(POD4);
	local(POD6);
	verdict_of_anyone(80, false);
	inbound_put(POD4, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	inbound_put(POD6, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	inbound_range_put(POD4, "192.0.2.6");
	inbound_range_put(POD6, "2001:db8::8/125");
	CHECK_EQ(arrives4(80, SYN), XDP_DROP);
	CHECK_EQ(arrives(&v6), XDP_DROP);
	inbound_range_put(POD4, "192.0.2.6/31");
	inbound_range_put(POD6, "2001:db8::/125");
	CHECK_EQ(arrives4(80, SYN), XDP_PASS);
	CHECK_EQ(arrives(&v6), XDP_PASS);
	CHECK_EQ(counted(CV_UPLINK_PLAINTEXT), 2);
}

TEST(uplink_passes_what_it_does_not_read)
{
	struct ipv4 with_options = arrival;
	struct frame f, options, arp = ethernet(ETH_P_ARP);

	local(POD4);
	verdict_of_anyone(80, false);
	with_options.options = 8;
	options = frame_tcp4(&with_options, 80, SYN);
	CHECK_EQ(arrives(&options), XDP_PASS);
	add_zero(&arp, 46);
	CHECK_EQ(arrives(&arp), XDP_PASS);
	for (size_t len = ETH_HLEN; len < ETH_HLEN + 36; len++) {
		f = frame_tcp4(&arrival, 80, SYN);
		f.len = len;
		CHECK_EQ(arrives(&f), XDP_PASS);
	}
}

TEST(uplink_is_asked_for_what_came_in_plaintext)
{
	struct cv_direct_event ev;
	int client;

	local(POD4);
	steer_all();
	enter_peer();
	client = connected(AF_INET, POD4 ":80");
	CHECK(direct_event_of(CV_VERDICT_MISS, &ev));
	CHECK_EQ(ev.netns_cookie, CV_SRC_ANYONE);
	CHECK_EQ(ev.dst_cookie, pod.cookie);
	CHECK_EQ(ntohs(ev.remote.port), 80);
	CHECK(!cv_addr_is_any(&ev.local.addr));
	verdict_of_anyone(80, true);
	close(client);
	(void)connected(AF_INET, POD4 ":80");
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
}
