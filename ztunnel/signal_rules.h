/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* signal_rules - what Telemetry resources say of the metrics and log lines of a workload's
 * connections. Immutable, part of the workload. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct arena;
struct cel;
struct Culvert__Node__Telemetry;

#define SIGNAL_TAGS_MAX 32

enum signal_switch {
	SIGNAL_INHERIT, /* the mesh's setting */
	SIGNAL_ON,
	SIGNAL_OFF,
};

/* Bits of metrics_off; node.proto has the same. */
enum signal_metric {
	SIGNAL_OPENED = 1,
	SIGNAL_CLOSED = 2,
	SIGNAL_SENT = 4,
	SIGNAL_RECEIVED = 8,
	SIGNAL_FAILED = 16,
	SIGNAL_ALL = 31,
};

/** struct signal_tag - a label that is other than it would be. */
struct signal_tag {
	const char *name;
	const char *value; /* NULL and no expression: the label is left out */
	const struct cel *expression;
	uint32_t metrics; /* enum signal_metric: where */
};

/** struct signal_rules - of the connections that a workload makes, or of those that it gets. */
struct signal_rules {
	enum signal_switch access_log;
	const struct cel *log_filter; /* NULL: a line for every connection */
	uint32_t metrics_off;
	bool has_metric_tags; /* not every tag is for all metrics */
	bool has_conn_tags;   /* a tag differs between connections of the same two workloads */
	const struct signal_tag *tags;
	size_t tags_count;
};

/**
 * signal_rules_decode() - from the control plane's message
 * @m: NULL: nothing is said, *ret is NULL.
 * @ret: in @arena.
 * Return: 0; -EINVAL a label name that Prometheus would not take, too many; -ENOMEM.
 */
_must_check_ int signal_rules_decode(const struct Culvert__Node__Telemetry *m, struct arena *arena,
				     const struct signal_rules **ret);

/** signal_rules_tag() - the rule for this label of a metric. Return: NULL: as it is. */
const struct signal_tag *signal_rules_tag(const struct signal_rules *r, const char *name,
					  enum signal_metric metric);
