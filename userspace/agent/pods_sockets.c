/* SPDX-License-Identifier: Apache-2.0 */
/* pods_sockets - the sockets that ztunnel dials with: the one thing that an agent still does for
 * its pods when another one has taken them over. */
#include <errno.h>

#include "pods_private.h"

void pods_need(struct pods *p, const struct zds_sockets *need)
{
	const struct enrolment *e =
		map_get(p->by_cookie, &need->netns_cookie, sizeof(need->netns_cookie));
	struct zds_sockets reply = *need;
	int fds[ZDS_MAX_FDS], r = -ENOENT;
	uint32_t count;

	if (e)
		r = stock_dial(p->config.stock, e->netns_fd, need, fds);
	reply.h.type = ZDS_SOCKETS;
	reply.error = r < 0 ? (uint32_t)-r : 0;
	reply.count = count = r < 0 ? 0 : need->count;
	(void)zds_send(p->config.zds, &reply.h, sizeof(reply), fds, count);
	for (uint32_t i = 0; i < count; i++)
		close_fd(fds[i]);
}

void pods_retire(struct pods *p)
{
	struct enrolment *e;

	p->is_retired = true;
	pods_check_stop(p);
	loop_timer_del(&p->grace);
	map_for_each (p->by_key, it)
		loop_timer_del(&((struct pod *)it.value)->retry);
	/* What drains is swept by the next agent, which finds nobody behind it. */
	list_for_each_entry (e, &p->draining, link)
		loop_timer_del(&e->timer);
}
