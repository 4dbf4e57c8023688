/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/cidr.h"

static char cgroup_root[256], cgroup_dir[300];

static int find_cgroup_root(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	if (!mounts)
		return -errno;
	while ((m = getmntent(mounts)) != NULL)
		if (streq(m->mnt_type, "cgroup2"))
			snprintf(cgroup_root, sizeof(cgroup_root), "%s", m->mnt_dir);
	endmntent(mounts);
	return cgroup_root[0] ? 0 : -ENOENT;
}

static int cgroup_enter(const char *dir)
{
	_cleanup_(fclosep) FILE *f = NULL;
	char path[320];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	f = fopen(path, "we");
	if (!f || fprintf(f, "0\n") < 0 || fflush(f) != 0)
		return -errno;
	return 0;
}

/* Of runs that were killed; a running one's is busy and stays. */
static void remove_stale(const char *name)
{
	_cleanup_(closedirp) DIR *d = opendir(cgroup_root);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, name, strlen(name)) == 0)
			(void)unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
}

int stage_cgroup(const char *name)
{
	int r = find_cgroup_root();

	if (r < 0)
		return r;
	remove_stale(name);
	snprintf(cgroup_dir, sizeof(cgroup_dir), "%s/%s-%d", cgroup_root, name, (int)getpid());
	if (mkdir(cgroup_dir, 0755) < 0)
		return -errno;
	return cgroup_enter(cgroup_dir);
}

void stage_cgroup_leave(void)
{
	if (!cgroup_dir[0])
		return;
	(void)cgroup_enter(cgroup_root);
	for (int tries = 0; rmdir(cgroup_dir) < 0 && errno == EBUSY && tries < 50; tries++)
		usleep(20000);
}

