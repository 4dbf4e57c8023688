/* SPDX-License-Identifier: Apache-2.0 */
#include "resolvconf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define RESOLVCONF_MAX 65536
#define NAME_MAX_LEN   253
#define BLANKS         " \t\r"

/* The arguments of a `search` or `domain` line, or NULL. */
static char *search_args(char *line)
{
	static const char *const words[] = {"search", "domain"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i]);

		if (strncmp(line, words[i], n) == 0 && (line[n] == ' ' || line[n] == '\t'))
			return line + n;
	}
	return NULL;
}

static void names_store(char *args, char ret[RESOLVCONF_SEARCH_LEN])
{
	size_t used = 0;
	char *save = NULL;

	memset(ret, 0, RESOLVCONF_SEARCH_LEN);
	for (char *name = strtok_r(args, BLANKS, &save); name;
	     name = strtok_r(NULL, BLANKS, &save)) {
		size_t n = strlen(name);

		if (n > NAME_MAX_LEN || used + n + 1 >= RESOLVCONF_SEARCH_LEN)
			continue;
		memcpy(ret + used, name, n);
		used += n + 1;
	}
}

void resolvconf_search(const char *text, char ret[RESOLVCONF_SEARCH_LEN])
{
	_cleanup_(freep) char *copy = strdup(text);
	char *save = NULL;

	memset(ret, 0, RESOLVCONF_SEARCH_LEN);
	if (!copy)
		return;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *args = search_args(line);

		if (args)
			names_store(args, ret);
	}
}

/* The path is the pod's: a FIFO or a device there must not block or act. */
int resolvconf_read(const char *path, char ret[RESOLVCONF_SEARCH_LEN])
{
	_cleanup_(close_fdp) int handle = -EBADF, fd = -EBADF;
	_cleanup_(freep) char *text = NULL;
	char self[64];
	struct stat st;
	ssize_t n;

	memset(ret, 0, RESOLVCONF_SEARCH_LEN);
	handle = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (handle < 0)
		return -errno;
	if (fstat(handle, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", handle);
	fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	text = malloc(RESOLVCONF_MAX + 1);
	if (!text)
		return -ENOMEM;
	n = read(fd, text, RESOLVCONF_MAX);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	resolvconf_search(text, ret);
	return 0;
}
