/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_denials.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "direct.h"
#include "direct_news.h"
#include "events.h"
#include "map_keys.h"
#include "zds.h"

#define SOON_US (200 * 1000)
/* Of those whose event was lost. */
#define ROUND_US (5 * 1000 * 1000)
/* A pod that dials in a loop fills nobody's log; all are counted. */
#define LINES_PER_SECOND 20
#define LINES_BURST      40

struct direct_denials {
	const struct direct_config *config;
	struct direct_news *news;
	struct loop_timer timer;
	struct limiter lines;
	bool is_soon;
};

static uint64_t lines_of(struct limiter *l, uint64_t count)
{
	const uint64_t now_us = now_monotonic_us();
	uint64_t n = 0;

	while (n < count && limiter_take(l, now_us))
		n++;
	return n;
}

/* What is refused between the look at an entry and its end is in no metric, as in
 * direct_untold_tell(). */
static void tell(struct direct_denials *d)
{
	int fd = datapath_map_fd(d->config->datapath, DATAPATH_REFUSED);
	struct cv_untold_key key, next;

	map_keys_each (fd, key, next) {
		struct zds_direct m = {.what = ZDS_DIRECT_DENIED};
		uint64_t count;

		if (bpf_map_lookup_and_delete_elem(fd, &key, &count) < 0)
			continue;
		m.src_cookie = key.src_cookie;
		m.dst_cookie = key.dst_cookie;
		m.dst = key.dst;
		m.asked = key.asked;
		m.denied = count;
		m.lines = lines_of(&d->lines, count);
		direct_news_add(d->news, &m);
	}
	direct_news_flush(d->news);
}

static void on_timer(struct loop_timer *t)
{
	struct direct_denials *d = container_of(t, struct direct_denials, timer);

	d->is_soon = false;
	if (zds_is_connected(d->config->zds))
		tell(d);
	(void)loop_timer_set(d->config->loop, t, ROUND_US);
}

void direct_denials_soon(struct direct_denials *d)
{
	if (d->is_soon)
		return;
	d->is_soon = true;
	(void)loop_timer_set(d->config->loop, &d->timer, SOON_US);
}

int direct_denials_new(const struct direct_config *config, struct direct_news *news,
		       struct direct_denials **ret)
{
	_cleanup_(direct_denials_freep) struct direct_denials *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->config = config;
	d->news = news;
	d->timer.on_timer = on_timer;
	d->lines.per_second = LINES_PER_SECOND;
	d->lines.burst = LINES_BURST;
	r = loop_timer_set(config->loop, &d->timer, ROUND_US);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct direct_denials *direct_denials_free(struct direct_denials *d)
{
	if (!d)
		return NULL;
	loop_timer_del(&d->timer);
	free(d);
	return NULL;
}
