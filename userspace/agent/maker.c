/* SPDX-License-Identifier: Apache-2.0 */
#include "maker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
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
#define NO_CGROUP  "cannot join ztunnel's cgroup"

struct maker {
	const char *program;
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

/* Where one joins the cgroup of another. Return: a descriptor; -errno. */
static int cgroup_procs_open(pid_t pid)
{
	_cleanup_(freep) char *text = NULL, *root = NULL, *procs = NULL;
	char proc[64], path[PATH_MAX];
	int fd, r;

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
	return fd < 0 ? -errno : fd;
}

/* ---- the child: another thread of the agent's may have held any lock when it was forked, so it
 * makes system calls and nothing else: no memory, no line in the log ---- */

#define CHILD_PROCS MAKER_FD_MAX /* until it is culvert-maker */

struct child_config {
	const char *program;
	int home_fd, link_fd, mark_fd;
	int procs_fd; /* < 0: it stays in the agent's cgroup */
	pid_t agent;
};

/** struct child_trouble - what it says where culvert-maker says answers; one is shorter. */
struct child_trouble {
	int r;
	int is_start; /* else it is the cgroup */
};

/* Bring the wanted descriptors to their places by way of places that none of them has. */
static int child_fds(const struct child_config *c)
{
	int from[] = {c->link_fd, c->home_fd, c->mark_fd, c->procs_fd}, high[ARRAY_SIZE(from)];
	size_t n = ARRAY_SIZE(from) - (c->procs_fd < 0);

	for (size_t i = 0; i < n; i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, CHILD_PROCS + 1);
		if (high[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < n; i++)
		if (dup2(high[i], MAKER_LINK + (int)i) < 0)
			return -errno;
	return close_range(MAKER_LINK + (unsigned int)n, UINT_MAX, 0) < 0 ? -errno : 0;
}

static void child_tell(int r, bool is_start)
{
	const struct child_trouble t = {r, is_start};

	if (seqpacket_send(MAKER_LINK, &t, sizeof(t), NULL, 0) < 0)
		return; /* the agent is gone */
}

static _noreturn_ void child_run(const struct child_config *c)
{
	char *argv[] = {(char *)c->program, NULL};
	int r;

	/* The lock on the node is the agent's alone: the descriptors that hold it go first. */
	r = child_fds(c);
	if (r < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != c->agent)
		_exit(EXIT_FAILURE);
	if (c->procs_fd >= 0 && write(CHILD_PROCS, "0", 1) < 0)
		child_tell(-errno, false);
	(void)close(CHILD_PROCS);
	(void)execv(c->program, argv);
	child_tell(-errno, true);
	_exit(EXIT_FAILURE);
}

/* ---- the agent ---- */

static int procs_open(pid_t ztunnel)
{
	int fd = cgroup_procs_open(ztunnel);

	if (fd < 0)
		log_warn_errno("agent", fd, NO_CGROUP " pid=%d", (int)ztunnel);
	return fd;
}

int maker_new(const char *program, const struct netns_home *home, int mark_fd, pid_t ztunnel,
	      struct maker **ret)
{
	_cleanup_(maker_freep) struct maker *m = calloc(1, sizeof(*m));
	struct child_config c = {
		.program = program, .home_fd = home->fd, .mark_fd = mark_fd, .agent = getpid()};
	int fds[2];

	if (!m)
		return -ENOMEM;
	m->program = program;
	m->fd = -EBADF;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	m->fd = fds[0];
	c.link_fd = fds[1];
	c.procs_fd = procs_open(ztunnel);
	m->pid = fork();
	if (m->pid == 0)
		child_run(&c);
	close_fd(c.link_fd);
	close_fd(c.procs_fd);
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

static void trouble_log(const struct maker *m, const struct child_trouble *t)
{
	if (t->is_start)
		log_error_errno("agent", t->r, "cannot start %s", m->program);
	else
		log_warn_errno("agent", t->r, NO_CGROUP);
}

/* Return: 0; > 0 it was no answer: wait for the next; -errno. */
static int answer_read(const struct maker *m, unsigned int count, int *ret)
{
	struct child_trouble said = {0};
	int fds[ZDS_MAX_FDS];
	size_t n = 0;
	ssize_t len = seqpacket_recv(m->fd, &said, sizeof(said), fds, ARRAY_SIZE(fds), &n);

	/* It ended with our request unread: we hear of that once, and before what it said. */
	if (len == -ECONNRESET)
		len = seqpacket_recv(m->fd, &said, sizeof(said), fds, ARRAY_SIZE(fds), &n);
	if (len == sizeof(said)) {
		trouble_log(m, &said);
		return 1;
	}
	if (len != sizeof(said.r))
		return -EPIPE;
	if (said.r == 0 && n == count) {
		memcpy(ret, fds, n * sizeof(*fds));
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		close_fd(fds[i]);
	return said.r < 0 ? said.r : -EPIPE;
}

static int answer_take(const struct maker *m, unsigned int count, int *ret)
{
	int r;

	do {
		r = answer_wait(m);
		if (r == 0)
			r = answer_read(m, count, ret);
	} while (r > 0);
	return r;
}

int maker_dial(struct maker *m, int netns_fd, const struct zds_sockets *what, int *ret)
{
	struct maker_request request = {what->kind, what->family, what->count};

	if (what->count > ZDS_MAX_FDS)
		return -EINVAL;
	/* To one that is gone nothing can be sent; what it said is there. */
	if (seqpacket_send(m->fd, &request, sizeof(request), &netns_fd, 1) < 0) {
		while (answer_read(m, 0, ret) > 0)
			;
		return -EPIPE;
	}
	return answer_take(m, what->count, ret);
}

pid_t maker_pid(const struct maker *m)
{
	return m->pid;
}
