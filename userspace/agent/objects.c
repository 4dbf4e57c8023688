/* SPDX-License-Identifier: Apache-2.0 */
#include "objects_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "enrolment.h"
#include "model/enrol.h"
#include "source/json_pool.h"

#define AGAIN_US       200000ULL
#define AGAIN_MAX_US   5000000ULL /* each time all processes of the node are gone through */
#define ROOT_NAMESPACE "istio-system"
#define RELEASE_LABEL  "culvert.io/mesh"
#define RELEASE_VALUE  "released"

struct known_pod *known_pod_free(struct known_pod *k)
{
	if (!k)
		return NULL;
	object_unref(k->object);
	json_decref(k->notes);
	close_fd(k->sandbox_fd);
	free(k->sandbox);
	free(k);
	return NULL;
}

static void pod_error(struct known_pod *k, const char *what)
{
	const struct object *o = k->object;

	(void)snprintf(k->error, sizeof(k->error), "%s:%u: Pod %s/%s: %s", o->file, o->line,
		       o->namespace_, o->name, what);
	log_error("agent", "%s", str_utf8(k->error));
}

static bool is_noted(const json_t *notes, const json_t *one)
{
	const json_t *old;
	size_t i;

	json_array_foreach (notes, i, old)
		if (json_equal(old, one))
			return true;
	return false;
}

struct reading {
	const struct objects *o;
	const char *key;
	struct known_pod *k;
};

static void problem_tell(const struct objects *o, const char *key, const char *message)
{
	if (o->config.on_problem)
		o->config.on_problem(o->config.arg, key, message);
}

/* Told once, however often the pod is looked at again. What a Namespace says wrongly is no single
 * pod's. */
static void on_note(void *arg, const struct object *on, const char *annotation, const char *message,
		    bool is_warning)
{
	const struct reading *x = arg;
	struct known_pod *k = x->k;
	char field[256], line[1024], text[1024];
	json_t *one;

	(void)snprintf(field, sizeof(field), "metadata.annotations[%s]", annotation);
	(void)snprintf(line, sizeof(line), "%s:%u: %s %s%s%s: %s: %s", on->file,
		       object_line(on, field), on->kind, on->namespace_, *on->namespace_ ? "/" : "",
		       on->name, field, message);
	one = json_pack("[s,b]", str_utf8(line), is_warning);
	if (!is_noted(k->old_notes, one)) {
		log_write(is_warning ? LOG_WARN : LOG_ERROR, "agent", "%s", line);
		(void)snprintf(text, sizeof(text), "%s: %s", field, message);
		if (on == k->object)
			problem_tell(x->o, x->key, str_utf8(text));
	}
	(void)json_array_append_new(k->notes, one);
}

static int exclusions_read(struct reading *of, const struct object *ns, struct podspec *spec)
{
	const struct exclude_notes notes = {.fn = on_note, .arg = of};
	struct known_pod *k = of->k;
	struct exclusions x = {0};
	int r;

	k->old_notes = k->notes;
	k->notes = json_array();
	r = exclude_read(k->object, ns, &notes, &x);
	json_decref(k->old_notes);
	k->old_notes = NULL;
	podspec_exclude(spec, &x);
	return r;
}

/* Only `direct` is anything but encrypt: what cannot be understood goes the safe way. */
static bool is_encrypt(const struct object *ns)
{
	const char *mode = object_label(ns, "culvert.io/same-node");

	return mode && !streq(mode, "direct");
}

static void again_arm(struct objects *o, const struct known_pod *k)
{
	if (!o->again.at_us || o->again.at_us > k->again_us)
		(void)loop_timer_set(o->config.loop, &o->again,
				     k->again_us - loop_now_us(o->config.loop));
}

/* Soon, and less often the longer it takes: its sandbox may have ended, and its object may be there
 * for hours yet. */
static void look_again(struct objects *o, struct known_pod *k)
{
	k->is_waiting = true;
	k->wait_us = k->wait_us ? MIN(2 * k->wait_us, AGAIN_MAX_US) : AGAIN_US;
	k->again_us = loop_now_us(o->config.loop) + k->wait_us;
	again_arm(o, k);
}

/* A pod of a cluster is known by its processes. Return: whether it has any; if not, it is looked at
 * again. */
static bool pid_find(struct objects *o, struct known_pod *k, pid_t *ret)
{
	const char *uid = procs_uid_of_pod(k->object);

	k->is_waiting = false;
	if (!uid || !object_string(k->object, "status.podIP"))
		return false; /* it will change */
	*ret = procs_find(o->procs, uid, loop_now_us(o->config.loop));
	if (*ret)
		return true;
	look_again(o, k);
	return false;
}

