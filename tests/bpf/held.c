/* SPDX-License-Identifier: Apache-2.0 */
/* held - what connect(2) found of a direct connection must hold when its SYN leaves: with Fast Open
 * that is as late as the application likes. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "pair.h"

static int deferred(const char *to)
{
	int client = tcp(AF_INET), on = 1;

	shell("echo 5 > /proc/sys/net/ipv4/tcp_fastopen"); /* without a cookie */
	CHECK_OK(setsockopt(client, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	CHECK_OK(connect_to(client, AF_INET, to));
	CHECK_EQ(counted(CV_DIRECT), 1);
	return client;
}

/* The SYN leaves, and nothing vouches for it. */
static void check_not_direct(int client, int listening)
{
	(void)send(client, "x", 1, MSG_NOSIGNAL);
	CHECK_EQ(counted(CV_DROP_NOT_DIRECT), 1);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
	CHECK(!is_pending(listening));
}

TEST(direct_begins_late_and_is_direct)
{
	int listening, client, server;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	client = deferred(SERVER4);
	CHECK_EQ(send(client, "x", 1, MSG_NOSIGNAL), 1);
	server = accepted(listening, NULL);
	CHECK(is_readable(server, WAIT_MS));
	CHECK_EQ(map_size(skel->maps.cv_directs), 1);
}

TEST(direct_is_over_when_the_policy_changes_before_the_syn)
{
	int listening, client;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	client = deferred(SERVER4);
	generation_set(8);
	check_not_direct(client, listening);
}

TEST(direct_is_over_when_another_pod_has_the_address_before_the_syn)
{
	struct cv_service_key key = {0};
	struct cv_frontend f = {.count = 1, .weight = 1, .ends[0].weight_end = 1};
	struct cv_sockaddr asked;
	int listening, client;

	pair_begin();
	listening = serve(AF_INET, PEER4 ":8080");
	CHECK_OK(cv_sockaddr_parse(SERVICE, &asked));
	CHECK_OK(cv_sockaddr_parse(PEER4 ":8080", &f.ends[0].to));
	key.addr = asked.addr;
	key.port = asked.port;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_frontends), &key, &f, BPF_ANY));
	verdict_set(8080, true);
	client = deferred(SERVICE);
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), &f.ends[0].to.addr,
				     &pod.cookie, BPF_ANY));
	check_not_direct(client, listening);
}
