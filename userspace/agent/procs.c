/* SPDX-License-Identifier: Apache-2.0 */
#include "procs.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

#define SCAN_US    100000ULL
#define CGROUP_MAX (64 * 1024)
#define STAT_MAX   4096
#define UID_MIN    8 /* static pods have 32 digits, others a UUID of 36 characters */
#define PROCS_MAX  (1u << 20)
#define GROW       16
#define MIRROR     "kubernetes.io/config.mirror"

/** struct proc - the processes of a pod. */
struct proc {
	pid_t pid;      /* the oldest */
	uint64_t start; /* of that; clock ticks since boot */
	pid_t *all;     /* owned */
	size_t count;
};

struct procs {
	const char *root;
	struct map *by_uid; /* UID -> struct proc, owned */
	uint64_t scanned_us;
};

static size_t uid_len(const char *s)
{
	size_t n = 0;

	while (isxdigit((unsigned char)s[n]) || s[n] == '-' || s[n] == '_')
		n++;
	return n;
}

int procs_uid_of_cgroup(const char *text, char ret[PROCS_UID_MAX])
{
	const char *at = text;

	while ((at = strstr(at, "pod")) != NULL) {
		bool is_start = at > text && (at[-1] == '/' || at[-1] == '-');
		size_t n = uid_len(at + 3);
		char end = at[3 + n];

		at += 3;
		if (!is_start || n < UID_MIN || n >= PROCS_UID_MAX ||
		    (end != '/' && end != '.' && end != '\n' && end != '\0'))
			continue;
		for (size_t i = 0; i < n; i++)
			ret[i] = at[i] == '_' ? '-' : at[i];
		ret[n] = '\0';
		return 0;
	}
	return -ENOENT;
}

const char *procs_uid_of_pod(const struct object *pod)
{
	const char *hash = object_annotation(pod, MIRROR);

	return hash ? hash : object_string(pod, "metadata.uid");
}

static int uid_of(const struct procs *p, const char *pid, char ret[PROCS_UID_MAX])
{
	_cleanup_(freep) char *text = NULL;
	char path[PATH_MAX];
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s/cgroup", p->root, pid);
	r = file_read(path, CGROUP_MAX, &text, NULL);
	return r < 0 ? r : procs_uid_of_cgroup(text, ret);
}

/* proc(5): field 22 of stat; the second may hold anything within its brackets. */
static int start_of(const struct procs *p, const char *pid, uint64_t *ret)
{
	_cleanup_(freep) char *text = NULL;
	char path[PATH_MAX];
	const char *at;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s/stat", p->root, pid);
	r = file_read(path, STAT_MAX, &text, NULL);
	if (r < 0)
		return r;
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at + 1, ' ');
	}
	if (!at)
		return -EBADMSG;
	*ret = strtoull(at, NULL, 10);
	return 0;
}

static struct proc *proc_free(struct proc *k)
{
	if (k)
		free(k->all);
	free(k);
	return NULL;
}

static void forget_all(struct procs *p)
{
	map_for_each (p->by_uid, it)
		(void)proc_free(map_del_str(p->by_uid, it.key));
}

/* Of @uid; made, where it is new. Return: NULL: no memory. */
static struct proc *proc_of(struct procs *p, const char *uid)
{
	struct proc *k = map_get_str(p->by_uid, uid);

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k || map_put_str(p->by_uid, uid, k) < 0)
		return proc_free(k);
	k->start = UINT64_MAX;
	return k;
}

static void proc_add(struct proc *k, pid_t pid, uint64_t start)
{
	if (k->count % GROW == 0) {
		pid_t *more = realloc(k->all, (k->count + GROW) * sizeof(*more));

		if (!more)
			return;
		k->all = more;
	}
	k->all[k->count++] = pid;
	if (start >= k->start)
		return;
	k->start = start;
	k->pid = pid;
}

static void proc_see(struct procs *p, const char *name)
{
	char uid[PROCS_UID_MAX];
	struct proc *known;
	uint64_t pid, start;

	if (str_parse_u64(name, 1, INT_MAX, &pid) < 0 || uid_of(p, name, uid) < 0 ||
	    start_of(p, name, &start) < 0)
		return;
	known = proc_of(p, uid);
	if (known)
		proc_add(known, (pid_t)pid, start);
}

static void scan(struct procs *p, uint64_t now_us)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	const struct dirent *entry;

	if (p->scanned_us && now_us - p->scanned_us < SCAN_US)
		return;
	p->scanned_us = now_us;
	forget_all(p);
	dir = opendir(p->root);
	for (unsigned int n = 0; dir && n < PROCS_MAX && (entry = readdir(dir)); n++)
		if (isdigit((unsigned char)entry->d_name[0]))
			proc_see(p, entry->d_name);
}

/* Is it still this pod's, and no other process with the same number? */
static bool is_valid(const struct procs *p, const struct proc *known, const char *uid)
{
	char name[16], found[PROCS_UID_MAX];
	uint64_t start;

	(void)snprintf(name, sizeof(name), "%d", (int)known->pid);
	return start_of(p, name, &start) == 0 && start == known->start &&
	       uid_of(p, name, found) == 0 && streq(found, uid);
}

pid_t procs_find(struct procs *p, const char *uid, uint64_t now_us)
{
	const struct proc *known = map_get_str(p->by_uid, uid);

	if (known && is_valid(p, known, uid))
		return known->pid;
	scan(p, now_us);
	known = map_get_str(p->by_uid, uid);
	return known && is_valid(p, known, uid) ? known->pid : 0;
}

bool procs_any(struct procs *p, const char *uid, uint64_t now_us, bool (*fn)(void *arg, pid_t pid),
	       void *arg)
{
	const struct proc *known;
	char name[16], found[PROCS_UID_MAX];

	scan(p, now_us);
	known = map_get_str(p->by_uid, uid);
	for (size_t i = 0; known && i < known->count; i++) {
		(void)snprintf(name, sizeof(name), "%d", (int)known->all[i]);
		if (uid_of(p, name, found) == 0 && streq(found, uid) && fn(arg, known->all[i]))
			return true;
	}
	return false;
}

int procs_new(const char *proc, struct procs **ret)
{
	_cleanup_(procs_freep) struct procs *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->root = proc;
	r = map_new(&p->by_uid);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct procs *procs_free(struct procs *p)
{
	if (!p)
		return NULL;
	if (p->by_uid)
		forget_all(p);
	(void)map_free(p->by_uid);
	free(p);
	return NULL;
}