static bool is_sandbox_of(const struct known_pod *k, pid_t pid)
{
	struct netns_file sandbox;

	return netns_file_of(k->sandbox_fd, &sandbox) == 0 && netns_is_of(pid, &sandbox);
}

/* By a process of it, by the sandbox that awaits one, or by what its object says. Return: 0;
 * -EAGAIN there is neither process nor sandbox; as podspec_new(). */
static int spec_make(struct objects *o, struct known_pod *k, struct podspec **ret, char *err,
		     size_t err_size)
{
	bool is_new = k->sandbox_fd >= 0;
	struct podspec *spec;
	pid_t pid = 0;
	int r;

	if (o->procs && !pid_find(o, k, &pid) && !is_new)
		return -EAGAIN;
	/* one of an earlier sandbox may still be about */
	if (is_new && (!pid || !is_sandbox_of(k, pid)))
		return podspec_new_sandbox(k->object, k->sandbox_fd, ret);
	r = podspec_new(k->object, pid, &spec, err, err_size);
	if (r < 0)
		return r;
	/* its status may still be of the earlier one: the kubelet says what is in this one once it
	 * is ready, for which it waits for us */
	if (is_new && !enrolment_fits(o->config.enrolment, spec, spec->netns)) {
		podspec_free(spec);
		look_again(o, k);
		return podspec_new_sandbox(k->object, k->sandbox_fd, ret);
	}
	k->wait_us = 0;
	*ret = spec;
	return 0;
}

void objects_decide(struct objects *o, const char *key, struct known_pod *k)
{
	const struct object *ns = map_get_str(o->namespaces, k->object->namespace_);
	struct enrol_decision decision = enrol_decide(k->object, ns);
	struct podspec *spec = NULL;
	bool is_started;
	char err[300] = "";
	int r;

	/* Its Namespace went after it, which is told later: it was to be in the mesh to the end. */
	if (o->kube && !ns && k->is_enrolled && !o->is_released)
		return;
	k->error[0] = '\0';
	k->is_wanted = !o->is_released && enrol_is_yes(decision.verdict);
	if (!k->is_wanted) {
		if (k->is_enrolled)
			log_info("agent", "pod is not to be in the mesh pod=%s because=\"%s\"", key,
				 o->is_released ? "the mesh is being uninstalled"
						: decision.reason);
		k->is_enrolled = false;
		o->config.on_pod_gone(o->config.arg, key);
		return;
	}
	r = spec_make(o, k, &spec, err, sizeof(err));
	if (r == -EAGAIN)
		return;
	if (r == 0)
		r = exclusions_read(&(struct reading){o, key, k}, ns, spec);
	if (r < 0) {
		pod_error(k, r == -EINVAL ? err : strerror(-r));
		problem_tell(o, key, k->error);
		podspec_free(spec);
		return;
	}
	if (!k->is_enrolled)
		log_info("agent", "pod is to be in the mesh pod=%s because=\"%s\"", key,
			 decision.reason);
	k->is_enrolled = true;
	spec->is_encrypt = is_encrypt(ns);
	is_started = !spec->is_unstarted;
	o->config.on_pod(o->config.arg, spec);
	if (is_started)
		k->sandbox_fd = close_fd(k->sandbox_fd);
}

static void on_again(struct loop_timer *t)
{
	struct objects *o = container_of(t, struct objects, again);
	uint64_t now_us = loop_now_us(o->config.loop);

	map_for_each (o->pods, it) {
		struct known_pod *k = it.value;

		if (k->is_waiting && k->again_us > now_us) {
			again_arm(o, k);
		} else if (k->is_waiting) {
			k->is_waiting = false;
			objects_decide(o, it.key, k);
		}
	}
}

static void pod_forget(struct objects *o, const char *key)
{
	struct known_pod *k = map_del_str(o->pods, key);

	if (!k)
		return;
	/* of one that has ended an earlier sandbox may live, which its Namespace is to decide of */
	if (o->kube && (k->is_enrolled || o->config.is_left(o->config.arg, key))) {
		objects_leave(o, key, k);
		return;
	}
	o->config.on_pod_gone(o->config.arg, key);
	known_pod_free(k);
}

/* Kubernetes leaves finished pods lying about; they have no namespace any more. */
static bool is_finished(const struct object *pod)
{
	const char *phase = object_string(pod, "status.phase");

	return phase && (streq(phase, "Succeeded") || streq(phase, "Failed"));
}

static void changed(const struct objects *o)
{
	if (o->config.on_changed)
		o->config.on_changed(o->config.arg);
}

