/* SPDX-License-Identifier: Apache-2.0 */
/* frontend - a service with endpoints on this node: the programs choose one of these, or leave it
 * to ztunnel to choose among the others. The peer is the second pod. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "pair.h"
#include "stage.h"

TEST(direct_by_a_frontend_shows_the_frontend_to_the_client)
{
	struct cv_direct_event ev;
	char buf[CV_SOCKADDR_STRLEN];
	int listening, client, server;
	const char *shown;

	pair_begin();
	frontend_one(SERVICE, PEER4 ":8080");
	listening = serve(AF_INET, PEER4 ":8080");
	verdict_set(8080, true);
	client = connected(AF_INET6, SERVICE); /* mapped */
	server = accepted(listening, &shown);
	CHECK_STR(shown, text(POD4, own_port(client)));
	CHECK_NAME(client, SERVICE);
	exchange(client, server);
	CHECK_EQ(counted(CV_DIRECT), 1);
	CHECK(direct_event_of(CV_DIRECT_OPEN, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.asked, buf), SERVICE);
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), PEER4 ":8080");
}

TEST(direct_by_a_frontend_without_a_verdict_asks_for_the_endpoint)
{
	struct cv_direct_event ev;
	char buf[CV_SOCKADDR_STRLEN];

	pair_begin();
	frontend_one(SERVICE, PEER4 ":8080");
	check_tunnelled(AF_INET, SERVICE);
	CHECK(direct_event_of(CV_VERDICT_MISS, &ev));
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), PEER4 ":8080");
	CHECK_EQ(ev.dst_cookie, server_cookie);
	verdict_set(8080, false);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
	check_dropped(CV_DROP_POLICY, SERVICE);
}

TEST(direct_by_a_frontend_only_to_pods_of_this_node)
{
	pair_begin();
	frontend_one(SERVICE, MESH4);
	check_tunnelled(AF_INET, SERVICE);
	CHECK_EQ(counted(CV_VERDICT_MISS), 0);
}

TEST(direct_by_a_frontend_reaches_every_endpoint)
{
	const char *const ends[] = {PEER4 ":8080", PEER4 ":8081"};
	int listening[2], seen[2] = {0}, client, i;

	pair_begin();
	frontend_set(SERVICE, 2, ends);
	for (i = 0; i < 2; i++) {
		listening[i] = serve(AF_INET, ends[i]);
		verdict_set((uint16_t)(8080 + i), true);
	}
	for (int tries = 0; tries < 200 && (!seen[0] || !seen[1]); tries++) {
		client = connected(AF_INET, SERVICE);
		i = first_readable(listening, 2);
		close(accepted(listening[i], NULL));
		close(client);
		seen[i]++;
	}
	CHECK(seen[0] && seen[1]);
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

/* The stamp of a frontend, as if the refusal were so long ago. */
static void frontend_age(const char *frontend, unsigned int age_s)
{
	const struct cv_service_key key = service_key(frontend);
	struct cv_frontend f;
	int fd = bpf_map__fd(skel->maps.cv_frontends);

	CHECK_OK(bpf_map_lookup_elem(fd, &key, &f));
	CHECK(f.refused_s != 0);
	f.refused_s = (uint16_t)(f.refused_s - age_s);
	CHECK_OK(bpf_map_update_elem(fd, &key, &f, BPF_ANY));
}

/* Which tries another at once: the application is refused once in a while, not once in so many. */
TEST(direct_leaves_a_frontend_to_ztunnel_for_a_while_when_one_of_several_endpoints_refuses)
{
	const char *const ends[] = {PEER4 ":8080", PEER4 ":8080"};

	pair_begin();
	frontend_set(SERVICE, 2, ends);
	verdict_set(8080, true);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
	for (int i = 0; i < 3; i++) {
		CHECK_OK(connect_to(tcp(AF_INET), AF_INET, SERVICE));
		CHECK_OK(ztunnel_accept(NULL));
	}
	/* none of these says anything of the endpoint */
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, PEER4 ":8080"), ECONNREFUSED);
	pod_flags(pod.value.flags & ~(uint32_t)CV_POD_ALIVE); /* there is nobody to choose */
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
	pod_flags(pod.value.flags | CV_POD_ALIVE);
	frontend_age(SERVICE, CV_FRONTEND_REST_S - 5);
	CHECK_OK(connect_to(tcp(AF_INET), AF_INET, SERVICE));
	frontend_age(SERVICE, 6);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
	frontend_one(SERVICE, PEER4 ":8080"); /* the only one: it has answered */
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, SERVICE), ECONNREFUSED);
}

/* ---- of which this node has only a part ---- */

#define SERVICE6 "[fd00:10:96::10]:80"
#define TRIES    400 /* of one in two: more than 4 standard deviations between a third and a half */

/* What ztunnel finds at the connection that has come to it. */
static int choice_of(int accepted)
{
	int choice;
	socklen_t len = sizeof(choice);

	CHECK_OK(getsockopt(accepted, SOL_SOCKET, SO_PRIORITY, &choice, &len));
	return choice;
}

