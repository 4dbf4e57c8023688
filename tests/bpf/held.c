/* SPDX-License-Identifier: Apache-2.0 */
/* held - what connect(2) found of a direct connection must hold when its SYN leaves. Here it asks
 * nobody, as if it had let the connection go long ago. */
#include <bpf/libbpf.h>
#include <netinet/in.h>

#include "net/addr.h"
#include "pair.h"
#include "stage.h"
#include "watch.h"

static int begin(void)
{
	int listening;

	stage_cgroup_leave();
	CHECK_OK(stage_cgroup("culvert-test-bpf-held"));
	CHECK_OK(stage_load(false, &skel));
	stage_pod();
	watch_start();
	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	CHECK_OK(bpf_link__destroy(skel->links.cv_connect4));
	skel->links.cv_connect4 = NULL;
	return listening;
}

/* The SYN leaves, and nothing vouches for it. */
static void check_not_direct(int client, int listening)
{
	CHECK_ERRNO(connect_to(client, AF_INET, SERVER4), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_NOT_DIRECT), 1);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
	CHECK(!is_pending(listening));
}

TEST(direct_begins_late_and_is_direct)
{
	int listening = begin(), client = connected(AF_INET, SERVER4);

	exchange(client, accepted(listening, NULL));
	CHECK_EQ(map_size(skel->maps.cv_directs), 1);
	stage_cgroup_leave();
}

TEST(direct_is_over_when_the_policy_changes_before_the_syn)
{
	int listening = begin();

	generation_set(8);
	check_not_direct(tcp(AF_INET), listening);
	stage_cgroup_leave();
}

TEST(direct_is_over_when_a_link_goes_before_the_syn)
{
	const uint64_t *const ends[] = {&pod.cookie, &server_cookie};
	int listening = begin();

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_pod_links), ends[i]));
		CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
		CHECK_EQ(counted(CV_DROP_NOT_DIRECT), i + 1);
		link_set(*ends[i], 0);
	}
	CHECK(!is_pending(listening));
	stage_cgroup_leave();
}

TEST(direct_is_over_when_another_pod_has_the_address_before_the_syn)
{
	struct cv_socket found = {.flags = CV_SOCKET_SHOWN | CV_SOCKET_DIRECT,
				  .dst_port = htons(80)};
	int listening = begin(), client = tcp(AF_INET);

	found.dst_cookie = server_cookie;
	CHECK_OK(cv_sockaddr_parse(SERVICE, &found.shown));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_sockets), &client, &found, BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), &server_pod.addr4,
				     &pod.cookie, BPF_ANY));
	check_not_direct(client, listening);
	stage_cgroup_leave();
}

/* Connections by a tunnel have a verdict, too. */
TEST(direct_is_over_when_an_end_wants_a_tunnel_before_the_syn)
{
	int listening = begin();

	server_set(CV_POD_ALIVE | CV_POD_CAPTURE);
	check_not_direct(tcp(AF_INET), listening);
	stage_cgroup_leave();
}
