/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* needs - who asked the agent for which sockets: it answers those for one pod, kind and family in
 * order. Thread: the main loop. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "culvert/zds.h"

#define NEED_BY_DNS UINT32_MAX
#define NEEDS_MAX   100000

struct needs {
	struct list list; /* oldest first */
	uint32_t count;
};

void needs_init(struct needs *n);
/** needs_add() - @by: worker, or NEED_BY_DNS. Return: 0; -ENOMEM; -ENOSPC. */
_must_check_ int needs_add(struct needs *n, uint32_t by, const struct zds_sockets *m);
/** needs_take() - the oldest that @m answers leaves the list. @ret_by: may be NULL. Return: false:
 * nobody asked. */
bool needs_take(struct needs *n, const struct zds_sockets *m, uint32_t *ret_by);
/** struct needs_ops - the two ends. */
struct needs_ops {
	/* To the agent. Return: 0; -errno: it will not hear of it. */
	int (*send)(void *arg, const struct zds_sockets *m);
	/* To who asked; @fds are taken. */
	void (*give)(void *arg, uint32_t by, const struct zds_sockets *m, const int *fds);
	void *arg;
};

/** needs_ask() - ask, and remember who. What the agent will not hear of is answered at once, with
 * an error and no sockets, so that nobody waits in vain; but not to the resolver, which is in the
 * middle of it, and asks again by itself. */
void needs_ask(struct needs *n, const struct needs_ops *ops, uint32_t by,
	       const struct zds_sockets *m);
/** needs_refuse() - the agent will answer nothing of what it was asked: all but the resolver hear
 * @error, a -errno. */
void needs_refuse(struct needs *n, const struct needs_ops *ops, int error);
void needs_clear(struct needs *n);
