/* SPDX-License-Identifier: Apache-2.0 */
/* direct - two enrolled pods of one node, without a tunnel: the peer is the second pod. Whatever is
 * doubtful goes to ztunnel, and what is denied is refused at connect(2). */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static void check_direct(int family, const char *to, const char *pod_address)
{
	int listening = serve(family, to), client, server;
	const char *shown;

	verdict_set(80, true);
	client = connected(family, to);
	server = accepted(listening, &shown);
	CHECK_STR(shown, text(pod_address, own_port(client)));
	CHECK_NAME(server, shown);
	CHECK_NAME(client, to);
	CHECK_STR(own_name(client), shown);
	exchange(client, server);
	CHECK_EQ(counted(CV_DIRECT), 1);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	CHECK_EQ(map_size(skel->maps.cv_directs), 1);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
	CHECK_EQ(map_size(skel->maps.cv_conns), 0);
	close(client);
	CHECK(is_readable(server, WAIT_MS));
	close(server);
}

TEST(direct_ipv4_shows_both_ends_as_they_are)
{
	pair_begin();
	check_direct(AF_INET, SERVER4, POD4);
}

TEST(direct_ipv6_shows_both_ends_as_they_are)
{
	pair_begin();
	check_direct(AF_INET6, SERVER6, POD6);
}

TEST(direct_mapped_ipv4_works)
{
	int listening, client;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	client = connected(AF_INET6, SERVER4);
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_DIRECT), 1);
}

TEST(direct_without_a_verdict_goes_to_ztunnel_and_asks)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
	verdict_set(81, true);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 2);
}

TEST(where_ztunnel_has_each_connection_it_is_not_asked_again)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	frontend_one(SERVICE, SERVER4);
	verdict_ztunnels(80);
	check_tunnelled(AF_INET, SERVER4);
	check_tunnelled(AF_INET, SERVICE);
	CHECK_EQ(counted(CV_VERDICT_MISS), 0);
	generation_set(8);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
	pod_flags(CV_POD_CAPTURE | CV_POD_DIRECT);
	verdict_ztunnels(80);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, SERVER4);
}

TEST(direct_verdicts_end_with_their_generation)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	generation_set(8);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
}

TEST(direct_denied_is_refused_at_connect)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	serve(AF_INET6, SERVER6);
	verdict_set(80, false);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	check_dropped(CV_DROP_POLICY, SERVER4);
	CHECK_ERRNO(connect_to(tcp(AF_INET6), AF_INET6, SERVER6), ECONNREFUSED);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	CHECK_EQ(refused_of(SERVER4, SERVER4), 1);
	CHECK_EQ(refused_of(SERVER6, SERVER6), 1);
}

TEST(direct_denial_of_an_old_generation_is_asked_again)
{
	pair_begin();
	verdict_set(80, false);
	generation_set(8);
	check_tunnelled(AF_INET, SERVER4);
}

TEST(direct_serves_a_cached_verdict_while_ztunnel_is_dead_and_refuses_the_unknown)
{
	int listening, client;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	pod_flags(CV_POD_CAPTURE | CV_POD_DIRECT);
	server_set(CV_POD_CAPTURE | CV_POD_DIRECT);
	client = connected(AF_INET, SERVER4);
	exchange(client, accepted(listening, NULL));
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, PEER4 ":81"), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, PEER4 ":81");
}

TEST(direct_needs_both_ends)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE);
	check_tunnelled(AF_INET, SERVER4);
	pod_flags(BOTH);
	server_set(CV_POD_ALIVE | CV_POD_CAPTURE);
	check_tunnelled(AF_INET, SERVER4);
	server_set(CV_POD_ALIVE | CV_POD_DIRECT); /* it is leaving the mesh */
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 0);
}

TEST(direct_needs_the_control_plane_to_mean_this_pod)
{
	struct cv_dest other = {.flags = CV_DEST_MESH, .name = "test/server2"};

	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &server_pod.addr4,
				     &other, BPF_ANY));
	check_tunnelled(AF_INET, SERVER4);
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_locals), &server_pod.addr6));
	check_tunnelled(AF_INET6, SERVER6);
}

TEST(direct_is_by_cookie_a_new_pod_at_the_address_is_asked_for)
{
	struct cv_verdict_key key = {
		.src_cookie = pod.cookie, .dst_cookie = pod.cookie, .port = htons(80)};
	struct cv_verdict v = {.generation = 7, .is_allowed = true};

	pair_begin();
	serve(AF_INET, SERVER4);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_verdicts), &key, &v, BPF_ANY));
	check_tunnelled(AF_INET, SERVER4);
}

TEST(direct_never_to_ztunnels_own_ports)
{
	pair_begin();
	verdict_set(CV_HBONE_PORT, true);
	check_tunnelled(AF_INET, PEER4 ":15008");
	server_pod.outbound_ports[0] = 80;
	server_set(BOTH);
	verdict_set(80, true);
	check_tunnelled(AF_INET, SERVER4);
}

