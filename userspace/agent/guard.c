/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "directs.h"
#include "links.h"
#include "map_keys.h"
#include "net/addr.h"
#include "netlink.h"
#include "sockdump.h"
#include "tclink.h"

#define GUARD_PREFIX "guard_"
#define IN_PREFIX    GUARD_PREFIX "in_"
#define RETIRED_MAX  512 /* of one look */
#define GONE_AT_ONCE 16  /* of one look: it asks the kernel for each */
#define PATH_LEN     512
#define USES_TUNNELS ": it uses tunnels inside the node"

enum guard_bypass guard_bypass_from_string(const char *text)
{
	if (streq(text, "off"))
		return GUARD_BYPASS_OFF;
	if (streq(text, "established"))
		return GUARD_BYPASS_ESTABLISHED;
	return streq(text, "full") ? GUARD_BYPASS_FULL : GUARD_BYPASS_INVALID;
}

static void guard_path(const char *pin_dir, const char *prefix, uint32_t ifindex,
		       char ret[PATH_LEN])
{
	(void)snprintf(ret, PATH_LEN, "%s/%s%" PRIu32, pin_dir, prefix, ifindex);
}

/* ---- one link ---- */

static int link_guard(struct datapath *d, uint32_t ifindex, const char **ret_tunnels)
{
	const char *pin_dir = datapath_pin_dir(d);
	char path[PATH_LEN];
	int r;

	guard_path(pin_dir, IN_PREFIX, ifindex, path);
	r = tclink_attach(path, datapath_guard_in_fd(d), ifindex, TCLINK_EGRESS);
	if (r == -EOPNOTSUPP)
		*ret_tunnels =
			"the pod's link has an ingress qdisc, which before Linux 6.6 leaves no "
			"room for the guard of what arrives" USES_TUNNELS;
	else if (r < 0)
		return r;
	guard_path(pin_dir, GUARD_PREFIX, ifindex, path);
	return tclink_attach(path, datapath_guard_fd(d), ifindex, TCLINK_INGRESS);
}

static void link_release_in(const char *pin_dir, uint32_t ifindex)
{
	char path[PATH_LEN];

	guard_path(pin_dir, IN_PREFIX, ifindex, path);
	tclink_detach(path, ifindex, TCLINK_EGRESS);
}

static void link_release(const char *pin_dir, uint32_t ifindex)
{
	char path[PATH_LEN];

	link_release_in(pin_dir, ifindex);
	guard_path(pin_dir, GUARD_PREFIX, ifindex, path);
	tclink_detach(path, ifindex, TCLINK_INGRESS);
}

/* ---- who else is there ---- */

static bool tcx_is_shared(uint32_t ifindex, uint32_t type, uint32_t ours)
{
	uint32_t ids[4], n = ARRAY_SIZE(ids), flags = 0;
	int r = bpf_prog_query((int)ifindex, (enum bpf_attach_type)type, 0, &flags, ids, &n);

	return r == -ENOSPC || (r == 0 && n > ours);
}

struct filter_request {
	struct nlmsghdr h;
	struct tcmsg tc;
};

static int on_filter(void *arg, const struct nlmsghdr *h)
{
	const struct tcmsg *tc = NLMSG_DATA(h);
	bool *is_shared = arg;

	/* The first of a priority has no handle: it stands for the chain. */
	if (h->nlmsg_type == RTM_NEWTFILTER && tc->tcm_handle && tc->tcm_handle != TCLINK_HANDLE)
		*is_shared = true;
	return 0;
}

static bool filters_are_shared(uint32_t ifindex, uint32_t direction)
{
	struct filter_request q = {
		.h = {.nlmsg_len = sizeof(q),
		      .nlmsg_type = RTM_GETTFILTER,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.tc = {.tcm_ifindex = (int)ifindex,
		       .tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction)},
	};
	bool is_shared = false;

	/* No such qdisc: no filters. */
	return netlink_call(NETLINK_ROUTE, &q.h, on_filter, &is_shared) == 0 && is_shared;
}

static bool link_is_shared(uint32_t ifindex)
{
	return tcx_is_shared(ifindex, TCLINK_INGRESS, 1) ||
	       tcx_is_shared(ifindex, TCLINK_EGRESS, 1) ||
	       filters_are_shared(ifindex, TC_H_MIN_INGRESS) ||
	       filters_are_shared(ifindex, TC_H_MIN_EGRESS);
}

/* ---- a pod ---- */

static int pod_link_set(struct datapath *d, uint64_t cookie, const struct link *link,
			enum guard_bypass bypass)
{
	struct cv_link l = {.way.ifindex = link->ifindex,
			    .flags = bypass == GUARD_BYPASS_FULL ? CV_LINK_HANDSHAKE : 0};

	memcpy(l.way.macs, link->pod_mac, sizeof(link->pod_mac));
	memcpy(l.way.macs + sizeof(link->pod_mac), link->host_mac, sizeof(link->host_mac));
	return datapath_put(d, DATAPATH_POD_LINKS, &cookie, &l);
}

