/* SPDX-License-Identifier: Apache-2.0 */
#include "torture_plan.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define TOTAL_MAX (4u << 20)

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

uint32_t random_below(uint32_t *state, uint32_t n)
{
	return next(state) % n;
}

static uint32_t total_of(uint32_t *s)
{
	switch (random_below(s, 8)) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
	case 3:
		return random_below(s, 2000);
	case 4:
		return random_below(s, 4) ? 70000 : TOTAL_MAX;
	default:
		return random_below(s, 200000);
	}
}

static struct stream stream_of(uint32_t *s)
{
	static const uint32_t chunks[] = {1, 7, 100, 1448, 4096, 20000, 65536, 300000};
	struct stream st = {.seed = next(s) | 1, .total = total_of(s)};

	st.chunk = chunks[random_below(s, ARRAY_SIZE(chunks))];
	if (st.total / st.chunk > 3000)
		st.chunk = 4096;
	st.pause_every = random_below(s, 6) ? 0 : 1 + random_below(s, 50);
	st.writing = (enum writing)random_below(s, W_MAX);
	st.reading = (enum reading)random_below(s, R_MAX);
	st.urgent = st.total;
	/* splice(2) leaves the urgent byte out, on any TCP connection */
	if (st.total && st.reading != R_SPLICE && random_below(s, 8) == 0) {
		st.urgent = random_below(s, 2) ? st.total - 1 : random_below(s, st.total);
		st.is_apart = random_below(s, 2);
	}
	st.is_late = random_below(s, 8) == 0;
	return st;
}

/* As much as there may be, in pieces that fill the buffers at once, for a reader that comes late.
 */
static void stream_fill(struct stream *st)
{
	st->total = st->urgent = TOTAL_MAX;
	st->chunk = 65536;
	st->is_late = true;
	st->pause_every = 0;
}

/* Who goes before the end has read something until then, and leaves something unread. Where a reset
 * comes, nobody can wait for a byte beside the stream. */
static void plan_cut(struct plan *p)
{
	bool is_clients = p->ending == END_CLIENT_LEAVES || p->ending == END_CLIENT_ABORTS;
	bool is_servers = p->ending == END_SERVER_LEAVES || p->ending == END_SERVER_ABORTS;

	if ((is_clients && p->down.total < 1000) || (is_servers && p->up.total < 1000))
		p->ending = END_BOTH;
	if (p->ending == END_CLIENT_ABORTS || p->ending == END_SERVER_ABORTS)
		p->up.is_apart = p->down.is_apart = false;
}

struct plan plan_of(const struct head *h)
{
	uint32_t s = h->seed * 2654435761u + h->index * 40503u + 1;
	struct plan p;

	for (int i = 0; i < 8; i++)
		(void)next(&s);
	p.up = stream_of(&s);
	p.down = stream_of(&s);
	p.ending = (enum ending)random_below(&s, END_MAX);
	p.is_nodelay = random_below(&s, 2);
	if (random_below(&s, 50) == 0) { /* full buffers on both sides at once */
		stream_fill(&p.up);
		stream_fill(&p.down);
	}
	p.client_waits = (enum waiting)random_below(&s, WAIT_MAX);
	p.server_waits = (enum waiting)random_below(&s, WAIT_MAX);
	plan_cut(&p);
	if (!h->has_urgent) {
		p.up.urgent = p.up.total;
		p.down.urgent = p.down.total;
	}
	return p;
}

uint8_t *bytes_of(const struct stream *st)
{
	uint32_t s = st->seed;
	uint8_t *b = malloc(st->total + 4u);

	for (uint32_t i = 0; b && i < st->total; i += 4) {
		uint32_t v = next(&s);

		memcpy(b + i, &v, sizeof(v));
	}
	return b;
}
