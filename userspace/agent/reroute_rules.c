/* SPDX-License-Identifier: Apache-2.0 */
#include "reroute_rules.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "culvert/abi/reroute.h"
#include "netlink.h"

#define TABLE     0x4356 /* of ours alone */
#define PRIORITY  0x4356 /* before the main table */
#define LOOPBACK  1      /* ifindex of lo, in every namespace */
#define RULES_MAX 64     /* of one look */

static const uint8_t families[] = {AF_INET, AF_INET6};

struct rule_request {
	struct nlmsghdr h;
	struct fib_rule_hdr rule;
	char attributes[128];
};

struct route_request {
	struct nlmsghdr h;
	struct rtmsg route;
	char attributes[32];
};

static struct rule_request rule_of(uint8_t family, const char *name, uint32_t mark)
{
	uint32_t table = TABLE, priority = PRIORITY, mask = UINT32_MAX;
	struct rule_request q;

	memset(&q, 0, sizeof(q));
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.rule));
	q.rule.family = family;
	q.rule.action = mark == CV_REROUTE_MARK_LOCAL ? FR_ACT_TO_TBL : FR_ACT_PROHIBIT;
	netlink_put(&q.h, FRA_IIFNAME, name, strlen(name) + 1);
	netlink_put(&q.h, FRA_PRIORITY, &priority, sizeof(priority));
	netlink_put(&q.h, FRA_FWMARK, &mark, sizeof(mark));
	netlink_put(&q.h, FRA_FWMASK, &mask, sizeof(mask));
	if (mark == CV_REROUTE_MARK_LOCAL)
		netlink_put(&q.h, FRA_TABLE, &table, sizeof(table));
	return q;
}

/* Everything is local. */
static struct route_request route_of(uint8_t family)
{
	uint32_t table = TABLE, out = LOOPBACK;
	struct route_request q;

	memset(&q, 0, sizeof(q));
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.route));
	q.route.rtm_family = family;
	q.route.rtm_protocol = RTPROT_STATIC;
	q.route.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	q.route.rtm_type = RTN_LOCAL;
	netlink_put(&q.h, RTA_TABLE, &table, sizeof(table));
	netlink_put(&q.h, RTA_OIF, &out, sizeof(out));
	return q;
}

static int send_new(struct nlmsghdr *h, uint16_t type)
{
	int r;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	r = netlink_call(NETLINK_ROUTE, h, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

static void send_del(struct nlmsghdr *h, uint16_t type)
{
	int r _unused_;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	r = netlink_call(NETLINK_ROUTE, h, NULL, NULL);
}

static int family_put(uint8_t family, const char *name)
{
	struct rule_request local = rule_of(family, name, CV_REROUTE_MARK_LOCAL);
	struct rule_request refuse = rule_of(family, name, CV_REROUTE_MARK_REFUSE);
	struct route_request route = route_of(family);
	int r;

	r = send_new(&route.h, RTM_NEWROUTE);
	if (r == 0)
		r = send_new(&local.h, RTM_NEWRULE);
	return r < 0 ? r : send_new(&refuse.h, RTM_NEWRULE);
}

/* IPv6 may be left out of the kernel, or switched off here. */
static bool is_absent(int r)
{
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP || r == -EACCES || r == -ENODEV;
}

int reroute_rules_put(const char *name)
{
	int r = family_put(AF_INET, name);

	if (r < 0)
		return r;
	r = family_put(AF_INET6, name);
	return is_absent(r) ? 0 : r;
}

/* ---- away with them ---- */

struct found {
	char name[IF_NAMESIZE];
	uint32_t mark;
};

struct look {
	struct found rules[RULES_MAX];
	size_t count;
};

static int on_rule(void *arg, const struct nlmsghdr *h)
{
	const struct fib_rule_hdr *rule = NLMSG_DATA(h);
	const struct rtattr *first =
		(const void *)((const char *)rule + NLMSG_ALIGN(sizeof(*rule)));
	size_t len = NLMSG_PAYLOAD(h, sizeof(*rule));
	const uint32_t *mark = netlink_attr(first, len, FRA_FWMARK, sizeof(*mark));
	const char *name = netlink_attr(first, len, FRA_IIFNAME, 1);
	struct look *look = arg;

	if (!mark || !name || look->count == RULES_MAX ||
	    (*mark != CV_REROUTE_MARK_LOCAL && *mark != CV_REROUTE_MARK_REFUSE))
		return 0;
	look->rules[look->count].mark = *mark;
	if (str_copy(look->rules[look->count].name, IF_NAMESIZE, name) == 0)
		look->count++;
	return 0;
}

static bool is_kept(const char names[][IF_NAMESIZE], size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], name))
			return true;
	return false;
}

static void family_keep(uint8_t family, const char names[][IF_NAMESIZE], size_t n)
{
	struct rule_request q = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(q.rule)),
				       .nlmsg_type = RTM_GETRULE,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
				 .rule.family = family};
	struct route_request route = route_of(family);
	struct look look = {0};

	if (netlink_call(NETLINK_ROUTE, &q.h, on_rule, &look) < 0)
		return;
	for (size_t i = 0; i < look.count; i++) {
		if (is_kept(names, n, look.rules[i].name))
			continue;
		q = rule_of(family, look.rules[i].name, look.rules[i].mark);
		send_del(&q.h, RTM_DELRULE);
	}
	if (n == 0)
		send_del(&route.h, RTM_DELROUTE);
}

void reroute_rules_keep(const char names[][IF_NAMESIZE], size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		family_keep(families[i], names, n);
}
