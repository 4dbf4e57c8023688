/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/handshakes.h"

#include "base/map.h"

void handshakes_init(struct handshakes *h)
{
	list_init(&h->all);
}

void handshakes_end(struct handshakes *h, struct handshake *one)
{
	if (!one->is_on)
		return;
	one->is_on = false;
	list_del(&one->link);
	h->of[one->bucket]--;
	h->count--;
}

static struct handshake *victim(const struct handshakes *h)
{
	struct handshake *most = NULL, *at;

	list_for_each_entry (at, &h->all, link)
		if (!most || h->of[at->bucket] > h->of[most->bucket])
			most = at;
	return most;
}

struct handshake *handshakes_begin(struct handshakes *h, struct handshake *one,
				   const struct cv_addr *peer)
{
	struct handshake *gone;

	one->bucket = (uint16_t)(map_hash(peer, sizeof(*peer)) % HANDSHAKES_BUCKETS);
	h->of[one->bucket]++;
	gone = h->count >= HANDSHAKES_MAX ? victim(h) : NULL;
	if (gone)
		handshakes_end(h, gone);
	one->is_on = true;
	list_add_tail(&h->all, &one->link);
	h->count++;
	return gone;
}
