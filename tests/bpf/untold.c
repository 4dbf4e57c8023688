/* SPDX-License-Identifier: Apache-2.0 */
/* untold - direct connections of which nobody reads the events: what finds no room is counted. */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"

/* Of the connections to the port 80 of the server's. */
static struct cv_untold untold(void)
{
	struct cv_untold_key key = {.src_cookie = pod.cookie, .dst_cookie = server_cookie};
	struct cv_untold n;

	CHECK_OK(cv_sockaddr_parse(SERVER4, &key.dst));
	key.asked = key.dst;
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_direct_untold), &key, &n));
	return n;
}

TEST(direct_that_nobody_listens_to_is_counted)
{
	uint32_t room = bpf_map__max_entries(skel->maps.cv_direct_events);
	uint32_t most = room / (sizeof(struct cv_direct_event) + 8);
	struct cv_direct_told told = {.sent = 1000, .received = 1};
	int listening, client, server;
	struct cv_direct d;
	struct cv_tuple key;

	pair_begin();
	verdict_set(80, true);
	for (uint32_t i = 0; i < most + 3; i++) {
		client = tcp(AF_INET);
		CHECK_ERRNO(connect_to(client, AF_INET, SERVER4), ECONNREFUSED);
		close(client);
	}
	CHECK_EQ(counted(CV_DIRECT_CLOSE) - counted(CV_DIRECT_UNTOLD), most);
	CHECK_EQ(untold().failed, counted(CV_DIRECT_UNTOLD));
	CHECK_EQ(untold().opened + untold().closed, 0);
	listening = serve(AF_INET, SERVER4);
	client = connected(AF_INET, SERVER4);
	server = accepted(listening, NULL);
	CHECK_EQ(untold().opened, 1);
	CHECK_OK(bpf_map_get_next_key(bpf_map__fd(skel->maps.cv_directs), NULL, &key));
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_directs), &key, &d));
	told.time_ns = d.time_ns;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_direct_told), &key, &told, BPF_ANY));
	talk_to_the_end(client, server);
	CHECK_EQ(untold().closed, 1);
	CHECK_EQ(untold().sent, SENT - told.sent);
	CHECK_EQ(untold().received, RECEIVED - told.received);
	CHECK_EQ(counted(CV_DIRECT_UNTOLD), 5);
}