int stage_cgroup_open(void)
{
	return open(cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Every program but those for namespaces and links. The skeleton owns the links. */
static int attach(struct culvert_bpf *s)
{
	_cleanup_(close_fdp) int fd = stage_cgroup_open();

	if (fd < 0)
		return -errno;
	for (int i = 0; i < s->skeleton->prog_cnt; i++) {
		const struct bpf_prog_skeleton *p = &s->skeleton->progs[i];

		if (*p->prog == s->progs.cv_lookup || *p->prog == s->progs.cv_guard ||
		    *p->prog == s->progs.cv_guard_in || *p->prog == s->progs.cv_uplink ||
		    *p->prog == s->progs.cv_reroute || *p->prog == s->progs.cv_reroute_back)
			continue;
		*p->link = bpf_program__attach_cgroup(*p->prog, fd);
		if (!*p->link)
			return -errno;
	}
	return 0;
}

static struct culvert_bpf *open_skel(bool no_cgroup_helpers, uint64_t host_cookie)
{
	struct culvert_bpf *s = culvert_bpf__open();

	if (!s)
		return NULL;
	s->rodata->cfg.no_cgroup_helpers = no_cgroup_helpers;
	s->rodata->cfg.is_uplink_guarded = 1;
	s->rodata->cfg.host_cookie = host_cookie;
	s->rodata->cfg.share = TEST_SHARE;
	s->rodata->cfg.shared_most = TEST_CONNS_MAX;
	bpf_map__set_max_entries(s->maps.cv_conns, TEST_CONNS_MAX);
	bpf_map__set_max_entries(s->maps.cv_vouched, TEST_CONNS_MAX);
	bpf_map__set_max_entries(s->maps.cv_directs, TEST_CONNS_MAX);
	return s;
}

static int load(struct culvert_bpf *s, struct culvert_bpf **ret)
{
	int r = culvert_bpf__load(s);

	if (!r)
		r = attach(s);
	if (r < 0) {
		culvert_bpf__destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

int stage_load(bool no_cgroup_helpers, struct culvert_bpf **ret)
{
	struct culvert_bpf *s = open_skel(no_cgroup_helpers, STAGE_HOST_COOKIE);

	return s ? load(s, ret) : -errno;
}

int stage_load_extent(bool no_cgroup_helpers, enum datapath_extent extent, struct culvert_bpf **ret)
{
	struct culvert_bpf *s = open_skel(no_cgroup_helpers, STAGE_HOST_COOKIE);
	int r = s ? datapath_extent_choose(s, extent) : -errno;

	if (r == 0)
		r = culvert_bpf__load(s);
	if (r < 0) {
		culvert_bpf__destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

int stage_load_for(uint64_t host_cookie)
{
	struct culvert_bpf *s = open_skel(skel->rodata->cfg.no_cgroup_helpers, host_cookie);
	struct bpf_map *map;
	int r = s ? 0 : -errno;

	if (!s)
		return r;
	bpf_object__for_each_map(map, s->obj)
	{
		const char *name = bpf_map__name(map);

		if (r == 0 && !bpf_map__is_internal(map))
			r = bpf_map__reuse_fd(map,
					      bpf_object__find_map_fd_by_name(skel->obj, name));
	}
	if (r == 0)
		return load(s, &skel);
	culvert_bpf__destroy(s);
	return r;
}

/* The namespaces die with the test's process. Neighbours are permanent: no test waits for their
 * discovery. */
static void stage_netns(void)
{
	pod.peer_netns = enter_new();
	pod.netns = enter_new();
	shell("ip -batch - <<'END'\n"
	      "link set lo up\n"
	      "link add eth0 address 02:00:00:00:00:02 type veth peer name eth0 "
	      "address 02:00:00:00:00:01 netns /proc/%d/fd/%d\n"
	      "addr add " POD4 "/24 dev eth0\n"
	      "addr add " POD6 "/64 dev eth0 nodad\n"
	      "END",
	      (int)getpid(), pod.peer_netns);
	enter_peer();
	shell("ip -batch - <<'END'\n"
	      "link set lo up\n"
	      "addr add " PEER4 "/24 dev eth0\n"
	      "addr add " PEER6 "/64 dev eth0 nodad\n"
	      "addr add 10.96.0.10/32 dev eth0\n"
	      "addr add 10.244.9.9/32 dev eth0\n"
	      "link set eth0 up\n"
	      "neigh add " POD4 " lladdr 02:00:00:00:00:02 nud permanent dev eth0\n"
	      "neigh add " POD6 " lladdr 02:00:00:00:00:02 nud permanent dev eth0\n"
	      "END");
	enter_pod();
	shell("ip -batch - <<'END'\n"
	      "link set eth0 up\n"
	      "neigh add " PEER4 " lladdr 02:00:00:00:00:01 nud permanent dev eth0\n"
	      "neigh add " PEER6 " lladdr 02:00:00:00:00:01 nud permanent dev eth0\n"
	      "route add default via " PEER4 "\n"
	      "route add ::/0 via " PEER6 "\n"
	      "END");
}

static int udp_at(const char *local, const char *remote)
{
	struct sockaddr_storage ss;
	socklen_t len = native(remote, AF_INET, &ss);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	CHECK_OK(fd);
	bind_to(fd, AF_INET, local);
	CHECK_OK(connect(fd, (struct sockaddr *)&ss, len));
	return fd;
}

/* The kernel opens the queues of a link some time after it came up, and until then loses what is
 * sent: no test is about that. */
static void stage_link_wait(void)
{
	int host, own = udp_at(POD4 ":9", PEER4 ":9");
	char byte;

	enter_peer();
	host = udp_at(PEER4 ":9", POD4 ":9");
	enter_pod();
	for (int ms = 0; !is_readable(own, 10); ms += 10) {
		CHECK(ms < WAIT_MS);
		(void)send(own, "x", 1, 0);
		if (recv(host, &byte, 1, 0) == 1)
			(void)send(host, "x", 1, 0);
	}
	close_fd(own);
	close_fd(host);
}

static int ztunnel_listener(uint16_t *ret_port)
{
	int fd = listener(AF_INET6, "[::]:0"), on = 1;

	set_kind(fd, CV_SOCKET_LISTEN);
	CHECK_OK(setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)));
	set_nonblock(fd);
	*ret_port = own_port(fd);
	return fd;
}

static int ztunnel_udp(uint16_t *ret_port)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	CHECK_OK(fd);
	bind_to(fd, AF_INET6, "[::]:0");
	CHECK_OK(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
	CHECK_OK(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)));
	CHECK_OK(setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)));
	set_kind(fd, CV_SOCKET_LISTEN);
	*ret_port = own_port(fd);
	return fd;
}

