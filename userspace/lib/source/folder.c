/* SPDX-License-Identifier: Apache-2.0 */
/* folder - a source that reads a folder of manifests and follows it with inotify. This file knows
 * the file system: which files there are and when they change. store.c knows what they hold. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/str.h"
#include "source/manifest.h"
#include "source/source_impl.h"
#include "source/store.h"

#define FILES_MAX   20000
#define FOLDERS_MAX 1000
#define DEPTH_MAX   10              /* of folders in folders */
#define RETRY_US    (500 * 1000ULL) /* while the folder itself is away */
#define EVENTS_SIZE (64 * 1024)
#define SLICE_US    (20 * 1000ULL) /* at a time: whoever shares the loop has his turn */
/* IN_CREATE is for links and folders: a file that is being written ends with IN_CLOSE_WRITE. */
#define EVENTS                                                                                     \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB |        \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

/** struct seen - a file as it was when it was read last. */
struct seen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
	uint64_t scan; /* number of the scan that saw it last */
};

/** struct watch - a folder under inotify. */
struct watch {
	int wd;
	char *path;
	uint64_t scan;
};

struct folder {
	struct source source;
	struct loop *loop;
	struct loop_timer timer; /* the first scan, and later ones while something is amiss */
	struct loop_fd inotify;
	struct loop_task rest; /* of the events below */
	_Alignas(struct inotify_event) char events[EVENTS_SIZE];
	size_t events_at, events_len; /* those that were not looked at yet */
	char *path;
	struct store *store;
	struct map *seen;    /* path -> struct seen */
	struct map *watches; /* wd -> struct watch */
	uint64_t scan;
	size_t folders; /* that this scan came across */
	bool needs_scan;
	bool is_lost; /* the folder itself could not be read */
};

static bool is_manifest_name(const char *name)
{
	return name[0] != '.' && (str_has_suffix(name, ".yaml") || str_has_suffix(name, ".yml") ||
				  str_has_suffix(name, ".json"));
}

/* Watching a folder again gives the same wd, so that this also refreshes. Return: 1: this scan has
 * read it already, by another name; 0; -errno. */
static int watch_add(struct folder *f, const char *path)
{
	int wd = inotify_add_watch(f->inotify.fd, path, EVENTS), r;
	struct watch *w;

	if (wd < 0)
		return -errno;
	w = map_get(f->watches, &wd, sizeof(wd));
	if (!w) {
		w = calloc(1, sizeof(*w));
		r = w ? map_put(f->watches, &wd, sizeof(wd), w) : -ENOMEM;
		if (r < 0) {
			free(w);
			return r;
		}
		w->wd = wd;
	}
	if (w->path && w->scan == f->scan && !streq(w->path, path))
		return 1;
	w->scan = f->scan;
	if (w->path && streq(w->path, path))
		return 0;
	free(w->path);
	w->path = strdup(path);
	return w->path ? 0 : -ENOMEM;
}

static void watch_drop(struct folder *f, int wd)
{
	struct watch *w = map_del(f->watches, &wd, sizeof(wd));

	if (!w)
		return;
	free(w->path);
	free(w);
}

static bool is_unchanged(const struct seen *seen, const struct stat *st)
{
	return seen->dev == st->st_dev && seen->ino == st->st_ino && seen->size == st->st_size &&
	       memcmp(&seen->mtime, &st->st_mtim, sizeof(seen->mtime)) == 0 &&
	       memcmp(&seen->ctime, &st->st_ctim, sizeof(seen->ctime)) == 0;
}

static int seen_put(struct folder *f, const char *path, const struct stat *st)
{
	struct seen *seen = map_get_str(f->seen, path);
	int r;

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		r = seen ? map_put_str(f->seen, path, seen) : -ENOMEM;
		if (r < 0) {
			free(seen);
			return r;
		}
	}
	*seen = (struct seen){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
		.scan = f->scan,
	};
	return 0;
}

static int forget_file(struct folder *f, const char *path)
{
	int r = store_remove(f->store, path);

	free(map_del_str(f->seen, path));
	return r;
}

static int fail_file(struct folder *f, const char *path, int error)
{
	char message[160];

	if (error == -ENOMEM)
		return error;
	if (error == -EFBIG)
		(void)snprintf(message, sizeof(message),
			       "larger than %d bytes: not read" MANIFEST_HIDES, MANIFEST_SIZE_MAX);
	else
		(void)snprintf(message, sizeof(message), "cannot be read: %s" MANIFEST_HIDES,
			       strerror(-error));
	return store_fail(f->store, path, message);
}

/* Read a file if it changed since it was read last. */
static int load_file(struct folder *f, const char *path)
{
	_cleanup_(freep) char *text = NULL;
	struct seen *seen = map_get_str(f->seen, path);
	struct stat st;
	size_t len;
	int r;

	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? forget_file(f, path)
							   : fail_file(f, path, -errno);
	if (!S_ISREG(st.st_mode))
		return forget_file(f, path);
	if (seen && is_unchanged(seen, &st)) {
		seen->scan = f->scan;
		return 0;
	}
	if (!seen && map_count(f->seen) >= FILES_MAX)
		return store_fail(f->store, f->path, "more than 20000 files: the rest is not read");
	r = seen_put(f, path, &st);
	if (r < 0)
		return r;
	r = file_read(path, MANIFEST_SIZE_MAX, &text, &len);
	return r < 0 ? fail_file(f, path, r) : store_load(f->store, path, text, len);
}

