/* SPDX-License-Identifier: Apache-2.0 */
#include "base/beside.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

int beside_path(const char *name, char **ret)
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	const char *slash;
	char *path;

	if (n < 0)
		return -errno;
	own[n] = '\0';
	slash = strrchr(own, '/');
	path = str_format("%.*s/%s", slash ? (int)(slash - own) : 0, own, name);
	if (!path)
		return -ENOMEM;
	*ret = path;
	return 0;
}
