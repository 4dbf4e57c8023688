/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/stolen.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"

/* The lines of the processors come first. */
#define STAT_MAX 16384

struct slice {
	struct histogram latency;
	bool is_stolen;
};

struct stolen {
	uint64_t begin_ns;
	uint64_t ticks; /* at the last look */
	size_t at;      /* the slice of the last look */
	size_t count;
	int fd;
	cpu_set_t cpus;
	struct slice slices[];
};

uint64_t stolen_ticks(const char *stat, const void *cpu_set)
{
	const char *line = strchr(stat, '\n'); /* after the sum of all */
	unsigned long long steal;
	uint64_t sum = 0;
	unsigned int cpu;

	for (;
	     line && sscanf(line + 1, "cpu%u %*u %*u %*u %*u %*u %*u %*u %llu", &cpu, &steal) == 2;
	     line = strchr(line + 1, '\n'))
		if (CPU_ISSET(cpu, (const cpu_set_t *)cpu_set))
			sum += steal;
	return sum;
}

static uint64_t ticks(const struct stolen *s)
{
	char text[STAT_MAX];
	ssize_t n = pread(s->fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		die("/proc/stat");
	return stolen_ticks(text, &s->cpus);
}

static size_t slice_of(const struct stolen *s, uint64_t ns)
{
	size_t i = ns > s->begin_ns ? (size_t)((ns - s->begin_ns) / STOLEN_SLICE_NS) : 0;

	return i < s->count ? i : s->count - 1;
}

struct stolen *stolen_new(uint64_t begin_ns, double seconds)
{
	size_t count = (size_t)(seconds * 1e9) / STOLEN_SLICE_NS + 1;
	struct stolen *s = calloc(1, sizeof(*s) + count * sizeof(s->slices[0]));

	if (!s)
		die("calloc");
	s->begin_ns = begin_ns;
	s->count = count;
	s->fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || sched_getaffinity(0, sizeof(s->cpus), &s->cpus) < 0)
		die("/proc/stat");
	s->ticks = ticks(s);
	return s;
}

void stolen_add(struct stolen *s, uint64_t due_ns, uint64_t ns)
{
	histogram_add(&s->slices[slice_of(s, due_ns)].latency, ns);
}

static void look(struct stolen *s, size_t now)
{
	uint64_t t = ticks(s);

	for (size_t i = s->at; t != s->ticks && i <= now; i++)
		s->slices[i].is_stolen = true;
	s->ticks = t;
	s->at = now;
}

void stolen_look(struct stolen *s, uint64_t now_ns)
{
	size_t now = slice_of(s, now_ns);

	if (now != s->at)
		look(s, now);
}

double stolen_free(struct stolen *s, struct histogram *ret)
{
	size_t left_out = 0;

	look(s, s->count - 1);
	for (size_t i = 0; i < s->count; i++)
		if (s->slices[i].is_stolen)
			left_out += s->slices[i].latency.count;
		else
			histogram_merge(ret, &s->slices[i].latency);
	(void)close(s->fd);
	free(s);
	return ret->count + left_out > 0 ? (double)left_out / (double)(ret->count + left_out) : 0;
}
