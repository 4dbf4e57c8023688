/* SPDX-License-Identifier: Apache-2.0 */
/* pods_guard - when pods' links get their guard, which is for what goes round the hooks of sockets.
 * The kernel takes up to 50 ms for each. So where many pods wait for their capture they go before,
 * and a runtime's answer does; and whoever asks the agent something goes between two of them. */
#include "base/macros.h"
#include "pods_private.h"

#define RUNTIME_US (20 * 1000)
#define OTHERS_US  (20 * 1000)
#define NEXT_US    1000
#define WAITS_MAX  50
/* So few others may wait for one. */
#define FEW 8

static void guard_later(struct pods *p, uint64_t delay_us)
{
	(void)loop_timer_set(p->config.loop, &p->guard, delay_us);
}

static struct enrolment *guard_due(struct pods *p)
{
	struct enrolment *e;

	list_for_each_entry (e, &p->enrolments, link)
		if (e->is_guard_due && e->is_captured)
			return e;
	return NULL;
}

void pods_on_guard(struct loop_timer *t)
{
	struct pods *p = container_of(t, struct pods, guard);
	struct enrolment *e = guard_due(p);

	if (e && p->in_flight > 0 && p->guard_waits < WAITS_MAX) {
		p->guard_waits++;
		guard_later(p, OTHERS_US);
		return;
	}
	if (e)
		enrolment_guard(e);
	if (guard_due(p))
		guard_later(p, NEXT_US);
	else
		p->guard_waits = 0;
}

void pods_guard_sealed(struct pods *p)
{
	guard_later(p, RUNTIME_US);
}

void pods_guard_captured(struct pods *p, struct enrolment *e)
{
	if (!e->is_guard_due)
		return;
	if (e->owner->spec->is_unstarted)
		guard_later(p, RUNTIME_US);
	else if (p->in_flight >= FEW)
		guard_later(p, NEXT_US);
	else
		enrolment_guard(e);
}