/* What is not looked into keeps what it held: that is no order to open the mesh. The error goes
 * with the folder, which for that is remembered as a file is. */
static int keep_folder(struct folder *f, const char *path, const char *message)
{
	static const struct stat none;
	size_t n = strlen(path);
	int r;

	map_for_each (f->seen, it) {
		struct seen *seen = it.value;

		if (str_has_prefix(it.key, path) && ((const char *)it.key)[n] == '/')
			seen->scan = f->scan;
	}
	r = seen_put(f, path, &none);
	return r < 0 ? r : store_fail(f->store, path, message);
}

static int scan_folder(struct folder *f, const char *path, unsigned int depth);

/* Is there room for one more? Of those for which there is none the first is named. */
static int scan_sub_folder(struct folder *f, const char *path, unsigned int depth)
{
	if (depth >= DEPTH_MAX)
		return keep_folder(f, path, "more than 10 folders deep: not read" MANIFEST_HIDES);
	if (f->folders++ < FOLDERS_MAX)
		return scan_folder(f, path, depth + 1);
	if (f->folders > FOLDERS_MAX + 1)
		return 0;
	return keep_folder(f, path,
			   "more than 1000 folders: this one and those after it are not "
			   "read" MANIFEST_HIDES);
}

static int scan_entry(struct folder *f, const char *folder, const char *name, unsigned int depth)
{
	char path[PATH_MAX];
	struct stat st;

	if (name[0] == '.' ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return 0;
	if (is_manifest_name(name))
		return load_file(f, path);
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	return scan_sub_folder(f, path, depth);
}

static int fail_folder(struct folder *f, const char *path, int error)
{
	char message[160];

	if (error == -ENOMEM || error == -ENOENT || error == -ENOTDIR)
		return error == -ENOMEM ? error : 0;
	(void)snprintf(message, sizeof(message), "cannot be read: %s" MANIFEST_HIDES,
		       strerror(-error));
	return keep_folder(f, path, message);
}

/* NOLINTNEXTLINE(misc-no-recursion): by depth */
static int scan_folder(struct folder *f, const char *path, unsigned int depth)
{
	struct dirent **names = NULL;
	int r, n;

	/* Watch first: what changes while it is read is then told. */
	r = watch_add(f, path);
	if (r < 0)
		return depth > 0 ? fail_folder(f, path, r) : r;
	if (r > 0)
		return 0;
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		return depth > 0 ? fail_folder(f, path, -errno) : -errno;
	if (depth > 0)
		r = store_remove(f->store, path); /* its own errors of before */
	for (int i = 0; i < n; i++) {
		r = r < 0 ? r : scan_entry(f, path, names[i]->d_name, depth);
		free(names[i]);
	}
	free(names);
	return r;
}

/* There is no room for its folder any more. */
static bool is_left_out(const struct folder *f, const char *path)
{
	return f->folders > FOLDERS_MAX && access(path, F_OK) == 0;
}

/* Files and folders that the scan did not come across are gone. */
static int sweep(struct folder *f)
{
	int r = 0;

	map_for_each (f->seen, it) {
		const struct seen *seen = it.value;

		if (seen->scan == f->scan || r < 0 || is_left_out(f, it.key))
			continue;
		r = store_remove(f->store, it.key);
		free(map_del_str(f->seen, it.key));
	}
	map_for_each (f->watches, it) {
		const struct watch *w = it.value;

		if (w->scan == f->scan)
			continue;
		(void)inotify_rm_watch(f->inotify.fd, w->wd);
		watch_drop(f, w->wd);
	}
	return r;
}

static int folder_scan(struct folder *f)
{
	int r;

	f->scan++;
	f->folders = 0;
	f->needs_scan = false;
	r = scan_folder(f, f->path, 0);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		/* Keep everything: an unmounted or moved folder is no order to open the mesh. */
		char message[160];

		(void)snprintf(message, sizeof(message),
			       "the folder cannot be read: %s; the last good state stays",
			       strerror(-r));
		if (!f->is_lost)
			r = store_fail(f->store, f->path, message);
		f->is_lost = true;
		f->needs_scan = true;
		return r == -ENOMEM ? r : 0;
	}
	if (f->is_lost)
		r = store_remove(f->store, f->path);
	f->is_lost = false;
	return r < 0 ? r : sweep(f);
}

static bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

