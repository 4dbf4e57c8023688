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
#include "net/addr.h"

#define RESOLVCONF_MAX 65536
#define NAME_MAX_LEN   253
#define BLANKS         " \t\r"

/* What follows a keyword, or NULL. */
static char *line_args(char *line, const char *word)
{
	size_t n = strlen(word);

	return strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\t') ? line + n : NULL;
}

static void names_store(char *args, char ret[RESOLVCONF_SEARCH_LEN])
{
	size_t used = 0;
	char *save = NULL;

	memset(ret, 0, RESOLVCONF_SEARCH_LEN);
	for (char *name = strtok_r(args, BLANKS, &save); name;
	     name = strtok_r(NULL, BLANKS, &save)) {
		size_t n = strlen(name);

		/* "example.com." and "." are written so as well */
		while (n > 0 && name[n - 1] == '.')
			n--;
		if (n == 0 || n > NAME_MAX_LEN || used + n + 1 >= RESOLVCONF_SEARCH_LEN)
			continue;
		memcpy(ret + used, name, n);
		used += n + 1;
	}
}

static void nameserver_store(char *args, struct resolvconf *ret)
{
	char *save = NULL, *text = strtok_r(args, BLANKS, &save);

	if (text && ret->nameserver_count < ZDS_NAMESERVERS &&
	    cv_addr_parse(text, &ret->nameservers[ret->nameserver_count]) == 0)
		ret->nameserver_count++;
}

static void line_parse(char *line, struct resolvconf *ret)
{
	char *args = line_args(line, "search");

	if (!args)
		args = line_args(line, "domain");
	if (args) {
		names_store(args, ret->search);
		return;
	}
	args = line_args(line, "nameserver");
	if (args)
		nameserver_store(args, ret);
}

void resolvconf_parse(const char *text, struct resolvconf *ret)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *save = NULL;

	memset(ret, 0, sizeof(*ret));
	if (!copy)
		return;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		line_parse(line, ret);
}

/* The path is the pod's: a FIFO or a device there must not block or act. */
int resolvconf_read(const char *path, struct resolvconf *ret)
{
	_cleanup_(close_fdp) int handle = -EBADF, fd = -EBADF;
	_cleanup_(freep) char *text = NULL;
	char self[64];
	struct stat st;
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
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
	resolvconf_parse(text, ret);
	return 0;
}
