/* SPDX-License-Identifier: Apache-2.0 */
/* objects_left - pods of a cluster that were in the mesh when their objects went. Their processes
 * may live on (deleted by force; an API server that was set back), so that they are not released
 * but by their end, or by a Namespace that is taken out of the mesh. One that goes takes nothing
 * out: its pods went before it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "model/enrol.h"
#include "objects_private.h"

static void left_forget(struct objects *o, const char *left_key)
{
	(void)known_pod_free(map_del_str(o->left, left_key));
}

/* Of those that have ended nobody tells. */
static void left_sweep(struct objects *o)
{
	map_for_each (o->left, it)
		if (!o->config.is_left(o->config.arg, it.key))
			left_forget(o, it.key);
}

/* No two pods of a cluster have one UID, and no name has that sign in it. */
void objects_leave(struct objects *o, const char *key, struct known_pod *k)
{
	const char *uid = object_string(k->object, "metadata.uid");
	_cleanup_(freep) char *left_key = str_format("%s#%s", key, uid ? uid : "");

	left_sweep(o);
	if (left_key)
		left_forget(o, left_key);
	if (!left_key || map_put_str(o->left, left_key, k) < 0) {
		log_error("agent", "out of memory: a pod stays in the mesh pod=%s", key);
		known_pod_free(k);
		return;
	}
	o->config.on_pod_left(o->config.arg, key, left_key);
	left_sweep(o);
}

static bool is_wanted(const struct objects *o, const struct known_pod *k)
{
	const struct object *ns = map_get_str(o->namespaces, k->object->namespace_);

	return !o->is_released && enrol_is_yes(enrol_decide(k->object, ns).verdict);
}

void objects_left_decide(struct objects *o, const char *name)
{
	left_sweep(o);
	map_for_each (o->left, it) {
		const struct known_pod *k = it.value;

		if ((name && !streq(k->object->namespace_, name)) || is_wanted(o, k))
			continue;
		o->config.on_pod_gone(o->config.arg, it.key);
		left_forget(o, it.key);
	}
}

const char *objects_left_of(struct objects *o, const struct objects_sandbox *sandbox)
{
	left_sweep(o);
	map_for_each (o->left, it) {
		const struct known_pod *k = it.value;

		if (k->sandbox && streq(k->sandbox, sandbox->container))
			return it.key;
	}
	return NULL;
}

static bool is_in(void *arg, pid_t pid)
{
	return netns_is_of(pid, arg);
}

/* Mostly its oldest one says so; but that may have made a namespace of its own. */
static bool has_process_in(const struct objects *o, const struct known_pod *k,
			   const struct netns_file *file)
{
	const char *uid = procs_uid_of_pod(k->object);
	uint64_t now_us = loop_now_us(o->config.loop);
	pid_t pid = uid ? procs_find(o->procs, uid, now_us) : 0;
	struct netns_file in = *file;

	return pid && (is_in(&in, pid) || procs_any(o->procs, uid, now_us, is_in, &in));
}

struct elsewhere {
	bool (*fn)(void *arg, const char *netns);
	void *arg;
};

static bool on_process(void *arg, pid_t pid)
{
	const struct elsewhere *e = arg;
	char path[NETNS_OF_MAX];

	return e->fn(e->arg, netns_path_of(pid, path));
}

bool objects_elsewhere(const struct objects *o, const char *key,
		       bool (*fn)(void *arg, const char *netns), void *arg)
{
	const struct known_pod *k = map_get_str(o->pods, key);
	const char *uid = k ? procs_uid_of_pod(k->object) : NULL;
	struct elsewhere e = {fn, arg};

	return o->procs && uid &&
	       procs_any(o->procs, uid, loop_now_us(o->config.loop), on_process, &e);
}

bool objects_is_outside(const struct objects *o, const char *name, size_t len,
			const struct netns_file *file)
{
	if (!o->kube || o->is_released)
		return true;
	map_for_each (o->pods, it) {
		const struct known_pod *k = it.value;

		/* without its Namespace nobody knows what it is to be */
		if (!k->is_wanted && map_get_str(o->namespaces, k->object->namespace_) &&
		    strncmp(it.key, name, len) == 0 && has_process_in(o, k, file))
			return true;
	}
	return false;
}
