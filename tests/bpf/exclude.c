/* SPDX-License-Identifier: Apache-2.0 */
/* exclude - what annotations take out of the capture, ranges of frontends, and what REGISTRY_ONLY
 * refuses. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "net/cidr.h"
#include "stage.h"
#include "watch.h"

#define CAPTURED (CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DNS)

static void rule_put(const struct cv_outbound_key *key)
{
	uint32_t one = 1;

	CHECK_OK(
		bpf_map_update_elem(bpf_map__fd(skel->maps.cv_outbound_rules), key, &one, BPF_ANY));
}

static void rule_range(enum cv_outbound_kind kind, uint64_t cookie, const char *range)
{
	struct cv_outbound_key key = {.kind = (uint16_t)kind, .netns_cookie = cookie};
	struct cidr c;

	CHECK_OK(cidr_parse(range, &c));
	key.prefix_len = CV_OUTBOUND_PREFIX + c.len;
	key.is_v4 = cv_addr_is_v4(&c.addr);
	key.addr = c.addr;
	rule_put(&key);
}

/* The cookie of the peer's namespace, which is no pod. One that is made up may be given to the pod
 * of a later test. */
static uint64_t other_cookie(void)
{
	uint64_t cookie;

	enter_peer();
	cookie = own_cookie();
	enter_pod();
	return cookie;
}

static void rule_port(enum cv_outbound_kind kind, uint32_t port)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + 128,
		.kind = (uint16_t)kind,
		.netns_cookie = pod.cookie,
	};

	key.addr.w[0] = port;
	rule_put(&key);
}

/* Reaches the peer itself, which stands in for a mesh destination. */
static void check_left_alone(int family, const char *to)
{
	uint64_t before = counted(CV_EXCLUDED);
	int listening, client;

	enter_peer();
	listening = listener(AF_INET6, "[::]:80");
	enter_pod();
	client = connected(family, to);
	CHECK_NAME(client, to);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_EXCLUDED), before + 1);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	close(listening);
}

static void check_captured(int family, const char *to)
{
	const char *shown;

	CHECK_OK(connected(family, to));
	CHECK_OK(ztunnel_accept(&shown));
	CHECK_STR(shown, to);
}

TEST(an_excluded_port_is_left_alone)
{
	rule_port(CV_OUT_EXCLUDE_PORT, 80);
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_left_alone(AF_INET, MESH4);
	check_left_alone(AF_INET6, MESH4);
}

TEST(an_excluded_port_is_no_other_port)
{
	rule_port(CV_OUT_EXCLUDE_PORT, 8080);
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_captured(AF_INET, MESH4);
	CHECK_EQ(counted(CV_EXCLUDED), 0);
}

TEST(an_excluded_range_is_left_alone_and_another_pods_is_not)
{
	rule_range(CV_OUT_EXCLUDE_RANGE, other_cookie(), "0.0.0.0/0");
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_captured(AF_INET, MESH4);
	rule_range(CV_OUT_EXCLUDE_RANGE, pod.cookie, "10.96.0.0/16");
	check_captured(AF_INET, MESH4);
}

TEST(an_excluded_range_takes_ipv4_and_mapped)
{
	rule_range(CV_OUT_EXCLUDE_RANGE, pod.cookie, "10.244.9.0/24");
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_left_alone(AF_INET, MESH4);
	check_left_alone(AF_INET6, MESH4);
}

TEST(an_ipv6_range_never_takes_ipv4)
{
	rule_range(CV_OUT_EXCLUDE_RANGE, pod.cookie, "::/0");
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_captured(AF_INET, MESH4);
}

TEST(an_excluded_ipv6_range_is_left_alone)
{
	rule_range(CV_OUT_EXCLUDE_RANGE, pod.cookie, "fd00:10:244:9::/64");
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	enter_peer();
	shell("ip addr add fd00:10:244:9::9/128 dev eth0 nodad");
	enter_pod();
	check_left_alone(AF_INET6, MESH6);
}

TEST(exclusions_win_over_what_is_listed)
{
	rule_range(CV_OUT_INCLUDE_RANGE, pod.cookie, "10.244.9.9/32");
	rule_range(CV_OUT_EXCLUDE_RANGE, pod.cookie, "10.0.0.0/8");
	pod_flags(CAPTURED | CV_POD_OUT_RULES | CV_POD_OUT_LISTED);
	check_left_alone(AF_INET, MESH4);
}

TEST(with_a_list_only_its_ranges_are_captured)
{
	rule_range(CV_OUT_INCLUDE_RANGE, pod.cookie, "10.244.9.10/32");
	pod_flags(CAPTURED | CV_POD_OUT_RULES | CV_POD_OUT_LISTED);
	check_left_alone(AF_INET, MESH4);
	check_captured(AF_INET, MESH4_B);
}

