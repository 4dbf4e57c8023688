/* SPDX-License-Identifier: Apache-2.0 */
/* kinds - what a socket that the agent made for ztunnel may reach, at every connect. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include "base/macros.h"
#include "harness.h"
#include "net/addr.h"
#include "stage.h"

struct refusal {
	enum cv_socket_kind kind;
	int family;
	const char *to;
};

static const struct refusal refusals[] = {
	{CV_SOCKET_LISTEN, AF_INET, PEER4 ":80"},
	{CV_SOCKET_LISTEN, AF_INET, "127.0.0.1:80"},
	{CV_SOCKET_DIAL_APP, AF_INET, PEER4 ":80"},
	{CV_SOCKET_DIAL_APP, AF_INET, MESH4},
	{CV_SOCKET_DIAL_APP, AF_INET, "127.0.0.1:80"},
	{CV_SOCKET_DIAL_APP, AF_INET, "0.0.0.0:80"},
	{CV_SOCKET_DIAL_APP, AF_INET6, "[" PEER6 "]:80"},
	{CV_SOCKET_DIAL_APP, AF_INET6, "[::1]:80"},
	{CV_SOCKET_DIAL_APP, AF_INET6, PEER4 ":80"},
	{CV_SOCKET_DIAL_HBONE, AF_INET, PEER4 ":80"},
	{CV_SOCKET_DIAL_HBONE, AF_INET, MESH4},
	{CV_SOCKET_DIAL_HBONE, AF_INET6, MESH6},
	{CV_SOCKET_DIAL_HBONE, AF_INET6, MESH4},
	{CV_SOCKET_DIAL_PLAIN, AF_INET, MESH4},
	{CV_SOCKET_DIAL_PLAIN, AF_INET, "10.244.9.9:9999"},
	{CV_SOCKET_DIAL_PLAIN, AF_INET, SERVICE},
	{CV_SOCKET_DIAL_PLAIN, AF_INET6, MESH6},
	{CV_SOCKET_DIAL_PLAIN, AF_INET6, MESH4},
	{CV_SOCKET_DIAL_PLAIN, AF_INET, POD4 ":80"},
	{CV_SOCKET_DIAL_PLAIN, AF_INET6, "[::1]:80"},
	{CV_SOCKET_DNS, AF_INET, PEER4 ":80"},
	{CV_SOCKET_DNS, AF_INET, "10.244.9.9:53"},
	{CV_SOCKET_DNS, AF_INET6, "[" PEER6 "]:54"},
};

TEST(each_kind_is_refused_what_it_may_not_dial)
{
	struct cv_event ev;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *c = &refusals[i];
		int fd = kind_tcp(c->family, c->kind);

		if (connect_to(fd, c->family, c->to) == 0 || errno != ECONNREFUSED)
			test_fail(__FILE__, __LINE__, "kind %d to %s: errno %d", (int)c->kind,
				  c->to, errno);
		CHECK_EQ(counted(CV_DROP_KIND), 2 * (long long)i + 1);
		/* Again: the check is made at every connect. */
		CHECK_ERRNO(connect_to(fd, c->family, c->to), ECONNREFUSED);
		CHECK_EQ(counted(CV_DROP_KIND), 2 * (long long)i + 2);
		close(fd);
	}
	CHECK(event_of(CV_DROP_KIND, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
}

TEST(a_socket_of_each_kind_reaches_what_it_may_dial)
{
	int app = listener(AF_INET6, "[::]:80"), hbone, host;

	enter_peer();
	hbone = listener(AF_INET6, "[::]:15008");
	host = listener(AF_INET6, "[::]:8080");
	CHECK_OK(listener(AF_INET6, "[::]:53"));
	enter_pod();
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_APP), AF_INET, POD4 ":80"));
	CHECK_OK(connect_to(kind_tcp(AF_INET6, CV_SOCKET_DIAL_APP), AF_INET6, POD4 ":80"));
	CHECK_OK(connect_to(kind_tcp(AF_INET6, CV_SOCKET_DIAL_APP), AF_INET6, "[" POD6 "]:80"));
	for (int i = 0; i < 3; i++)
		CHECK_OK(accepted(app, NULL));
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_HBONE), AF_INET, "10.244.9.9:15008"));
	CHECK_OK(accepted(hbone, NULL));
	CHECK_OK(connect_to(kind_tcp(AF_INET6, CV_SOCKET_DIAL_HBONE), AF_INET6,
			    "[" PEER6 "]:15008"));
	CHECK_OK(accepted(hbone, NULL));
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, PEER4 ":8080"));
	CHECK_OK(accepted(host, NULL));
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DNS), AF_INET, PEER4 ":53"));
	CHECK_EQ(counted(CV_DROP_KIND), 0);
	CHECK_EQ(counted(CV_TUNNEL) + counted(CV_DNS), 0);
}

