/* SPDX-License-Identifier: Apache-2.0 */
#include "http/blocks.h"

#include "base/macros.h"

void http_blocks_renew(struct http_blocks *b)
{
	b->left = b->max;
}

enum http_block http_blocks_begin(struct http_blocks *b, const nghttp2_frame_hd *head)
{
	uint32_t cost = (uint32_t)head->length + HTTP_BLOCK_FRAME;

	if (head->type == NGHTTP2_HEADERS)
		b->len = 0;
	b->len += cost;
	if (b->len > b->one_max)
		return HTTP_BLOCK_TOO_LONG;
	if (b->left < cost)
		return HTTP_BLOCK_TOO_MANY;
	b->left -= cost;
	return HTTP_BLOCK_FINE;
}

void http_blocks_earn(struct http_blocks *b, size_t n)
{
	b->left = (uint32_t)MIN(b->left + n, (size_t)b->max);
}