static void stage_listeners(void)
{
	uint16_t unused;

	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		pod.outbound[i] = ztunnel_listener(&pod.value.outbound_ports[i]);
	for (int i = 0; i < CV_DNS_PORTS; i++)
		pod.dns_udp[i] = ztunnel_udp(&pod.value.dns_udp_ports[i]);
	pod.dns_tcp = ztunnel_listener(&pod.value.dns_tcp_port);
	pod.plain = ztunnel_listener(&unused);
	pod.hbone = ztunnel_listener(&unused);
}

static void own_address(const char *address, struct cv_addr *ret)
{
	struct cv_pod_addr_key key = {.netns_cookie = pod.cookie};
	uint32_t one = 1;

	CHECK_OK(cv_addr_parse(address, &key.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pod_addrs), &key, &one, BPF_ANY));
	*ret = key.addr;
}

struct cv_service_key service_key(const char *frontend)
{
	struct cv_sockaddr sa;

	CHECK_OK(cv_sockaddr_parse(frontend, &sa));
	return (struct cv_service_key){.addr = sa.addr, .port = sa.port};
}

static void mesh_destinations(void)
{
	const char *const workloads[] = {MESH4, MESH4_B, MESH6};
	struct cv_dest dest = {.flags = CV_DEST_MESH, .name = "test/mesh"};
	const struct cv_service_key service = service_key(SERVICE);
	struct cv_sockaddr sa;

	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++) {
		CHECK_OK(cv_sockaddr_parse(workloads[i], &sa));
		CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_workloads), &sa.addr, &dest,
					     BPF_ANY));
	}
	CHECK_OK(
		bpf_map_update_elem(bpf_map__fd(skel->maps.cv_services), &service, &dest, BPF_ANY));
}

void dest_put(const struct bpf_map *map, const void *key, uint32_t flags)
{
	struct cv_dest dest = {.flags = flags, .name = "test/range"};

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(map), key, &dest, BPF_ANY));
}

void range_put(const char *range, uint16_t port, uint32_t flags)
{
	struct cv_range_key key = {.port = htons(port)};
	struct cidr c;

	CHECK_OK(cidr_parse(range, &c));
	key.prefix_len = CV_RANGE_PREFIX + c.len;
	key.is_v4 = cv_addr_is_v4(&c.addr);
	key.addr = c.addr;
	dest_put(skel->maps.cv_ranges, &key, flags);
}

void inbound_put(const char *addr, uint16_t port, uint32_t rule)
{
	struct cv_service_key key = {.port = htons(port)};

	CHECK_OK(cv_addr_parse(addr, &key.addr));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_inbound_rules), &key, &rule,
				     BPF_ANY));
}

void inbound_range_put(const char *addr, const char *range)
{
	struct cv_inbound_range_key key = {0};
	uint32_t one = 1;
	struct cidr c;

	CHECK_OK(cidr_parse(range, &c));
	CHECK_OK(cv_addr_parse(addr, &key.local));
	key.prefix_len = CV_INBOUND_RANGE_PREFIX + c.len;
	key.source = c.addr;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_inbound_ranges), &key, &one,
				     BPF_ANY));
}

/* These go by address, and every test's pod has the same ones. */
static void earlier_rules_forget(void)
{
	const struct bpf_map *const maps[] = {skel->maps.cv_inbound_rules,
					      skel->maps.cv_inbound_ranges,
					      skel->maps.cv_registered, skel->maps.cv_ranges};
	char key[sizeof(struct cv_inbound_range_key)]; /* the longest of theirs */
	uint64_t never = 0;
	uint32_t zero = 0;

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_fresh_until), &zero, &never,
				     BPF_ANY));
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		while (bpf_map_get_next_key(bpf_map__fd(maps[i]), NULL, key) == 0)
			CHECK_OK(bpf_map_delete_elem(bpf_map__fd(maps[i]), key));
}

void stage_pod(void)
{
	stage_netns();
	stage_link_wait();
	pod.cookie = own_cookie();
	snprintf(pod.value.name, sizeof(pod.value.name), "test/pod");
	own_address(POD4, &pod.value.addr4);
	own_address(POD6, &pod.value.addr6);
	stage_listeners();
	earlier_rules_forget();
	mesh_destinations();
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DNS);
}
