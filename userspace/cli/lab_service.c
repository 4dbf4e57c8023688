/* SPDX-License-Identifier: Apache-2.0 */
/* What kube-proxy and the cluster's DNS do for pods that are not in a mesh: cluster IPs and names.
 */
#include "lab.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"
#include "source/object.h"

#define ENDPOINTS_MAX 512
#define DNS_WAIT_MS   60000
#define DNS_LOOK_MS   5

/** struct endpoint - where a service port leads. */
struct endpoint {
	const char *ip;
	long port;
};

static bool is_selected(const json_t *service, const json_t *pod)
{
	const json_t *selector = lab_get(service, "spec.selector");

	return json_object_size(selector) > 0 &&
	       labels_match(selector, lab_get(pod, "metadata.labels"));
}

static long named_port(const json_t *pod, const char *name)
{
	json_t *containers = lab_get(pod, "spec.containers"), *c, *p;
	size_t i, j;

	json_array_foreach (containers, i, c) {
		json_t *ports = json_object_get(c, "ports");

		json_array_foreach (ports, j, p)
			if (streq(lab_str(p, "name", ""), name))
				return lab_int(p, "containerPort", -1);
	}
	return -1;
}

static long target_port(const json_t *pod, const json_t *port)
{
	const json_t *target = json_object_get(port, "targetPort");

	if (json_is_string(target))
		return named_port(pod, json_string_value(target));
	return lab_int(port, "targetPort", lab_int(port, "port", -1));
}

static size_t endpoints_of(const struct lab *l, const json_t *service, const json_t *port,
			   bool is_v6, struct endpoint *ret)
{
	const char *key;
	json_t *pod;
	size_t n = 0;

	json_object_foreach (l->pods, key, pod) {
		long number = port ? target_port(pod, port) : 0;

		if (!streq(lab_str(pod, "metadata.namespace", ""),
			   lab_str(service, "metadata.namespace", "")) ||
		    !is_selected(service, pod) || number < 0 || n == ENDPOINTS_MAX)
			continue;
		ret[n++] = (struct endpoint){
			lab_str(json_array_get(lab_get(pod, "status.podIPs"), is_v6), "ip", ""),
			number};
	}
	return n;
}

static void port_rule(struct buf *b, const char *vip, const json_t *port, const struct endpoint *ep,
		      size_t n)
{
	const char *family = strchr(vip, ':') ? "ip6" : "ip";
	const char *protocol = streq(lab_str(port, "protocol", "TCP"), "UDP") ? "udp" : "tcp";

	if (n == 0)
		return;
	buf_printf(b, "  %s daddr %s %s dport %ld dnat %s to numgen random mod %zu map {", family,
		   vip, protocol, lab_int(port, "port", 0), family, n);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s %zu : %s . %ld", i ? "," : "", i, ep[i].ip, ep[i].port);
	buf_printf(b, " }\n");
}

static void service_rules(const struct lab *l, struct buf *b, const json_t *service)
{
	static struct endpoint ep[ENDPOINTS_MAX];
	json_t *ports = lab_get(service, "spec.ports"), *ips = lab_get(service, "spec.clusterIPs"),
	       *port, *ip;
	json_t *single = lab_get(service, "spec.clusterIP");
	size_t i, j;

	json_array_foreach (ports, i, port) {
		if (!ips && single && !streq(json_string_value(single), "None"))
			port_rule(b, json_string_value(single), port, ep,
				  endpoints_of(l, service, port,
					       strchr(json_string_value(single), ':') != NULL, ep));
		json_array_foreach (ips, j, ip) {
			const char *vip = json_string_value(ip);

			if (!streq(vip, "None"))
				port_rule(b, vip, port, ep,
					  endpoints_of(l, service, port, strchr(vip, ':') != NULL,
						       ep));
		}
	}
}

static int rules_text(const struct lab *l, struct buf *b)
{
	const char *key;
	json_t *service, *pod, *ip;
	size_t i, j;

	buf_printf(b, "table inet culvert_lab\ndelete table inet culvert_lab\ntable inet "
		      "culvert_lab {\n chain services {\n");
	json_array_foreach (l->services, i, service)
		service_rules(l, b, service);
	buf_printf(b,
		   " }\n chain prerouting {\n  type nat hook prerouting priority dstnat;\n  jump "
		   "services\n }\n"
		   " chain output {\n  type nat hook output priority -100;\n  jump services\n }\n"
		   " chain postrouting {\n  type nat hook postrouting priority srcnat;\n");
	/* A pod that reaches itself through its service must be answered by the node, or it gets
	 * replies from nowhere. */
	json_object_foreach (l->pods, key, pod) {
		json_t *ips = lab_get(pod, "status.podIPs");

		json_array_foreach (ips, j, ip) {
			const char *a = lab_str(ip, "ip", ""),
				   *family = strchr(a, ':') ? "ip6" : "ip";

			buf_printf(b, "  ct status dnat %s saddr %s %s daddr %s masquerade\n",
				   family, a, family, a);
		}
	}
	return buf_printf(b, " }\n}\n");
}

int lab_net_services(struct lab *l)
{
	const char *const argv[] = {"nft", "-f", "-", NULL};
	_cleanup_(buf_resetp) struct buf b = {0};
	char node[16];
	int r;

	r = rules_text(l, &b);
	for (unsigned int i = 1; i <= l->node_count && r >= 0; i++) {
		(void)snprintf(node, sizeof(node), "n%u", i);
		r = lab_run(node, argv, &b);
	}
	return r;
}

