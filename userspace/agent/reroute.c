/* SPDX-License-Identifier: Apache-2.0 */
#include "reroute.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "map_keys.h"
#include "net/addr.h"
#include "netns_find.h"
#include "pinlink.h"
#include "reroute_rules.h"
#include "sockdestroy.h"
#include "sockdump.h"
#include "tclink.h"

#define PATH_LEN 512

DEFINE_CLEANUP(struct if_nameindex *, if_freenameindex);

/* One visit to a namespace. */
struct visit {
	const char *pin_dir;
	uint64_t cookie;
	int prog_in, prog_out;
	struct reroute *r; /* as it is to be */
};

static void pin_path(const struct visit *v, uint32_t ifindex, enum tclink_direction direction,
		     char ret[PATH_LEN])
{
	(void)snprintf(ret, PATH_LEN, "%s/" REROUTE_PREFIX "%" PRIu64 "_%" PRIu32 "_%s", v->pin_dir,
		       v->cookie, ifindex, direction == TCLINK_EGRESS ? "out" : "in");
}

static bool is_wanted(const struct reroute *r, uint32_t ifindex)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->ifindexes[i] == ifindex)
			return true;
	return false;
}

/* The programs read packets from an Ethernet header on. */
static int ethernet_check(const char *name)
{
	_cleanup_(close_fdp) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	if (fd < 0)
		return -errno;
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	return ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER ? 0 : -EMEDIUMTYPE;
}

/* Answers to DNS first: nobody asks before. */
static int interface_attach(const struct visit *v, const char *name, uint32_t ifindex)
{
	char path[PATH_LEN];
	int r;

	r = ethernet_check(name);
	if (r < 0)
		return r;
	pin_path(v, ifindex, TCLINK_EGRESS, path);
	r = tclink_attach(path, v->prog_out, ifindex, TCLINK_EGRESS);
	if (r < 0)
		return r;
	pin_path(v, ifindex, TCLINK_INGRESS, path);
	return tclink_attach(path, v->prog_in, ifindex, TCLINK_INGRESS);
}

static void interface_detach(const struct visit *v, uint32_t ifindex)
{
	char path[PATH_LEN];

	pin_path(v, ifindex, TCLINK_INGRESS, path);
	tclink_detach(path, ifindex, TCLINK_INGRESS);
	pin_path(v, ifindex, TCLINK_EGRESS, path);
	tclink_detach(path, ifindex, TCLINK_EGRESS);
}

/* Of interfaces that are gone. */
static void pins_sweep(const struct visit *v)
{
	_cleanup_(closedirp) DIR *dir = opendir(v->pin_dir);
	char prefix[64], path[PATH_LEN];
	uint64_t ifindex;

	(void)snprintf(prefix, sizeof(prefix), REROUTE_PREFIX "%" PRIu64 "_", v->cookie);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		char number[16] = "";

		if (!str_has_prefix(e->d_name, prefix))
			continue;
		(void)snprintf(number, sizeof(number), "%.*s",
			       (int)strcspn(e->d_name + strlen(prefix), "_"),
			       e->d_name + strlen(prefix));
		if (str_parse_u64(number, 1, UINT32_MAX, &ifindex) == 0 &&
		    is_wanted(v->r, (uint32_t)ifindex))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%.255s", v->pin_dir, e->d_name);
		pinlink_destroy(path);
	}
}

static void others_detach(const struct visit *v)
{
	_cleanup_(if_freenameindexp) struct if_nameindex *all = if_nameindex();

	for (const struct if_nameindex *i = all; i && i->if_index; i++)
		if (!is_wanted(v->r, i->if_index))
			interface_detach(v, i->if_index);
	pins_sweep(v);
}

/* What is routed decides only over what is marked: the rules come before the programs, and go
 * after them. */
static int sync_inside(void *arg)
{
	const struct visit *v = arg;
	int r = 0, failed;

	for (size_t i = 0; r == 0 && i < v->r->count; i++)
		r = reroute_rules_put(v->r->names[i]);
	for (size_t i = 0, put = r == 0 ? v->r->count : 0; i < put; i++) {
		if (!v->r->ifindexes[i])
			continue;
		failed = interface_attach(v, v->r->names[i], v->r->ifindexes[i]);
		r = r == 0 ? failed : r;
	}
	others_detach(v);
	reroute_rules_keep(v->r->names, v->r->count);
	return r;
}

static int look_inside(void *arg)
{
	struct reroute *r = arg;

	for (size_t i = 0; i < r->count; i++)
		r->ifindexes[i] = if_nametoindex(r->names[i]);
	return 0;
}