/* A ServiceEntry's address may be that of its endpoint, which is outside the mesh. */
TEST(plaintext_may_go_to_an_entrys_address_unless_a_pod_of_the_mesh_has_it)
{
	struct cv_service_key key = {.port = htons(8080)};
	int host;

	enter_peer();
	host = listener(AF_INET6, "[::]:8080");
	enter_pod();
	CHECK_OK(cv_addr_parse(PEER4, &key.addr));
	dest_put(skel->maps.cv_services, &key, CV_DEST_MESH);
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, PEER4 ":8080"),
		    ECONNREFUSED);
	dest_put(skel->maps.cv_services, &key, CV_DEST_MESH | CV_DEST_OURS);
	CHECK_OK(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, PEER4 ":8080"));
	CHECK_OK(accepted(host, NULL));
	dest_put(skel->maps.cv_workloads, &key.addr, CV_DEST_MESH);
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, PEER4 ":8080"),
		    ECONNREFUSED);
}

/* What the application dials is ztunnel's all the same. */
TEST(an_entrys_address_is_captured)
{
	struct cv_service_key key = {.port = htons(8080)};

	CHECK_OK(cv_addr_parse(PEER4, &key.addr));
	dest_put(skel->maps.cv_services, &key, CV_DEST_MESH | CV_DEST_OURS);
	CHECK_OK(connected(AF_INET, PEER4 ":8080"));
	CHECK_OK(ztunnel_accept(NULL));
	CHECK_EQ(counted(CV_TUNNEL), 1);
}

/* The agent may have taken the pod out while ztunnel still holds its stock. */
TEST(kinds_hold_for_a_pod_that_was_released)
{
	pod_remove();
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_HBONE), AF_INET, PEER4 ":80"),
		    ECONNREFUSED);
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_PLAIN), AF_INET, MESH4),
		    ECONNREFUSED);
	CHECK_ERRNO(connect_to(kind_tcp(AF_INET, CV_SOCKET_DIAL_APP), AF_INET, POD4 ":80"),
		    ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_KIND), 3);
}

TEST(an_app_dialler_may_not_reach_the_redirect_listeners)
{
	int fd = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);

	CHECK_ERRNO(connect_to(fd, AF_INET, text(POD4, pod.value.outbound_ports[0])), ECONNREFUSED);
	check_dropped(CV_DROP_KIND, text(POD4, pod.value.outbound_ports[0]));
}

TEST(a_kind_is_not_inherited_by_accepted_children)
{
	struct cv_socket value;
	int client = connected(AF_INET, MESH4), z = ztunnel_accept(NULL);

	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_sockets), &z, &value));
	CHECK_EQ(value.kind, CV_SOCKET_APP);
	close(client);
}

TEST(a_kind_survives_being_passed_on_and_a_failed_connect)
{
	int fd = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);

	/* Nobody listens there. */
	CHECK_ERRNO(connect_to(fd, AF_INET, POD4 ":81"), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_KIND), 0);
	CHECK_ERRNO(connect_to(dup(fd), AF_INET, MESH4), ECONNREFUSED);
	CHECK_EQ(counted(CV_DROP_KIND), 1);
}

static long long udp_send(int fd, int family, const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = native(to, family, &ss);

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len);
}

TEST(datagram_sockets_of_a_kind_are_held_to_it)
{
	int dns = socket(AF_INET, SOCK_DGRAM, 0), answer = pod.dns_udp[0];

	set_kind(dns, CV_SOCKET_DNS);
	CHECK_OK(udp_send(dns, AF_INET, PEER4 ":53"));
	CHECK_ERRNO(udp_send(dns, AF_INET, PEER4 ":54"), bare_refusal());
	CHECK_OK(connect_to(dns, AF_INET, PEER4 ":53"));
	CHECK_ERRNO(connect_to(dns, AF_INET, PEER4 ":54"), bare_refusal());
	CHECK_OK(udp_send(answer, AF_INET6, "127.0.0.1:9"));
	CHECK_OK(udp_send(answer, AF_INET6, "[" POD6 "]:9"));
	CHECK_ERRNO(udp_send(answer, AF_INET6, PEER4 ":9"), bare_refusal());
	CHECK_ERRNO(udp_send(answer, AF_INET6, "[" PEER6 "]:9"), bare_refusal());
	CHECK_EQ(counted(CV_DROP_KIND), 4);
	CHECK_EQ(counted(CV_DNS), 0);
}
