/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Nodes hang on a bridge in a namespace of its own: there the whole traffic between nodes can be
 * seen and nothing else. A pod is joined to its node by a routed veth pair, as most CNI plugins do
 * it: /32 and /128, a link-local gateway. */
#define GATEWAY4 "169.254.1.1"
#define GATEWAY6 "fe80::1"

static int ip_batch(const char *netns, struct buf *script)
{
	const char *const argv[] = {"ip", "-batch", "-", NULL};

	return lab_run(netns, argv, script);
}

static int write_sysctls(const char *netns, const char *const *settings)
{
	const char *argv[16] = {"sysctl", "-q", "-w"};
	size_t n = 3;

	while (*settings && n < ARRAY_SIZE(argv) - 1)
		argv[n++] = *settings++;
	return lab_run(netns, argv, NULL);
}

static int switch_up(void)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	int r;

	if (lab_netns_exists(LAB_SWITCH))
		return 0;
	r = lab_netns_create(LAB_SWITCH);
	if (r < 0)
		return lab_fail(r, "cannot make namespace " LAB_SWITCH ": %s", strerror(-r));
	r = buf_append_str(&b,
			   "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
			   "link set br0 up\n");
	return r < 0 ? r : ip_batch(LAB_SWITCH, &b);
}

static int node_links(const struct lab *l, unsigned int i)
{
	_cleanup_(buf_resetp) struct buf sw = {0}, node = {0};
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "n%u", i);
	buf_printf(&sw,
		   "link add %s type veth peer name eth0 netns " LAB_NETNS_DIR "/%s\n"
		   "link set %s master br0 up\n",
		   name, name, name);
	r = ip_batch(LAB_SWITCH, &sw);
	if (r < 0)
		return r;
	buf_printf(&node,
		   "addr add 10.10.0.%u/24 dev eth0\n"
		   "addr add fd00:10:10::%x/64 dev eth0 nodad\n"
		   "link set eth0 up\n"
		   "addr add " LAB_DNS4 "/32 dev lo\n"
		   "addr add " LAB_DNS6 "/128 dev lo nodad\n",
		   i, i);
	for (unsigned int j = 1; j <= l->node_count; j++)
		if (j != i)
			buf_printf(&node,
				   "route add 10.244.%u.0/24 via 10.10.0.%u\n"
				   "route add fd00:10:244:%x::/64 via fd00:10:10::%x\n",
				   j, j, j, j);
	/* Packets to a cluster IP are rewritten before routing, those of the node itself after:
	 * they need a route. */
	buf_printf(&node, "route add 10.96.0.0/16 dev eth0\nroute add fd00:10:96::/112 dev eth0\n");
	return ip_batch(name, &node);
}

static int node_up(const struct lab *l, unsigned int i)
{
	static const char *const sysctls[] = {
		"net.ipv4.ip_forward=1",
		"net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0",
		"net.ipv4.conf.default.rp_filter=0",
		"net.ipv6.conf.all.accept_dad=0",
		"net.ipv6.conf.default.accept_dad=0",
		NULL,
	};
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "n%u", i);
	if (lab_netns_exists(name))
		return 0;
	r = lab_netns_create(name);
	if (r == 0)
		r = write_sysctls(name, sysctls);
	if (r == 0)
		r = node_links(l, i);
	return r < 0 ? lab_fail(r, "cannot make node %s: %s", name, strerror(-r)) : 0;
}

int lab_net_up(struct lab *l)
{
	int r;

	r = switch_up();
	for (unsigned int i = 1; i <= l->node_count && r == 0; i++)
		r = node_up(l, i);
	return r;
}

/* --- pods --- */

/* The node's end: its number on the node is in the last part of the pod's address. */
static void link_name(const json_t *pod, char *buf, size_t size)
{
	const char *dot = strrchr(lab_str(pod, "status.podIP", ""), '.');

	(void)snprintf(buf, size, "pod%s", dot ? dot + 1 : "");
}

static int pod_link(const json_t *pod, const char *netns)
{
	const char *node = lab_str(pod, "spec.nodeName", ""),
		   *ip4 = lab_str(pod, "status.podIP", "");
	const char *ip6 = lab_str(json_array_get(lab_get(pod, "status.podIPs"), 1), "ip", "");
	_cleanup_(buf_resetp) struct buf out = {0}, in = {0};
	char link[32];
	int r;

	link_name(pod, link, sizeof(link));
	buf_printf(&out,
		   "link add %s type veth peer name eth0 netns " LAB_NETNS_DIR "/%s\n"
		   "addr add " GATEWAY4 "/32 dev %s\n"
		   "addr add " GATEWAY6 "/64 dev %s nodad\n"
		   "link set %s up\n"
		   "route add %s/32 dev %s\nroute add %s/128 dev %s\n",
		   link, netns, link, link, link, ip4, link, ip6, link);
	r = ip_batch(node, &out);
	if (r < 0)
		return r;
	buf_printf(&in,
		   "addr add %s/32 dev eth0\n"
		   "addr add %s/128 dev eth0 nodad\n"
		   "link set eth0 up\n"
		   "route add " GATEWAY4 " dev eth0 scope link\n"
		   "route add default via " GATEWAY4 " dev eth0\n"
		   "route add default via " GATEWAY6 " dev eth0\n",
		   ip4, ip6);
	return ip_batch(netns, &in);
}

int lab_net_pod_up(const json_t *pod)
{
	static const char *const sysctls[] = {
		"net.ipv6.conf.all.accept_dad=0",
		"net.ipv6.conf.default.accept_dad=0",
		"net.ipv6.conf.default.accept_ra=0",
		"net.ipv4.ping_group_range=0 2147483647",
		NULL,
	};
	char label[LAB_PATH_MAX], name[LAB_PATH_MAX + 8];
	int r;

	if (json_is_true(lab_get(pod, "spec.hostNetwork")))
		return 0;
	(void)snprintf(name, sizeof(name), "pod_%s", lab_pod_label(pod, label, sizeof(label)));
	lab_netns_delete(name);
	r = lab_netns_create(name);
	if (r == 0)
		r = write_sysctls(name, sysctls);
	if (r == 0)
		r = pod_link(pod, name);
	return r < 0 ? lab_fail(r, "cannot make the network of %s: %s", label, strerror(-r)) : 0;
}

void lab_net_pod_down(const json_t *pod)
{
	char label[LAB_PATH_MAX], name[LAB_PATH_MAX + 8], link[32];
	const char *argv[] = {"ip", "link", "del", link, NULL};

	if (json_is_true(lab_get(pod, "spec.hostNetwork")))
		return;
	(void)snprintf(name, sizeof(name), "pod_%s", lab_pod_label(pod, label, sizeof(label)));
	link_name(pod, link, sizeof(link));
	/* The namespace may live on for a while in a process or socket: its link must not. */
	if (lab_netns_exists(lab_str(pod, "spec.nodeName", "-")) && lab_netns_exists(name))
		(void)!lab_run(lab_str(pod, "spec.nodeName", ""), argv, NULL);
	lab_netns_delete(name);
}
