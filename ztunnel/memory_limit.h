/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* memory_limit - how near the memory limit of our own cgroup is, a pod's in Kubernetes. There no
 * malloc() fails: the kernel ends the process, and all connections with it. What counts is what the
 * kernel cannot take back: the page cache and reclaimable slabs are left out. */
#include <stdbool.h>
#include <stdint.h>

/* Kept free: this part of the limit, but no less and no more than these bytes. */
#define MEMORY_LIMIT_PART 8
#define MEMORY_LIMIT_MIN  (4ULL << 20)
#define MEMORY_LIMIT_MAX  (64ULL << 20)

/** memory_limit_init() - once, before threads start. A system without cgroup2, or a cgroup without
 * limits, has none.
 * @dir: the cgroup's folder; NULL: our own. */
void memory_limit_init(const char *dir);
/** memory_limit_is_near() - what is left is what we keep free. Looks at most each 10 ms, and then
 * lets go of what the C library keeps. Any thread; each looks for itself.
 * @now_us: loop_now_us(). */
bool memory_limit_is_near(uint64_t now_us);
