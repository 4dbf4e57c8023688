/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define UNIX_BACKLOG 128

static int unix_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	return str_copy(ret->sun_path, sizeof(ret->sun_path), path) < 0 ? -ENAMETOOLONG : 0;
}

static int unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int unix_connect(const char *path, int type, int *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_un sun;
	int r;

	r = unix_address(path, &sun);
	if (r < 0)
		return r;
	fd = unix_socket(type);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

/* remove_stale() - a socket file that refuses connections was left by a process that died. */
static int remove_stale(const char *path, int type)
{
	struct stat st;
	int fd = -EBADF;
	int r;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	r = unix_connect(path, type, &fd);
	(void)close_fd(fd);
	if (r == 0 || r == -EAGAIN || r == -EPROTOTYPE)
		return -EADDRINUSE;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int unix_listen(const char *path, int type, unsigned int mode, int *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_un sun;
	int r;

	r = unix_address(path, &sun);
	if (r < 0)
		return r;
	r = remove_stale(path, type);
	if (r < 0)
		return r;
	fd = unix_socket(type);
	if (fd < 0)
		return fd;
	/* The mode of the file is that of the descriptor at bind(2): never open wider, not even for
	 * a moment. */
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	if (chmod(path, mode) < 0 || listen(fd, UNIX_BACKLOG) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	*ret = TAKE_FD(fd);
	return 0;
}

int unix_stream_listen(const char *path, unsigned int mode, int *ret)
{
	return unix_listen(path, SOCK_STREAM, mode, ret);
}

int unix_stream_connect(const char *path, int *ret)
{
	return unix_connect(path, SOCK_STREAM, ret);
}
