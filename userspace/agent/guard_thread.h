/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* guard_thread - guard_attach() on a thread of its own. The kernel takes up to 50 ms for each new
 * guard (it waits until no packet is under way past the old list of programs), and ztunnel waits
 * for sockets meanwhile, other pods for their capture. Owner: agent. Thread: loop only; what it
 * runs elsewhere is guard_attach() and guard_retire() alone, one pod after the other. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "guard.h"

struct guard_thread; /* opaque */

/** struct guard_thread_want - what is to be guarded, and who is told. */
struct guard_thread_want {
	struct guard_pod pod; /* its descriptor is copied */
	enum guard_bypass bypass;
	/* From the loop. @r: as of guard_attach(). @tunnels: as of that; on success only. */
	void (*on_done)(void *arg, int r, const char *tunnels);
	void *arg; /* also what guard_thread_cancel() goes by */
	/* It has a guard, or had: mostly quick. Before those that come for the first time. */
	bool is_first;
};

/** guard_thread_new() - takes the loop's wake-up. The thread starts with the first that it is to
 * do, and with the rights that its caller has then. Return: 0; -ENOMEM. */
_must_check_ int guard_thread_new(struct loop *loop, struct datapath *d, struct guard_thread **ret);

/** guard_thread_attach() - soon, after what was asked for before, but for is_first. Return: 0;
 * -errno: never. */
_must_check_ int guard_thread_attach(struct guard_thread *t, const struct guard_thread_want *want);

/** guard_thread_is_at() - is a guard of this pod's under way, if only one that was cancelled? What
 * its caller attaches meanwhile would be retired with it. @t: NULL: none is. */
bool guard_thread_is_at(struct guard_thread *t, uint64_t cookie);

/** guard_thread_cancel() - @arg is told nothing any more. A guard that is under way is attached all
 * the same, and retired at once. @t: NULL: there is nothing. */
void guard_thread_cancel(struct guard_thread *t, const void *arg);

/** guard_thread_mute() - @arg is told nothing any more, and what is under way stays: the pod may be
 * another's, or a later agent's. @t: NULL: there is nothing. */
void guard_thread_mute(struct guard_thread *t, const void *arg);

/** guard_thread_free() - blocks until what is under way is done; nobody is told. Takes NULL.
 * Return: NULL. */
struct guard_thread *guard_thread_free(struct guard_thread *t);
DEFINE_CLEANUP(struct guard_thread *, guard_thread_free);
