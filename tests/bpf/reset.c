/* SPDX-License-Identifier: Apache-2.0 */
/* reset - the ends of direct connections, as they are told: which are by a reset? */
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "pair.h"
#include "watch.h"

static void client_closes(int client, int server)
{
	close(client);
	CHECK(is_readable(server, WAIT_MS));
	close(server);
}

static void server_closes(int client, int server)
{
	close(server);
	CHECK(is_readable(client, WAIT_MS));
	close(client);
}

static void client_says_all_first(int client, int server)
{
	CHECK_OK(shutdown(client, SHUT_WR));
	CHECK(is_readable(server, WAIT_MS));
	server_closes(client, server);
}

static void client_resets(int client, int server)
{
	reset(client);
	CHECK(is_readable(server, WAIT_MS));
	close(server);
}

static void server_resets(int client, int server)
{
	reset(server);
	CHECK(is_readable(client, WAIT_MS));
	close(client);
}

static void client_leaves_bytes_unread(int client, int server)
{
	CHECK_EQ(write(server, "x", 1), 1);
	CHECK(is_readable(client, WAIT_MS));
	client_closes(client, server);
}

static void server_leaves_bytes_unread(int client, int server)
{
	CHECK_EQ(write(client, "x", 1), 1);
	CHECK(is_readable(server, WAIT_MS));
	server_closes(client, server);
}

static void client_resets_after_the_servers_fin(int client, int server)
{
	CHECK_OK(shutdown(server, SHUT_WR));
	CHECK(is_readable(client, WAIT_MS));
	client_resets(client, server);
}

static void server_resets_after_the_clients_fin(int client, int server)
{
	CHECK_OK(shutdown(client, SHUT_WR));
	CHECK(is_readable(server, WAIT_MS));
	server_resets(client, server);
}

TEST(direct_tells_which_end_was_by_a_reset)
{
	static const struct {
		void (*end)(int client, int server);
		bool is_reset;
	} cases[] = {
		{talk_to_the_end, false},
		{client_closes, false},
		{client_says_all_first, false},
		{client_resets, true},
		{server_resets, true},
		{client_leaves_bytes_unread, true},
		{server_leaves_bytes_unread, true},
		{client_resets_after_the_servers_fin, true},
		{server_resets_after_the_clients_fin, true},
	};
	struct cv_direct_event ev;
	int listening;

	pair_begin();
	listening = serve(AF_INET, SERVER4);
	verdict_set(80, true);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int client = connected(AF_INET, SERVER4), server = accepted(listening, NULL);

		cases[i].end(client, server);
		check_emptied(skel->maps.cv_directs);
		CHECK_EQ(counted(CV_DIRECT_CLOSE), i + 1);
		CHECK(direct_event_of(CV_DIRECT_CLOSE, &ev));
		CHECK_EQ(ev.flags & ~(uint32_t)CV_DIRECT_ACCEPTED,
			 CV_DIRECT_ESTABLISHED | (cases[i].is_reset ? CV_DIRECT_RESET : 0));
	}
}
