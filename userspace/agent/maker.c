/* SPDX-License-Identifier: Apache-2.0 */
#include "maker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "maker_link.h"
#include "mounts.h"
#include "net/seqpacket.h"

/* The child's first answer waits for its move to another cgroup, for which the kernel may take
 * seconds where many processes come and go. */
#define ANSWER_MS  10000
#define CGROUP_MAX 65536

struct maker {
	pid_t pid;
	int fd;
};

int maker_cgroup_path(const char *text, char *ret, size_t size)
{
	const char *line = text;
	size_t n;

	while (line && !str_has_prefix(line, "0::")) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return -ENOENT;
	line += strlen("0::");
	n = strcspn(line, "\n");
	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(ret, line, n);
	ret[n] = '\0';
	return 0;
}

/* The process joins the cgroup of another. */
static int cgroup_join(pid_t pid)
{
	_cleanup_(freep) char *text = NULL, *root = NULL, *procs = NULL;
	_cleanup_(close_fdp) int fd = -EBADF;
	char proc[64], path[PATH_MAX];
	int r;

	(void)snprintf(proc, sizeof(proc), "/proc/%d/cgroup", (int)pid);
	r = file_read(proc, CGROUP_MAX, &text, NULL);
	if (r == 0)
		r = maker_cgroup_path(text, path, sizeof(path));
	if (r == 0)
		r = mounts_find_cgroup2(&root);
	if (r < 0)
		return r;
	procs = str_format("%s%s/cgroup.procs", root, path);
	if (!procs)
		return -ENOMEM;
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, "0", 1) < 0 ? -errno : 0;
}

/* ---- the child ---- */

struct child_config {
	const char *program;
	int home_fd, link_fd, mark_fd;
	pid_t agent, ztunnel;
};

/* Bring the wanted descriptors to their places by way of places that none of them has. */
static int child_fds(int link_fd, int home_fd, int mark_fd)
{
	int from[] = {link_fd, home_fd, mark_fd}, high[ARRAY_SIZE(from)];

	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, MAKER_FD_MAX);
		if (high[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		if (dup2(high[i], MAKER_LINK + (int)i) < 0)
			return -errno;
	return close_range(MAKER_FD_MAX, UINT_MAX, 0) < 0 ? -errno : 0;
}

static _noreturn_ void child_run(const struct child_config *c)
{
	char *argv[] = {(char *)c->program, NULL};
	int r;

	/* The lock on the node is the agent's alone: the descriptors that hold it go first. */
	r = child_fds(c->link_fd, c->home_fd, c->mark_fd);
	if (r < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != c->agent)
		_exit(EXIT_FAILURE);
	r = cgroup_join(c->ztunnel);
	if (r < 0)
		log_warn_errno("agent", r, "cannot join ztunnel's cgroup pid=%d", (int)c->ztunnel);
	(void)execv(c->program, argv);
	log_error_errno("agent", -errno, "cannot start %s", c->program);
	_exit(EXIT_FAILURE);
}

/* ---- the agent ---- */

int maker_new(const char *program, const struct netns_home *home, int mark_fd, pid_t ztunnel,
	      struct maker **ret)
{
	_cleanup_(maker_freep) struct maker *m = calloc(1, sizeof(*m));
	struct child_config c = {.program = program,
				 .home_fd = home->fd,
				 .mark_fd = mark_fd,
				 .agent = getpid(),
				 .ztunnel = ztunnel};
	int fds[2];

	if (!m)
		return -ENOMEM;
	m->fd = -EBADF;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	m->fd = fds[0];
	c.link_fd = fds[1];
	m->pid = fork();
	if (m->pid == 0)
		child_run(&c);
	close_fd(c.link_fd);
	if (m->pid < 0)
		return -EAGAIN;
	*ret = TAKE_PTR(m);
	return 0;
}

struct maker *maker_free(struct maker *m)
{
	if (!m)
		return NULL;
	close_fd(m->fd);
	if (m->pid > 0) {
		(void)kill(m->pid, SIGKILL);
		(void)waitpid(m->pid, NULL, 0);
	}
	free(m);
	return NULL;
}

static int answer_wait(const struct maker *m)
{
	struct pollfd p = {.fd = m->fd, .events = POLLIN};
	int r = poll(&p, 1, ANSWER_MS);

	return r == 1 ? 0 : -EPIPE;
}

static int answer_read(const struct maker *m, unsigned int count, int *ret)
{
	int fds[ZDS_MAX_FDS], r = 0;
	size_t n = 0;

	if (seqpacket_recv(m->fd, &r, sizeof(r), fds, ARRAY_SIZE(fds), &n) != sizeof(r))
		return -EPIPE;
	if (r == 0 && n == count) {
		memcpy(ret, fds, n * sizeof(*fds));
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		close_fd(fds[i]);
	return r < 0 ? r : -EPIPE;
}

int maker_dial(struct maker *m, int netns_fd, const struct zds_sockets *what, int *ret)
{
	struct maker_request request = {what->kind, what->family, what->count};
	int r;

	if (what->count > ZDS_MAX_FDS)
		return -EINVAL;
	if (seqpacket_send(m->fd, &request, sizeof(request), &netns_fd, 1) < 0)
		return -EPIPE;
	r = answer_wait(m);
	return r < 0 ? r : answer_read(m, what->count, ret);
}

pid_t maker_pid(const struct maker *m)
{
	return m->pid;
}
