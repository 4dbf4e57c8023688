/* SPDX-License-Identifier: Apache-2.0 */
/* keeper - an agent ends for a restart, an upgrade, a reboot: then everything stays, so that no pod
 * is without its mesh for a moment. It takes all away only when it knows that nothing of ours is to
 * come back: its DaemonSet is gone, or going, or does not want this node, or its namespace is being
 * deleted, in which nothing can be made any more.
 *
 * The API server says so at the end. Where it says instead that the agent may not ask (`kubectl
 * delete -f`, `helm uninstall` and the namespace's end take account and roles away before the
 * kubelet has heard of the pods'), what was heard before decides: a watch that is open outlives the
 * right to open one. Only an object's own end counts there, never that a list does not have it: a
 * list is empty, too, where a server has lost what it had. */
#include "keeper.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "daemonset.h"
#include "source/kube_call.h"
#include "source/kube_watch.h"

#define ASK_US (3 * 1000 * 1000)

struct keeper {
	struct loop *loop;
	struct kube_client *client;
	char *node, *name;
	char *path; /* of all DaemonSets of its namespace */
	struct kube_watch *watch;
	enum daemonset_fate fate; /* as it was heard of last */
};

/* ---- what is heard ---- */

static void on_list(void *arg)
{
}

static int on_object(void *arg, json_t *object)
{
	struct keeper *k = arg;

	k->fate = daemonset_fate(object);
	return 0;
}

static void on_deleted(void *arg, json_t *object)
{
	struct keeper *k = arg;

	/* it may have been told when that began, or only now */
	if (k->fate != DAEMONSET_ORPHANS && daemonset_fate(object) != DAEMONSET_ORPHANS)
		k->fate = DAEMONSET_GOES;
	else
		k->fate = DAEMONSET_ORPHANS;
}

static void on_trouble(void *arg, const char *message)
{
	const struct keeper *k = arg;

	if (message)
		log_warn("agent", "the own DaemonSet is not heard of daemonset=%s because=\"%s\"",
			 k->name, message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_list,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_list,
	.on_trouble = on_trouble,
};

/* ---- what is asked ---- */

/* Return: 0, @reply is the caller's to clear; -errno. */
static int ask(struct keeper *k, const char *path, struct kube_reply *reply)
{
	const struct kube_request_config config = {
		.method = "GET", .path = path, .timeout_us = ASK_US};

	return path ? kube_call(k->loop, k->client, &config, reply) : -ENOMEM;
}

/* Its DaemonSet is there. Its pod goes for good all the same where it does not want the node. */
static bool is_node_left(struct keeper *k, const json_t *daemonset)
{
	_cleanup_(freep) char *path = str_format("/api/v1/nodes/%s", k->node);
	struct kube_reply reply = {0};
	int r = ask(k, path, &reply);
	bool is_left =
		r == 0 && kube_reply_is_ok(&reply) && !daemonset_wants(daemonset, reply.body);

	if (is_left)
		log_info("agent",
			 "the DaemonSet wants this node no more: pods are released "
			 "node=%s",
			 k->node);
	else if (r == 0 && !kube_reply_is_ok(&reply) && reply.status != 404)
		log_warn("agent",
			 "cannot tell whether this node is to have an agent, so "
			 "everything stays because=\"%s\"",
			 reply.message);
	kube_reply_clear(&reply);
	return is_left;
}

/* That it is not there, and not that something on the way knows nothing of DaemonSets. */
static bool is_not_found(const struct keeper *k, const struct kube_reply *reply)
{
	const char *name =
		json_string_value(json_object_get(json_object_get(reply->body, "details"), "name"));

	return reply->status == 404 && name && streq(name, k->name);
}

/* Return: 1 yes; 0 no; -EAGAIN that cannot be told. */
static int judge(struct keeper *k, const struct kube_reply *reply, bool is_ending)
{
	enum daemonset_fate fate;

	if (kube_reply_is_ok(reply)) {
		fate = daemonset_fate(reply->body);
		if (is_ending || fate == DAEMONSET_GOES)
			return 1;
		return fate == DAEMONSET_STAYS && is_node_left(k, reply->body);
	}
	if (is_not_found(k, reply))
		return is_ending || k->fate != DAEMONSET_ORPHANS ? 1 : -EAGAIN;
	if (reply->status == 401 || reply->status == 403)
		return is_ending || k->fate == DAEMONSET_GOES ? 1 : -EAGAIN;
	return -EAGAIN;
}

bool keeper_has_left(struct keeper *k, bool is_ending)
{
	_cleanup_(freep) char *path = k ? str_format("%s/%s", k->path, k->name) : NULL;
	struct kube_reply reply = {0};
	int r;

	if (!k)
		return false;
	r = ask(k, path, &reply);
	r = r < 0 ? -EAGAIN : judge(k, &reply, is_ending);
	if (r < 0)
		log_warn("agent",
			 "cannot tell a restart from a removal, so everything stays; to take it "
			 "away: culvert-agent --clean daemonset=%s because=\"%s\"",
			 k->name, reply.message);
	kube_reply_clear(&reply);
	return r == 1;
}

/* ---- life ---- */

static int watch_start(struct keeper *k)
{
	_cleanup_(freep) char *selector = str_format("fieldSelector=metadata.name%%3D%s", k->name);
	const struct kube_watch_config config = {
		.kind = "DaemonSet",
		.loop = k->loop,
		.client = k->client,
		.path = k->path,
		.selector = selector,
		/* its status changes with every pod of it, on every node */
		.is_metadata_only = true,
		.ops = &watch_ops,
		.arg = k,
	};

	return selector ? kube_watch_new(&config, &k->watch) : -ENOMEM;
}

int keeper_new(const struct keeper_config *config, struct keeper **ret)
{
	_cleanup_(keeper_freep) struct keeper *k = calloc(1, sizeof(*k));
	const char *slash = strchr(config->daemonset, '/');
	int r;

	if (!slash)
		return -EINVAL;
	if (!k)
		return -ENOMEM;
	k->loop = config->loop;
	k->client = config->client;
	k->node = strdup(config->node);
	k->name = strdup(slash + 1);
	k->path = str_format("/apis/apps/v1/namespaces/%.*s/daemonsets",
			     (int)(slash - config->daemonset), config->daemonset);
	if (!k->node || !k->name || !k->path)
		return -ENOMEM;
	r = watch_start(k);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

struct keeper *keeper_free(struct keeper *k)
{
	if (!k)
		return NULL;
	k->watch = kube_watch_free(k->watch);
	free(k->node);
	free(k->name);
	free(k->path);
	free(k);
	return NULL;
}
