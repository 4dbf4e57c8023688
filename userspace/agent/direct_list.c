/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_list.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "direct_told.h"
#include "directs.h"
#include "zds.h"

#define PAGE_SIZE (sizeof(struct zds_direct_page) + DIRECTS_PAGE * sizeof(struct zds_direct))
_Static_assert(PAGE_SIZE <= ZDS_MAX_MESSAGE, "a page is one message");

struct listing {
	struct zds_direct_page *page;
	int told_fd;
};

static bool on_direct(void *arg, const struct cv_tuple *key, const struct cv_direct *c)
{
	const struct direct_told_key k = {.key = *key, .time_ns = c->time_ns};
	const struct cv_tuple t = directs_tuple(key, c);
	const struct listing *l = arg;
	struct direct_amount told;

	if (!directs_is_open(c))
		return true;
	if (l->page->count == DIRECTS_PAGE)
		return false;
	told = direct_told_get(l->told_fd, &k);
	l->page->open[l->page->count++] =
		(struct zds_direct){.src_cookie = c->src_cookie,
				    .dst_cookie = c->dst_cookie,
				    .opened_us = c->time_ns / 1000,
				    .sent = told.sent,
				    .received = told.received,
				    .src = {.addr = t.local, .port = t.local_port},
				    .dst = {.addr = t.remote, .port = t.remote_port},
				    .asked = c->asked,
				    .what = ZDS_DIRECT_PROGRESS};
	return true;
}

void direct_list_answer(struct zds *zds, struct datapath *d, const struct zds_direct_ask *ask)
{
	_cleanup_(freep) struct zds_direct_page *page = calloc(1, PAGE_SIZE);
	struct zds_direct_page none = {.h.type = ZDS_DIRECT_PAGE, .id = ask->id};
	struct listing l = {.page = page ? page : &none};
	int r = -ENOMEM;

	l.told_fd = datapath_map_fd(d, DATAPATH_DIRECT_TOLD);
	*l.page = none;
	if (page)
		r = directs_page(datapath_map_fd(d, DATAPATH_DIRECTS), ask->at, on_direct, &l,
				 &l.page->next);
	if (r < 0)
		log_error_errno("agent", r, "cannot list the direct connections");
	(void)zds_send(zds, &l.page->h, sizeof(*l.page) + l.page->count * sizeof(l.page->open[0]),
		       NULL, 0);
}
