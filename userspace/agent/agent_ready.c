/* SPDX-License-Identifier: Apache-2.0 */
/* agent_ready - whether the agent does all that it is there for, as a file: a probe that only looks
 * costs next to nothing, and a lock beside it tells whether the agent lives. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"

#define LOOK_US (1000 * 1000)

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

void agent_ready_synced(struct agent *a)
{
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
