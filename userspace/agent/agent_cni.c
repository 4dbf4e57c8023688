/* SPDX-License-Identifier: Apache-2.0 */
/* agent_cni - what culvert-cni is answered, and what it finds on the node. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"
#include "model/enrol.h"

/* ztunnel takes a pod within milliseconds; one that does not is no reason to hold up the pod, whose
 * connections are refused meanwhile. */
#define ZTUNNEL_US (1000 * 1000)
#define OUTSIDE_US (1000 * 1000)

/* ---- answers ---- */

static void answer(struct cni_reply *ret, enum cni_verdict verdict, const char *message)
{
	ret->verdict = verdict;
	(void)str_copy(ret->message, sizeof(ret->message), message);
}

/* How is a pod of the mesh held? */
static void answer_hold(struct agent *a, const char *key, uint64_t waited_us, struct cni_reply *ret)
{
	bool is_soon;
	const char *why;
	enum pods_hold hold = pods_hold(a->pods, key, &is_soon, &why);

	if (hold == PODS_HOLD_SERVED)
		answer(ret, CNI_CAPTURED, "");
	else if (hold == PODS_HOLD_REFUSING && !(is_soon && waited_us < ZTUNNEL_US))
		answer(ret, CNI_REFUSING, why);
	else
		(void)str_copy(ret->message, sizeof(ret->message), why);
}

/* The pod's own labels are those of its object, whose UID was told; the namespace's are to be those
 * of now. */
static void answer_outside(struct agent *a, const char *key, uint64_t waited_us,
			   struct cni_reply *ret)
{
	const struct object *pod = objects_pod(a->objects, key);
	uint64_t since_us = loop_now_us(a->loop) - waited_us;

	if (!a->cni.fresh || !pod || objects_is_released(a->objects) ||
	    enrol_decide(pod, NULL).verdict != ENROL_NO_LABEL ||
	    cni_fresh_ask(a->cni.fresh, pod->namespace_, since_us) == CNI_FRESH_OUTSIDE)
		answer(ret, CNI_OUTSIDE, "");
	else
		(void)str_copy(ret->message, sizeof(ret->message),
			       "the namespace's labels have not come yet");
}

static void answer_add(struct agent *a, const struct objects_sandbox *sandbox, uint64_t waited_us,
		       struct cni_reply *ret)
{
	int r = objects_sandbox_add(a->objects, sandbox, ret->message, sizeof(ret->message));

	if (r == 0)
		answer_outside(a, sandbox->key, waited_us, ret);
	else if (r > 0)
		answer_hold(a, sandbox->key, waited_us, ret);
	else if (r != -EAGAIN)
		ret->verdict = CNI_AGAIN;
}

static void answer_check(struct agent *a, const char *key, struct cni_reply *ret)
{
	bool is_soon;
	const char *why;

	if (!objects_is_enrolled(a->objects, key))
		answer(ret, CNI_OUTSIDE, "");
	else if (pods_hold(a->pods, key, &is_soon, &why) == PODS_HOLD_NONE)
		answer(ret, CNI_AGAIN, why);
	else
		answer(ret, CNI_CAPTURED, "");
}

/* A pod of that name that has left, and whose sandbox this is. */
static void left_end(struct agent *a, const struct objects_sandbox *sandbox)
{
	const char *left_key = objects_left_of(a->objects, sandbox);

	if (left_key)
		pods_end(a->pods, left_key);
}

static void on_request(void *arg, const struct cni_request *q, int netns_fd, uint64_t waited_us,
		       struct cni_reply *ret)
{
	struct agent *a = arg;
	char key[sizeof(q->namespace_) + sizeof(q->pod)];
	struct objects_sandbox sandbox = {
		.key = key, .uid = q->uid, .container = q->container, .netns_fd = netns_fd};

	(void)snprintf(key, sizeof(key), "%s/%s", q->namespace_, q->pod);
	if (!a->objects) {
		answer(ret, CNI_AGAIN, "culvert-agent is starting");
	} else if (q->verb == CNI_ADD) {
		answer_add(a, &sandbox, waited_us, ret);
	} else if (q->verb == CNI_CHECK) {
		answer_check(a, key, ret);
	} else {
		if (objects_sandbox_del(a->objects, &sandbox))
			pods_end(a->pods, key);
		left_end(a, &sandbox);
		answer(ret, CNI_OUTSIDE, "");
	}
}

/* ---- what the plugin finds when we are away ---- */