void reroute_sync(struct datapath *d, const struct reroute_pod *pod, struct reroute *r,
		  const struct exclusions *want, bool is_whole)
{
	struct reroute now = {.is_on = r->is_on, .count = want->reroute_count};
	struct visit v = {.pin_dir = datapath_pin_dir(d),
			  .cookie = pod->cookie,
			  .prog_in = datapath_reroute_fd(d),
			  .prog_out = datapath_reroute_back_fd(d),
			  .r = &now};

	memcpy(now.names, want->reroute, sizeof(now.names));
	now.error = v.prog_in < 0 ? -EOPNOTSUPP
				  : netns_call(pod->home, pod->netns_fd, look_inside, &now);
	if (now.error == 0 && !is_whole && now.count == r->count && r->error == 0 &&
	    memcmp(now.names, r->names, sizeof(now.names)) == 0 &&
	    memcmp(now.ifindexes, r->ifindexes, sizeof(now.ifindexes)) == 0)
		return;
	if (now.error == 0)
		now.error = netns_call(pod->home, pod->netns_fd, sync_inside, &v);
	*r = now;
}

/* ---- release ---- */

struct own {
	struct cv_addr addrs[NETNS_MAX_ADDRS];
	size_t count;
};

/* At an address that nobody here has: only machines are served like that. Their packets would now
 * be forwarded, and the connection would hang. */
static int on_socket(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h)
{
	const struct own *own = arg;
	const struct cv_sockaddr local = {.addr = t->local, .port = t->local_port};
	const struct cv_sockaddr remote = {.addr = t->remote, .port = t->remote_port};
	int r _unused_;

	(void)h;
	if (cv_addr_is_loopback(&t->local) || cv_addr_is_any(&t->local))
		return 0;
	for (size_t i = 0; i < own->count; i++)
		if (cv_addr_equal(&own->addrs[i], &t->local))
			return 0;
	r = sockdestroy_tcp(&local, &remote);
	return 0;
}

static int release_inside(void *arg)
{
	struct own own = {0};
	int r;

	r = netns_addrs(own.addrs, &own.count);
	if (r == 0)
		r = sockdump_tcp(~(1u << TCP_LISTEN | 1u << TCP_TIME_WAIT), 0, on_socket, &own);
	return r < 0 ? r : sync_inside(arg);
}

void reroute_release(const char *pin_dir, const struct reroute_pod *pod)
{
	struct reroute none = {0};
	struct visit v = {.pin_dir = pin_dir, .cookie = pod->cookie, .r = &none};
	int r;

	r = netns_call(pod->home, pod->netns_fd, release_inside, &v);
	if (r < 0)
		r = netns_call(pod->home, pod->netns_fd, sync_inside, &v);
	if (r < 0)
		pins_sweep(&v);
}

void reroute_forget(const char *pin_dir, uint64_t cookie)
{
	struct reroute none = {0};
	struct visit v = {.pin_dir = pin_dir, .cookie = cookie, .r = &none};
	struct reroute_pod pod = {.cookie = cookie, .netns_fd = -EBADF};
	struct netns_home home;

	if (netns_home_open(0, &home) < 0)
		return;
	pod.home = &home;
	if (netns_find(&home, cookie, &pod.netns_fd) == 0)
		reroute_release(pin_dir, &pod);
	else
		pins_sweep(&v);
	close_fd(pod.netns_fd);
	netns_home_close(&home);
}

void reroute_clean(const char *pin_dir)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	char path[PATH_LEN];
	uint64_t key, next;
	struct cv_pod pod;

	(void)snprintf(path, sizeof(path), "%s/cv_pods", pin_dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	map_keys_each (fd, key, next)
		if (bpf_map_lookup_elem(fd, &key, &pod) == 0 && (pod.flags & CV_POD_REROUTE))
			reroute_forget(pin_dir, key);
}

void reroute_for_each(const struct reroute *r, void (*fn)(void *arg, const char *line), void *arg)
{
	char line[128];

	for (size_t i = 0; i < r->count; i++) {
		(void)snprintf(line, sizeof(line), "reroute: %s%s", r->names[i],
			       r->ifindexes[i] ? "" : " (not there yet)");
		fn(arg, line);
	}
	if (r->error == 0)
		return;
	(void)snprintf(line, sizeof(line), "reroute: not in force: %s",
		       r->error == -EMEDIUMTYPE ? "expected Ethernet interfaces"
						: strerror(-r->error));
	fn(arg, line);
}
