/* SPDX-License-Identifier: Apache-2.0 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "net/addr.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

DEFINE_CLEANUP(struct ifaddrs *, freeifaddrs);

int netns_cookie(uint64_t *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	*ret = cookie;
	return 0;
}

const char *netns_path_of(pid_t pid, char buf[NETNS_OF_MAX])
{
	(void)snprintf(buf, NETNS_OF_MAX, "/proc/%d/ns/net", (int)pid);
	return buf;
}

static int home_move(pid_t of)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	char path[NETNS_OF_MAX];

	fd = open(netns_path_of(of, path), O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int netns_home_open(pid_t of, struct netns_home *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	uint64_t cookie;
	int r = of ? home_move(of) : 0;

	if (r < 0)
		return r;
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = netns_cookie(&cookie);
	if (r < 0)
		return r;
	*ret = (struct netns_home){.fd = TAKE_FD(fd), .cookie = cookie};
	return 0;
}

void netns_home_close(struct netns_home *home)
{
	home->fd = close_fd(home->fd);
}

int netns_open(const char *path, int *ret_fd, struct netns_file *ret_file)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct netns_file file;
	int r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = netns_file_of(fd, &file);
	if (r < 0)
		return r;
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	*ret_file = file;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int netns_file_of(int fd, struct netns_file *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (struct netns_file){.dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

bool netns_file_is_same(const char *path, const struct netns_file *file)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino;
}

bool netns_is_of(pid_t pid, const struct netns_file *file)
{
	char path[NETNS_OF_MAX];

	return netns_file_is_same(netns_path_of(pid, path), file);
}

int netns_call(const struct netns_home *home, int fd, int (*fn)(void *arg), void *arg)
{
	int r;

	if (setns(fd, CLONE_NEWNET) < 0)
		return -errno;
	r = fn(arg);
	if (setns(home->fd, CLONE_NEWNET) < 0) {
		log_error("agent", "cannot return from a pod's network namespace: %m");
		abort();
	}
	return r;
}

/* The address of one interface entry, if it is one that other hosts could dial. */
static bool ifaddr_take(const struct ifaddrs *i, struct cv_addr *ret)
{
	struct cv_addr a;

	if (!i->ifa_addr)
		return false;
	if (i->ifa_addr->sa_family == AF_INET)
		a = cv_addr_from_v4(((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr);
	else if (i->ifa_addr->sa_family == AF_INET6)
		a = cv_addr_from_v6(&((const struct sockaddr_in6 *)i->ifa_addr)->sin6_addr);
	else
		return false;
	if (cv_addr_is_loopback(&a))
		return false;
	*ret = a;
	return true;
}

/* Those that are link-local, or the others. Return: how many @ret has then. */
static size_t addrs_take(const struct ifaddrs *all, bool is_link_local,
			 struct cv_addr ret[NETNS_MAX_ADDRS], size_t n)
{
	for (const struct ifaddrs *i = all; i && n < NETNS_MAX_ADDRS; i = i->ifa_next)
		if (ifaddr_take(i, &ret[n]) && cv_addr_is_link_local(&ret[n]) == is_link_local)
			n++;
	return n;
}

/* A pod that runs containers has an interface for each, and a link-local address on it: they must
 * not crowd out the pod's own, nor be a reason to know none. */
int netns_addrs(struct cv_addr ret[NETNS_MAX_ADDRS], size_t *ret_n)
{
	_cleanup_(freeifaddrsp) struct ifaddrs *all = NULL;
	size_t n;

	if (getifaddrs(&all) < 0)
		return -errno;
	n = addrs_take(all, false, ret, 0);
	*ret_n = addrs_take(all, true, ret, n);
	return 0;
}
