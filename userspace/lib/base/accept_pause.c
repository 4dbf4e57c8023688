/* SPDX-License-Identifier: Apache-2.0 */
#include "base/accept_pause.h"

#include <errno.h>

#include "base/macros.h"

#define PAUSE_US (100 * 1000)

static void on_over(struct loop_timer *t)
{
	(void)loop_set(container_of(t, struct accept_pause, timer)->listener, EPOLLIN);
}

void accept_pause_begin(struct accept_pause *p, struct loop *loop, struct loop_fd *listener,
			int error)
{
	if (error == EAGAIN || error == ECONNABORTED || error == EINTR)
		return;
	p->listener = listener;
	p->timer.on_timer = on_over;
	if (loop_timer_set(loop, &p->timer, PAUSE_US) == 0)
		(void)loop_set(listener, 0);
}

void accept_pause_end(struct accept_pause *p)
{
	loop_timer_del(&p->timer);
}