/* The one endpoint of this node. */
static int choice_here(const char *end)
{
	struct cv_sockaddr at;

	CHECK_OK(cv_sockaddr_parse(end, &at));
	return (int)cv_choice_here(&at);
}

static void check_left(int family, const char *to, int wanted)
{
	int client = connected(family, to), taken = ztunnel_accept(NULL);

	CHECK_EQ(choice_of(taken), wanted);
	close(client);
	close(taken);
}

static void mixed_begin(const char *frontend, const char *end)
{
	pair_begin();
	frontend_part(frontend, end, 2);
	verdict_set(8080, true);
}

static void check_cast(int family, const char *frontend, const char *end)
{
	const struct cv_service_key key = service_key(frontend);
	int listening, client, taken, here = 0;

	mixed_begin(frontend, end);
	dest_put(skel->maps.cv_services, &key, CV_DEST_MESH);
	listening = serve(family, end);
	for (int i = 0; i < TRIES; i++) {
		uint64_t direct = counted(CV_DIRECT);

		client = connected(family, frontend);
		if (counted(CV_DIRECT) > direct) {
			taken = accepted(listening, NULL);
			here++;
		} else {
			taken = ztunnel_accept(NULL);
			CHECK_EQ(choice_of(taken), CV_CHOICE_ELSEWHERE);
		}
		close(client);
		close(taken);
	}
	CHECK(here > TRIES / 3 && here < TRIES * 2 / 3);
}

TEST(a_frontend_of_two_nodes_casts_lots)
{
	check_cast(AF_INET, SERVICE, PEER4 ":8080");
}

TEST(a_frontend_of_two_nodes_casts_lots_of_ipv6)
{
	check_cast(AF_INET6, SERVICE6, "[" PEER6 "]:8080");
}

TEST(a_frontend_of_two_nodes_with_no_way_to_its_own_leaves_these_to_ztunnel)
{
	int here = 0, elsewhere = 0;

	mixed_begin(SERVICE, PEER4 ":8080");
	server_set(CV_POD_ALIVE | CV_POD_CAPTURE); /* it wants a tunnel */
	for (int i = 0; i < 200 && !(here && elsewhere); i++) {
		int client = connected(AF_INET, SERVICE), taken = ztunnel_accept(NULL);

		here += choice_of(taken) == choice_here(PEER4 ":8080");
		elsewhere += choice_of(taken) == CV_CHOICE_ELSEWHERE;
		CHECK_EQ(here + elsewhere, i + 1);
		close(client);
		close(taken);
	}
	CHECK(here && elsewhere);
}

TEST(what_is_no_frontend_leaves_all_to_ztunnel)
{
	pair_begin();
	frontend_one(SERVICE, PEER4 ":8080");
	check_left(AF_INET, SERVICE, choice_here(PEER4 ":8080"));
	check_left(AF_INET, MESH4, CV_CHOICE_ALL);
}

/* Those of other nodes cannot be reached. */
TEST(a_frontend_of_two_nodes_is_this_nodes_without_a_ztunnel)
{
	int listening;

	mixed_begin(SERVICE, PEER4 ":8080");
	listening = serve(AF_INET, PEER4 ":8080");
	pod_flags(pod.value.flags & ~(uint32_t)CV_POD_ALIVE);
	for (int i = 0; i < 32; i++) {
		close(connected(AF_INET, SERVICE));
		close(accepted(listening, NULL));
	}
}

/* Of the others nothing is known: they may let it in. */
TEST(a_frontend_of_two_nodes_that_denies_here_is_refused_here_alone)
{
	int refused = 0, left = 0, client;

	mixed_begin(SERVICE, PEER4 ":8080");
	verdict_set(8080, false);
	for (int i = 0; i < 200 && !(refused && left); i++) {
		client = tcp(AF_INET);
		if (connect_to(client, AF_INET, SERVICE) < 0) {
			CHECK_EQ(errno, ECONNREFUSED);
			refused++;
		} else {
			CHECK_EQ(choice_of(ztunnel_accept(NULL)), CV_CHOICE_ELSEWHERE);
			left++;
		}
		close(client);
	}
	CHECK(refused && left);
	CHECK_EQ(counted(CV_DROP_POLICY), refused);
	server_set(CV_POD_ALIVE | CV_POD_CAPTURE); /* there ztunnel, or the other one, refuses */
	for (int i = 0; i < 16; i++)
		CHECK_OK(connect_to(tcp(AF_INET), AF_INET, SERVICE));
}

/* Its only one here is down: the others take all for a while. */
TEST(a_frontend_of_two_nodes_rests_when_its_own_refuses)
{
	int refused = 0;

	mixed_begin(SERVICE, PEER4 ":8080");
	for (int i = 0; i < 200; i++) {
		int client = tcp(AF_INET), taken;

		if (connect_to(client, AF_INET, SERVICE) < 0) {
			refused++;
		} else {
			taken = ztunnel_accept(NULL);
			CHECK_EQ(choice_of(taken), refused ? CV_CHOICE_ALL : CV_CHOICE_ELSEWHERE);
			close(taken);
		}
		close(client);
	}
	CHECK_EQ(refused, 1);
}
