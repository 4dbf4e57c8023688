/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* accept_pause - a listener whose accept(2) fails for want of descriptors or memory is not asked
 * for a while: the connection stays in its queue and would wake the loop for ever. Loop only. */
#include "base/loop.h"

/** struct accept_pause - zeroed before first use. */
struct accept_pause {
	struct loop_timer timer;
	struct loop_fd *listener;
};

/** accept_pause_begin() - accept(2) of @listener, which is in @loop for EPOLLIN, failed with
 * @error, positive. It is asked again after 100 ms, at once where @error is about one connection or
 * says that none waits. */
void accept_pause_begin(struct accept_pause *p, struct loop *loop, struct loop_fd *listener,
			int error);
/** accept_pause_end() - before the listener goes. */
void accept_pause_end(struct accept_pause *p);
