/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/str.h"

#define KILL_WAIT_MS 60000

static int cgroup_find(char *ret, size_t size)
{
	struct mntent *m;
	FILE *f;
	int r = -ENOENT;

	f = setmntent("/proc/self/mounts", "re");
	if (!f)
		return -errno;
	while ((m = getmntent(f)) != NULL)
		if (streq(m->mnt_type, "cgroup2")) {
			r = snprintf(ret, size, "%s/" LAB_CGROUP, m->mnt_dir) < (int)size
				    ? 0
				    : -ENAMETOOLONG;
			break;
		}
	(void)endmntent(f);
	return r;
}

static int pods_read(struct lab *l)
{
	_cleanup_(closedirp) DIR *d = NULL;
	struct dirent *e;

	l->pods = json_object();
	d = opendir(LAB_PODS_DIR);
	while (d && (e = readdir(d)) != NULL) {
		char path[LAB_PATH_MAX], key[LAB_PATH_MAX];
		json_t *pod;

		if (e->d_name[0] == '.')
			continue;
		(void)lab_path(path, sizeof(path), LAB_PODS_DIR "/%s/pod.json", e->d_name);
		pod = json_load_file(path, 0, NULL);
		if (pod)
			json_object_set_new(l->pods, lab_key(pod, key, sizeof(key)), pod);
	}
	return l->pods ? 0 : -ENOMEM;
}

static unsigned int nodes_count(void)
{
	unsigned int n = 0;
	char name[16];

	do
		(void)snprintf(name, sizeof(name), "n%u", ++n);
	while (n <= LAB_NODES_MAX && lab_netns_exists(name));
	return n - 1;
}

int lab_peek(struct lab *l)
{
	int r;

	*l = (struct lab){.lock_fd = -EBADF};
	if (geteuid() != 0)
		return lab_fail(-EPERM, "must be root (it makes network namespaces)");
	r = cgroup_find(l->cgroup_dir, sizeof(l->cgroup_dir));
	if (r < 0)
		return lab_fail(r, "no cgroup2 file system is mounted (mount -t cgroup2 none "
				   "/sys/fs/cgroup/unified)");
	l->node_count = nodes_count();
	r = pods_read(l);
	if (r < 0)
		return r;
	return l->node_count > 0 ? 0 : -ENOENT;
}

int lab_open(struct lab *l)
{
	static const char *const dirs[] = {LAB_DIR, LAB_CONFIG_DIR, LAB_NETNS_DIR, LAB_PODS_DIR,
					   LAB_NODES_DIR};
	int r;

	r = lab_peek(l);
	if (r < 0 && r != -ENOENT)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		r = mkdir_p(dirs[i], 0755);
		if (r < 0)
			return lab_fail(r, "cannot make %s: %s", dirs[i], strerror(-r));
	}
	l->lock_fd = open(LAB_DIR "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->lock_fd < 0)
		return lab_fail(-errno, "cannot open " LAB_DIR "/lock: %m");
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return lab_fail(-EBUSY, "another `culvert lab` is at work (" LAB_DIR "/lock)");
	l->objects = json_array();
	l->desired = json_array();
	l->services = json_array();
	if (!l->objects || !l->desired || !l->services)
		return -ENOMEM;
	return lab_cgroup_make(l, "");
}

void lab_close(struct lab *l)
{
	json_decref(l->objects);
	json_decref(l->desired);
	json_decref(l->pods);
	json_decref(l->services);
	l->lock_fd = close_fd(l->lock_fd);
	*l = (struct lab){.lock_fd = -EBADF};
}

int lab_cgroup_make(const struct lab *l, const char *name)
{
	char path[LAB_PATH_MAX + 64];

	(void)lab_path(path, sizeof(path), "%s/%s", l->cgroup_dir, name);
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_file(const char *path, const char *text)
{
	_cleanup_(close_fdp) int fd = -EBADF;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int lab_cgroup_join(const struct lab *l, const char *name)
{
	char path[LAB_PATH_MAX + 64];

	(void)lab_path(path, sizeof(path), "%s/%s/cgroup.procs", l->cgroup_dir, name);
	return write_file(path, "0");
}

static bool cgroup_is_empty(const char *dir)
{
	_cleanup_(freep) char *text = NULL;
	char path[LAB_PATH_MAX + 64];

	(void)lab_path(path, sizeof(path), "%s/cgroup.events", dir);
	return file_read(path, 4096, &text, NULL) < 0 || strstr(text, "populated 0") != NULL;
}

/* Sub-groups go first; a cgroup's files cannot be unlinked, only the folder. */
static void cgroup_rmdir(const char *dir)
{
	_cleanup_(closedirp) DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		char path[LAB_PATH_MAX + 512];

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		(void)lab_path(path, sizeof(path), "%s/%s", dir, e->d_name);
		cgroup_rmdir(path);
	}
	(void)rmdir(dir);
}

int lab_cgroup_kill(const struct lab *l, const char *name)
{
	char dir[LAB_PATH_MAX + 64], path[LAB_PATH_MAX + 96];
	int r;

	(void)lab_path(dir, sizeof(dir), "%s%s%s", l->cgroup_dir, name ? "/" : "",
		       name ? name : "");
	(void)lab_path(path, sizeof(path), "%s/cgroup.kill", dir);
	r = write_file(path, "1");
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return lab_fail(r, "cannot write %s: %s", path, strerror(-r));
	for (int i = 0; i < KILL_WAIT_MS / 5 && !cgroup_is_empty(dir); i++)
		(void)usleep(5000);
	cgroup_rmdir(dir);
	return access(dir, F_OK) == 0 ? lab_fail(-EBUSY, "%s does not empty", dir) : 0;
}

int lab_pod_save(struct lab *l, json_t *pod)
{
	char path[LAB_PATH_MAX], key[LAB_PATH_MAX];

	if (json_dump_file(pod, lab_pod_file(pod, "pod.json", path, sizeof(path)), JSON_INDENT(1)) <
	    0)
		return lab_fail(-EIO, "cannot write %s", path);
	return json_object_set(l->pods, lab_key(pod, key, sizeof(key)), pod) < 0 ? -ENOMEM : 0;
}

/* "web" also means the pod that the Deployment "web" made. */
static bool pod_is_called(const json_t *pod, const char *name)
{
	const char *owner = lab_annotation(pod, "lab.culvert.io/deployment");

	return streq(lab_str(pod, "metadata.name", ""), name) || (owner && streq(owner, name));
}

json_t *lab_pod_find(const struct lab *l, const char *word, const char *namespace_)
{
	const char *slash = strchr(word, '/'), *key;
	_cleanup_(freep) char *ns = NULL;
	json_t *pod;

	if (streq(word, "") || (slash && !slash[1]))
		return NULL;
	if (slash) {
		ns = strndup(word, (size_t)(slash - word));
		if (!ns)
			return NULL;
		namespace_ = ns;
		word = slash + 1;
	}
	json_object_foreach (l->pods, key, pod) {
		if (namespace_ && !streq(lab_str(pod, "metadata.namespace", ""), namespace_))
			continue;
		if (pod_is_called(pod, word))
			return pod;
	}
	return NULL;
}