static bool is_same_uid(const struct object *a, const struct object *b)
{
	const char *x = object_string(a, "metadata.uid"), *y = object_string(b, "metadata.uid");

	return !x || !y || streq(x, y);
}

static int pod_put(struct objects *o, const char *key, struct object *obj)
{
	struct known_pod *k = map_get_str(o->pods, key);
	int r;

	/* Made anew under its name, and the end of the old one was not told. */
	if (k && o->kube && !is_same_uid(k->object, obj)) {
		pod_forget(o, key);
		k = NULL;
	}
	if (!k) {
		k = calloc(1, sizeof(*k));
		if (!k)
			return -ENOMEM;
		k->sandbox_fd = -EBADF;
		r = map_put_str(o->pods, key, k);
		if (r < 0) {
			free(k);
			return r;
		}
	}
	object_unref(k->object);
	k->object = object_ref(obj);
	k->wait_us = 0;
	objects_decide(o, key, k);
	changed(o);
	return 0;
}

static void on_pod(struct objects *o, struct object *obj)
{
	_cleanup_(freep) char *key = str_format("%s/%s", obj->namespace_, obj->name);
	const char *node = object_string(obj, "spec.nodeName");
	int r;

	if (!key)
		return;
	if (!node || !streq(node, o->node) || is_finished(obj)) {
		pod_forget(o, key);
		return;
	}
	r = pod_put(o, key, obj);
	if (r < 0)
		log_error_errno("agent", r, "cannot remember a pod pod=%s", key);
}

/* @name: NULL: of all namespaces. Pods of others are not touched. */
static void namespace_decide(struct objects *o, const char *name)
{
	map_for_each (o->pods, it) {
		struct known_pod *k = it.value;

		if (!name || streq(k->object->namespace_, name))
			objects_decide(o, it.key, k);
	}
	objects_left_decide(o, name);
}

/* A Namespace that is not there says nothing: the server may have lost it, and get it back. */
static void ending_read(struct objects *o, const struct object *root)
{
	bool is_ending = object_string(root, "metadata.deletionTimestamp");

	if (is_ending && !o->is_ending)
		log_info("agent",
			 "namespace " ROOT_NAMESPACE
			 " is being deleted: with the agent's end the mesh leaves this node");
	o->is_ending = is_ending;
}

/* What `culvert uninstall` says to all nodes at once. */
static void release_read(struct objects *o, const struct object *root)
{
	const char *label = object_label(root, RELEASE_LABEL);
	bool is_released = o->is_leaving || (label && streq(label, RELEASE_VALUE));

	if (is_released == o->is_released)
		return;
	log_info("agent", "%s",
		 is_released ? "the mesh is being uninstalled: all pods are released"
			     : "the mesh is not uninstalled after all");
	o->is_released = is_released;
	namespace_decide(o, NULL);
}

static void on_namespace(struct objects *o, struct object *obj)
{
	struct object *new = object_ref(obj), *old = map_get_str(o->namespaces, obj->name);
	int r = map_put_str(o->namespaces, obj->name, new);

	if (r < 0) {
		object_unref(new);
		log_error_errno("agent", r, "cannot remember a namespace namespace=%s", obj->name);
		return;
	}
	object_unref(old);
	if (streq(obj->name, ROOT_NAMESPACE)) {
		ending_read(o, obj);
		release_read(o, obj);
	}
	namespace_decide(o, obj->name);
	changed(o);
}

/* In a folder are the pods of all nodes. Of another one's is kept what tells whether it changes. */
static int on_read(void *arg, struct object *obj)
{
	const struct objects *o = arg;
	const char *node = object_string(obj, "spec.nodeName");

	return node && streq(node, o->node) ? 0 : object_reduce(obj, o->labels);
}

static void on_put(void *arg, struct object *obj)
{
	struct objects *o = arg;

	if (streq(obj->kind, "Pod"))
		on_pod(o, obj);
	else if (streq(obj->kind, "Namespace"))
		on_namespace(o, obj);
}

static void on_delete(void *arg, struct object *obj)
{
	struct objects *o = arg;

	if (streq(obj->kind, "Pod")) {
		_cleanup_(freep) char *key = str_format("%s/%s", obj->namespace_, obj->name);

		if (key)
			pod_forget(o, key);
	} else if (streq(obj->kind, "Namespace")) {
		object_unref(map_del_str(o->namespaces, obj->name));
		/* In a cluster its pods have gone before, though that may be told later. */
		if (!o->kube)
			namespace_decide(o, obj->name);
	}
}

/* The control plane reads the same folder and reports every error; the agent only what touches
 * pods. */
