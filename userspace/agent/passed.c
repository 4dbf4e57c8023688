/* SPDX-License-Identifier: Apache-2.0 */
#include "passed.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "recall.h"

/* The kernel counts entries of such a map by CPU, a few more than its limit may fit. */
#define READ_MAX  (CV_PASSED_MAX + 1024)
#define SWEEP_AT  (CV_PASSED_MAX / 4 * 3)
#define SWEEP_TO  (CV_PASSED_MAX / 2)
#define MARKS_END (CV_PASSED_TAKEN + 1)

struct entry {
	struct cv_passed_key key;
	struct cv_passed value;
};

static uint64_t now_ns(void)
{
	return now_monotonic_us() * 1000;
}

static bool mark_get(int fd, uint32_t mark, struct cv_passed *ret)
{
	struct cv_passed_key key = {.reason = mark};

	return bpf_map_lookup_elem(fd, &key, ret) == 0;
}

int passed_start(int fd)
{
	struct cv_passed fresh = {.first_ns = now_ns()};

	for (uint32_t mark = CV_PASSED_MADE; mark < MARKS_END; mark++) {
		struct cv_passed_key key = {.reason = mark};
		int r = bpf_map_update_elem(fd, &key, &fresh, BPF_NOEXIST);

		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

/* read_all() - all but the marks; caller frees. Return: how many; -errno. */
static int read_all(int fd, struct entry **ret)
{
	_cleanup_(freep) struct cv_passed_key *keys = calloc(READ_MAX, sizeof(*keys));
	_cleanup_(freep) struct cv_passed *values = calloc(READ_MAX, sizeof(*values));
	_cleanup_(freep) struct entry *list = calloc(READ_MAX, sizeof(*list));
	uint32_t found = READ_MAX, next;
	int r, n = 0;

	if (!keys || !values || !list)
		return -ENOMEM;
	r = bpf_map_lookup_batch(fd, NULL, &next, keys, values, &found, NULL);
	if (r < 0 && r != -ENOENT) /* that is the end */
		return r;
	for (uint32_t i = 0; i < found; i++)
		if (keys[i].netns_cookie)
			list[n++] = (struct entry){.key = keys[i], .value = values[i]};
	*ret = TAKE_PTR(list);
	return n;
}

static int compare_last(const void *x, const void *y)
{
	uint64_t a = ((const struct entry *)x)->value.last_ns;
	uint64_t b = ((const struct entry *)y)->value.last_ns;

	return (a > b) - (a < b);
}

/* take() - one out. It may have been used since it was read. */
static uint64_t take(int fd, const struct entry *e)
{
	struct cv_passed value;

	if (bpf_map_lookup_and_delete_elem(fd, &e->key, &value) < 0)
		return e->value.last_ns;
	return value.last_ns;
}

void passed_sweep(int fd)
{
	struct cv_passed_key key = {.reason = CV_PASSED_TAKEN};
	_cleanup_(freep) struct entry *list = NULL;
	struct cv_passed made, taken;
	int n, many;

	if (!mark_get(fd, CV_PASSED_MADE, &made) || !mark_get(fd, CV_PASSED_TAKEN, &taken) ||
	    made.count - taken.count < SWEEP_AT)
		return;
	n = read_all(fd, &list);
	if (n < 0)
		return;
	qsort(list, (size_t)n, sizeof(*list), compare_last);
	many = MAX(n - SWEEP_TO, 0);
	/* What is there counts, whatever came of an earlier run. Said first: a run that is cut
	 * short must not have taken out what nobody knows of. */
	taken.count = made.count - (uint64_t)(n - many);
	if (many > 0)
		taken.last_ns = MAX(taken.last_ns, list[many - 1].value.last_ns);
	(void)bpf_map_update_elem(fd, &key, &taken, BPF_ANY);
	for (int i = 0; i < many; i++) {
		uint64_t last_ns = take(fd, &list[i]);

		taken.last_ns = MAX(taken.last_ns, last_ns);
	}
	(void)bpf_map_update_elem(fd, &key, &taken, BPF_ANY);
}

/* The realtime of a moment, as told by the two clocks now. */
static uint64_t realtime_us(uint64_t ns)
{
	return now_realtime_us() - now_monotonic_us() + ns / 1000;
}

static int entry_to_json(const struct entry *e, json_t *into)
{
	struct recall r = {
		.first_us = realtime_us(e->value.first_ns),
		.last_us = realtime_us(e->value.last_ns),
		.count = e->value.count,
		.reason = e->key.reason,
		.place = RECALL_CONNECT,
		.src = {.addr = e->value.src},
		.dst = {.addr = e->key.addr, .port = e->key.port},
	};

	memcpy(r.src_name, e->value.pod, sizeof(r.src_name) - 1);
	return recall_to_json(&r, into);
}

int passed_to_json(int fd, json_t *into, uint64_t *ret_since_us)
{
	_cleanup_(freep) struct entry *list = NULL;
	struct cv_passed made, taken;
	int n, r = 0;

	n = read_all(fd, &list);
	if (n < 0)
		return n;
	for (int i = 0; i < n && r == 0; i++)
		r = entry_to_json(&list[i], into);
	if (r < 0)
		return r;
	/* after what was taken out meanwhile */
	if (!mark_get(fd, CV_PASSED_MADE, &made) || !mark_get(fd, CV_PASSED_TAKEN, &taken))
		return -ENOENT;
	*ret_since_us = realtime_us(MAX(MAX(made.first_ns, made.last_ns), taken.last_ns));
	return 0;
}
