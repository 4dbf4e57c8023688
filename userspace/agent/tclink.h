/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tclink - a program of ours on an interface of the namespace that the process is in now: by a
 * pinned tcx link where the kernel has it (6.6), else by a clsact filter. It outlives the agent.
 * Any thread; blocks until the kernel has answered. */
#include <stdint.h>

#include "base/macros.h"

/* Our filter where there is no tcx; others' have other handles. */
#define TCLINK_HANDLE 0xc7

/** enum tclink_direction - tcx's types, of Linux 6.6: Debian 12's headers are older. */
enum tclink_direction {
	TCLINK_INGRESS = 46,
	TCLINK_EGRESS = 47,
};

/** tclink_attach() - before others' programs; again: replaced. @path: of the pin. Return: 0;
 * -EOPNOTSUPP there is no tcx, and an ingress qdisc has the place of clsact: nothing for egress;
 * -errno. */
_must_check_ int tclink_attach(const char *path, int prog_fd, uint32_t ifindex,
			       enum tclink_direction direction);
/** tclink_detach() - of either kind. Harmless when there is nothing. */
void tclink_detach(const char *path, uint32_t ifindex, enum tclink_direction direction);