TEST(direct_not_for_mptcp)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (fd < 0)
		test_skip("no MPTCP");
	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	CHECK_OK(connect_to(fd, AF_INET, SERVER4));
	CHECK_OK(ztunnel_accept(NULL));
	CHECK_EQ(counted(CV_DIRECT), 0);
}

/* Its SYN has data. */
TEST(direct_not_for_fast_open)
{
	int fd = tcp(AF_INET), on = 1;

	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	shell("echo 5 > /proc/sys/net/ipv4/tcp_fastopen"); /* without a cookie */
	CHECK_OK(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	CHECK_OK(connect_to(fd, AF_INET, SERVER4));
	CHECK_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	CHECK_OK(ztunnel_accept(NULL));
	CHECK_EQ(counted(CV_DIRECT), 0);
}

TEST(direct_not_from_a_foreign_source_address)
{
	int fd = tcp(AF_INET);

	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	shell("ip addr add 10.244.1.77/32 dev eth0");
	bind_to(fd, AF_INET, "10.244.1.77:0");
	CHECK_OK(connect_to(fd, AF_INET, SERVER4));
	CHECK_OK(ztunnel_accept(NULL));
	CHECK_EQ(counted(CV_DIRECT), 0);
}

/* The only entry of cv_directs. */
static struct cv_direct only_direct(void)
{
	int fd = bpf_map__fd(skel->maps.cv_directs);
	struct cv_tuple key;
	struct cv_direct d;

	CHECK_OK(bpf_map_get_next_key(fd, NULL, &key));
	CHECK_EQ(key.netns_cookie, 0);
	CHECK(cv_tuple_is_first(&key));
	CHECK_OK(bpf_map_lookup_elem(fd, &key, &d));
	return d;
}

/* Seen by the agent: the pod may send from it. */
TEST(direct_from_an_address_that_the_pod_gave_itself_says_so)
{
	struct cv_pod_addr_key key = {.netns_cookie = pod.cookie};
	uint32_t one = 1;
	int fd = tcp(AF_INET);

	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	shell("ip addr add 10.244.1.77/32 dev eth0");
	CHECK_OK(cv_addr_parse("10.244.1.77", &key.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pod_addrs), &key, &one, BPF_ANY));
	bind_to(fd, AF_INET, "10.244.1.77:0");
	CHECK_OK(connect_to(fd, AF_INET, SERVER4));
	CHECK(only_direct().flags & CV_DIRECT_SELF_GIVEN);
}

TEST(what_is_not_vouched_for_does_not_reach_the_application)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	pod_remove(); /* a plain host now */
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

TEST(direct_is_one_entry_until_both_ends_have_closed)
{
	int listening, client, server;
	struct cv_direct d;

	pair_begin();
	listening = serve(AF_INET6, SERVER6);
	verdict_set(80, true);
	client = connected(AF_INET6, SERVER6);
	server = accepted(listening, NULL);
	d = only_direct();
	CHECK_EQ(d.src_cookie, pod.cookie);
	CHECK_EQ(d.dst_cookie, server_cookie);
	CHECK_EQ(d.flags & ~(uint32_t)CV_DIRECT_TURNED, CV_DIRECT_SHORT_SYN | CV_DIRECT_LET_IN |
								CV_DIRECT_ESTABLISHED |
								CV_DIRECT_ACCEPTED);
	reset(server);
	CHECK(is_readable(client, WAIT_MS));
	close(client);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
	client = connected(AF_INET6, SERVER6);
	server = accepted(listening, NULL);
	reset(client);
	CHECK(is_readable(server, WAIT_MS));
	check_emptied(skel->maps.cv_directs);
}

/* The SYNs of both ends go the same way. */
TEST(direct_handshakes_skip_the_host_where_both_links_say_so)
{
	const uint32_t flags[][2] = {{0, 0}, {CV_LINK_HANDSHAKE, 0}, {0, CV_LINK_HANDSHAKE}};
	int listening, client, server;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		link_set(pod.cookie, flags[i][0]);
		link_set(server_cookie, flags[i][1]);
		client = connected(AF_INET, SERVER4);
		server = accepted(listening, NULL);
		CHECK_EQ(only_direct().flags & CV_DIRECT_SHORT_SYN, 0);
		reset(server);
		CHECK(is_readable(client, WAIT_MS));
		close(client);
	}
}

