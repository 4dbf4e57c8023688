/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#define WAIT_US    (100 * 1000)
#define PIPE_BYTES (1 << 20) /* some 2,000 lines of the access log */

static atomic_bool is_socket; /* as journald's is: what may wait is said with each call */
static atomic_bool is_stuck;
static atomic_bool is_torn; /* of the last line a part has gone out */
static _Atomic uint64_t lost;

/* A pipe's flags are all its writers': opened anew it has flags of its own. Not where it is another
 * user's, who has opened it so for us or lets us wait. */
void log_open(void)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct stat st;

	(void)signal(SIGPIPE, SIG_IGN);
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	atomic_store(&is_socket, S_ISSOCK(st.st_mode));
	if (!S_ISFIFO(st.st_mode))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		return;
	(void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}

static ssize_t put(const char *p, size_t len)
{
	if (atomic_load_explicit(&is_socket, memory_order_relaxed))
		return send(STDERR_FILENO, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(STDERR_FILENO, p, len);
}

/* Return: false: there is no room, and waiting for it is over. */
static bool wait_room(uint64_t until_us)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	uint64_t now_us = now_monotonic_us();

	return now_us < until_us && poll(&p, 1, (int)((until_us - now_us) / 1000) + 1) > 0;
}

/* Return: bytes that are gone; @len also where nobody will ever read any. */
static size_t put_all(const char *p, size_t len)
{
	bool may_wait = !atomic_load_explicit(&is_stuck, memory_order_relaxed);
	uint64_t until_us = 0;
	size_t done = 0;

	while (done < len) {
		ssize_t n = put(p + done, len - done);

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return len;
		if (until_us == 0)
			until_us = now_monotonic_us() + WAIT_US;
		if (!may_wait || !wait_room(until_us))
			break;
	}
	atomic_store_explicit(&is_stuck, done < len, memory_order_relaxed);
	return done;
}

bool log_output_write(const char *line, size_t len)
{
	size_t done;

	if (atomic_exchange(&is_torn, false) && put_all("\n", 1) == 0) {
		atomic_store(&is_torn, true);
		return false;
	}
	done = put_all(line, len);
	if (done > 0 && done < len)
		atomic_store(&is_torn, true);
	return done == len;
}

void log_output_lose(uint64_t n)
{
	(void)atomic_fetch_add(&lost, n);
}

uint64_t log_output_take_lost(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed) ? atomic_exchange(&lost, 0) : 0;
}
