/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* process_metrics - istio_build and process_*, as Prometheus' own clients call them. Thread: the
 * main loop. */
#include <stdint.h>
#include <time.h>

#include "base/macros.h"

struct buf;

struct process_metrics {
	int statm_fd; /* opened while files still may be */
	int fds_fd;
	uint64_t fds_max;
	time_t started;
};

void process_metrics_init(struct process_metrics *p);
void process_metrics_clear(struct process_metrics *p);
/** process_metrics_write() - append OpenMetrics text. What the kernel does not tell is left out.
 * Return: 0; -errno. */
_must_check_ int process_metrics_write(const struct process_metrics *p, struct buf *into);
