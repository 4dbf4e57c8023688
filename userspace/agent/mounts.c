/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/str.h"

#define CV_BPFFS_DIR        "/sys/fs/bpf"
#define CV_MOUNTINFO_MAX    (1024 * 1024)
#define MOUNTINFO_FIELD_MAX 4096

/* "\040" stands for a blank, and so on. */
static void unescape_octal(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* One line: "36 35 98:0 /root /mount/point opts [tags] - fstype source superopts". */
static bool line_parse(const char *line, const char *fstype, char point[MOUNTINFO_FIELD_MAX])
{
	char root[MOUNTINFO_FIELD_MAX], type[64];
	const char *dash;

	if (sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2)
		return false;
	dash = strstr(line, " - ");
	if (!dash || sscanf(dash, " - %63s", type) != 1)
		return false;
	return streq(root, "/") && streq(type, fstype);
}

int mounts_find(const char *mountinfo, const char *fstype, char **ret)
{
	_cleanup_(freep) char *copy = strdup(mountinfo);
	char point[MOUNTINFO_FIELD_MAX], *save = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *path;

		if (!line_parse(line, fstype, point))
			continue;
		unescape_octal(point);
		path = strdup(point);
		if (!path)
			return -ENOMEM;
		*ret = path;
		return 0;
	}
	return -ENOENT;
}

int mounts_find_cgroup2(char **ret)
{
	_cleanup_(freep) char *text = NULL;
	int r;

	r = file_read("/proc/self/mountinfo", CV_MOUNTINFO_MAX, &text, NULL);
	if (r < 0)
		return r;
	return mounts_find(text, "cgroup2", ret);
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == (unsigned long)BPF_FS_MAGIC;
}

int mounts_ensure_bpffs(const char *dir)
{
	int r;

	if (str_has_prefix(dir, CV_BPFFS_DIR) && !is_bpffs(CV_BPFFS_DIR) &&
	    mount("bpf", CV_BPFFS_DIR, "bpf", 0, "mode=0700") < 0)
		return -errno;
	if (!str_has_prefix(dir, CV_BPFFS_DIR)) {
		/* Look before making folders on a file system that cannot hold pins. */
		_cleanup_(freep) char *parent = strdup(dir);
		char *slash = parent ? strrchr(parent, '/') : NULL;

		if (!parent)
			return -ENOMEM;
		if (slash && slash != parent)
			*slash = '\0';
		if (!is_bpffs(parent) && !is_bpffs(dir))
			return -EMEDIUMTYPE;
	}
	r = mkdir_p(dir, 0700);
	if (r < 0)
		return r;
	return is_bpffs(dir) ? 0 : -EMEDIUMTYPE;
}
