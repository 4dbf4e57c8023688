/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"

json_t *lab_get(const json_t *o, const char *path)
{
	char key[64];

	while (o && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		o = json_object_get(o, key);
		path += n + (path[n] == '.');
	}
	return (json_t *)o;
}

const char *lab_str(const json_t *o, const char *path, const char *fallback)
{
	const char *s = json_string_value(lab_get(o, path));

	return s ? s : fallback;
}

long lab_int(const json_t *o, const char *path, long fallback)
{
	const json_t *v = lab_get(o, path);

	return json_is_integer(v) ? (long)json_integer_value(v) : fallback;
}

const char *lab_annotation(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(lab_get(o, "metadata.annotations"), key));
}

char *lab_key(const json_t *o, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s/%s", lab_str(o, "metadata.namespace", "default"),
		       lab_str(o, "metadata.name", ""));
	return buf;
}

char *lab_path(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size)
		buf[0] = '\0';
	return buf;
}

int lab_fail(int r, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("culvert lab: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return r;
}

static void netns_path(const char *name, char *buf, size_t size)
{
	(void)snprintf(buf, size, LAB_NETNS_DIR "/%s", name);
}

int lab_netns_enter(const char *name)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	char path[LAB_PATH_MAX];

	netns_path(name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

bool lab_netns_exists(const char *name)
{
	char path[LAB_PATH_MAX];

	netns_path(name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static _noreturn_ void run_child(const char *netns, const char *const *argv, int input_fd)
{
	int r;

	r = netns ? lab_netns_enter(netns) : 0;
	if (r < 0) {
		lab_fail(r, "network namespace %s: %s", netns, strerror(-r));
		_exit(127);
	}
	if (input_fd >= 0)
		(void)dup2(input_fd, STDIN_FILENO);
	(void)execvp(argv[0], (char *const *)argv);
	lab_fail(-errno, "cannot run %s: %s", argv[0], strerror(errno));
	_exit(127);
}

/* A pipe would do, but a rule set larger than the pipe needs a second process to feed it. */
static int input_file(const struct buf *input)
{
	_cleanup_(close_fdp) int fd = -EBADF;

	fd = open("/run", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, buf_head(input), buf_len(input)) != (ssize_t)buf_len(input))
		return -EIO;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int lab_run(const char *netns, const char *const *argv, const struct buf *input)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	pid_t pid;
	int r;

	if (input) {
		fd = input_file(input);
		if (fd < 0)
			return fd;
	}
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_child(netns, argv, fd);
	r = wait_for(pid);
	return r < 0 ? lab_fail(r, "%s %s failed in %s", argv[0], argv[1] ? argv[1] : "",
				netns ? netns : "this namespace")
		     : 0;
}

/* In a child: a fresh namespace, bound to @path. */
static _noreturn_ void netns_child(const char *path)
{
	if (unshare(CLONE_NEWNET) < 0)
		_exit(errno);
	if (mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
		_exit(errno);
	_exit(0);
}

int lab_netns_create(const char *name)
{
	const char *const lo_up[] = {"ip", "link", "set", "lo", "up", NULL};
	char path[LAB_PATH_MAX];
	pid_t pid;
	int fd, r;

	netns_path(name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	(void)close(fd);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		netns_child(path);
	r = wait_for(pid);
	return r < 0 ? r : lab_run(name, lo_up, NULL);
}

void lab_netns_delete(const char *name)
{
	char path[LAB_PATH_MAX];

	netns_path(name, path, sizeof(path));
	while (umount2(path, MNT_DETACH) == 0)
		;
	(void)unlink(path);
}

int lab_write_if_changed(const char *path, const void *p, size_t n)
{
	_cleanup_(freep) char *old = NULL;
	size_t len = 0;
	int r;

	r = file_read(path, 16u << 20, &old, &len);
	if (r == 0 && len == n && memcmp(old, p, n) == 0)
		return 0;
	r = file_write_atomic(path, p, n, 0644);
	return r < 0 ? r : 1;
}

void lab_stdio_to(const char *path)
{
	int in = open("/dev/null", O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		_exit(126);
	(void)close_range(STDERR_FILENO + 1, ~0u, 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void lab_remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
