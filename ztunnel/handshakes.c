/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/handshakes.h"

#include "net/shares.h"

int handshakes_init(struct handshakes *h)
{
	list_init(&h->all);
	h->count = 0;
	return shares_new(&h->shares);
}

void handshakes_free(struct handshakes *h)
{
	h->shares = shares_free(h->shares);
}

void handshakes_end(struct handshakes *h, struct handshake *one)
{
	if (!one->is_on)
		return;
	one->is_on = false;
	list_del(&one->link);
	if (one->share)
		shares_give_back(h->shares, one->share);
	one->share = NULL;
	h->count--;
}

static size_t count_of(const struct handshake *one)
{
	return one->share ? one->share->n : 0;
}

static struct handshake *victim(const struct handshakes *h)
{
	struct handshake *most = NULL, *at;

	list_for_each_entry (at, &h->all, link)
		if (!most || count_of(at) > count_of(most))
			most = at;
	return most;
}

struct handshake *handshakes_begin(struct handshakes *h, struct handshake *one,
				   const struct cv_addr *peer)
{
	struct handshake *gone;

	one->share = shares_take(h->shares, peer);
	gone = h->count >= HANDSHAKES_MAX ? victim(h) : NULL;
	if (gone)
		handshakes_end(h, gone);
	one->is_on = true;
	list_add_tail(&h->all, &one->link);
	h->count++;
	return gone;
}
