/* SPDX-License-Identifier: Apache-2.0 */
#include "netns_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/str.h"

/* Where those that have a name are bound; the second for a container, which sees its own in the
 * first. */
static const char *const named[] = {"/run/netns", "/proc/1/root/run/netns"};

struct search {
	const struct netns_home *home;
	struct map *by_cookie; /* struct netns_sought that only the cookie is known of */
	struct map *by_file;   /* the others; each until it is found */
	struct map *seen;      /* struct netns_file of what has been entered */
	bool is_blind;         /* not all could be looked at */
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

static void found(struct netns_sought *w, const char *path)
{
	w->is_found = str_copy(w->path, sizeof(w->path), path) >= 0;
}

static void enter(struct search *s, const char *path, const struct netns_file *file)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct netns_sought *w = NULL;
	struct netns_file opened;
	uint64_t cookie = 0;
	int r;

	r = netns_open(path, &fd, &opened);
	if (r == 0)
		r = map_put(s->seen, file, sizeof(*file), s);
	s->is_blind |= is_want(-r);
	if (r < 0)
		return;
	if (netns_call(s->home, fd, cookie_inside, &cookie) == 0)
		w = map_del(s->by_cookie, &cookie, sizeof(cookie));
	if (!w)
		return;
	w->fd = TAKE_FD(fd);
	w->file = opened;
	w->has_file = true;
	found(w, path);
}

static void try_path(struct search *s, const char *path)
{
	struct netns_sought *w;
	struct netns_file file;
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	file = (struct netns_file){.dev = st.st_dev, .ino = st.st_ino};
	w = map_del(s->by_file, &file, sizeof(file));
	if (w)
		found(w, path);
	else if (map_count(s->by_cookie) > 0 && !map_get(s->seen, &file, sizeof(file)))
		enter(s, path, &file);
}

static bool is_over(const struct search *s)
{
	return map_count(s->by_cookie) + map_count(s->by_file) == 0;
}

static void try_folder(struct search *s, const char *folder, const char *below)
{
	_cleanup_(closedirp) DIR *dir = is_over(s) ? NULL : opendir(folder);
	char path[NETNS_PATH_MAX];

	s->is_blind |= !dir && !is_over(s) && is_want(errno);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !is_over(s); e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%.200s%s", folder, e->d_name, below);
		try_path(s, path);
	}
}

static int search_begin(struct search *s, struct netns_sought *const *all, size_t n)
{
	int r = map_new(&s->by_cookie);

	if (r == 0)
		r = map_new(&s->by_file);
	if (r == 0)
		r = map_new(&s->seen);
	for (size_t i = 0; r == 0 && i < n; i++) {
		all[i]->is_found = false;
		all[i]->path[0] = '\0';
		if (all[i]->has_file)
			r = map_put(s->by_file, &all[i]->file, sizeof(all[i]->file), all[i]);
		else
			r = map_put(s->by_cookie, &all[i]->cookie, sizeof(all[i]->cookie), all[i]);
	}
	return r;
}

int netns_find_all(const struct netns_home *home, struct netns_sought *const *all, size_t n)
{
	struct search s = {.home = home};
	int r = search_begin(&s, all, n);

	if (r == 0) {
		try_folder(&s, "/proc", "/ns/net");
		for (size_t i = 0; i < ARRAY_SIZE(named); i++)
			try_folder(&s, named[i], "");
		if (s.is_blind && !is_over(&s))
			r = -EMFILE;
	}
	map_free(s.by_cookie);
	map_free(s.by_file);
	map_free(s.seen);
	return r;
}

int netns_find(const struct netns_home *home, uint64_t cookie, int *ret_fd)
{
	struct netns_sought one = {.cookie = cookie, .fd = -EBADF}, *all = &one;
	int r = netns_find_all(home, &all, 1);

	if (!one.has_file)
		return r < 0 ? -EMFILE : -ENOENT;
	*ret_fd = one.fd;
	return 0;
}

bool netns_find_path(const struct netns_file *file, char ret[NETNS_PATH_MAX])
{
	struct netns_sought one = {.fd = -EBADF, .file = *file, .has_file = true}, *all = &one;
	int r = netns_find_all(NULL, &all, 1);

	return (one.is_found || r < 0) && str_copy(ret, NETNS_PATH_MAX, one.path) >= 0;
}
