/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cni_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "culvert/cni.h"

#define CONF_MAX (1024 * 1024)

static int is_conf(const struct dirent *d)
{
	return str_has_suffix(d->d_name, ".conflist") || str_has_suffix(d->d_name, ".conf") ||
	       str_has_suffix(d->d_name, ".json");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int cni_folder_list(const char *conf, struct dirent ***ret)
{
	int n = scandir(conf, ret, is_conf, by_bytes);

	return n < 0 ? -errno : n;
}

void cni_folder_free(struct dirent **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* A link leads out of the folder, to where the agent's container has nothing. */
static int conf_read(const char *path, char **ret, size_t *ret_len, mode_t *ret_mode)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ELOOP;
	*ret_mode = st.st_mode & 07777;
	return file_read(path, CONF_MAX, ret, ret_len);
}

static int conf_write(const char *path, mode_t mode, const struct cni_conf *conf)
{
	_cleanup_(freep) char *other = NULL;
	int r;

	if (!conf->text)
		return -ENOMEM;
	if (!conf->was_single || str_has_suffix(path, ".conflist"))
		return file_write_atomic(path, conf->text, strlen(conf->text), mode);
	/* "x.conf" would be read as one plugin: the list is "x.conflist". */
	other = str_format("%.*s.conflist", (int)(strrchr(path, '.') - path), path);
	if (!other)
		return -ENOMEM;
	r = file_write_atomic(other, conf->text, strlen(conf->text), mode);
	return r == 0 && unlink(path) < 0 ? -errno : r;
}

int cni_folder_change(const char *path, json_t *entry, const char **ret_error)
{
	_cleanup_(freep) char *text = NULL;
	struct cni_conf conf = {0};
	mode_t mode = 0;
	size_t len = 0;
	int r = conf_read(path, &text, &len, &mode), written;

	if (r < 0)
		return r;
	r = entry ? cni_conf_insert(text, len, entry, &conf) : cni_conf_remove(text, len, &conf);
	if (r == -EINVAL && ret_error)
		*ret_error = conf.error;
	if (r != 1)
		return r;
	written = conf_write(path, mode, &conf);
	free(conf.text);
	return written < 0 ? written : 1;
}

int cni_folder_leave(const struct cni_dirs *dirs,
		     void (*told)(void *arg, const char *path, int error), void *arg)
{
	_cleanup_(freep) char *program = str_format("%s/" CNI_PLUGIN_TYPE, dirs->bin);
	struct dirent **names = NULL;
	int n = cni_folder_list(dirs->conf, &names), r = MIN(n, 0);

	for (int i = 0; i < n; i++) {
		_cleanup_(freep) char *path = str_format("%s/%s", dirs->conf, names[i]->d_name);
		int one = path ? cni_folder_change(path, NULL, NULL) : -ENOMEM;

		if (one == 0 || one == -EINVAL || one == -ELOOP)
			continue; /* none that we could be in */
		told(arg, path ? path : dirs->conf, MIN(one, 0));
		r = r < 0 ? r : MIN(one, 0);
	}
	cni_folder_free(names, n);
	if (r < 0)
		return r;
	if (!program)
		return -ENOMEM;
	r = unlink(program) < 0 ? -errno : 0;
	if (r == -ENOENT)
		return 0;
	told(arg, program, r);
	return r;
}
