/* SPDX-License-Identifier: Apache-2.0 */
#include "cni_install.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/beside.h"
#include "base/file_watch.h"
#include "base/log.h"
#include "base/str.h"
#include "culvert/cni.h"

#define PROGRAM_MAX (64 * 1024 * 1024)
/* Should a watch miss something, as when a whole folder is replaced. */
#define LOOK_US (2 * 1000 * 1000)

struct cni_install {
	struct loop *loop;
	char *bin, *conf;
	json_t *entry;
	struct file_watch bin_watch, conf_watch;
	bool is_bin_watched, is_conf_watched;
	struct loop_timer look;
	struct stat installed; /* the program, as it was put there */
	char error[512], logged[512];
};

/* ---- the program ---- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int program_install(struct cni_install *c)
{
	_cleanup_(freep) char *target = str_format("%s/" CNI_PLUGIN_TYPE, c->bin), *bytes = NULL;
	_cleanup_(freep) char *source = NULL;
	struct stat st;
	size_t len;
	int r;

	if (!target)
		return -ENOMEM;
	if (lstat(target, &st) == 0 && is_same_file(&st, &c->installed))
		return 0;
	r = beside_path(CNI_PLUGIN_TYPE, &source);
	if (r == 0)
		r = file_read(source, PROGRAM_MAX, &bytes, &len);
	if (r == 0)
		r = file_write_atomic(target, bytes, len, 0755);
	if (r == 0 && lstat(target, &c->installed) < 0)
		r = -errno;
	if (r < 0)
		(void)snprintf(c->error, sizeof(c->error), "cannot install %s: %s", target,
			       strerror(-r));
	else
		log_info("cni", "plugin installed path=%s", target);
	return r;
}

/* ---- configurations ---- */

/* Return: 1 this is the one that counts, and we are in it; 0 it is none, look at the next; -errno.
 */
static int conf_install(struct cni_install *c, const char *name)
{
	_cleanup_(freep) char *path = str_format("%s/%s", c->conf, name);
	const char *expected = NULL;
	int r;

	if (!path)
		return -ENOMEM;
	r = cni_folder_change(path, c->entry, &expected);
	if (r == 1)
		log_info("cni", "plugin put into the network configuration path=%s", path);
	if (r < 0)
		(void)snprintf(c->error, sizeof(c->error), "cannot change %s: %s", path,
			       expected      ? expected
			       : r == -ELOOP ? "it is no regular file"
					     : strerror(-r));
	if (r == -EINVAL)
		return 0;
	return r < 0 ? r : 1;
}

static int confs_install(struct cni_install *c)
{
	struct dirent **names = NULL;
	int n = cni_folder_list(c->conf, &names), r = 0;

	if (n < 0) {
		(void)snprintf(c->error, sizeof(c->error), "cannot read %s: %s", c->conf,
			       strerror(-n));
		return n;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = conf_install(c, names[i]->d_name);
	cni_folder_free(names, n);
	if (n == 0)
		(void)snprintf(c->error, sizeof(c->error),
			       "no network configuration in %s yet: the cluster's own plugin comes "
			       "first",
			       c->conf);
	return r == 1 ? 0 : -ENOENT;
}

static void install(struct cni_install *c)
{
	c->error[0] = '\0';
	if (program_install(c) == 0 && confs_install(c) == 0)
		c->error[0] = '\0'; /* what was passed over on the way does not count */
	if (c->error[0] && !streq(c->error, c->logged))
		log_warn("cni", "%s; pods that start are captured late", c->error);
	(void)str_copy(c->logged, sizeof(c->logged), c->error);
}

static void on_bin(struct file_watch *w)
{
	install(container_of(w, struct cni_install, bin_watch));
}

static void on_conf(struct file_watch *w)
{
	install(container_of(w, struct cni_install, conf_watch));
}

/* The folders may come late. */
static void watch(struct cni_install *c)
{
	if (!c->is_bin_watched)
		c->is_bin_watched = file_watch_start(&c->bin_watch, c->loop, c->bin, on_bin) == 0;
	if (!c->is_conf_watched)
		c->is_conf_watched =
			file_watch_start(&c->conf_watch, c->loop, c->conf, on_conf) == 0;
}

static void on_look(struct loop_timer *t)
{
	struct cni_install *c = container_of(t, struct cni_install, look);

	watch(c);
	install(c);
	(void)loop_timer_set(c->loop, t, LOOK_US);
}

const char *cni_install_error(const struct cni_install *c)
{
	if (!c)
		return "culvert-cni is not installed yet";
	return c->error[0] ? c->error : NULL;
}

int cni_install_new(const struct cni_install_config *config, struct cni_install **ret)
{
	_cleanup_(cni_install_freep) struct cni_install *c = calloc(1, sizeof(*c));

	if (!c) {
		json_decref(config->entry);
		return -ENOMEM;
	}
	c->entry = config->entry;
	c->loop = config->loop;
	c->look.on_timer = on_look;
	c->bin = strdup(config->dirs.bin);
	c->conf = strdup(config->dirs.conf);
	if (!c->bin || !c->conf || !c->entry)
		return -ENOMEM;
	on_look(&c->look);
	*ret = TAKE_PTR(c);
	return 0;
}

struct cni_install *cni_install_free(struct cni_install *c)
{
	if (!c)
		return NULL;
	file_watch_stop(&c->bin_watch);
	file_watch_stop(&c->conf_watch);
	loop_timer_del(&c->look);
	json_decref(c->entry);
	free(c->bin);
	free(c->conf);
	free(c);
	return NULL;
}

/* ---- and away ---- */

static void on_left(void *arg, const char *path, int error)
{
	if (error < 0)
		log_error_errno("cni", error, "cannot take the plugin away path=%s", path);
	else
		log_info("cni", "plugin taken away path=%s", path);
}

int cni_uninstall(const struct cni_dirs *dirs)
{
	return cni_folder_leave(dirs, on_left, NULL);
}
