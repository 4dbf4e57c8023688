/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timeslice.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The least that there is (__setparam_fair() in Linux's kernel/sched/syscalls.c). */
#define SLICE_NS    (100 * 1000)
#define KEEP_POLICY 0x08 /* SCHED_FLAG_KEEP_POLICY: a real-time one stays, and all with it */

/* As in linux/sched/types.h, which does not go together with sched.h. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

void timeslice_shorten(void)
{
	const struct attributes a = {
		.size = sizeof(a),
		.flags = KEEP_POLICY,
		.nice = getpriority(PRIO_PROCESS, 0), /* as it is */
		.runtime_ns = SLICE_NS,
	};

	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}
