/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* telemetry - what telemetry.c counts and telemetry_write.c sums: private to the two. */
#include "ztunnel/telemetry.h"

struct map;

#define METRICS     5
#define CACHE_SLOTS 512 /* a power of two */

/* One set of labels. Never freed while the worker lives, so that a scrape may walk the chain
 * without a lock. */
struct series {
	struct conn_metrics m;       /* first: handed out */
	struct series *next;         /* written before the series is published */
	uint32_t hidden;             /* enum signal_metric: families that do not show it */
	const char *labels[METRICS]; /* in text; mostly one for all */
	char text[];
};

/* The labels of a connection follow from these: a hit saves making the text. Holds its objects, so
 * that an address is not used again while it stands here. */
struct cache_slot {
	struct workload *src;
	struct workload *dst;
	struct service *service;
	uint32_t kind; /* direction, mtls, flags */
	struct series *series;
	char *src_identity; /* what the slot was made for; NULL: none */
	char *dst_identity;
};

struct telemetry {
	_Atomic(struct series *) all; /* newest first */
	struct map *by_labels;
	size_t count;
	struct series *last_resort; /* no memory for another */
	_Atomic uint64_t folded;
	atomic_int sockets[2]; /* by direction, as the next */
	_Atomic uint64_t crl_rejected[2];
	struct history *history;
	struct cache_slot cache[CACHE_SLOTS];
};
