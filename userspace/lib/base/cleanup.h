/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cleanup - scope-bound release. A destructor takes NULL and half-built objects. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/** DEFINE_CLEANUP() - make freep() for use with _cleanup_(), from a destructor `func(type)` that
 * takes NULL. */
#define DEFINE_CLEANUP(type, func)                                                                 \
	static inline __attribute__((unused)) void func##p(type *p)                                \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}                                                                                          \
	struct cleanup_semicolon_##func

/** TAKE_PTR() - hand ownership out: the value of the pointer, which is left NULL. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *_pp = &(p);                                                         \
		__typeof__(p) _v = *_pp;                                                           \
		*_pp = NULL;                                                                       \
		_v;                                                                                \
	})

/** TAKE_FD() - hand a descriptor out: its value, the variable left at -EBADF. */
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *_pfd = &(fd);                                                                 \
		int _v = *_pfd;                                                                    \
		*_pfd = -9;                                                                        \
		_v;                                                                                \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}

/** close_fd() - close if it is a descriptor. Return: -EBADF, so that `fd = close_fd(fd);` reads
 * well. */
static inline int close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
	return -9;
}

static inline void close_fdp(int *fd)
{
	*fd = close_fd(*fd);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}