TEST(a_listed_port_is_captured_whatever_the_range)
{
	rule_range(CV_OUT_INCLUDE_RANGE, pod.cookie, "192.0.2.0/24");
	rule_port(CV_OUT_INCLUDE_PORT, 80);
	pod_flags(CAPTURED | CV_POD_OUT_RULES | CV_POD_OUT_LISTED);
	check_captured(AF_INET, MESH4);
}

TEST(an_exclusion_ends_while_the_pod_runs)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + 128,
		.kind = CV_OUT_EXCLUDE_PORT,
		.netns_cookie = pod.cookie,
	};

	key.addr.w[0] = 80;
	rule_put(&key);
	pod_flags(CAPTURED | CV_POD_OUT_RULES);
	check_left_alone(AF_INET, MESH4);
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_outbound_rules), &key));
	CHECK_OK(connected(AF_INET, MESH4));
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

/* From the peer to the pod's application. */
static void check_inbound(int family, const char *to, int wanted)
{
	int client;

	enter_peer();
	client = connected(family, to);
	enter_pod();
	exchange(client, accepted(wanted, NULL));
	close(client);
}

TEST(an_excluded_inbound_port_goes_to_the_application)
{
	int application = listener(AF_INET6, "[::]:80");

	steer_all();
	inbound_put(POD4, 0, CV_IN_CAPTURE);
	inbound_put(POD4, 80, CV_IN_EXCLUDE);
	check_inbound(AF_INET, POD4 ":80", application);
	CHECK_EQ(counted(CV_EXCLUDED), 1);
	/* the rule is of that address */
	check_inbound(AF_INET6, "[" POD6 "]:80", pod.plain);
	inbound_put(POD6, 0, CV_IN_CAPTURE);
	inbound_put(POD6, 80, CV_IN_EXCLUDE);
	check_inbound(AF_INET6, "[" POD6 "]:80", application);
}

TEST(other_inbound_ports_stay_captured)
{
	steer_all();
	inbound_put(POD4, 0, CV_IN_CAPTURE);
	inbound_put(POD4, 80, CV_IN_EXCLUDE);
	check_inbound(AF_INET, POD4 ":81", pod.plain);
	CHECK_EQ(counted(CV_EXCLUDED), 0);
}

TEST(with_an_inbound_list_only_its_ports_are_captured)
{
	int application = listener(AF_INET6, "[::]:81");

	steer_all();
	inbound_put(POD4, 0, CV_IN_EXCLUDE);
	inbound_put(POD4, 80, CV_IN_CAPTURE);
	check_inbound(AF_INET, POD4 ":80", pod.plain);
	check_inbound(AF_INET, POD4 ":81", application);
}

TEST(hbone_is_never_excluded)
{
	steer_all();
	inbound_put(POD4, 0, CV_IN_EXCLUDE);
	inbound_put(POD4, CV_HBONE_PORT, CV_IN_EXCLUDE);
	check_inbound(AF_INET, POD4 ":15008", pod.hbone);
}

