/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_news - what ztunnel is told of direct connections, many at a time, in order. Owner:
 * direct. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "culvert/zds.h"

#define DIRECT_NEWS_MAX 128

struct zds;

/** struct direct_news - zero-initialised but for the socket. */
struct direct_news {
	struct zds *zds; /* borrowed */
	size_t count;
	struct zds_direct items[DIRECT_NEWS_MAX];
};

/** direct_news_end() - what a DIRECT_CLOSE is told as. @is_cut: the agent has closed it. */
enum zds_direct_what direct_news_end(const struct cv_direct_event *ev, bool is_cut);
/** direct_news_add() - @m: copied; its header is filled in. Goes out when there are many. */
void direct_news_add(struct direct_news *n, const struct zds_direct *m);
/** direct_news_flush() - send what there is. Without a ztunnel it is lost. */
void direct_news_flush(struct direct_news *n);
