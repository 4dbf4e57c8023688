/* SPDX-License-Identifier: Apache-2.0 */
#include "links.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/str.h"
#include "netlink.h"

#define KIND_MAX 16
#define NO_QUEUE "noqueue" /* what a veth has by itself */
#define NO_OP    "noop"    /* and while it is down */

/* An interface of the pod's whose other end is the agent's. */
struct end {
	uint32_t peer; /* ifindex there */
	uint8_t mac[6];
};

struct look {
	const struct netns_home *home;
	struct end ends[LINKS_MAX];
	size_t end_count;
	int32_t home_nsid; /* as the pod's namespace numbers the agent's; -1: it has none */
};

struct link_request {
	struct nlmsghdr h;
	struct ifinfomsg info;
};

static struct link_request link_request(unsigned int flags, int ifindex)
{
	return (struct link_request){
		.h = {.nlmsg_len = sizeof(struct link_request),
		      .nlmsg_type = RTM_GETLINK,
		      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
		.info = {.ifi_index = ifindex},
	};
}

static const void *link_attr(const struct nlmsghdr *h, unsigned short type, size_t size)
{
	const struct ifinfomsg *info = NLMSG_DATA(h);

	return netlink_attr(IFLA_RTA(info), IFLA_PAYLOAD(h), type, size);
}

static bool is_veth(const struct nlmsghdr *h)
{
	const struct rtattr *info = link_attr(h, IFLA_LINKINFO, sizeof(*info));
	const char *kind;

	if (!info)
		return false;
	/* The attribute before its content has the length. */
	kind = netlink_attr(info, RTA_PAYLOAD(info - 1), IFLA_INFO_KIND, sizeof("veth"));
	return kind && strncmp(kind, "veth", KIND_MAX) == 0;
}

static int on_pod_link(void *arg, const struct nlmsghdr *h)
{
	struct look *look = arg;
	const uint32_t *peer = link_attr(h, IFLA_LINK, sizeof(*peer));
	const int32_t *nsid = link_attr(h, IFLA_LINK_NETNSID, sizeof(*nsid));
	const void *mac = link_attr(h, IFLA_ADDRESS, 6);
	struct end *e;

	if (h->nlmsg_type != RTM_NEWLINK || !peer || !nsid || *nsid != look->home_nsid || !mac ||
	    !is_veth(h))
		return 0;
	if (look->end_count == LINKS_MAX)
		return -E2BIG;
	e = &look->ends[look->end_count++];
	e->peer = *peer;
	memcpy(e->mac, mac, sizeof(e->mac));
	return 0;
}

struct nsid_request {
	struct nlmsghdr h;
	struct rtgenmsg gen;
	uint8_t zero[NLMSG_ALIGN(sizeof(struct rtgenmsg)) - sizeof(struct rtgenmsg)];
	struct rtattr attr;
	uint32_t fd;
};

static int on_nsid(void *arg, const struct nlmsghdr *h)
{
	struct look *look = arg;
	const struct rtattr *first =
		(const void *)((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct rtgenmsg)));
	const int32_t *nsid = netlink_attr(first, NLMSG_PAYLOAD(h, sizeof(struct rtgenmsg)),
					   NETNSA_NSID, sizeof(*nsid));

	if (nsid)
		look->home_nsid = *nsid;
	return 0;
}

/* Which number the pod's namespace has for the agent's. */
static int home_nsid_find(struct look *look)
{
	struct nsid_request q = {
		.h = {.nlmsg_len = sizeof(q),
		      .nlmsg_type = RTM_GETNSID,
		      .nlmsg_flags = NLM_F_REQUEST},
		.attr = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = NETNSA_FD},
		.fd = (uint32_t)look->home->fd,
	};

	return netlink_call(NETLINK_ROUTE, &q.h, on_nsid, look);
}

/* Links to namespaces inside the pod (containers, machines) are as many as it likes: they are left
 * out before they are counted. A number is given by the first look at a link that leads there. */
static int look_in_pod(void *arg)
{
	struct link_request q = link_request(NLM_F_DUMP, 0);
	struct look *look = arg;
	int r = home_nsid_find(look);

	if (r == 0 && look->home_nsid < 0) {
		r = netlink_call(NETLINK_ROUTE, &q.h, NULL, NULL);
		if (r == 0)
			r = home_nsid_find(look);
	}
	if (r < 0 || look->home_nsid < 0)
		return r;
	return netlink_call(NETLINK_ROUTE, &q.h, on_pod_link, look);
}

static bool is_queued(const struct nlmsghdr *h)
{
	const char *kind = link_attr(h, IFLA_QDISC, 1);

	return kind && strncmp(kind, NO_QUEUE, KIND_MAX) != 0 &&
	       strncmp(kind, NO_OP, KIND_MAX) != 0;
}

static int on_host_link(void *arg, const struct nlmsghdr *h)
{
	struct link *l = arg;
	const void *mac = link_attr(h, IFLA_ADDRESS, sizeof(l->host_mac));

	if (!mac)
		return -EBADMSG;
	memcpy(l->host_mac, mac, sizeof(l->host_mac));
	l->is_queued = is_queued(h);
	return 0;
}

bool link_is_gone(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return !if_indextoname(ifindex, name) && errno == ENXIO;
}

int links_find(const struct netns_home *home, int netns_fd, struct link ret[LINKS_MAX],
	       size_t *ret_n)
{
	struct look look = {.home = home, .home_nsid = -1};
	size_t n = 0;
	int r = netns_call(home, netns_fd, look_in_pod, &look);

	if (r < 0)
		return r;
	for (size_t i = 0; i < look.end_count; i++) {
		const struct end *e = &look.ends[i];
		struct link_request q = link_request(0, (int)e->peer);
		struct link l = {.ifindex = e->peer};

		memcpy(l.pod_mac, e->mac, sizeof(l.pod_mac));
		r = netlink_call(NETLINK_ROUTE, &q.h, on_host_link, &l);
		if (r < 0)
			return r;
		ret[n++] = l;
	}
	*ret_n = n;
	return 0;
}