/* The peer, which comes, is PEER4 and PEER6. */
TEST(an_excluded_source_goes_to_the_application_at_every_port)
{
	int application = listener(AF_INET6, "[::]:80"), other = listener(AF_INET6, "[::]:81");

	steer_all();
	inbound_range_put(POD4, PEER4 "/31");
	inbound_put(POD4, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	check_inbound(AF_INET, POD4 ":80", application);
	check_inbound(AF_INET6, POD4 ":81", other); /* mapped */
	CHECK_EQ(counted(CV_EXCLUDED), 2);
	/* the rule is of that address */
	check_inbound(AF_INET6, "[" POD6 "]:80", pod.plain);
	inbound_range_put(POD6, PEER6);
	inbound_put(POD6, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	check_inbound(AF_INET6, "[" POD6 "]:80", application);
	CHECK_EQ(counted(CV_EXCLUDED), 3);
}

TEST(a_source_just_outside_of_a_range_stays_captured)
{
	steer_all();
	inbound_range_put(POD4, "10.244.1.2/31");
	inbound_range_put(POD4, "fd00::/8"); /* IPv4 is in none of IPv6's */
	inbound_put(POD4, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	check_inbound(AF_INET, POD4 ":80", pod.plain);
	inbound_range_put(POD6, "fd00:10:244:1::2/127");
	inbound_put(POD6, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	check_inbound(AF_INET6, "[" POD6 "]:80", pod.plain);
	CHECK_EQ(counted(CV_EXCLUDED), 0);
}

TEST(a_range_of_sources_counts_only_where_the_rule_of_all_ports_says_so)
{
	steer_all();
	inbound_range_put(POD4, "0.0.0.0/0");
	check_inbound(AF_INET, POD4 ":80", pod.plain);
	inbound_put(POD4, 0, CV_IN_CAPTURE);
	check_inbound(AF_INET, POD4 ":80", pod.plain);
	CHECK_EQ(counted(CV_EXCLUDED), 0);
}

TEST(an_excluded_source_wins_over_a_list_of_ports)
{
	int application = listener(AF_INET6, "[::]:80"), other = listener(AF_INET6, "[::]:81");

	steer_all();
	inbound_put(POD4, 0, CV_IN_EXCLUDE | CV_IN_RANGES);
	inbound_put(POD4, 80, CV_IN_CAPTURE);
	check_inbound(AF_INET, POD4 ":80", pod.plain);
	inbound_range_put(POD4, PEER4);
	check_inbound(AF_INET, POD4 ":80", application);
	check_inbound(AF_INET, POD4 ":81", other);
}

TEST(hbone_is_captured_from_an_excluded_source)
{
	steer_all();
	inbound_range_put(POD4, "0.0.0.0/0");
	inbound_put(POD4, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	inbound_range_put(POD6, "::/0");
	inbound_put(POD6, 0, CV_IN_CAPTURE | CV_IN_RANGES);
	check_inbound(AF_INET, POD4 ":15008", pod.hbone);
	check_inbound(AF_INET6, "[" POD6 "]:15008", pod.hbone);
	CHECK_EQ(counted(CV_EXCLUDED), 0);
}

TEST(a_range_of_frontends_is_captured_at_its_port)
{
	range_put("10.200.0.0/16", 80, CV_DEST_MESH);
	range_put("fd00:200::/32", 80, CV_DEST_MESH);
	check_captured(AF_INET, "10.200.7.7:80");
	check_captured(AF_INET6, "10.200.7.8:80");
	check_captured(AF_INET6, "[fd00:200::7]:80");
	CHECK_EQ(counted(CV_PASSTHROUGH), 0);
}

TEST(the_longest_range_decides)
{
	int listening, client;

	range_put("10.96.0.0/16", 8080, CV_DEST_MESH);
	range_put("10.96.0.10/32", 8080, 0);
	enter_peer();
	listening = listener(AF_INET, OTHER_PORT);
	enter_pod();
	client = connected(AF_INET, OTHER_PORT);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
}

TEST(ztunnel_may_dial_an_endpoint_that_lies_in_a_range)
{
	int listening;

	range_put("10.96.0.0/16", 8080, CV_DEST_MESH);
	enter_peer();
	listening = listener(AF_INET, OTHER_PORT);
	enter_pod();
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, OTHER_PORT));
	close(listening);
}

static void check_registry_refuses(int family, const char *to)
{
	CHECK_ERRNO(connect_to(tcp(family), family, to), ECONNREFUSED);
	check_dropped(CV_DROP_REGISTRY_ONLY, to);
}

TEST(registry_only_refuses_what_it_does_not_know_on_ipv4)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	check_registry_refuses(AF_INET, PEER4 ":8080");
}

TEST(registry_only_refuses_what_it_does_not_know_on_ipv6)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	check_registry_refuses(AF_INET6, "[" PEER6 "]:8080");
}

TEST(registry_only_refuses_mapped_addresses_as_well)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	check_registry_refuses(AF_INET6, PEER4 ":8080");
}

static void check_registry_allows(const char *to)
{
	int listening, client;

	enter_peer();
	listening = listener(AF_INET, to);
	enter_pod();
	client = connected(AF_INET, to);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
	CHECK_EQ(counted(CV_DROP_REGISTRY_ONLY), 0);
}

static void registered_put(const char *address, uint16_t port)
{
	struct cv_service_key key = {.port = htons(port)};

	CHECK_OK(cv_addr_parse(address, &key.addr));
	dest_put(skel->maps.cv_registered, &key, 0);
}

TEST(registry_only_lets_registered_addresses_pass)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	registered_put(PEER4, 0);
	check_registry_allows(PEER4 ":8080");
}

TEST(registry_only_lets_registered_ports_pass_and_no_others)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	registered_put(PEER4, 8080);
	check_registry_allows(PEER4 ":8080");
	check_registry_refuses(AF_INET, PEER4 ":8081");
}

TEST(registry_only_lets_registered_ranges_pass)
{
	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	range_put("10.244.1.0/28", 8080, 0);
	check_registry_allows(PEER4 ":8080");
}

TEST(registry_only_leaves_the_mesh_and_the_pod_itself_alone)
{
	int listening, client;

	pod_flags(CAPTURED | CV_POD_REGISTRY_ONLY);
	check_captured(AF_INET, MESH4);
	listening = listener(AF_INET, "127.0.0.1:8080");
	client = connected(AF_INET, "127.0.0.1:8080");
	exchange(client, accepted(listening, NULL));
}

TEST(an_exclusion_is_not_for_the_registry_to_refuse)
{
	rule_port(CV_OUT_EXCLUDE_PORT, 80);
	pod_flags(CAPTURED | CV_POD_OUT_RULES | CV_POD_REGISTRY_ONLY);
	check_left_alone(AF_INET, text(PEER4, 80));
}