static void on_error(void *arg, const struct source_error *err)
{
	bool is_namespace = streq(err->kind, "Namespace");
	struct objects *o = arg;
	char line[1024];

	if (!streq(err->kind, "Pod") && !streq(err->kind, "Namespace"))
		return;
	(void)source_error_format(err, line, sizeof(line));
	log_write(err->is_warning ? LOG_WARN : LOG_ERROR, "agent", "%s", line);
	if (!o->kube || *err->name)
		return;
	/* not of one object: of the kind */
	(void)snprintf(o->troubles[is_namespace].file, sizeof(o->troubles[0].file), "%s",
		       err->file);
	(void)snprintf(o->troubles[is_namespace].line, sizeof(o->troubles[0].line), "%s", line);
}

static void on_error_cleared(void *arg, const char *file)
{
	struct objects *o = arg;

	for (size_t i = 0; i < ARRAY_SIZE(o->troubles); i++)
		if (streq(o->troubles[i].file, file))
			o->troubles[i].file[0] = o->troubles[i].line[0] = '\0';
}

const char *objects_trouble(const struct objects *o)
{
	for (size_t i = 0; o && i < ARRAY_SIZE(o->troubles); i++)
		if (*o->troubles[i].line)
			return o->troubles[i].line;
	if (o && o->is_released && !o->is_leaving)
		return "no pod is in the mesh: label " RELEASE_LABEL "=" RELEASE_VALUE
		       " of Namespace " ROOT_NAMESPACE " says that it is being uninstalled";
	return NULL;
}

static void on_synced(void *arg)
{
	const struct objects *o = arg;

	o->config.on_synced(o->config.arg);
}

static const struct source_ops source_ops = {
	.on_put = on_put,
	.on_delete = on_delete,
	.on_error = on_error,
	.on_error_cleared = on_error_cleared,
	.on_synced = on_synced,
	.on_read = on_read,
};

static int source_start(struct objects *o)
{
	static const char *const kinds[] = {"Namespace", "Pod", NULL};
	const struct objects_config *c = &o->config;
	struct source_kube_config kube = {.loop = c->loop, .kinds = kinds, .node = c->node};
	char err[512] = "";
	int r;

	if (c->config_dir)
		return source_folder_new(c->loop, c->config_dir, &source_ops, o, &o->source);
	r = kube_client_open(c->loop, c->kubeconfig, &o->kube, err, sizeof(err));
	if (r < 0) {
		log_error("agent", "no API server: %s", err[0] ? err : strerror(-r));
		return r;
	}
	kube.client = o->kube;
	r = procs_new("/proc", &o->procs);
	return r < 0 ? r : source_kube_new(&kube, &source_ops, o, &o->source);
}

int objects_new(const struct objects_config *config, struct objects **ret)
{
	_cleanup_(objects_freep) struct objects *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->config = *config;
	o->again.on_timer = on_again;
	o->node = strdup(config->node);
	if (!o->node)
		return -ENOMEM;
	r = map_new(&o->pods);
	if (r == 0)
		r = map_new(&o->left);
	if (r == 0)
		r = map_new(&o->namespaces);
	if (r == 0)
		r = json_pool_new(&o->labels);
	if (r == 0)
		r = source_start(o);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

struct objects *objects_free(struct objects *o)
{
	if (!o)
		return NULL;
	source_free(o->source);
	(void)kube_client_free(o->kube);
	loop_timer_del(&o->again);
	procs_free(o->procs);
	if (o->pods)
		map_for_each (o->pods, it)
			known_pod_free(it.value);
	if (o->left)
		map_for_each (o->left, it)
			known_pod_free(it.value);
	if (o->namespaces)
		map_for_each (o->namespaces, it)
			object_unref(it.value);
	map_free(o->pods);
	map_free(o->left);
	map_free(o->namespaces);
	(void)json_pool_free(o->labels);
	free(o->node);
	free(o);
	return NULL;
}

bool objects_is_released(const struct objects *o)
{
	return o && o->is_released;
}

void objects_release(struct objects *o)
{
	if (!o)
		return;
	o->is_leaving = o->is_released = true;
	namespace_decide(o, NULL);
}

bool objects_is_ending(const struct objects *o)
{
	return o && o->is_ending;
}

void objects_for_each_error(const struct objects *o,
			    void (*fn)(void *arg, const char *line, bool is_warning), void *arg)
{
	map_for_each (o->pods, it) {
		const struct known_pod *k = it.value;
		const json_t *one;
		size_t i;

		if (k->error[0])
			fn(arg, k->error, false);
		json_array_foreach (k->notes, i, one)
			fn(arg, json_string_value(json_array_get(one, 0)),
			   json_is_true(json_array_get(one, 1)));
	}
}
