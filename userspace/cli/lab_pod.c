/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"

#define START_WAIT_MS 60000
#define PORT_WAIT_MS  20000
#define REASON_MAX    512

char *lab_pod_label(const json_t *pod, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s_%s", lab_str(pod, "metadata.namespace", "default"),
		       lab_str(pod, "metadata.name", ""));
	return buf;
}

char *lab_pod_file(const json_t *pod, const char *file, char *buf, size_t size)
{
	char label[LAB_PATH_MAX];

	(void)snprintf(buf, size, LAB_PODS_DIR "/%.300s/%s",
		       lab_pod_label(pod, label, sizeof(label)), file);
	return buf;
}

static int write_resolv_conf(const json_t *pod)
{
	const char *ns = lab_str(pod, "metadata.namespace", "default");
	_cleanup_(buf_resetp) struct buf b = {0};
	char path[LAB_PATH_MAX];
	int r;

	r = buf_printf(&b,
		       "search %s.svc." LAB_CLUSTER_DOMAIN " svc." LAB_CLUSTER_DOMAIN
		       " " LAB_CLUSTER_DOMAIN "\n"
		       "nameserver " LAB_DNS4 "\n"
		       "options ndots:5\n",
		       ns);
	if (r < 0)
		return r;
	r = lab_write_if_changed(lab_pod_file(pod, "resolv.conf", path, sizeof(path)), buf_head(&b),
				 buf_len(&b));
	return r < 0 ? r : 0;
}

/* --- start --- */

static int enter_netns(const json_t *pod)
{
	char label[LAB_PATH_MAX], name[LAB_PATH_MAX + 8];

	if (json_is_true(lab_get(pod, "spec.hostNetwork")))
		return lab_netns_enter(lab_str(pod, "spec.nodeName", ""));
	(void)snprintf(name, sizeof(name), "pod_%s", lab_pod_label(pod, label, sizeof(label)));
	return lab_netns_enter(name);
}

/* The child that makes the pod's process 1, tells its number as the host sees it, and goes. */
static _noreturn_ void start_child(const struct lab *l, const json_t *pod, int report_fd)
{
	char label[LAB_PATH_MAX];
	const char *step = "cgroup";
	pid_t pid;
	int r;

	(void)setsid();
	r = lab_cgroup_join(l, lab_pod_label(pod, label, sizeof(label)));
	if (r == 0) {
		step = "network namespace";
		r = enter_netns(pod);
	}
	if (r == 0) {
		step = "namespaces";
		r = unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID) < 0 ? -errno
											  : 0;
	}
	if (r < 0) {
		(void)dprintf(report_fd, "0 %s: %s", step, strerror(-r));
		_exit(1);
	}
	pid = fork();
	if (pid == 0)
		lab_init_run(l, pod, report_fd);
	(void)dprintf(report_fd, "%d ", pid);
	_exit(0);
}

/* What is reported: "<pid> " from the child and "ok" or a reason from process 1, in either order.
 */
