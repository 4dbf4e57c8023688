/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"
#include "stage.h"

#include <netinet/in.h>
#include <unistd.h>

#include "net/addr.h"

uint64_t server_cookie;
struct cv_pod server_pod = {.name = "test/server", .flags = BOTH};
static uint64_t generation = 7;

void server_set(uint32_t flags)
{
	server_pod.flags = flags;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pods), &server_cookie, &server_pod,
				     BPF_ANY));
}

static void server_address(const char *address, struct cv_addr *ret)
{
	struct cv_pod_addr_key key = {.netns_cookie = server_cookie};
	struct cv_dest dest = {.flags = CV_DEST_MESH, .name = "test/server"};
	uint32_t one = 1;

	CHECK_OK(cv_addr_parse(address, &key.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pod_addrs), &key, &one, BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &key.addr, &dest,
				     BPF_ANY));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), &key.addr, &server_cookie,
				     BPF_ANY));
	*ret = key.addr;
}

static void own_set(const struct cv_addr *addr)
{
	CHECK_OK(
		bpf_map_update_elem(bpf_map__fd(skel->maps.cv_locals), addr, &pod.cookie, BPF_ANY));
}

void generation_set(uint64_t g)
{
	uint32_t zero = 0;

	generation = g;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_generation), &zero, &generation,
				     BPF_ANY));
}

static void verdict_put(uint16_t port, struct cv_verdict v)
{
	struct cv_verdict_key key = {
		.src_cookie = pod.cookie, .dst_cookie = server_cookie, .port = htons(port)};

	v.generation = generation;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_verdicts), &key, &v, BPF_ANY));
}

void verdict_set(uint16_t port, bool is_allowed)
{
	verdict_put(port, (struct cv_verdict){.is_allowed = is_allowed});
}

void verdict_ztunnels(uint16_t port)
{
	verdict_put(port, (struct cv_verdict){.is_ztunnels = true});
}

void link_set(uint64_t cookie, uint32_t flags)
{
	struct cv_link l = {.flags = flags};

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pod_links), &cookie, &l, BPF_ANY));
}

/* The peer becomes a second enrolled pod; nothing is steered there: what is not vouched for is
 * reset. */
void pair_begin(void)
{
	enter_peer();
	server_cookie = own_cookie();
	CHECK(bpf_program__attach_netns(skel->progs.cv_lookup, pod.peer_netns));
	enter_pod();
	server_address(PEER4, &server_pod.addr4);
	server_address(PEER6, &server_pod.addr6);
	server_set(BOTH);
	own_set(&pod.value.addr4);
	own_set(&pod.value.addr6);
	link_set(pod.cookie, CV_LINK_HANDSHAKE);
	link_set(server_cookie, CV_LINK_HANDSHAKE);
	generation_set(7);
	pod_flags(BOTH | CV_POD_DNS);
}

uint64_t refused_of(const char *endpoint, const char *asked)
{
	struct cv_untold_key key = {.src_cookie = pod.cookie, .dst_cookie = server_cookie};
	uint64_t count = 0;

	CHECK_OK(cv_sockaddr_parse(endpoint, &key.dst));
	CHECK_OK(cv_sockaddr_parse(asked, &key.asked));
	(void)bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_refused), &key, &count);
	return count;
}

int serve(int family, const char *on)
{
	int fd;

	enter_peer();
	fd = listener(family, on);
	enter_pod();
	return fd;
}

static void frontend_put(const char *frontend, uint32_t count, const char *const ends[],
			 uint32_t weight)
{
	struct cv_frontend f = {.count = count, .weight = weight};
	const struct cv_service_key key = service_key(frontend);

	for (uint32_t i = 0; i < count; i++) {
		CHECK_OK(cv_sockaddr_parse(ends[i], &f.ends[i].to));
		f.ends[i].weight_end = i + 1;
	}
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_frontends), &key, &f, BPF_ANY));
}

void frontend_set(const char *frontend, uint32_t count, const char *const ends[])
{
	frontend_put(frontend, count, ends, count);
}

void frontend_part(const char *frontend, const char *end, uint32_t weight)
{
	frontend_put(frontend, 1, &end, weight);
}

void frontend_one(const char *frontend, const char *end)
{
	frontend_set(frontend, 1, &end);
}

void check_tunnelled(int family, const char *to)
{
	const char *shown;
	int client = connected(family, to), z = ztunnel_accept(&shown);

	CHECK_STR(shown, to);
	exchange(client, z);
	close(client);
	close(z);
	CHECK_EQ(counted(CV_DIRECT), 0);
	CHECK_EQ(map_size(skel->maps.cv_directs), 0);
}

void talk_to_the_end(int client, int server)
{
	char buf[RECEIVED] = {0};

	CHECK_EQ(send(client, buf, SENT, 0), SENT);
	CHECK_EQ(recv(server, buf, SENT, MSG_WAITALL), SENT);
	CHECK_EQ(send(server, buf, RECEIVED, 0), RECEIVED);
	CHECK_EQ(recv(client, buf, RECEIVED, MSG_WAITALL), RECEIVED);
	close(server);
	CHECK_EQ(recv(client, buf, 1, 0), 0);
	close(client); /* it is over with the last acknowledgement */
	check_emptied(skel->maps.cv_directs);
}

void reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	close(fd);
}
