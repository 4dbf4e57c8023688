/* SPDX-License-Identifier: Apache-2.0 */
/* agent_leave - an agent ends for a restart, an upgrade, a reboot: then everything stays, so that
 * no pod is without its mesh for a moment. It takes all away only when it knows that nothing of
 * ours is to come back: its DaemonSet is gone, or going. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "agent_private.h"
#include "base/log.h"
#include "base/str.h"
#include "source/kube_call.h"

#define ASK_US (3 * 1000 * 1000)

bool agent_is_removed(struct agent *a, const char *daemonset)
{
	struct kube_client *kube = a->objects ? objects_kube(a->objects) : NULL;
	const char *slash = daemonset ? strchr(daemonset, '/') : NULL;
	struct kube_reply reply = {0};
	_cleanup_(freep) char *path = NULL;
	struct kube_request_config ask = {.method = "GET", .timeout_us = ASK_US};
	bool is_removed;
	int r;

	if (!kube || !slash)
		return false;
	ask.path = path = str_format("/apis/apps/v1/namespaces/%.*s/daemonsets/%s",
				     (int)(slash - daemonset), daemonset, slash + 1);
	r = path ? kube_call(a->loop, kube, &ask, &reply) : -ENOMEM;
	is_removed =
		r == 0 &&
		(reply.status == 404 ||
		 (kube_reply_is_ok(&reply) &&
		  json_object_get(json_object_get(reply.body, "metadata"), "deletionTimestamp")));
	if (r == 0 && !is_removed && !kube_reply_is_ok(&reply))
		log_warn("agent",
			 "cannot tell a restart from a removal, so everything stays; to take it "
			 "away: culvert-agent --clean daemonset=%s because=\"%s\"",
			 daemonset, reply.message);
	kube_reply_clear(&reply);
	return is_removed;
}
