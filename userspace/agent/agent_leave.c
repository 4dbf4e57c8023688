/* SPDX-License-Identifier: Apache-2.0 */
/* agent_leave - the end of an agent after which none comes: its pods leave the mesh before it does.
 * Other nodes hear of that a moment later, and their own agents end a moment later. What they send
 * by tunnels until then finds its listeners, and the ztunnel behind them, which ends after us. */
#include "agent_private.h"

#define LOOK_US   (100 * 1000)
#define LOOKS_MAX 60 /* a little longer than a released pod keeps its listeners */

static void on_look(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, leave.look);

	if (pods_draining(a->pods) == 0 || !zds_is_connected(a->zds) ||
	    ++a->leave.looks >= LOOKS_MAX || loop_timer_set(a->loop, &a->leave.look, LOOK_US) < 0)
		loop_stop(a->loop, 0);
}

bool agent_leave(struct agent *a)
{
	if (objects_is_released(a->objects))
		return true;
	if (!keeper_has_left(a->kube.keeper, objects_is_ending(a->objects)))
		return false;
	objects_release(a->objects);
	agent_cni_leave(a);
	a->leave.look.on_timer = on_look;
	if (loop_timer_set(a->loop, &a->leave.look, LOOK_US) == 0)
		(void)loop_run(a->loop);
	loop_timer_del(&a->leave.look);
	return true;
}