static void on_outside(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, cni.outside);
	_cleanup_(freep) char *path = str_format("%s/" CNI_OUTSIDE_NAME, a->cni.run_dir);
	_cleanup_(freep) char *text = objects_outside(a->objects);
	int r = path && text ? 0 : -ENOMEM;

	if (r == 0 && a->cni.outside_text && streq(a->cni.outside_text, text))
		return;
	if (r == 0)
		r = file_write_atomic(path, text, strlen(text), 0600);
	if (r < 0) {
		log_warn_errno("cni", r, "cannot write path=%s", path ? path : "");
		return;
	}
	free(a->cni.outside_text);
	a->cni.outside_text = TAKE_PTR(text);
}

void agent_cni_changed(struct agent *a)
{
	cni_server_recheck(a->cni.server);
	if (a->cni.install && !a->cni.outside.at_us)
		(void)loop_timer_set(a->loop, &a->cni.outside, OUTSIDE_US);
}

/* ---- life ---- */

static json_t *exempt_json(const char *names)
{
	json_t *list = json_array();

	while (names && *names) {
		size_t n = strcspn(names, ",");

		if (n > 0)
			(void)json_array_append_new(list, json_stringn(names, n));
		names += n + (names[n] == ',');
	}
	return list;
}

static void on_fresh(void *arg)
{
	struct agent *a = arg;

	cni_server_recheck(a->cni.server);
}

/* Not before: a plugin that cannot be answered lets no pod start. */
void agent_cni_synced(struct agent *a)
{
	struct agent_cni *c = &a->cni;
	struct cni_install_config config = {.loop = a->loop, .dirs = c->dirs};
	_cleanup_(freep) char *away = NULL, *socket = NULL;

	if (c->server && !c->fresh && objects_kube(a->objects) &&
	    cni_fresh_new(a->loop, objects_kube(a->objects), on_fresh, a, &c->fresh) < 0)
		log_error_errno("cni", -ENOMEM, "cannot ask about namespaces");
	cni_server_recheck(c->server);
	if (!c->server || !c->dirs.bin || c->install)
		return;
	away = str_format("%s/" CNI_AWAY_NAME, c->run_dir);
	socket = str_format("%s/" CNI_SOCKET_NAME, c->run_dir);
	if (!away || !socket)
		return;
	(void)unlink(away);
	config.entry = json_pack("{s:s, s:s, s:o, s:i}", "type", CNI_PLUGIN_TYPE, "agentSocket",
				 socket, "exemptNamespaces", exempt_json(c->exempt),
				 "agentAwayGraceSeconds", (int)c->grace_s);
	if (cni_install_new(&config, &c->install) < 0)
		log_error_errno("cni", -ENOMEM, "cannot install the plugin");
	agent_cni_changed(a);
}

/* Nobody answers a plugin that an agent with other options has left: no pod would start. */
static void left_remove(const struct agent_options *o)
{
	const struct cni_dirs dirs = {.bin = o->cni_bin_dir, .conf = o->cni_conf_dir};
	int r = dirs.bin ? cni_uninstall(&dirs) : 0;

	if (r < 0 && r != -ENOENT)
		log_warn_errno("cni", r,
			       "cannot take away what an agent before this one may have left; "
			       "where it is, pods do not start dir=%s",
			       dirs.conf);
}

int agent_cni_start(struct agent *a, const struct agent_options *o)
{
	struct cni_server_config config = {
		.loop = a->loop, .dir = o->cni_run_dir, .on_request = on_request, .arg = a};
	int r;

	if (!o->cni_run_dir) {
		left_remove(o);
		return 0;
	}
	a->cni = (struct agent_cni){
		.dirs = {.bin = o->cni_bin_dir, .conf = o->cni_conf_dir},
		.run_dir = o->cni_run_dir,
		.exempt = o->cni_exempt,
		.grace_s = o->cni_grace_s,
	};
	a->cni.outside.on_timer = on_outside;
	r = cni_server_new(&config, &a->cni.server);
	if (r < 0)
		return log_error_errno("cni", r, "cannot listen for culvert-cni dir=%s",
				       o->cni_run_dir);
	return 0;
}

/* Before anything that takes time: who kills us over it must not leave a plugin that nobody
 * answers.
 */
void agent_cni_leave(struct agent *a)
{
	a->cni.install = cni_install_free(a->cni.install);
	if (a->cni.dirs.bin)
		(void)cni_uninstall(&a->cni.dirs);
	a->cni.dirs = (struct cni_dirs){0};
}

void agent_cni_stop(struct agent *a)
{
	if (a->loop)
		loop_timer_del(&a->cni.outside);
	a->cni.server = cni_server_free(a->cni.server);
	a->cni.install = cni_install_free(a->cni.install);
	a->cni.fresh = cni_fresh_free(a->cni.fresh);
	free(a->cni.outside_text);
	a->cni.outside_text = NULL;
}

const char *agent_cni_error(const struct agent *a)
{
	return a->cni.dirs.bin ? cni_install_error(a->cni.install) : NULL;
}
