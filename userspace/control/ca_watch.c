/* SPDX-License-Identifier: Apache-2.0 */
#include "ca_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_watch.h"
#include "base/log.h"
#include "base/str.h"

#define TARGET "ca"
/* Four files are replaced one after the other: how long they may not fit together. */
#define PATIENCE_US (2 * 1000 * 1000)
#define ERR_SIZE    512

struct ca_watch {
	struct ca_watch_config config;
	char *dir;
	struct file_watch folder;
	struct loop_timer patience;
	char told[ERR_SIZE]; /* each mistake once */
};

static int load(struct ca_watch *w, struct ca **ret, char *err, size_t err_size)
{
	struct ca_material m = {0};
	int r = ca_files_reload(w->dir, w->config.ca, &m, err, err_size);

	if (r == 0)
		r = ca_new(&m, ret, err, err_size);
	ca_material_clear(&m);
	return r;
}

static bool is_same(const struct ca *a, const struct ca *b)
{
	char va[CA_VERSION_SIZE], vb[CA_VERSION_SIZE];

	return ca_version(a, va) == 0 && ca_version(b, vb) == 0 && streq(va, vb);
}

static void take(struct ca_watch *w, struct ca *ca)
{
	const struct ca *old = w->config.ca;

	if (!ca_is_trusted_by(ca, old))
		log_warn(TARGET,
			 "the new signer is of a root that no node trusts yet: until all have "
			 "it they refuse each other; next time add the root to "
			 "root-cert.pem first");
	log_info(TARGET, "roots or signer taken over folder=%s", w->dir);
	w->config.ca = ca;
	w->config.on_change(w->config.arg, ca);
}

/* Return: 0 what there is is in force. */
static int reload(struct ca_watch *w, char *err, size_t err_size)
{
	struct ca *ca = NULL;
	int r = load(w, &ca, err, err_size);

	if (r < 0)
		return r;
	w->told[0] = '\0';
	loop_timer_del(&w->patience);
	if (is_same(ca, w->config.ca))
		(void)ca_free(ca);
	else
		take(w, ca);
	return 0;
}

static void on_folder(struct file_watch *folder)
{
	struct ca_watch *w = container_of(folder, struct ca_watch, folder);
	char err[ERR_SIZE];

	if (reload(w, err, sizeof(err)) < 0 && !w->patience.at_us)
		(void)loop_timer_set(w->config.loop, &w->patience, PATIENCE_US);
}

static void on_patience(struct loop_timer *t)
{
	struct ca_watch *w = container_of(t, struct ca_watch, patience);
	char err[ERR_SIZE];
	int r = reload(w, err, sizeof(err));

	if (r == 0 || streq(err, w->told))
		return;
	(void)str_copy(w->told, sizeof(w->told), err);
	log_error(TARGET, "not taken over, roots and signer stay: %s%s", err,
		  r == -EACCES ? " (let this process's user read it, or restart)" : "");
}

int ca_watch_new(const struct ca_watch_config *config, struct ca_watch **ret)
{
	_cleanup_(ca_watch_freep) struct ca_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->config = *config;
	w->patience.on_timer = on_patience;
	w->dir = strdup(config->dir);
	r = w->dir ? file_watch_start(&w->folder, config->loop, w->dir, on_folder) : -ENOMEM;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct ca_watch *ca_watch_free(struct ca_watch *w)
{
	if (!w)
		return NULL;
	file_watch_stop(&w->folder);
	loop_timer_del(&w->patience);
	free(w->dir);
	free(w);
	return NULL;
}
