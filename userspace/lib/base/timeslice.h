/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* timeslice - how long the kernel lets a thread of ours run while others wait for its processor. */

/** timeslice_shorten() - a tenth of a millisecond, for this thread and all that it starts (the
 * sched_runtime of sched_setattr(2), since Linux 6.12; ignored before that, and where it is refused
 * everything stays as it is). For every program with a loop (loop.h): who yields is put back by its
 * slice, and with the kernel's own, of milliseconds, would get a fraction of its share beside
 * others. Who wakes up with a short one soon has its turn. */
void timeslice_shorten(void);
