/* SPDX-License-Identifier: Apache-2.0 */
/* share - of the maps of tuples, which all pods write to, none takes the others' room. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"

#define MORE (TEST_CONNS_MAX + 8)

/* What the pod has of a map's entries, by its account and by count. */
static void check_has(enum cv_share_of of, const struct bpf_map *map, unsigned int n)
{
	struct cv_share s;

	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_shares), &pod.cookie, &s));
	CHECK_EQ(s.count[of], n);
	CHECK_EQ(map_size(map), n);
}

/* Needs no right: a listener that does not accept answers no more once it has some. */
TEST(a_pod_that_dials_itself_and_does_not_answer_takes_no_other_pods_room)
{
	int client[MORE], full, listening, own;

	pair_begin();
	steer_all();
	full = listener(AF_INET, POD4 ":90");
	CHECK_OK(listen(full, 0));
	for (int i = 0; i < MORE; i++) {
		client[i] = tcp(AF_INET);
		set_nonblock(client[i]);
		CHECK_ERRNO(connect_to(client[i], AF_INET, POD4 ":90"), EINPROGRESS);
	}
	check_has(CV_SHARE_VOUCHED, skel->maps.cv_vouched, TEST_SHARE);
	CHECK(counted(CV_DROP_MAP_FULL) > 0);
	listening = serve(AF_INET, SERVER4);
	enter_peer();
	own = connected(AF_INET, SERVER4);
	exchange(own, accepted(listening, NULL));
	enter_pod();
	for (int i = 0; i < MORE; i++)
		close(client[i]);
	check_has(CV_SHARE_VOUCHED, skel->maps.cv_vouched, 0);
}

/* Of an MPTCP connection the entry stays as long as its client. */
TEST(what_a_pod_has_of_connections_to_ztunnel_is_bounded)
{
	int client[TEST_SHARE + 1];
	const char *shown;

	for (int i = 0; i <= TEST_SHARE; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
		if (client[i] < 0)
			test_skip("no MPTCP");
		CHECK_OK(connect_to(client[i], AF_INET, MESH4));
		close(ztunnel_accept(&shown));
		CHECK_STR(shown, i < TEST_SHARE ? MESH4 : "[::]:0");
	}
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	check_has(CV_SHARE_CONNS, skel->maps.cv_conns, TEST_SHARE);
	for (int i = 0; i <= TEST_SHARE; i++)
		close(client[i]);
	check_emptied(skel->maps.cv_conns);
	check_has(CV_SHARE_CONNS, skel->maps.cv_conns, 0);
}

/* Its server may be any that keeps connections. */
TEST(what_a_pod_has_of_direct_connections_is_bounded_and_it_uses_tunnels_beside)
{
	int client[TEST_SHARE], server[TEST_SHARE], listening, z, beside;

	pair_begin();
	verdict_set(80, true);
	listening = serve(AF_INET, SERVER4);
	for (int i = 0; i < TEST_SHARE; i++) {
		client[i] = connected(AF_INET, SERVER4);
		server[i] = accepted(listening, NULL);
	}
	check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, TEST_SHARE);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	beside = connected(AF_INET, SERVER4);
	z = ztunnel_accept(NULL);
	exchange(beside, z);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	for (int i = 0; i < TEST_SHARE; i++) {
		close(client[i]);
		close(server[i]);
	}
	check_emptied(skel->maps.cv_directs);
	check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, 0);
	close(connected(AF_INET, SERVER4));
	CHECK_EQ(counted(CV_DIRECT), TEST_SHARE + 1);
}

/* However many there are that take what they can, together, there is room for one that does not. */
TEST(the_fuller_a_map_the_less_of_it_is_one_pods)
{
	const __u64 all = CV_SHARE_OF_ALL;
	struct cv_share s = {.count[CV_SHARE_DIRECTS] = TEST_CONNS_MAX - 8};
	int client[4], server[4], listening, z, beside, shares;

	pair_begin();
	verdict_set(80, true);
	listening = serve(AF_INET, SERVER4);
	shares = bpf_map__fd(skel->maps.cv_shares);
	CHECK_OK(bpf_map_update_elem(shares, &all, &s, BPF_ANY));
	for (int i = 0; i < 4; i++) {
		client[i] = connected(AF_INET, SERVER4);
		server[i] = accepted(listening, NULL);
	}
	check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, 4);
	CHECK_EQ(counted(CV_TUNNEL), 0);
	beside = connected(AF_INET, SERVER4);
	z = ztunnel_accept(NULL);
	exchange(beside, z);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	for (int i = 0; i < 4; i++) {
		close(client[i]);
		close(server[i]);
	}
	check_emptied(skel->maps.cv_directs);
	CHECK_OK(bpf_map_lookup_elem(shares, &all, &s));
	CHECK_EQ(s.count[CV_SHARE_DIRECTS], TEST_CONNS_MAX - 8);
}

/* Where entries are older than their account, as after an upgrade, and two go at once. */
TEST(an_account_below_zero_keeps_nobody_out)
{
	struct cv_share s = {.count = {~0U, ~0U, ~0U}};
	const char *shown;
	int client;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_shares), &pod.cookie, &s, BPF_ANY));
	client = connected(AF_INET, MESH4);
	exchange(client, ztunnel_accept(&shown));
	CHECK_STR(shown, MESH4);
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_shares), &pod.cookie, &s));
	CHECK_EQ(s.count[CV_SHARE_CONNS], 0);
}

/* A port that is taken again while its server keeps the end of before. */
TEST(an_entry_that_makes_way_for_the_same_tuple_counts_once)
{
	int listening, client, server, on = 1;

	pair_begin();
	verdict_set(80, true);
	listening = serve(AF_INET, SERVER4);
	for (int i = 0; i < 3; i++) {
		client = tcp(AF_INET);
		bind_to(client, AF_INET, POD4 ":7400");
		CHECK_OK(connect_to(client, AF_INET, SERVER4));
		server = accepted(listening, NULL);
		exchange(client, server);
		check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, 1);
		/* in this mode an end goes without a word to its peer */
		CHECK_OK(setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
		CHECK_OK(setsockopt(server, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
		close(client);
		check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, 1);
		if (i == 2)
			close(server);
	}
	check_has(CV_SHARE_DIRECTS, skel->maps.cv_directs, 0);
}