/* --- cluster DNS --- */

static void host_line(struct buf *b, const char *ip, const json_t *service)
{
	buf_printf(b, "%s %s.%s.svc." LAB_CLUSTER_DOMAIN "\n", ip,
		   lab_str(service, "metadata.name", ""),
		   lab_str(service, "metadata.namespace", ""));
}

static void service_hosts(const struct lab *l, struct buf *b, const json_t *service)
{
	static struct endpoint ep[ENDPOINTS_MAX];
	json_t *ips = lab_get(service, "spec.clusterIPs"), *ip;
	const char *single = lab_str(service, "spec.clusterIP", "");
	size_t i, n;

	if (streq(single, "None")) {
		for (int v6 = 0; v6 < 2; v6++) {
			n = endpoints_of(l, service, NULL, v6, ep);
			for (i = 0; i < n; i++)
				host_line(b, ep[i].ip, service);
		}
		return;
	}
	if (!ips && *single)
		host_line(b, single, service);
	json_array_foreach (ips, i, ip)
		host_line(b, json_string_value(ip), service);
}

static _noreturn_ void dnsmasq_exec(const struct lab *l, const char *node)
{
	char hosts[LAB_PATH_MAX], pid_file[LAB_PATH_MAX], log[LAB_PATH_MAX];

	(void)lab_path(hosts, sizeof(hosts), "--addn-hosts=" LAB_NODES_DIR "/%s/hosts", node);
	(void)lab_path(pid_file, sizeof(pid_file), "--pid-file=" LAB_NODES_DIR "/%s/dnsmasq.pid",
		       node);
	(void)lab_path(log, sizeof(log), "--log-facility=" LAB_NODES_DIR "/%s/dnsmasq.log", node);
	if (lab_cgroup_join(l, node) < 0 || lab_netns_enter(node) < 0)
		_exit(126);
	/* Whoever reads our output must not wait for this one's end. */
	lab_stdio_to("/dev/null");
	/* outside.example stands for names that no mesh knows; answers are recognisable. */
	(void)execlp("dnsmasq", "dnsmasq", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
		     "--keep-in-foreground", "--user=root", "--bind-interfaces",
		     "--listen-address=" LAB_DNS4, "--listen-address=" LAB_DNS6,
		     "--local=/" LAB_CLUSTER_DOMAIN "/", "--address=/outside.example/192.0.2.77",
		     "--address=/outside.example/2001:db8::77",
		     "--txt-record=outside.example,from the cluster DNS", "--local-ttl=5",
		     "--no-negcache", "--cache-size=0", hosts, pid_file, log, (char *)NULL);
	_exit(127);
}

static pid_t dnsmasq_pid(const char *node)
{
	_cleanup_(freep) char *text = NULL;
	char path[LAB_PATH_MAX];
	uint64_t pid;

	(void)lab_path(path, sizeof(path), LAB_NODES_DIR "/%s/dnsmasq.pid", node);
	if (file_read(path, 32, &text, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	if (str_parse_u64(text, 2, INT32_MAX, &pid) < 0 || kill((pid_t)pid, 0) < 0)
		return 0;
	return (pid_t)pid;
}

static int dnsmasq_start(const struct lab *l, const char *node)
{
	pid_t pid;

	if (lab_cgroup_make(l, node) < 0)
		return lab_fail(-EIO, "cannot make the cgroup of node %s", node);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Twice, so that nobody has to wait for it. */
		if (setsid() < 0 || fork() != 0)
			_exit(0);
		dnsmasq_exec(l, node);
	}
	(void)waitpid(pid, NULL, 0);
	for (int i = 0; i < DNS_WAIT_MS / DNS_LOOK_MS; i++) {
		if (dnsmasq_pid(node))
			return 0;
		(void)usleep(DNS_LOOK_MS * 1000);
	}
	return lab_fail(-ETIMEDOUT,
			"dnsmasq on node %s does not start (" LAB_NODES_DIR "/%s/dnsmasq.log)",
			node, node);
}

static int node_dns(const struct lab *l, const char *node, const struct buf *hosts)
{
	char path[LAB_PATH_MAX];
	pid_t pid;
	int r;

	(void)lab_path(path, sizeof(path), LAB_NODES_DIR "/%s", node);
	r = mkdir_p(path, 0755);
	if (r < 0)
		return r;
	(void)lab_path(path, sizeof(path), LAB_NODES_DIR "/%s/hosts", node);
	r = lab_write_if_changed(path, buf_head(hosts), buf_len(hosts));
	if (r < 0)
		return lab_fail(r, "cannot write %s: %s", path, strerror(-r));
	pid = dnsmasq_pid(node);
	if (!pid)
		return dnsmasq_start(l, node);
	return r == 0 || kill(pid, SIGHUP) == 0 ? 0 : -errno;
}

int lab_dns_up(struct lab *l)
{
	_cleanup_(buf_resetp) struct buf hosts = {0};
	json_t *service;
	char node[16];
	size_t i;
	int r;

	r = buf_append_str(&hosts, "# names of services\n");
	json_array_foreach (l->services, i, service)
		service_hosts(l, &hosts, service);
	for (unsigned int n = 1; n <= l->node_count && r >= 0; n++) {
		(void)snprintf(node, sizeof(node), "n%u", n);
		r = node_dns(l, node, &hosts);
	}
	return r;
}
