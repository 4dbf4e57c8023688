/* SPDX-License-Identifier: Apache-2.0 */
/* The old agent's side of an upgrade. It lets go of everything that has one owner per node (maps,
 * events, the pods' objects) and stays for its own ztunnel, which serves the pods until the new one
 * has them, and the connections under way after that. */
#include <errno.h>

#include "agent_private.h"
#include "base/log.h"

#define WATCH_US (1000 * 1000)
#define FREE_MAX 5 /* a new agent that is started again takes a moment */

static void on_watch(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, watch);

	if (datapath_relock(a->datapath) < 0) {
		a->free_count = 0;
	} else if (++a->free_count >= FREE_MAX) {
		log_error("agent", "the agent that took over is gone: starting again");
		loop_stop(a->loop, -EPIPE);
		return;
	} else {
		datapath_unlock(a->datapath);
	}
	(void)loop_timer_set(a->loop, t, WATCH_US);
}

static void on_asked(void *arg)
{
	struct agent *a = arg;

	log_info("agent", "another agent takes over; this one serves its ztunnel until that ends");
	a->is_retired = true;
	loop_timer_del(&a->metrics);
	agent_ready_stop(a, false);
	agent_ready_retired(a);
	agent_cni_stop(a);
	agent_kube_stop(a);
	a->admin = http_server_free(a->admin);
	a->sweep = sweep_free(a->sweep);
	a->events = events_free(a->events);
	a->objects = objects_free(a->objects);
	/* no policy of now reaches them until the other one has a ztunnel */
	direct_void(a->direct);
	a->direct = direct_free(a->direct);
	pods_retire(a->pods);
	a->enrolment.guards = guard_thread_free(a->enrolment.guards);
	a->mesh = mesh_free(a->mesh);
	a->watch.on_timer = on_watch;
	(void)loop_timer_set(a->loop, &a->watch, WATCH_US);
	datapath_unlock(a->datapath);
}

int agent_handover_start(struct agent *a, const char *path)
{
	int r;

	if (!path)
		return 0;
	r = handover_listen(a->loop, path, on_asked, a, &a->handover);
	if (r < 0)
		return log_error_errno("agent", r, "cannot listen path=%s", path);
	return 0;
}

void agent_handover_end(struct agent *a)
{
	a->handover = handover_free(a->handover);
	if (!a->loop)
		return;
	loop_timer_del(&a->metrics);
	loop_timer_del(&a->watch);
}

bool agent_retired_waits(struct agent *a)
{
	a->is_stopping = a->is_retired && zds_is_connected(a->zds);
	return a->is_stopping;
}

void agent_retired_lost(struct agent *a)
{
	if (a->is_stopping)
		loop_stop(a->loop, 0);
}
