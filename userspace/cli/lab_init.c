/* SPDX-License-Identifier: Apache-2.0 */
/* Process 1 of a pod: its root file system is a tmpfs with the host's programs bound read-only
 * below it, so that nothing that a pod writes outlives it; then the containers, which share it,
 * restarted as a kubelet would. */
#include "lab.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/str.h"

#define CONTAINERS_MAX  16
#define ARGS_MAX        256
#define RESTART_FIRST_S 1
#define RESTART_MAX_S   16

/** struct container - one running container. */
struct container {
	const json_t *spec;
	pid_t pid;
	unsigned int restarts;
};

static _noreturn_ void die(int report_fd, const char *what, int r)
{
	(void)dprintf(report_fd, "%s: %s", what, strerror(-r));
	_exit(1);
}

/* --- file systems --- */

static int bind(const char *root, const char *path, unsigned long flags)
{
	char target[LAB_PATH_MAX];
	struct stat st;

	if (stat(path, &st) < 0)
		return 0; /* not on this machine: nothing to show */
	(void)lab_path(target, sizeof(target), "%s%s", root, path);
	if (S_ISDIR(st.st_mode)) {
		if (mkdir_p(target, 0755) < 0)
			return -errno;
	} else {
		int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0)
			return -errno;
		(void)close(fd);
	}
	if (mount(path, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	return flags && mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0 ? -errno
											  : 0;
}

/* /bin, /lib and kin: links on a merged-/usr system, folders elsewhere. */
static int show_top(const char *root, const char *path)
{
	char link[LAB_PATH_MAX], target[LAB_PATH_MAX];
	ssize_t n = readlink(path, link, sizeof(link) - 1);

	if (n < 0)
		return bind(root, path, MS_RDONLY);
	link[n] = '\0';
	(void)lab_path(target, sizeof(target), "%s%s", root, path);
	return symlink(link, target) < 0 ? -errno : 0;
}

static int make_root(const char *root)
{
	static const char *const top[] = {"/usr",   "/bin",   "/sbin",  "/lib",
					  "/lib64", "/lib32", "/libx32"};
	static const char *const etc[] = {
		"/etc/passwd",    "/etc/group",        "/etc/nsswitch.conf", "/etc/ld.so.cache",
		"/etc/ssl",       "/etc/alternatives", "/etc/services",      "/etc/protocols",
		"/etc/localtime", "/etc/apache2",
	};
	static const char *const dirs[] = {"/proc",      "/sys",     "/tmp",     "/run",
					   "/root",      "/var/tmp", "/var/log", "/var/lib",
					   "/var/cache", "/etc",     "/.volumes"};
	char path[LAB_PATH_MAX];
	int r = 0;

	if (mount("tmpfs", root, "tmpfs", MS_NOSUID, "mode=0755,size=2g") < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++) {
		(void)lab_path(path, sizeof(path), "%s%s", root, dirs[i]);
		r = mkdir_p(path, 0755);
	}
	for (size_t i = 0; i < ARRAY_SIZE(top) && r == 0; i++)
		r = show_top(root, top[i]);
	for (size_t i = 0; i < ARRAY_SIZE(etc) && r == 0; i++)
		r = bind(root, etc[i], MS_RDONLY);
	if (r == 0)
		r = bind(root, "/dev", 0);
	(void)lab_path(path, sizeof(path), "%s/tmp", root);
	(void)chmod(path, 01777);
	(void)lab_path(path, sizeof(path), "%s/usr/local", root);
	if (r == 0 && mount("tmpfs", path, "tmpfs", MS_NOSUID, "mode=0755") < 0)
		r = -errno;
	return r;
}

static int enter_root(const char *root)
{
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	/* Both roots are now stacked on "/": the old one is on top. */
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	return mount("sysfs", "/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
			       0
		       ? -errno
		       : 0;
}

static int write_names(const json_t *pod, const char *resolv_conf)
{
	const char *name = lab_str(pod, "metadata.name", "pod");
	_cleanup_(buf_resetp) struct buf b = {0};
	json_t *ip;
	size_t i;
	int r;

	buf_printf(&b, "127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
	json_array_foreach (lab_get(pod, "status.podIPs"), i, ip)
		buf_printf(&b, "%s %s\n", lab_str(ip, "ip", ""), name);
	r = file_write_atomic("/etc/hosts", buf_head(&b), buf_len(&b), 0644);
	if (r == 0)
		r = file_write_atomic("/etc/resolv.conf", resolv_conf, strlen(resolv_conf), 0644);
	return r < 0 || sethostname(name, MIN(strlen(name), (size_t)63)) == 0 ? r : -errno;
}

static int files_of_map(const struct lab *l, const json_t *pod, const char *name, const char *dir)
{
	const json_t *o;
	const char *key;
	json_t *text;
	size_t i;
	int r = 0;

	json_array_foreach (l->objects, i, o) {
		if (!streq(lab_str(o, "kind", ""), "ConfigMap") ||
		    !streq(lab_str(o, "metadata.name", ""), name) ||
		    !streq(lab_str(o, "metadata.namespace", ""),
			   lab_str(pod, "metadata.namespace", "")))
			continue;
		json_object_foreach (json_object_get(o, "data"), key, text) {
			char path[LAB_PATH_MAX];

			(void)lab_path(path, sizeof(path), "%s/%s", dir, key);
			r = r < 0 ? r
				  : file_write_atomic(path, json_string_value(text),
						      json_string_length(text), 0644);
		}
		return r;
	}
	return -ENOENT;
}

/* hostPath is bound while the host's root is still there: below /.volumes of the new one. */
static int make_volumes(const struct lab *l, const json_t *pod, const char *root)
{
	json_t *volumes = lab_get(pod, "spec.volumes"), *v;
	size_t i;
	int r = 0;

	json_array_foreach (volumes, i, v) {
		const char *name = lab_str(v, "name", ""),
			   *host = lab_str(v, "hostPath.path", NULL);
		const char *map = lab_str(v, "configMap.name", NULL);
		char dir[LAB_PATH_MAX];

		(void)lab_path(dir, sizeof(dir), "%s/.volumes/%s", root, name);
		r = mkdir_p(dir, 0777);
		if (r == 0 && host && mount(host, dir, NULL, MS_BIND | MS_REC, NULL) < 0)
			r = -errno;
		if (r == 0 && map)
			r = files_of_map(l, pod, map, dir);
		if (r < 0)
			return r;
	}
	return r;
}

static int mount_volumes(const json_t *pod)
{
	json_t *c, *m;
	size_t i, j;

	json_array_foreach (lab_get(pod, "spec.containers"), i, c)
		json_array_foreach (json_object_get(c, "volumeMounts"), j, m) {
			const char *path = lab_str(m, "mountPath", "");
			char source[LAB_PATH_MAX];
			int r;

			(void)lab_path(source, sizeof(source), "/.volumes/%s",
				       lab_str(m, "name", ""));
			r = mkdir_p(path, 0755);
			if (r < 0)
				return r;
			if (mount(source, path, NULL, MS_BIND | MS_REC, NULL) < 0)
				return -errno;
		}
	return 0;
}

static int prepare_images(const json_t *pod)
{
	json_t *c;
	size_t i;
	int r = 0;

	json_array_foreach (lab_get(pod, "spec.containers"), i, c) {
		const struct lab_image *image = lab_image_find(lab_str(c, "image", ""));

		if (r == 0 && image->prepare)
			r = image->prepare();
	}
	return r;
}

static void make_file_systems(const struct lab *l, const json_t *pod, int report_fd)
{
	_cleanup_(freep) char *resolv_conf = NULL;
	char root[LAB_PATH_MAX], path[LAB_PATH_MAX];
	int r;

	r = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
	if (r == 0)
		r = mkdir_p(lab_pod_file(pod, "root", root, sizeof(root)), 0755);
	if (r == 0)
		r = file_read(lab_pod_file(pod, "resolv.conf", path, sizeof(path)), 65536,
			      &resolv_conf, NULL);
	if (r == 0)
		r = make_root(root);
	if (r < 0 || !resolv_conf)
		die(report_fd, "root file system", r);
	r = make_volumes(l, pod, root);
	if (r < 0)
		die(report_fd, "volumes", r);
	r = enter_root(root);
	if (r < 0)
		die(report_fd, "entering the root file system", r);
	r = write_names(pod, resolv_conf);
	if (r == 0)
		r = prepare_images(pod);
	if (r < 0)
		die(report_fd, "files of the image", r);
	r = mount_volumes(pod);
	if (r < 0)
		die(report_fd, "volume mounts", r);
}

/* --- containers --- */

int lab_container_caps(const json_t *container)
{
	static const unsigned int kept[] = {
		CAP_CHOWN,   CAP_DAC_OVERRIDE,     CAP_FSETID,     CAP_FOWNER,      CAP_MKNOD,
		CAP_NET_RAW, CAP_SETGID,           CAP_SETUID,     CAP_SETFCAP,     CAP_SETPCAP,
		CAP_KILL,    CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_AUDIT_WRITE,
	};
	json_t *add = lab_get(container, "securityContext.capabilities.add"), *name;
	size_t i;

	if (json_is_true(lab_get(container, "securityContext.privileged")))
		return 0;
	capng_clear(CAPNG_SELECT_ALL);
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		(void)capng_update(CAPNG_ADD,
				   CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, kept[i]);
	json_array_foreach (add, i, name) {
		char lower[64];
		size_t n;
		int cap;

		(void)str_copy(lower, sizeof(lower),
			       json_string_value(name) ? json_string_value(name) : "");
		for (n = 0; lower[n]; n++)
			lower[n] =
				(char)(lower[n] | (lower[n] >= 'A' && lower[n] <= 'Z' ? 0x20 : 0));
		cap = capng_name_to_capability(lower);
		if (cap < 0)
			return -EINVAL;
		(void)capng_update(CAPNG_ADD,
				   CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				   (unsigned int)cap);
	}
	return capng_apply(CAPNG_SELECT_ALL) == 0 ? 0 : -EPERM;
}

static void set_environment(const json_t *pod, const json_t *container)
{
	json_t *env = json_object_get(container, "env"), *e;
	size_t i;

	(void)clearenv();
	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	(void)setenv("HOME", "/root", 1);
	(void)setenv("HOSTNAME", lab_str(pod, "metadata.name", "pod"), 1);
	json_array_foreach (env, i, e) {
		const char *field = lab_str(e, "valueFrom.fieldRef.fieldPath", NULL);

		(void)setenv(lab_str(e, "name", "_"),
			     field ? lab_str(pod, field, "") : lab_str(e, "value", ""), 1);
	}
}

static size_t append_args(const char **argv, size_t n, const json_t *list)
{
	json_t *arg;
	size_t i;

	json_array_foreach ((json_t *)list, i, arg)
		if (n < ARGS_MAX && json_is_string(arg))
			argv[n++] = json_string_value(arg);
	return n;
}

static _noreturn_ void container_exec(const json_t *pod, const json_t *container)
{
	const json_t *command = json_object_get(container, "command");
	const char *image = lab_str(container, "image", ""), *argv[ARGS_MAX + 1];
	const struct lab_image *stand_in = lab_image_find(image);
	long user = lab_int(container, "securityContext.runAsUser",
			    lab_int(pod, "spec.securityContext.runAsUser", 0));
	size_t n = 0;

	if (json_array_size(command) > 0)
		n = append_args(argv, n, command);
	else
		for (size_t i = 0; stand_in->argv && stand_in->argv[i]; i++)
			argv[n++] = stand_in->argv[i];
	if (n == 0) {
		lab_fail(-EINVAL, "image %s has no stand-in here: give the container a command",
			 image);
		_exit(127);
	}
	n = append_args(argv, n, json_object_get(container, "args"));
	argv[n] = NULL;
	set_environment(pod, container);
	if (chdir(lab_str(container, "workingDir", "/")) < 0 || lab_container_caps(container) < 0 ||
	    (user && (setgid((gid_t)user) < 0 || setuid((uid_t)user) < 0))) {
		lab_fail(-errno, "container %s: %s", lab_str(container, "name", ""),
			 strerror(errno));
		_exit(127);
	}
	(void)execvp(argv[0], (char *const *)argv);
	lab_fail(-errno, "container %s: cannot run %s: %s", lab_str(container, "name", ""), argv[0],
		 strerror(errno));
	_exit(127);
}

static void container_start(struct container *c, const json_t *pod, unsigned int delay_s)
{
	c->pid = fork();
	if (c->pid != 0)
		return;
	(void)setsid();
	(void)signal(SIGCHLD, SIG_DFL);
	if (delay_s)
		(void)sleep(delay_s);
	container_exec(pod, c->spec);
}

static _noreturn_ void reap(const json_t *pod, struct container *c, size_t n)
{
	bool is_always = streq(lab_str(pod, "spec.restartPolicy", "Always"), "Always");

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		for (size_t i = 0; i < n && pid > 0; i++) {
			unsigned int delay_s = RESTART_FIRST_S << MIN(c[i].restarts, 4u);

			if (c[i].pid != pid || !is_always)
				continue;
			lab_fail(0, "container %s ended with status 0x%x, restarting",
				 lab_str(c[i].spec, "name", ""), (unsigned int)status);
			c[i].restarts++;
			container_start(&c[i], pod, MIN(delay_s, (unsigned int)RESTART_MAX_S));
		}
		if (pid < 0)
			(void)pause(); /* nothing runs and nothing will: keep the pod's namespaces
					*/
	}
}

void lab_init_run(const struct lab *l, const json_t *pod, int report_fd)
{
	struct container c[CONTAINERS_MAX] = {0};
	json_t *containers = lab_get(pod, "spec.containers"), *spec;
	char path[LAB_PATH_MAX];
	int log_fd;
	size_t i, n = 0;

	log_fd = open(lab_pod_file(pod, "log", path, sizeof(path)),
		      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log_fd < 0)
		die(report_fd, path, -errno);
	make_file_systems(l, pod, report_fd);
	(void)dprintf(report_fd, "ok ");
	if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		_exit(1);
	(void)close(STDIN_FILENO);
	(void)open("/dev/null", O_RDONLY);
	(void)close_range(STDERR_FILENO + 1, ~0u, 0);
	json_array_foreach (containers, i, spec)
		if (n < CONTAINERS_MAX) {
			c[n].spec = spec;
			container_start(&c[n++], pod, 0);
		}
	reap(pod, c, n);
}
