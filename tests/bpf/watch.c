/* SPDX-License-Identifier: Apache-2.0 */
/* watch - what the programs counted and reported since the test began. */
#include "watch.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "net/addr.h"

#define EVENTS_MAX 256

static uint64_t at_start[CV_REASON_MAX];
static struct cv_event events[EVENTS_MAX];
static struct cv_direct_event directs[EVENTS_MAX];
static unsigned n_events, n_directs;
static struct ring_buffer *ring;

static uint64_t counter(enum cv_reason reason)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values, sum = 0;
	uint32_t key = reason;

	CHECK(cpus > 0);
	values = calloc((size_t)cpus, sizeof(*values));
	CHECK(values != NULL);
	CHECK_OK(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_counters), &key, values));
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	free(values);
	return sum;
}

static int on_event(void *arg, void *data, size_t size)
{
	if (size == sizeof(struct cv_event) && n_events < EVENTS_MAX)
		memcpy(&events[n_events++], data, size);
	if (size == sizeof(struct cv_direct_event) && n_directs < EVENTS_MAX)
		memcpy(&directs[n_directs++], data, size);
	return 0;
}

void watch_start(void)
{
	ring = ring_buffer__new(bpf_map__fd(skel->maps.cv_events), on_event, NULL, NULL);
	CHECK(ring != NULL);
	ring_buffer__consume(ring);
	n_events = n_directs = 0;
	for (uint32_t r = 0; r < CV_REASON_MAX; r++)
		at_start[r] = counter(r);
}

uint64_t counted(enum cv_reason reason)
{
	return counter(reason) - at_start[reason];
}

bool event_of(enum cv_reason reason, struct cv_event *ret)
{
	ring_buffer__consume(ring);
	for (unsigned i = n_events; i > 0; i--) {
		if (events[i - 1].reason == reason) {
			*ret = events[i - 1];
			return true;
		}
	}
	return false;
}

bool direct_event_of(enum cv_reason reason, struct cv_direct_event *ret)
{
	ring_buffer__consume(ring);
	for (unsigned i = n_directs; i > 0; i--) {
		if (directs[i - 1].reason == reason) {
			*ret = directs[i - 1];
			return true;
		}
	}
	return false;
}

void check_dropped(enum cv_reason reason, const char *remote)
{
	char buf[CV_SOCKADDR_STRLEN];
	struct cv_event ev;

	CHECK_EQ(counted(reason), 1);
	CHECK(event_of(reason, &ev));
	CHECK_EQ(ev.netns_cookie, pod.cookie);
	CHECK(ev.time_ns > 0);
	CHECK_STR(cv_sockaddr_format(&ev.remote, buf), remote);
}