TEST(direct_tells_its_beginning_and_its_end_with_the_bytes)
{
	struct cv_direct_event ev;
	int listening, client, server;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	client = connected(AF_INET, SERVER4);
	server = accepted(listening, NULL);
	CHECK(direct_event_of(CV_DIRECT_OPEN, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	CHECK_EQ(ev.dst_cookie, server_cookie);
	CHECK_EQ(ev.flags, CV_DIRECT_ESTABLISHED);
	talk_to_the_end(client, server);
	direct_event_wait(CV_DIRECT_CLOSE, &ev);
	CHECK_EQ(ev.sent, SENT);
	CHECK_EQ(ev.received, RECEIVED);
	CHECK_EQ(ntohs(ev.remote.port), 80);
	CHECK_EQ(ntohs(ev.asked.port), 80);
}

TEST(direct_to_a_closed_port_is_refused_and_told)
{
	struct cv_direct_event ev;

	pair_begin();
	verdict_set(80, true);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	CHECK(direct_event_of(CV_DIRECT_CLOSE, &ev));
	CHECK_EQ(ev.flags, 0);
	CHECK_EQ(ev.error, ECONNREFUSED);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
	CHECK_EQ(map_size(skel->maps.cv_vouched), 0);
}

TEST(direct_that_its_client_gives_up_is_told_without_an_error)
{
	int fd = tcp(AF_INET);
	struct cv_direct_event ev;

	pair_begin();
	verdict_set(80, true);
	enter_peer();
	shell("ip link set eth0 down");
	enter_pod();
	CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	CHECK_ERRNO(connect_to(fd, AF_INET, SERVER4), EINPROGRESS);
	close(fd);
	CHECK(direct_event_of(CV_DIRECT_CLOSE, &ev));
	CHECK_EQ(ev.flags, 0);
	CHECK_EQ(ev.error, 0);
}

TEST(a_direct_socket_can_connect_elsewhere_afterwards)
{
	int fd = tcp(AF_INET);

	pair_begin();
	verdict_set(80, true);
	CHECK_ERRNO(connect_to(fd, AF_INET, SERVER4), ECONNREFUSED);
	CHECK_OK(connect_to(fd, AF_INET, MESH4));
	exchange(fd, ztunnel_accept(NULL));
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
}

TEST(direct_that_finds_no_room_is_not_vouched_for)
{
	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	map_fill(skel->maps.cv_directs);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	CHECK_EQ(counted(CV_VOUCHED), 0);
}

/* Nobody is asked for memory: cv_sockops finds out for itself. */
TEST(direct_to_a_pods_own_address_keeps_no_record)
{
	struct cv_socket value;
	int client;

	pair_begin();
	serve(AF_INET, SERVER4);
	verdict_set(80, true);
	client = connected(AF_INET, SERVER4);
	CHECK_EQ(map_size(skel->maps.cv_directs), 1);
	CHECK_ERRNO(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_sockets), &client, &value),
		    ENOENT);
}

/* Let go by connect(2), but not as direct ones: the verdict does not vouch for them. */
static void check_not_direct(void)
{
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	CHECK_EQ(counted(CV_DIRECT), 0);
	CHECK_EQ(counted(CV_VOUCHED), 0);
	CHECK_EQ(counted(CV_DROP_NOT_DIRECT), 0);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
}

TEST(a_verdict_does_not_vouch_for_what_is_excluded)
{
	struct cv_outbound_key key = {.prefix_len = CV_OUTBOUND_PREFIX + 128,
				      .kind = CV_OUT_EXCLUDE_PORT,
				      .netns_cookie = pod.cookie,
				      .addr.w[0] = 80};
	uint32_t one = 1;

	pair_begin();
	verdict_set(80, true);
	serve(AF_INET, SERVER4);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_outbound_rules), &key, &one,
				     BPF_ANY));
	pod_flags(BOTH | CV_POD_OUT_RULES);
	check_not_direct();
	CHECK_EQ(counted(CV_EXCLUDED), 1);
}

TEST(a_verdict_does_not_vouch_for_what_is_no_mesh_destination)
{
	pair_begin();
	verdict_set(80, true);
	serve(AF_INET, SERVER4);
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_workloads), &server_pod.addr4));
	check_not_direct();
	CHECK_EQ(counted(CV_PASSTHROUGH), 1);
}

TEST(direct_beside_what_is_excluded)
{
	pair_begin();
	pod_flags(BOTH | CV_POD_OUT_RULES);
	check_direct(AF_INET, SERVER4, POD4);
}

static void check_congestion(int client, int listening, const char *wanted)
{
	CHECK_OK(connect_to(client, AF_INET, SERVER4));
	CHECK_STR(congestion(client), wanted);
	CHECK_STR(congestion(accepted(listening, NULL)), wanted);
}

TEST(direct_begins_with_reno_unless_chosen)
{
	int listening, chosen = tcp(AF_INET);
	const char *own = congestion(-1);

	pair_begin();
	verdict_set(80, true);
	listening = serve(AF_INET, SERVER4);
	check_congestion(tcp(AF_INET), listening, "reno");
	congestion_choose(chosen, own);
	congestion_choose(listening, own);
	check_congestion(chosen, listening, own);
}
