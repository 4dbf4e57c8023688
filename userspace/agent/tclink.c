/* SPDX-License-Identifier: Apache-2.0 */
#include "tclink.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "features.h"
#include "netlink.h"
#include "pinlink.h"

#define TCX_BEFORE      (1u << 3) /* Linux 6.6 */
#define FILTER_PRIORITY 1
#define INGRESS         "ingress"

static enum bpf_tc_attach_point point_of(enum tclink_direction direction)
{
	return direction == TCLINK_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

struct qdisc_request {
	struct nlmsghdr h;
	struct tcmsg tc;
};

struct qdisc_look {
	uint32_t ifindex;
	bool is_ingress;
};

static int on_qdisc(void *arg, const struct nlmsghdr *h)
{
	const struct tcmsg *tc = NLMSG_DATA(h);
	const char *kind = netlink_attr(TCA_RTA(tc), TCA_PAYLOAD(h), TCA_KIND, sizeof(INGRESS));
	struct qdisc_look *look = arg;

	if (h->nlmsg_type == RTM_NEWQDISC && (uint32_t)tc->tcm_ifindex == look->ifindex && kind &&
	    memcmp(kind, INGRESS, sizeof(INGRESS)) == 0)
		look->is_ingress = true;
	return 0;
}

/* Has an ingress qdisc the place of clsact? The kernel tells of those of all interfaces. */
static bool has_ingress(uint32_t ifindex)
{
	struct qdisc_request q = {
		.h = {.nlmsg_len = sizeof(q),
		      .nlmsg_type = RTM_GETQDISC,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};
	struct qdisc_look look = {.ifindex = ifindex};

	/* On doubt: nothing of ours is replaced. */
	return netlink_call(NETLINK_ROUTE, &q.h, on_qdisc, &look) < 0 || look.is_ingress;
}

static int filter_attach(int prog_fd, uint32_t ifindex, enum tclink_direction direction)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = point_of(direction));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TCLINK_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	if (r < 0 && r != -EEXIST)
		return r;
	/* It has one list of filters: the second program would take the first one's place. */
	if (direction == TCLINK_EGRESS && has_ingress(ifindex))
		return -EOPNOTSUPP;
	return bpf_tc_attach(&hook, &opts);
}

static void filter_detach(uint32_t ifindex, enum tclink_direction direction)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = point_of(direction));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TCLINK_HANDLE, .priority = FILTER_PRIORITY);

	(void)bpf_tc_detach(&hook, &opts);
}

int tclink_attach(const char *path, int prog_fd, uint32_t ifindex, enum tclink_direction direction)
{
	int r = -EINVAL;

	if (!features_is_off("6.6"))
		r = pinlink_make(path, prog_fd, (int)ifindex, (enum bpf_attach_type)direction,
				 TCX_BEFORE);
	return r == -EINVAL ? filter_attach(prog_fd, ifindex, direction) : r;
}

void tclink_detach(const char *path, uint32_t ifindex, enum tclink_direction direction)
{
	pinlink_destroy(path);
	filter_detach(ifindex, direction);
}
