/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/handshakes.h"

#include <stdlib.h>

#include "base/map.h"

struct handshake_peer {
	struct cv_addr addr;
	uint32_t count;
};

int handshakes_init(struct handshakes *h)
{
	list_init(&h->all);
	h->count = 0;
	return map_new(&h->peers);
}

void handshakes_free(struct handshakes *h)
{
	h->peers = map_free(h->peers);
}

static struct handshake_peer *peer_get(struct handshakes *h, const struct cv_addr *addr)
{
	struct handshake_peer *p = map_get(h->peers, addr, sizeof(*addr));

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p || map_put(h->peers, addr, sizeof(*addr), p) < 0) {
		free(p);
		return NULL;
	}
	p->addr = *addr;
	return p;
}

static void peer_put(struct handshakes *h, struct handshake_peer *p)
{
	if (!p || --p->count > 0)
		return;
	(void)map_del(h->peers, &p->addr, sizeof(p->addr));
	free(p);
}

void handshakes_end(struct handshakes *h, struct handshake *one)
{
	if (!one->is_on)
		return;
	one->is_on = false;
	list_del(&one->link);
	peer_put(h, one->peer);
	one->peer = NULL;
	h->count--;
}

static uint32_t count_of(const struct handshake *one)
{
	return one->peer ? one->peer->count : 0;
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

	one->peer = peer_get(h, peer);
	if (one->peer)
		one->peer->count++;
	gone = h->count >= HANDSHAKES_MAX ? victim(h) : NULL;
	if (gone)
		handshakes_end(h, gone);
	one->is_on = true;
	list_add_tail(&h->all, &one->link);
	h->count++;
	return gone;
}
