/* SPDX-License-Identifier: Apache-2.0 */
#include "netns_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define GROW 64

/* Where those that have a name are bound; the second for a container, which sees its own in the
 * first. */
static const char *const named[] = {"/run/netns", "/proc/1/root/run/netns"};

struct search {
	const struct netns_home *home;
	uint64_t cookie;
	ino_t *seen; /* owned */
	size_t count;
	int fd;                        /* once it is found; owned */
	const struct netns_file *file; /* what is looked for, where it is not the cookie */
	char path[NETNS_PATH_MAX];     /* where it was found */
	bool is_blind;                 /* not all could be looked at */
};

/* Others are of what ends meanwhile, or is not there. */
static bool is_want(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static int cookie_inside(void *arg)
{
	return netns_cookie(arg);
}

static bool is_seen(const struct search *s, ino_t ino)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->seen[i] == ino)
			return true;
	return false;
}

/* Without memory it is entered again, which only costs time. */
static void seen_add(struct search *s, ino_t ino)
{
	if (s->count % GROW == 0) {
		ino_t *more = realloc(s->seen, (s->count + GROW) * sizeof(*more));

		if (!more)
			return;
		s->seen = more;
	}
	s->seen[s->count++] = ino;
}

static bool try_file(struct search *s, const char *path)
{
	return netns_file_is_same(path, s->file) && str_copy(s->path, sizeof(s->path), path) >= 0;
}

static bool try_path(struct search *s, const char *path)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct netns_file file;
	uint64_t cookie = 0;
	int r;

	if (s->file)
		return try_file(s, path);
	r = netns_open(path, &fd, &file);
	s->is_blind |= is_want(-r);
	if (r < 0 || is_seen(s, file.ino))
		return false;
	seen_add(s, file.ino);
	if (netns_call(s->home, fd, cookie_inside, &cookie) < 0 || cookie != s->cookie)
		return false;
	s->fd = TAKE_FD(fd);
	return true;
}

static bool try_folder(struct search *s, const char *folder, const char *below)
{
	_cleanup_(closedirp) DIR *dir = opendir(folder);
	char path[NETNS_PATH_MAX];

	s->is_blind |= !dir && is_want(errno);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%.200s%s", folder, e->d_name, below);
		if (try_path(s, path))
			return true;
	}
	return false;
}

static bool search(struct search *s)
{
	bool is_found = try_folder(s, "/proc", "/ns/net");

	for (size_t i = 0; !is_found && i < ARRAY_SIZE(named); i++)
		is_found = try_folder(s, named[i], "");
	free(s->seen);
	return is_found;
}

int netns_find(const struct netns_home *home, uint64_t cookie, int *ret_fd)
{
	struct search s = {.home = home, .cookie = cookie, .fd = -EBADF};
	bool is_found = search(&s);

	if (!is_found)
		return s.is_blind ? -EMFILE : -ENOENT;
	*ret_fd = s.fd;
	return 0;
}

bool netns_find_path(const struct netns_file *file, char ret[NETNS_PATH_MAX])
{
	struct search s = {.file = file, .fd = -EBADF};

	return (search(&s) || s.is_blind) && str_copy(ret, NETNS_PATH_MAX, s.path) >= 0;
}
