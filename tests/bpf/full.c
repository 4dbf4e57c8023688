/* SPDX-License-Identifier: Apache-2.0 */
/* full - where there is no room, or no memory: never another answer, and it is counted. Of maps
 * that the programs write; see also refuse.c, lookup.c, direct.c, untold.c, dns.c, passed.c. What
 * the agent writes: tests/mesh, tests/interop. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"
#include "question.h"
#include "watch.h"

#define OPTMEM "/proc/sys/net/core/optmem_max"

/* So little that no record of a new socket's finds room. */
static void memory_end(void)
{
	if (access(OPTMEM, W_OK) < 0)
		test_skip("needs Linux 6.8: " OPTMEM " of a network namespace");
	shell("echo 1 > " OPTMEM);
}

TEST(without_memory_for_its_record_a_connection_is_refused)
{
	memory_end();
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, MESH4), ECONNREFUSED);
	check_dropped(CV_DROP_STORAGE, MESH4);
	CHECK_ERRNO(connect_to(tcp(AF_INET6), AF_INET6, MESH6), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_STORAGE), 2);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

/* The record of the client's end is there from its first connect(2). ztunnel is not told that the
 * destination is the client. */
TEST(without_memory_for_its_record_ztunnels_end_is_shown_no_origin)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	int client = tcp(AF_INET), child;
	const char *shown;

	CHECK_OK(connect_to(client, AF_INET, MESH4));
	close(ztunnel_accept(&shown));
	CHECK_STR(shown, MESH4);
	CHECK_OK(connect(client, &nobody, sizeof(nobody)));
	memory_end();
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	child = ztunnel_accept(&shown);
	CHECK_STR(shown, "[::]:0");
	CHECK_NAME(child, "[::]:0");
	CHECK_EQ(counted(CV_DROP_STORAGE), 1);
}

/* Nobody reads the events. */
TEST(what_finds_no_room_among_the_events_is_counted)
{
	uint32_t room = bpf_map__max_entries(skel->maps.cv_events) / sizeof(struct cv_event);
	int fd = tcp(AF_INET);

	pod_flags(CV_POD_CAPTURE);
	for (uint32_t i = 0; i < room + 9; i++)
		CHECK_ERRNO(connect_to(fd, AF_INET, MESH4), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_ZTUNNEL_DEAD), room + 9);
	watch_start(); /* reads them */
	CHECK_ERRNO(connect_to(fd, AF_INET, MESH4_B), ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4_B);
}

/* And nobody takes their numbers: the connections are as ever, and no metric has them. */
TEST(direct_that_finds_no_room_among_the_untold_either_is_counted)
{
	uint32_t most = bpf_map__max_entries(skel->maps.cv_direct_events) /
			(sizeof(struct cv_direct_event) + 8);
	int listening, client, server;

	pair_begin();
	verdict_set(80, true);
	map_fill(skel->maps.cv_direct_untold);
	for (uint32_t i = 0; i < most; i++) {
		client = tcp(AF_INET);
		CHECK_ERRNO(connect_to(client, AF_INET, SERVER4), ECONNREFUSED);
		close(client);
	}
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 0);
	listening = serve(AF_INET, SERVER4);
	client = connected(AF_INET, SERVER4);
	server = accepted(listening, NULL);
	exchange(client, server);
	CHECK_EQ(counted(CV_DIRECT_UNTOLD), 1);
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	map_empty(skel->maps.cv_direct_untold);
}

TEST(a_known_denial_that_finds_no_room_to_be_counted_refuses_all_the_same)
{
	pair_begin();
	verdict_set(80, false);
	map_fill(skel->maps.cv_refused);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVER4), ECONNREFUSED);
	check_dropped(CV_DROP_POLICY, SERVER4);
	CHECK_EQ(counted(CV_DROP_MAP_FULL), 1);
	map_empty(skel->maps.cv_refused);
}

TEST(without_room_for_a_slot_an_ipv6_nameserver_is_asked_directly)
{
	int fd = udp(AF_INET6);

	map_fill(skel->maps.cv_nameserver_slots);
	CHECK_OK(ask(fd, AF_INET6, "[fd00::53]:53", "q"));
	CHECK_EQ(counted(CV_NAMESERVER_FULL), 1);
	CHECK_EQ(counted(CV_DNS), 0);
	map_empty(skel->maps.cv_nameserver_slots);
	CHECK_OK(ask(fd, AF_INET6, "[fd00::53]:53", "q"));
	CHECK_EQ(counted(CV_DNS), 1);
}
