/* SPDX-License-Identifier: Apache-2.0 */
#include "cacerts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_watch.h"
#include "base/str.h"

struct cacerts {
	struct cacerts_config config;
	struct file_watch watch;
	char *file;
	bool is_waiting; /* told */
};

static void tell(const struct cacerts *c)
{
	const struct source_error err = {
		.file = c->file,
		.kind = "Secret",
		.namespace_ = c->config.namespace_,
		.name = "cacerts",
		.field = "",
		.message = "not in use: it came after the control plane had started with the CA of "
			   "Secret istio-ca-secret. Add its root to root-cert.pem of "
			   "istio-ca-secret, wait until `culvert ztunnel-config certificate` shows "
			   "both roots on each node, then kubectl rollout restart deployment "
			   "-l app=istiod",
	};

	c->config.on_change(c->config.arg, &err, c->is_waiting);
}

static void check(struct cacerts *c)
{
	bool is_waiting = access(c->file, F_OK) == 0;

	if (is_waiting == c->is_waiting)
		return;
	c->is_waiting = is_waiting;
	tell(c);
}

static void on_folder(struct file_watch *w)
{
	check(container_of(w, struct cacerts, watch));
}

int cacerts_new(const struct cacerts_config *config, struct cacerts **ret)
{
	_cleanup_(cacerts_freep) struct cacerts *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->config = *config;
	c->file = str_format("%s/ca-cert.pem", config->folder);
	r = c->file ? file_watch_start(&c->watch, config->loop, config->folder, on_folder)
		    : -ENOMEM;
	if (r < 0)
		return r;
	/* it may have come since the start looked */
	check(c);
	*ret = TAKE_PTR(c);
	return 0;
}

struct cacerts *cacerts_free(struct cacerts *c)
{
	if (!c)
		return NULL;
	file_watch_stop(&c->watch);
	free(c->file);
	free(c);
	return NULL;
}
