/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/memory_limit.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
/* Between two looks, and between two times that we let go of what is free. */
#define LOOK_US (10 * 1000ULL)
#define TRIM_US (1000 * 1000ULL)

static struct {
	int max_fd, current_fd, stat_fd;
} files = {-1, -1, -1};

static _Thread_local struct {
	uint64_t looked_us, trimmed_us;
	bool is_near;
} last;

/* own_dir() - what /proc/self/cgroup says in its line of cgroup2, `0::PATH`. */
static void own_dir(char *into, size_t size)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX];

	into[0] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "0::", 3) == 0)
			(void)snprintf(into, size, CGROUP_ROOT "%.*s", (int)strcspn(line + 3, "\n"),
				       line + 3);
}

static int open_in(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

	return n > 0 && (size_t)n < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

void memory_limit_init(const char *dir)
{
	char own[PATH_MAX];

	if (!dir) {
		own_dir(own, sizeof(own));
		dir = own;
	}
	(void)close_fd(files.max_fd);
	(void)close_fd(files.current_fd);
	(void)close_fd(files.stat_fd);
	files.max_fd = open_in(dir, "memory.max");
	files.current_fd = open_in(dir, "memory.current");
	files.stat_fd = open_in(dir, "memory.stat");
}

/* read_all() - as much as there is room for. Return: whether there was something. */
static bool read_all(int fd, char *into, size_t size)
{
	ssize_t n = pread(fd, into, size - 1, 0);

	into[MAX(n, 0)] = '\0';
	return n > 0;
}

/* read_number() - Return: 0 where there is none, as in "max". */
static uint64_t read_number(int fd)
{
	char text[32];

	return read_all(fd, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* reclaimable() - what the kernel takes back before it lets anybody die. */
static uint64_t reclaimable(void)
{
	static const char *const names[] = {"\nactive_file ", "\ninactive_file ",
					    "\nslab_reclaimable "};
	char text[8192];
	uint64_t sum = 0;

	text[0] = '\n';
	if (!read_all(files.stat_fd, text + 1, sizeof(text) - 1))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *at = strstr(text, names[i]);

		sum += at ? strtoull(at + strlen(names[i]), NULL, 10) : 0;
	}
	return sum;
}

static bool look(void)
{
	uint64_t limit = read_number(files.max_fd), used, keep;

	if (limit == 0)
		return false;
	keep = MAX(MIN(limit / MEMORY_LIMIT_PART, MEMORY_LIMIT_MAX), MEMORY_LIMIT_MIN);
	used = read_number(files.current_fd) + keep;
	/* memory.stat is long: only when it may matter */
	return used >= limit && used - MIN(used, reclaimable()) >= limit;
}

bool memory_limit_is_near(uint64_t now_us)
{
	if (files.max_fd < 0)
		return false;
	if (now_us - last.looked_us < LOOK_US)
		return last.is_near;
	last.looked_us = now_us;
	last.is_near = look();
	if (last.is_near && now_us - last.trimmed_us >= TRIM_US) {
		(void)malloc_trim(0);
		last.trimmed_us = now_us;
		last.is_near = look();
	}
	return last.is_near;
}