int guard_attach(struct datapath *d, const struct guard_pod *pod, enum guard_bypass bypass,
		 const char **ret_tunnels)
{
	struct link links[LINKS_MAX];
	const char *tunnels =
		bypass == GUARD_BYPASS_OFF ? "--host-bypass is off" USES_TUNNELS : NULL;
	size_t n = 0;
	int r = links_find(pod->home, pod->netns_fd, links, &n);

	if (r < 0)
		return r;
	if (n == 0)
		return -ENODEV;
	for (size_t i = 0; i < n; i++) {
		r = link_guard(d, links[i].ifindex, &tunnels);
		if (r == 0)
			r = datapath_put(d, DATAPATH_LINKS, &links[i].ifindex, &pod->cookie);
		if (r < 0)
			return r;
		if (link_is_shared(links[i].ifindex))
			tunnels = "another program works in tc on the pod's link" USES_TUNNELS;
		if (links[i].is_queued)
			tunnels = "a qdisc on the pod's link limits what it gets, which direct "
				  "connections would skip" USES_TUNNELS;
	}
	if (n > 1)
		tunnels = "the pod has several links, of which only the host's routes know which "
			  "to take" USES_TUNNELS;
	r = pod_link_set(d, pod->cookie, links, bypass);
	if (r == 0)
		*ret_tunnels = tunnels;
	return r;
}

/* ---- a pod that has left ---- */

void guard_retire(struct datapath *d, uint64_t cookie)
{
	(void)bpf_map_delete_elem(datapath_map_fd(d, DATAPATH_POD_LINKS), &cookie);
}

/* A link whose guard has no pod to police. */
struct retired {
	uint32_t ifindex;
	bool is_needed;
};

static bool is_retired(struct datapath *d, uint64_t cookie)
{
	struct cv_pod pod;

	return datapath_pod_get(d, cookie, &pod) < 0 || !(pod.flags & CV_POD_CAPTURE);
}

/* Return: how many; what is beyond @max has its turn later. */
static size_t retired_find(struct datapath *d, struct retired *ret, size_t max)
{
	int fd = datapath_map_fd(d, DATAPATH_LINKS);
	uint32_t key, next;
	size_t n = 0;

	map_keys_each (fd, key, next) {
		uint64_t cookie;

		if (n == max)
			break;
		if (bpf_map_lookup_elem(fd, &key, &cookie) == 0 && is_retired(d, cookie))
			ret[n++] = (struct retired){.ifindex = key};
	}
	return n;
}

/* cv_guard goes by the link that a packet comes from. Return: how many of them have become needed.
 */
static size_t retired_need(struct retired *links, size_t n, const struct cv_direct *c)
{
	size_t needed = 0;

	for (size_t i = 0; i < n; i++)
		if (!links[i].is_needed && (links[i].ifindex == c->to_client.ifindex ||
					    links[i].ifindex == c->to_server.ifindex)) {
			links[i].is_needed = true;
			needed++;
		}
	return needed;
}

/* One look at what is direct. */
struct retired_look {
	struct retired *links;
	size_t count, needed;
};

static bool on_direct(void *arg, const struct cv_tuple *key, const struct cv_direct *c)
{
	struct retired_look *l = arg;

	(void)key;
	l->needed += retired_need(l->links, l->count, c);
	return l->needed < l->count;
}

static void link_forget(struct datapath *d, uint32_t ifindex)
{
	(void)bpf_map_delete_elem(datapath_map_fd(d, DATAPATH_LINKS), &ifindex);
	link_release(datapath_pin_dir(d), ifindex);
}

/* Of a pod that stays, and may get others: no list of its links would be kept whole. */
static void gone_sweep(struct datapath *d, uint32_t *at)
{
	int fd = datapath_map_fd(d, DATAPATH_LINKS);

	for (int i = 0; i < GONE_AT_ONCE; i++) {
		uint32_t next;

		if (bpf_map_get_next_key(fd, *at ? at : NULL, &next) < 0) {
			*at = 0;
			return;
		}
		if (link_is_gone(next))
			link_forget(d, next);
		else
			*at = next;
	}
}

void guard_sweep(struct datapath *d, uint32_t *at)
{
	struct retired links[RETIRED_MAX];
	size_t n = retired_find(d, links, ARRAY_SIZE(links));
	struct retired_look look = {.links = links, .count = n};

	gone_sweep(d, at);
	if (n > 0 && directs_each(datapath_map_fd(d, DATAPATH_DIRECTS), on_direct, &look) < 0)
		return; /* who needs them is not known: they wait */
	for (size_t i = 0; i < n; i++) {
		/* Its connections may never be seen to end. */
		if (links[i].is_needed && !link_is_gone(links[i].ifindex))
			continue;
		link_forget(d, links[i].ifindex);
	}
}

void guard_clean(const char *pin_dir)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	char path[PATH_LEN];
	uint32_t key, next;

	(void)snprintf(path, sizeof(path), "%s/cv_links", pin_dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	/* While one link's cv_guard is gone another's cv_guard_in would stop what goes between. */
	map_keys_each (fd, key, next)
		link_release_in(pin_dir, key);
	map_keys_each (fd, key, next)
		link_release(pin_dir, key);
}

/* ---- what was begun before ---- */

struct exempt {
	struct datapath *datapath;
	uint64_t cookie;
};

static int on_socket(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h)
{
	uint64_t now_ns = now_monotonic_us() * 1000;
	const struct exempt *x = arg;
	struct cv_tuple key = *t;

	(void)h;
	key.netns_cookie = x->cookie;
	return datapath_put(x->datapath, DATAPATH_EXEMPT, &key, &now_ns);
}

static int look_at_sockets(void *arg)
{
	return sockdump_tcp(1u << TCP_SYN_SENT, 0, on_socket, arg);
}

int guard_exempt(struct datapath *d, const struct guard_pod *pod)
{
	struct exempt x = {.datapath = d, .cookie = pod->cookie};

	return netns_call(pod->home, pod->netns_fd, look_at_sockets, &x);
}
