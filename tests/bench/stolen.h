/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stolen - latencies by when their requests were due, less those of moments in which the host of
 * this virtual machine gave our processors to others, which /proc/stat says: where it does so for a
 * hundredth of the time, a p99 would be of nothing else. */
#include <stdint.h>

#include "tests/bench/histogram.h"

/* Of which one is left out as a whole: that in which it is seen and that before. */
#define STOLEN_SLICE_NS 50000000ULL

struct stolen;

/** stolen_new() - for @seconds from @begin_ns (of now_ns()) on. Return: owned; ends the process
 * without memory. */
struct stolen *stolen_new(uint64_t begin_ns, double seconds);
/** stolen_add() - a latency of @ns, of what was due at @due_ns. */
void stolen_add(struct stolen *s, uint64_t due_ns, uint64_t ns);
/** stolen_look() - it is @now_ns: were they away since the last look? Cheap; for every turn. */
void stolen_look(struct stolen *s, uint64_t now_ns);
/** stolen_free() - put what is left in @ret. Return: the share left out, 0..1. */
double stolen_free(struct stolen *s, struct histogram *ret);

/** stolen_ticks() - ticks for which the processors that this process may run on were away: from
 * the text of /proc/stat. */
uint64_t stolen_ticks(const char *stat, const void *cpu_set);
