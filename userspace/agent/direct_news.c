/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_news.h"

#include "base/macros.h"
#include "zds.h"

enum zds_direct_what direct_news_end(const struct cv_direct_event *ev, bool is_cut)
{
	if (!(ev->flags & CV_DIRECT_ESTABLISHED))
		return ZDS_DIRECT_FAILED;
	if (is_cut)
		return ZDS_DIRECT_CUT;
	return ev->flags & CV_DIRECT_RESET ? ZDS_DIRECT_RESET : ZDS_DIRECT_CLOSED;
}

void direct_news_flush(struct direct_news *n)
{
	size_t len = n->count * sizeof(n->items[0]);

	if (n->count)
		(void)zds_send(n->zds, &n->items[0].h, len, NULL, 0);
	n->count = 0;
}

void direct_news_add(struct direct_news *n, const struct zds_direct *m)
{
	n->items[n->count] = *m;
	n->items[n->count++].h.type = ZDS_DIRECT;
	if (n->count == ARRAY_SIZE(n->items))
		direct_news_flush(n);
}
