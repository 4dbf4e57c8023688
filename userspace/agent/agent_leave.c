/* SPDX-License-Identifier: Apache-2.0 */
/* agent_leave - an agent ends for a restart, an upgrade, a reboot: then everything stays, so that
 * no pod is without its mesh for a moment. It takes all away only when it knows that nothing of
 * ours is to come back: its DaemonSet is gone, or going, or does not want this node. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"
#include "daemonset.h"
#include "source/kube_call.h"

#define ASK_US (3 * 1000 * 1000)

/* Return: 0, @reply is the caller's to clear; -errno. */
static int ask(struct agent *a, const char *path, struct kube_reply *reply)
{
	const struct kube_request_config config = {
		.method = "GET", .path = path, .timeout_us = ASK_US};

	return path ? kube_call(a->loop, objects_kube(a->objects), &config, reply) : -ENOMEM;
}

/* Its DaemonSet is there. Its pod goes for good all the same where it does not want the node. */
static bool is_node_left(struct agent *a, const json_t *daemonset)
{
	_cleanup_(freep) char *path = str_format("/api/v1/nodes/%s", a->node);
	struct kube_reply reply = {0};
	int r = ask(a, path, &reply);
	bool is_left =
		r == 0 && kube_reply_is_ok(&reply) && !daemonset_wants(daemonset, reply.body);

	if (is_left)
		log_info("agent",
			 "the DaemonSet wants this node no more: pods are released "
			 "node=%s",
			 a->node);
	else if (r == 0 && !kube_reply_is_ok(&reply) && reply.status != 404)
		log_warn("agent",
			 "cannot tell whether this node is to have an agent, so "
			 "everything stays because=\"%s\"",
			 reply.message);
	kube_reply_clear(&reply);
	return is_left;
}

bool agent_is_removed(struct agent *a, const char *daemonset)
{
	const char *slash = daemonset ? strchr(daemonset, '/') : NULL;
	struct kube_reply reply = {0};
	_cleanup_(freep) char *path = NULL;
	bool is_removed = false;

	if (!a->objects || !objects_kube(a->objects) || !slash)
		return false;
	path = str_format("/apis/apps/v1/namespaces/%.*s/daemonsets/%s", (int)(slash - daemonset),
			  daemonset, slash + 1);
	if (ask(a, path, &reply) < 0)
		return false;
	if (kube_reply_is_ok(&reply))
		is_removed = json_object_get(json_object_get(reply.body, "metadata"),
					     "deletionTimestamp") ||
			     is_node_left(a, reply.body);
	else if (reply.status == 404)
		is_removed = true;
	else
		log_warn("agent",
			 "cannot tell a restart from a removal, so everything stays; to take it "
			 "away: culvert-agent --clean daemonset=%s because=\"%s\"",
			 daemonset, reply.message);
	kube_reply_clear(&reply);
	return is_removed;
}
