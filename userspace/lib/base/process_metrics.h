/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* process_metrics - istio_build and process_*, as Prometheus' own clients call them. Owner: whoever
 * serves them. Thread: its loop. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/macros.h"

struct buf;

struct process_metrics {
	const char *component;
	bool is_openmetrics;
	int statm_fd; /* opened while files still may be */
	int fds_fd;
	uint64_t fds_max;
	time_t started;
};

/** process_metrics_init() - @component: of istio_build: "ztunnel", "pilot"; borrowed.
 * @is_openmetrics: else it is Prometheus' older text format (0.0.4), where a counter's family has
 * its samples' name. */
void process_metrics_init(struct process_metrics *p, const char *component, bool is_openmetrics);
void process_metrics_clear(struct process_metrics *p);
/** process_metrics_write() - append the text. What the kernel does not tell is left out. Return: 0;
 * -errno. */
_must_check_ int process_metrics_write(const struct process_metrics *p, struct buf *into);
