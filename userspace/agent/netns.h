/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netns - work inside a pod's network namespace and come back. The agent has one thread, so
 * setns(2) moves all of it; if the way back fails, the process aborts: it must never go on in the
 * wrong namespace. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

#define NETNS_MAX_ADDRS 32
#define NETNS_OF_MAX    64

/** struct netns_home - the agent's own namespace: the node's, in a cluster. */
struct netns_home {
	int fd; /* owned */
	uint64_t cookie;
};

/** struct netns_file - which namespace a path meant when it was opened. */
struct netns_file {
	dev_t dev;
	ino_t ino;
};

/**
 * netns_home_open() - remember the namespace the process is in
 * @of: move to that of this process first: a container of the agent has one of its own, but its
 * work is in the node's, process 1's. 0: stay. Return: 0; -errno (-ENOPROTOOPT: no netns cookies,
 * kernel older than 5.14).
 */
_must_check_ int netns_home_open(pid_t of, struct netns_home *ret);
void netns_home_close(struct netns_home *home);

/**
 * netns_open() - open a namespace by path.
 * @ret_fd: owned by the caller, CLOEXEC.
 * @ret_file: identity of the file, for netns_file_is_same().
 * Return: 0; -errno of open(2), fstat(2); -EINVAL not a network namespace.
 */
_must_check_ int netns_open(const char *path, int *ret_fd, struct netns_file *ret_file);

/** netns_file_of() - identity of an open one. Return: 0; -errno of fstat(2). */
_must_check_ int netns_file_of(int fd, struct netns_file *ret);

/** netns_file_is_same() - @path still means @file. False when it is gone. */
bool netns_file_is_same(const char *path, const struct netns_file *file);

/** netns_path_of() - the path of that of process @pid. Return: @buf. */
const char *netns_path_of(pid_t pid, char buf[NETNS_OF_MAX]);

/** netns_is_of() - process @pid is in it. False when the process is gone. */
bool netns_is_of(pid_t pid, const struct netns_file *file);

/**
 * netns_call() - run @fn in the namespace of @fd and come back.
 * Return: what @fn returned; -errno of setns(2). Aborts when it cannot come back.
 */
_must_check_ int netns_call(const struct netns_home *home, int fd, int (*fn)(void *arg), void *arg);

/** netns_cookie() - cookie of the namespace the process is in now. Return: 0; -errno. */
_must_check_ int netns_cookie(uint64_t *ret);

/**
 * netns_addrs() - addresses of the namespace the process is in now, without 127/8 and ::1;
 * link-local ones too.
 * @ret, @ret_n: filled, at most NETNS_MAX_ADDRS; link-local ones come last, and what has no room is
 * left out. Return: 0; -errno of getifaddrs(3).
 */
_must_check_ int netns_addrs(struct cv_addr ret[NETNS_MAX_ADDRS], size_t *ret_n);
