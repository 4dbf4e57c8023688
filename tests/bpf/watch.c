/* SPDX-License-Identifier: Apache-2.0 */
/* watch - what the programs counted and reported since the test began. */
#include "watch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "net/addr.h"

#define EVENTS_MAX 256

static uint64_t at_start[CV_REASON_MAX];
static struct cv_event events[EVENTS_MAX];
static struct cv_direct_event directs[EVENTS_MAX];
static unsigned n_events, n_directs;
static struct ring_buffer *ring;

static const char *const labels[CV_REASON_MAX] = {
#define CV_REASON(name, label, sentence) [CV_##name] = (label),
	CV_REASON_LIST(CV_REASON)
#undef CV_REASON
};

static int counter_read(uint32_t reason, uint64_t *ret)
{
	int cpus = libbpf_num_possible_cpus(), r;
	uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	*ret = 0;
	if (!values)
		return -1;
	r = bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_counters), &reason, values);
	for (int i = 0; r == 0 && i < cpus; i++)
		*ret += values[i];
	free(values);
	return r;
}

static uint64_t counter(enum cv_reason reason)
{
	uint64_t sum;

	CHECK_OK(counter_read(reason, &sum));
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
	CHECK_OK(ring_buffer__add(ring, bpf_map__fd(skel->maps.cv_direct_events), on_event, NULL));
	ring_buffer__consume(ring);
	n_events = n_directs = 0;
	for (uint32_t r = 0; r < CV_REASON_MAX; r++)
		at_start[r] = counter(r);
}

static void report_event(const struct cv_event *ev)
{
	char local[CV_SOCKADDR_STRLEN], remote[CV_SOCKADDR_STRLEN];

	printf("  event %s: pod %llu%s, %s to %s\n",
	       ev->reason < CV_REASON_MAX ? labels[ev->reason] : "?",
	       (unsigned long long)ev->netns_cookie,
	       ev->netns_cookie == pod.cookie ? " (this test's)" : "",
	       cv_sockaddr_format(&ev->local, local), cv_sockaddr_format(&ev->remote, remote));
}

void watch_report(void)
{
	uint64_t now;

	if (!ring)
		return;
	printf("  counted:");
	for (uint32_t r = 0; r < CV_REASON_MAX; r++)
		if (counter_read(r, &now) == 0 && now != at_start[r])
			printf(" %s %llu", labels[r], (unsigned long long)(now - at_start[r]));
	printf("\n");
	ring_buffer__consume(ring);
	for (unsigned i = 0; i < n_events; i++)
		report_event(&events[i]);
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

void direct_event_wait(enum cv_reason reason, struct cv_direct_event *ret)
{
	for (int ms = 0; !direct_event_of(reason, ret); ms += 10) {
		CHECK(ms < WAIT_MS);
		usleep(10 * 1000);
	}
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