static int read_report(int fd, pid_t *ret_pid, char *reason, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	char *digits;

	while (len < size - 1 && poll(&p, 1, START_WAIT_MS) > 0) {
		ssize_t n = read(fd, reason + len, size - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	reason[len] = '\0';
	digits = strpbrk(reason, "0123456789");
	if (!strstr(reason, "ok") || !digits)
		return -EIO;
	*ret_pid = (pid_t)strtol(digits, NULL, 10);
	return 0;
}

static int spawn(const struct lab *l, const json_t *pod, pid_t *ret_pid)
{
	_cleanup_(close_fdp) int rd = -EBADF, wr = -EBADF;
	char reason[REASON_MAX], key[LAB_PATH_MAX];
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rd = fds[0];
	wr = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		start_child(l, pod, wr);
	close_fdp(&wr);
	r = read_report(rd, ret_pid, reason, sizeof(reason));
	(void)waitpid(pid, NULL, 0);
	return r < 0 ? lab_fail(r, "Pod %s does not start: %s", lab_key(pod, key, sizeof(key)),
				reason)
		     : 0;
}

/* --- readiness --- */

static bool table_has_listener(pid_t pid, const char *file, long port)
{
	_cleanup_(freep) char *text = NULL;
	char path[64], want[16];
	char *line;

	(void)lab_path(path, sizeof(path), "/proc/%d/net/%s", pid, file);
	(void)snprintf(want, sizeof(want), ":%04lX ", port);
	if (file_read(path, 1u << 20, &text, NULL) < 0)
		return false;
	for (line = text; line; line = strchr(line, '\n')) {
		char *local = strchr(++line, ':'); /* "  0: ADDR:PORT ADDR:PORT 0A" */

		local = local ? strchr(local + 1, ':') : NULL;
		if (!local || strncmp(local, want, strlen(want)) != 0)
			continue;
		local = strchr(local + 1, ':');
		if (local && strncmp(local, ":0000 0A", 8) == 0)
			return true;
	}
	return false;
}

static void wait_for_ports(const json_t *pod, pid_t pid)
{
	json_t *containers = lab_get(pod, "spec.containers"), *c, *p;
	int left_ms = PORT_WAIT_MS;
	size_t i, j;

	json_array_foreach (containers, i, c) {
		json_t *ports = json_object_get(c, "ports");

		json_array_foreach (ports, j, p) {
			long port = lab_int(p, "containerPort", 0);

			if (streq(lab_str(p, "protocol", "TCP"), "UDP"))
				continue;
			for (; left_ms > 0 && !table_has_listener(pid, "tcp", port) &&
			       !table_has_listener(pid, "tcp6", port);
			     left_ms -= 5)
				(void)usleep(5000);
		}
	}
}

/* --- object --- */

static int annotate_running(json_t *pod, pid_t pid)
{
	json_t *meta = lab_get(pod, "metadata"), *a = json_object_get(meta, "annotations");
	char label[LAB_PATH_MAX], path[LAB_PATH_MAX];

	json_object_set_new(meta, "uid",
			    json_sprintf("%s-%d", lab_str(pod, "metadata.name", ""), pid));
	if (json_is_true(lab_get(pod, "spec.hostNetwork")))
		json_object_set_new(
			a, "culvert.io/netns",
			json_sprintf(LAB_NETNS_DIR "/%s", lab_str(pod, "spec.nodeName", "")));
	else
		json_object_set_new(a, "culvert.io/netns",
				    json_sprintf(LAB_NETNS_DIR "/pod_%s",
						 lab_pod_label(pod, label, sizeof(label))));
	json_object_set_new(a, "culvert.io/pid", json_sprintf("%d", pid));
	return json_object_set_new(
		       a, "culvert.io/resolv-conf",
		       json_string(lab_pod_file(pod, "resolv.conf", path, sizeof(path)))) < 0
		       ? -ENOMEM
		       : 0;
}

int lab_pod_start(struct lab *l, json_t *pod)
{
	char path[LAB_PATH_MAX], label[LAB_PATH_MAX];
	pid_t pid = 0;
	int r;

	r = mkdir_p(lab_pod_file(pod, "", path, sizeof(path)), 0755);
	if (r == 0)
		r = write_resolv_conf(pod);
	if (r < 0)
		return lab_fail(r, "cannot write %s: %s", path, strerror(-r));
	r = lab_cgroup_make(l, lab_pod_label(pod, label, sizeof(label)));
	if (r == 0)
		r = lab_net_pod_up(pod);
	if (r == 0)
		r = spawn(l, pod, &pid);
	if (r < 0) {
		lab_net_pod_down(pod);
		return r;
	}
	wait_for_ports(pod, pid);
	r = annotate_running(pod, pid);
	return r < 0 ? r : lab_pod_save(l, pod);
}

void lab_pod_stop(struct lab *l, json_t *pod)
{
	char path[LAB_PATH_MAX], label[LAB_PATH_MAX], key[LAB_PATH_MAX];

	json_incref(pod);
	(void)lab_cgroup_kill(l, lab_pod_label(pod, label, sizeof(label)));
	lab_net_pod_down(pod);
	lab_remove_tree(lab_pod_file(pod, "", path, sizeof(path)));
	(void)json_object_del(l->pods, lab_key(pod, key, sizeof(key)));
	json_decref(pod);
}
