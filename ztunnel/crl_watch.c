/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/crl_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_watch.h"
#include "base/log.h"
#include "base/str.h"
#include "tls/trust.h"

#define TARGET         "crl"
#define FILE_BYTES_MAX (16 * 1024 * 1024)

struct crl_watch {
	char *path;
	struct tls_trust *trust;
	struct file_watch folder;
	void (*on_change)(void *arg);
	void *arg;
	int error;   /* of the last reading; told once */
	bool is_new; /* never read yet */
};

/* Return: 0 other lists are in force; -errno. */
static int load(struct crl_watch *w, size_t *ret_count)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r = file_read(w->path, FILE_BYTES_MAX, &text, &len);

	return r < 0 ? r : tls_trust_load_crl(w->trust, text, len, ret_count);
}

static void reload(struct crl_watch *w)
{
	size_t count = 0;
	int r = load(w, &count);

	if (r < 0) {
		if (r != w->error)
			(void)log_error_errno(TARGET, r, "cannot read, %s path=\"%s\"",
					      w->is_new ? "nothing is revoked"
							: "the lists before stay in force",
					      w->path);
		w->error = r;
		return;
	}
	w->error = 0;
	w->is_new = false;
	log_info(TARGET, "loaded path=\"%s\" revoked=%zu", w->path, count);
	if (w->on_change)
		w->on_change(w->arg);
}

static void on_folder(struct file_watch *folder)
{
	reload(container_of(folder, struct crl_watch, folder));
}

static int folder_watch(struct crl_watch *w, struct loop *l)
{
	_cleanup_(freep) char *folder = strdup(w->path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!folder)
		return -ENOMEM;
	if (slash)
		slash[slash == folder] = '\0';
	return file_watch_start(&w->folder, l, slash ? folder : ".", on_folder);
}

int crl_watch_new(const struct crl_watch_config *config, struct crl_watch **ret)
{
	_cleanup_(crl_watch_freep) struct crl_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->trust = config->trust;
	w->is_new = true;
	w->path = strdup(config->path);
	r = w->path ? folder_watch(w, config->loop) : -ENOMEM;
	if (r < 0)
		return log_error_errno(TARGET, r, "cannot watch the folder of %s", config->path);
	reload(w);
	w->on_change = config->on_change;
	w->arg = config->arg;
	*ret = TAKE_PTR(w);
	return 0;
}

struct crl_watch *crl_watch_free(struct crl_watch *w)
{
	if (!w)
		return NULL;
	file_watch_stop(&w->folder);
	free(w->path);
	free(w);
	return NULL;
}
