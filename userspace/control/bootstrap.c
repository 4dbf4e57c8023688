/* SPDX-License-Identifier: Apache-2.0 */
#include "bootstrap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "source/kube_call.h"

#define AGAIN_US  1000000ULL
#define TELL_EACH 30 /* tries between two lines of the log */

static bool is_answer(const struct kube_reply *r)
{
	return kube_reply_is_ok(r) || r->status == 404 || r->status == 409;
}

int bootstrap_call(const struct bootstrap *b, const struct kube_request_config *config,
		   struct kube_reply *ret)
{
	for (unsigned int n = 0;; n++) {
		int r = kube_call(b->loop, b->kube, config, ret);

		if (r == -EINTR || r == -ENOMEM || (r == 0 && is_answer(ret)))
			return r;
		if (n % TELL_EACH == 0)
			log_warn("control", "waiting for the API server path=%s status=%d: %s",
				 config->path, ret->status, ret->message);
		r = kube_pause(b->loop, AGAIN_US);
		if (r < 0)
			return r;
	}
}

static void waiting_log(void)
{
	log_error("control", "waiting for a MeshConfig without mistakes: until then neither the "
			     "trust domain nor what it closes is known");
}

/** struct telling - each mistake once, as long as the object stays the same. */
struct telling {
	void (*on_error)(void *arg, const struct source_error *err);
	void *arg;
	char version[64]; /* that was told of */
	bool is_silent;
};

static void on_mistake(void *arg, const struct source_error *err)
{
	const struct telling *t = arg;

	if (!t->is_silent)
		t->on_error(t->arg, err);
}

/* @body: taken. */
static int mesh_config_take(struct telling *t, json_t *body, struct mesh_config *ret)
{
	const char *version = json_string_value(
		json_object_get(json_object_get(body, "metadata"), "resourceVersion"));
	_cleanup_(object_unrefp) struct object *o = NULL;
	int r;

	t->is_silent = version && streq(version, t->version);
	(void)str_copy(t->version, sizeof(t->version), version ? version : "");
	r = object_new_json(body, &o);
	if (r == 0)
		r = mesh_config_read(o, on_mistake, t, ret);
	if (r == -EINVAL && !t->is_silent)
		waiting_log();
	return r;
}

static void on_folder_mistake(void *arg, const struct source_error *err)
{
	struct telling *t = arg;

	t->on_error(t->arg, err);
	if (!err->is_warning && !t->is_silent)
		waiting_log();
	t->is_silent |= !err->is_warning;
}

static int cluster_mesh_config(const struct bootstrap *b,
			       void (*on_error)(void *arg, const struct source_error *err),
			       void *arg, struct mesh_config *ret)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/configmaps/%s", b->namespace_, b->mesh_config);
	const struct kube_request_config config = {.method = "GET", .path = path};
	struct telling t = {.on_error = on_error, .arg = arg};
	int r;

	do {
		struct kube_reply c = {0};

		r = path ? bootstrap_call(b, &config, &c) : -ENOMEM;
		if (r == 0 && c.status == 200)
			r = mesh_config_take(&t, TAKE_PTR(c.body), ret);
		kube_reply_clear(&c);
		/* one without it would sign for another trust domain, and open what was closed */
		if (r == -EINVAL && kube_pause(b->loop, AGAIN_US) < 0)
			return -EINTR;
	} while (r == -EINVAL);
	return r;
}

int bootstrap_mesh_config(const struct bootstrap *b,
			  void (*on_error)(void *arg, const struct source_error *err), void *arg,
			  struct mesh_config *ret)
{
	struct telling t = {.on_error = on_error, .arg = arg};
	const struct mesh_config_search search = {.loop = b->loop,
						  .folder = b->folder,
						  .namespace_ = b->namespace_,
						  .on_error = on_folder_mistake,
						  .arg = &t};

	return b->kube ? cluster_mesh_config(b, on_error, arg, ret)
		       : mesh_config_find(&search, ret);
}
