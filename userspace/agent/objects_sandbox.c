/* SPDX-License-Identifier: Apache-2.0 */
/* objects_sandbox - pods that have a network namespace, but no process yet; and what others ask of
 * the pods that are known. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "model/enrol.h"
#include "objects_private.h"

/* ---- sandboxes ---- */

/* A pod of this name may be another one. The kubelet's own ones are known by the hash of their
 * manifest. */
static bool is_uid(const struct known_pod *k, const char *uid)
{
	const char *own = object_string(k->object, "metadata.uid");
	const char *hash = object_annotation(k->object, "kubernetes.io/config.hash");

	return !own || !*uid || streq(own, uid) || (hash && streq(hash, uid));
}

/* The new descriptor before the old one goes: its number is part of the namespace's path. */
static int sandbox_keep(struct known_pod *k, const struct objects_sandbox *sandbox)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	char *container;

	if (k->sandbox && streq(k->sandbox, sandbox->container))
		return 0;
	fd = fcntl(sandbox->netns_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	container = strdup(sandbox->container);
	if (!container)
		return -ENOMEM;
	close_fd(k->sandbox_fd);
	k->sandbox_fd = TAKE_FD(fd);
	free(k->sandbox);
	k->sandbox = container;
	return 0;
}

int objects_sandbox_add(struct objects *o, const struct objects_sandbox *sandbox, char *why,
			size_t why_size)
{
	struct known_pod *k = map_get_str(o->pods, sandbox->key);
	int r;

	if (!k || !is_uid(k, sandbox->uid)) {
		(void)str_copy(why, why_size, "the pod's object has not come yet");
		return -EAGAIN;
	}
	if (o->kube && !map_get_str(o->namespaces, k->object->namespace_)) {
		(void)str_copy(why, why_size, "the pod's namespace has not come yet");
		return -EAGAIN;
	}
	r = sandbox_keep(k, sandbox);
	if (r < 0) {
		(void)str_copy(why, why_size, strerror(-r));
		return r;
	}
	k->wait_us = 0;
	objects_decide(o, sandbox->key, k);
	(void)str_copy(why, why_size, k->error);
	return k->error[0] ? -EINVAL : k->is_enrolled;
}

bool objects_sandbox_del(struct objects *o, const struct objects_sandbox *sandbox)
{
	struct known_pod *k = map_get_str(o->pods, sandbox->key);

	if (!k || !k->sandbox || !streq(k->sandbox, sandbox->container))
		return false;
	k->sandbox_fd = close_fd(k->sandbox_fd);
	free(k->sandbox);
	k->sandbox = NULL;
	k->is_enrolled = false;
	return true;
}

const struct object *objects_pod(const struct objects *o, const char *key)
{
	const struct known_pod *k = map_get_str(o->pods, key);

	return k ? k->object : NULL;
}

void objects_for_each_pod(const struct objects *o,
			  void (*fn)(void *arg, const char *key, const struct object *pod),
			  void *arg)
{
	map_for_each (o->pods, it)
		fn(arg, it.key, ((const struct known_pod *)it.value)->object);
}

struct kube_client *objects_kube(const struct objects *o)
{
	return o->kube;
}

bool objects_awaits(const struct objects *o, const char *name, size_t len)
{
	map_for_each (o->pods, it) {
		const struct known_pod *k = it.value;

		if (k->is_wanted && !k->is_enrolled && strncmp(it.key, name, len) == 0)
			return true;
	}
	return false;
}

bool objects_is_enrolled(const struct objects *o, const char *key)
{
	const struct known_pod *k = map_get_str(o->pods, key);

	return k && k->is_enrolled;
}

static bool has_enrolled(const struct objects *o, const char *namespace_)
{
	map_for_each (o->pods, it) {
		const struct known_pod *k = it.value;

		if (k->is_enrolled && streq(k->object->namespace_, namespace_))
			return true;
	}
	return false;
}

char *objects_outside(const struct objects *o)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	int r = 0;

	map_for_each (o->namespaces, it)
		if (!enrol_namespace_is_yes(it.value) && !has_enrolled(o, it.key))
			r = r < 0 ? r : buf_printf(&b, "%s\n", (const char *)it.key);
	if (r == 0)
		r = buf_append(&b, "", 1);
	return r < 0 ? NULL : strdup((const char *)buf_head(&b));
}
