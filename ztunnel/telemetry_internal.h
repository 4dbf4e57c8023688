/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* telemetry - what telemetry.c counts and telemetry_write.c sums: private to the two. */
#include <pthread.h>

#include "ztunnel/telemetry.h"

struct map;
struct sums;

#define METRICS     5
#define CACHE_SLOTS 512 /* a power of two */

/* What a scrape knows of a series; nobody else writes it. */
struct series_shown {
	uint64_t last[METRICS]; /* counted at the last scrape, by family */
	uint64_t base[METRICS]; /* counted when it was given back: what is shown is above that */
	uint64_t used_us;       /* when a scrape last saw it in use */
	struct sums *sums;      /* during a scrape */
	bool is_given_back;
};

/* One set of labels. The worker frees some under its lock alone, so that a scrape that has it may
 * walk the chain. */
struct series {
	struct conn_metrics m; /* first: handed out */
	struct series *next;   /* written before the series is published */
	uint32_t hidden;       /* enum signal_metric: families that do not show it */
	atomic_uint held;      /* by open connections: they are to be counted here */
	atomic_uint told;      /* open ones that are told of by their events */
	struct series_shown shown;
	size_t len;                  /* of text */
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

extern const size_t series_offsets[METRICS];

/** conn_flags_name() - the label's value. */
const char *conn_flags_name(enum conn_flags flags);

/** series_counter() - of a family, by its number. */
static inline uint64_t series_counter(const struct series *s, size_t family)
{
	const _Atomic uint64_t *v = (const void *)((const char *)&s->m + series_offsets[family]);

	return atomic_load_explicit(v, memory_order_relaxed);
}

struct telemetry {
	/* Held by a scrape, and by the worker, which does not wait for it, while it frees series.
	 */
	pthread_mutex_t lock;
	_Atomic(struct series *) all; /* newest first */
	struct map *by_labels;
	atomic_size_t count;
	atomic_bool has_given_back; /* there are series to free */
	struct series *last_resort; /* no memory for another */
	_Atomic uint64_t folded;
	atomic_int sockets[2]; /* by direction, as the next */
	_Atomic uint64_t crl_rejected[2];
	_Atomic uint64_t failed[2][CONN_FLAGS_MAX]; /* whatever rules hide */
	struct history *history;
	struct cache_slot cache[CACHE_SLOTS];
};
