/* SPDX-License-Identifier: Apache-2.0 */
/* agent_ready - whether the agent does all that it is there for, as a file: a probe that only looks
 * costs next to nothing, and a lock beside it tells whether the agent lives. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"

#define LOOK_US      (1000 * 1000)
#define END_LOOK_US  (50 * 1000)
#define END_AWAIT_US (10 * 1000 * 1000) /* longer than a node's pods take to leave the mesh */

static void ready_set(struct agent *a, bool is_ready)
{
	_cleanup_(freep) char *path = str_format("%s/agent/ready", a->run_dir);

	if (!path || a->ready.is_told == is_ready)
		return;
	if (is_ready ? file_write_atomic(path, "", 0, 0600) < 0 : unlink(path) < 0) {
		log_debug("agent", "cannot say whether it is ready path=%s", path);
		return;
	}
	a->ready.is_told = is_ready;
}

static void on_look(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, ready.look);

	ready_set(a, a->ready.is_synced && !agent_cni_error(a));
	(void)loop_timer_set(a->loop, t, LOOK_US);
}

static char *retired_path(const char *run_dir)
{
	return str_format("%s/agent/retired", run_dir);
}

void agent_ready_synced(struct agent *a)
{
	_cleanup_(freep) char *retired = retired_path(a->run_dir);

	if (retired)
		(void)unlink(retired); /* an earlier one's, in the same folder */
	a->ready.is_synced = true;
	a->ready.look.on_timer = on_look;
	on_look(&a->ready.look);
}

void agent_ready_stop(struct agent *a, bool is_end)
{
	if (a->loop)
		loop_timer_del(&a->ready.look);
	if (is_end && a->run_dir)
		ready_set(a, false);
}

void agent_ready_retired(struct agent *a)
{
	_cleanup_(freep) char *path = retired_path(a->run_dir);

	if (!path || file_write_atomic(path, "", 0, 0644) < 0)
		log_debug("agent", "cannot say that another has taken over");
}

/* "1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF" */
static bool is_lock_of(const char *line, ino_t inode)
{
	const char *colon = strrchr(line, ':');

	return strstr(line, " FLOCK ") && colon && strtoull(colon + 1, NULL, 10) == inode;
}

/* Has nobody the lock, since an agent was killed and has left the file that says ready? Who may
 * open the lock can take it, so ztunnel, who asks, may not. False on doubt. */
static bool is_lock_free(const char *path)
{
	FILE *locks = fopen("/proc/locks", "re");
	struct stat st;
	char line[128];
	bool is_free = locks && stat(path, &st) == 0;

	while (is_free && fgets(line, sizeof(line), locks))
		is_free = !is_lock_of(line, st.st_ino);
	if (locks)
		(void)fclose(locks);
	return is_free;
}

void agent_end_await(const char *run_dir)
{
	_cleanup_(freep) char *ready = str_format("%s/agent/ready", run_dir);
	_cleanup_(freep) char *lock = str_format("%s/agent/lock", run_dir);
	_cleanup_(freep) char *retired = retired_path(run_dir);

	if (!ready || !lock || !retired)
		return;
	for (unsigned int i = 0; i < END_AWAIT_US / END_LOOK_US; i++) {
		if (access(ready, F_OK) < 0 || access(retired, F_OK) == 0 || is_lock_free(lock))
			return;
		(void)usleep(END_LOOK_US);
	}
}

bool agent_ready_ask(const char *run_dir)
{
	_cleanup_(freep) char *ready = str_format("%s/agent/ready", run_dir);
	_cleanup_(freep) char *lock = str_format("%s/agent/lock", run_dir);
	_cleanup_(close_fdp) int fd = -EBADF;

	if (!ready || !lock || access(ready, F_OK) < 0)
		return false;
	fd = open(lock, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
