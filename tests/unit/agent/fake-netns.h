/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fake-netns - what holds a network namespace of the node; files stand for namespaces. For one test
 * program. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "userspace/agent/netns_find.h"

/* Where else the namespaces of the node are held; "": nowhere. */
static char held[80];
/* Through all processes. */
static unsigned int walks;

bool netns_find_path(const struct netns_file *file, char ret[NETNS_PATH_MAX])
{
	return netns_file_is_same(held, file) && str_copy(ret, NETNS_PATH_MAX, held) >= 0;
}

int netns_find_all(const struct netns_home *home, struct netns_sought *const *all, size_t n)
{
	struct stat st;

	walks++;
	for (size_t i = 0; i < n; i++) {
		struct netns_sought *w = all[i];

		if (!w->has_file && stat(held, &st) == 0 && (uint64_t)st.st_ino == w->cookie) {
			w->fd = open(held, O_RDONLY | O_CLOEXEC);
			w->has_file = netns_file_of(w->fd, &w->file) == 0;
		}
		w->is_found = w->has_file && netns_file_is_same(held, &w->file);
		(void)str_copy(w->path, sizeof(w->path), w->is_found ? held : "");
	}
	return 0;
}
