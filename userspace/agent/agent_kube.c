/* SPDX-License-Identifier: Apache-2.0 */
/* agent_kube - what the agent tells the cluster: annotations and Events of its node's
 * pods, and the DaemonSet that keeps it running there. */
#include "agent_private.h"
#include "base/log.h"

static int keeper_start(struct agent *a, struct kube_client *client, const char *daemonset)
{
	const struct keeper_config config = {
		.loop = a->loop, .client = client, .node = a->node, .daemonset = daemonset};
	int r;

	if (!daemonset)
		return 0;
	r = keeper_new(&config, &a->kube.keeper);
	return r < 0 ? log_error_errno("agent", r, "cannot listen for the DaemonSet's end") : 0;
}

int agent_kube_start(struct agent *a, const char *daemonset)
{
	struct kube_client *client = objects_kube(a->objects);
	int r;

	if (!client)
		return 0;
	r = keeper_start(a, client, daemonset);
	if (r < 0)
		return r;
	r = kube_write_new(a->loop, client, &a->kube.write);
	if (r == 0)
		r = kube_events_new(a->loop, a->kube.write, a->node, &a->kube.events);
	if (r == 0)
		r = redirection_new(a->loop, a->kube.write, a->objects, a->pods,
				    &a->kube.redirection);
	return r < 0 ? log_error_errno("agent", r, "cannot prepare to write to the cluster") : 0;
}

void agent_kube_stop(struct agent *a)
{
	a->kube.redirection = redirection_free(a->kube.redirection);
	a->kube.events = kube_events_free(a->kube.events);
	a->kube.write = kube_write_free(a->kube.write);
	a->kube.keeper = keeper_free(a->kube.keeper);
}

void agent_kube_warn(struct agent *a, const char *key, const char *reason, const char *message)
{
	if (a->objects)
		kube_events_warn(a->kube.events, objects_pod(a->objects, key), reason, message);
}
