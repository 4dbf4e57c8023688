/* SPDX-License-Identifier: Apache-2.0 */
/* denied - two enrolled pods of one node that use tunnels: what ztunnel is known to deny does not
 * come to it, all else does. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "pair.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define TUNNELS (CV_POD_ALIVE | CV_POD_CAPTURE)
/* Of a frontend's endpoints another one is chosen each time. */
#define TRIES 12

static void check_refused(int family, const char *to)
{
	CHECK_ERRNO(connect_to(tcp(family), family, to), ECONNREFUSED);
}

/* Either end wants a tunnel. */
static void check_by_tunnel(uint32_t client_flags, uint32_t server_flags)
{
	pair_begin();
	pod_flags(client_flags);
	server_set(server_flags);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
	verdict_set(80, true);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 1);
	verdict_set(80, false);
	check_refused(AF_INET, SERVER4);
	check_dropped(CV_DROP_POLICY, SERVER4);
	check_refused(AF_INET6, SERVER6);
	CHECK_EQ(counted(CV_DROP_POLICY), 2);
	CHECK_EQ(refused_of(SERVER4, SERVER4), 1);
	CHECK_EQ(counted(CV_TUNNEL), 2);
	generation_set(8);
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_VERDICT_MISS), 2);
}

TEST(denied_is_refused_though_its_client_uses_tunnels)
{
	check_by_tunnel(TUNNELS, BOTH);
}

TEST(denied_is_refused_though_its_server_uses_tunnels)
{
	check_by_tunnel(BOTH, TUNNELS);
}

TEST(denied_is_refused_while_ztunnel_is_dead)
{
	pair_begin();
	pod_flags(CV_POD_CAPTURE);
	server_set(CV_POD_CAPTURE);
	verdict_set(80, false);
	check_refused(AF_INET, SERVER4);
}

TEST(denied_is_refused_whatever_the_socket)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), bound = tcp(AF_INET);

	pair_begin();
	verdict_set(80, false);
	if (fd >= 0)
		CHECK_ERRNO(connect_to(fd, AF_INET, SERVER4), ECONNREFUSED);
	shell("ip addr add 10.244.1.77/32 dev eth0");
	bind_to(bound, AF_INET, "10.244.1.77:0");
	CHECK_ERRNO(connect_to(bound, AF_INET, SERVER4), ECONNREFUSED);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

/* The control plane means another pod, or the pod is leaving: the verdict is not about these. */
TEST(denied_is_of_the_pod_that_is_meant)
{
	struct cv_dest other = {.flags = CV_DEST_MESH, .name = "test/server2"};

	pair_begin();
	verdict_set(80, false);
	server_set(CV_POD_ALIVE);
	check_tunnelled(AF_INET, SERVER4);
	server_set(TUNNELS);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &server_pod.addr4,
				     &other, BPF_ANY));
	check_tunnelled(AF_INET, SERVER4);
	CHECK_EQ(counted(CV_DROP_POLICY), 0);
}

/* ztunnel chooses among the endpoints itself. */
TEST(denied_by_a_frontend_is_refused_where_every_endpoint_is_denied)
{
	const char *const ends[] = {PEER4 ":8080", PEER4 ":8081", PEER4 ":8082"};

	pair_begin();
	server_set(TUNNELS);
	frontend_set(SERVICE, 3, ends);
	verdict_set(8080, false);
	verdict_set(8081, false);
	for (int i = 0; i < TRIES; i++)
		check_tunnelled(AF_INET, SERVICE);
	verdict_set(8082, true);
	for (int i = 0; i < TRIES; i++)
		check_tunnelled(AF_INET, SERVICE);
	CHECK_EQ(counted(CV_DROP_POLICY), 0);
	verdict_set(8082, false);
	for (int i = 0; i < TRIES; i++)
		check_refused(AF_INET, SERVICE);
	CHECK_EQ(counted(CV_DROP_POLICY), TRIES);
	CHECK_EQ(refused_of(ends[0], SERVICE) + refused_of(ends[1], SERVICE) +
			 refused_of(ends[2], SERVICE),
		 TRIES);
	generation_set(8);
	check_tunnelled(AF_INET, SERVICE);
}

/* Of an endpoint that is no pod of this node's nothing is known here. */
TEST(denied_by_a_frontend_is_not_of_endpoints_elsewhere)
{
	const char *const ends[] = {PEER4 ":8080", MESH4};

	pair_begin();
	server_set(TUNNELS);
	verdict_set(8080, false);
	frontend_set(SERVICE, 2, ends);
	for (int i = 0; i < TRIES; i++)
		check_tunnelled(AF_INET, SERVICE);
	frontend_one(SERVICE, PEER4 ":8080");
	check_refused(AF_INET, SERVICE);
}