static int on_inotify_event(struct folder *f, const struct inotify_event *ev)
{
	const struct watch *w = map_get(f->watches, &ev->wd, sizeof(ev->wd));
	char path[PATH_MAX];

	if (ev->mask & IN_IGNORED) {
		watch_drop(f, ev->wd);
		return 0;
	}
	/* "..data" is how Kubernetes swaps a mounted ConfigMap: every file changes at once, behind
	 * links. */
	if ((ev->mask & (IN_Q_OVERFLOW | IN_ISDIR | IN_DELETE_SELF | IN_MOVE_SELF)) ||
	    (ev->len && strncmp(ev->name, "..", 2) == 0)) {
		f->needs_scan = true;
		return 0;
	}
	if (!w || !ev->len || !is_manifest_name(ev->name) ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", w->path, ev->name) >= sizeof(path))
		return 0;
	if ((ev->mask & IN_CREATE) && !is_link(path))
		return 0;
	return load_file(f, path);
}

/* Return: 1 when there are events; 0; -errno. */
static int events_read(struct folder *f)
{
	ssize_t n = read(f->inotify.fd, f->events, sizeof(f->events));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	f->events_at = 0;
	f->events_len = (size_t)n;
	return 1;
}

/* For as long as a turn may take. Return: 1 when none is left; 0; -errno: what is left is lost. */
static int events_take(struct folder *f)
{
	uint64_t end = now_monotonic_us() + SLICE_US;

	while (f->events_at < f->events_len) {
		const struct inotify_event *ev =
			(const struct inotify_event *)(f->events + f->events_at);
		int r = on_inotify_event(f, ev);

		f->events_at += sizeof(*ev) + ev->len;
		if (r < 0) {
			f->events_len = 0;
			return r;
		}
		if (now_monotonic_us() >= end)
			break;
	}
	return f->events_at >= f->events_len;
}

static void folder_update(struct folder *f)
{
	int r = f->needs_scan ? folder_scan(f) : 0;

	if (r == 0)
		r = store_publish(f->store);
	/* Out of memory or a folder that is away: look again, nothing is lost meanwhile. */
	if (r < 0)
		f->needs_scan = true;
	if (f->needs_scan)
		(void)loop_timer_set(f->loop, &f->timer, RETRY_US);
}

/* What was read at once is told at once: a file that was renamed is never away in between. */
static void events_go_on(struct folder *f)
{
	int r = events_take(f);

	if (r == 0) {
		loop_task_queue(f->loop, &f->rest);
		return;
	}
	if (r < 0)
		f->needs_scan = true;
	folder_update(f);
}

static void on_rest(struct loop_task *t)
{
	events_go_on(container_of(t, struct folder, rest));
}

static void on_readable(struct loop_fd *w, uint32_t events)
{
	struct folder *f = container_of(w, struct folder, inotify);
	int r = f->rest.is_queued ? 0 : events_read(f);

	if (r > 0)
		events_go_on(f);
	if (r < 0) {
		f->needs_scan = true;
		folder_update(f);
	}
}

static void on_timer(struct loop_timer *t)
{
	struct folder *f = container_of(t, struct folder, timer);

	f->needs_scan = true;
	folder_update(f);
}

static struct source *folder_free(struct source *s)
{
	struct folder *f = container_of(s, struct folder, source);

	loop_timer_del(&f->timer);
	loop_task_del(&f->rest);
	loop_del(&f->inotify);
	f->inotify.fd = close_fd(f->inotify.fd);
	if (f->watches)
		map_for_each (f->watches, it)
			watch_drop(f, ((const struct watch *)it.value)->wd);
	if (f->seen)
		map_for_each (f->seen, it)
			free(it.value);
	(void)map_free(f->watches);
	(void)map_free(f->seen);
	(void)store_free(f->store);
	free(f->path);
	free(f);
	return NULL;
}

static const struct source_impl_ops folder_ops = {.free = folder_free};

static int folder_open(struct folder *f, const struct source_ops *ops, void *arg)
{
	int r;

	r = store_new(ops, arg, &f->store);
	if (r < 0)
		return r;
	r = map_new(&f->seen);
	if (r < 0)
		return r;
	r = map_new(&f->watches);
	if (r < 0)
		return r;
	f->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->inotify.fd < 0)
		return -errno;
	r = watch_add(f, f->path);
	if (r < 0)
		return r;
	f->rest.on_task = on_rest;
	f->inotify.on_event = on_readable;
	r = loop_add(f->loop, &f->inotify, EPOLLIN);
	if (r < 0)
		return r;
	f->timer.on_timer = on_timer;
	return loop_timer_set(f->loop, &f->timer, 0);
}

/* No slash at the end, so that paths in messages read as they were given. */
static char *path_copy(const char *dir)
{
	char *p = strdup(*dir ? dir : ".");
	size_t n = p ? strlen(p) : 0;

	while (n > 1 && p[n - 1] == '/')
		p[--n] = '\0';
	return p;
}

int source_folder_new(struct loop *loop, const char *dir, const struct source_ops *ops, void *arg,
		      struct source **ret)
{
	_cleanup_(source_freep) struct source *s = NULL;
	struct folder *f;
	int r;

	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->inotify.fd = -EBADF;
	f->loop = loop;
	f->source.ops = &folder_ops;
	s = &f->source;
	f->path = path_copy(dir);
	if (!f->path)
		return -ENOMEM;
	r = folder_open(f, ops, arg);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}
