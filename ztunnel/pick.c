/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pick.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/fnv1a.h"
#include "base/str.h"
#include "net/addr.h"

#define THE_NODE_RANK 1000
#define SPREAD        2654435761U /* 2^32 by the golden ratio: Knuth's multiplicative hash */

static uint16_t ports_find(const struct service_port *ports, size_t count, uint16_t service_port)
{
	for (size_t i = 0; i < count; i++)
		if (ports[i].service_port == service_port)
			return ports[i].target_port;
	return 0;
}

uint16_t pick_port(const struct service *v, const struct workload_service *link, uint16_t port)
{
	uint16_t target = link ? ports_find(link->ports, link->ports_count, port) : 0;

	return target ? target : ports_find(v->def->ports, v->def->ports_count, port);
}

static bool families_allow(enum service_families f, bool is_v4)
{
	return (f != SERVICE_FAMILIES_IPV4 || is_v4) && (f != SERVICE_FAMILIES_IPV6 || !is_v4);
}

const struct cv_addr *pick_addr(const struct workload *w, const struct cv_addr *asked,
				enum service_families families)
{
	bool is_v4 = cv_addr_is_v4(asked);
	const struct cv_addr *other = NULL;
	const struct cv_addr *same = NULL;

	for (size_t i = 0; i < w->addrs_count; i++) {
		const struct cv_addr *a = &w->addrs[i];

		if (cv_addr_equal(a, asked))
			return a;
		if (!families_allow(families, cv_addr_is_v4(a)))
			continue;
		if (cv_addr_is_v4(a) == is_v4)
			same = same ? same : a;
		else
			other = other ? other : a;
	}
	return same ? same : other;
}

struct cv_sockaddr pick_at(const struct service *v, const struct endpoint *e,
			   const struct cv_sockaddr *asked)
{
	return (struct cv_sockaddr){
		.addr = *pick_addr(e->workload, &asked->addr, v->def->families),
		.port = htons(pick_port(v, e->link, ntohs(asked->port))),
	};
}

bool pick_is_named(const struct workload *w)
{
	return w->addrs_count == 0 && *w->rare->hostname && w->protocol != WORKLOAD_HBONE;
}

bool pick_is_avoided(const struct resolve_choice *c, const struct cv_addr *addr, uint16_t port)
{
	for (size_t i = 0; i < c->avoid_count; i++)
		if (c->avoid[i].port == htons(port) && cv_addr_equal(&c->avoid[i].addr, addr))
			return true;
	return false;
}

static bool is_name_avoided(const struct resolve_choice *c, const struct workload *w)
{
	for (size_t i = 0; i < c->avoid_named_count; i++)
		if (c->avoid_named[i] == w)
			return true;
	return false;
}

/* is_on_silent_node() - it would cost as long as the last one did, to no better end. */
static bool is_on_silent_node(const struct resolve_choice *c, const struct workload *w)
{
	for (size_t i = 0; i < c->silent_count; i++)
		if (*w->place->node && streq(c->silent[i]->place->node, w->place->node))
			return true;
	return false;
}

/* is_kernels() - one that connect(2) of this node can choose (userspace/agent/frontends.h). */
static bool is_kernels(const struct wish *wish, const struct workload *w)
{
	return w->protocol == WORKLOAD_HBONE && !w->app->waypoint.hbone_port &&
	       streq(w->place->node, wish->src->place->node);
}

/* is_left_out() - the lots have fallen otherwise. */
static bool is_left_out(const struct wish *wish, const struct workload *w)
{
	uint32_t among = wish->choice->among & CV_CHOICE_MASK;

	return among != CV_CHOICE_ALL && is_kernels(wish, w) != (among == CV_CHOICE_HERE);
}

static bool endpoint_is_usable(const struct wish *wish, const struct endpoint *e)
{
	const struct cv_addr *addr =
		pick_addr(e->workload, &wish->orig->addr, wish->service->def->families);
	uint16_t port = pick_port(wish->service, e->link, ntohs(wish->orig->port));

	if (!wish->is_any &&
	    (is_on_silent_node(wish->choice, e->workload) || is_left_out(wish, e->workload)))
		return false;
	if (pick_is_named(e->workload))
		return port && !is_name_avoided(wish->choice, e->workload);
	return addr && port && !pick_is_avoided(wish->choice, addr, port);
}

static bool scope_is_same(enum service_scope scope, const struct workload *a,
			  const struct workload *b)
{
	switch (scope) {
	case SERVICE_SCOPE_REGION:
		return streq(a->place->region, b->place->region);
	case SERVICE_SCOPE_ZONE:
		return streq(a->place->zone, b->place->zone);
	case SERVICE_SCOPE_SUBZONE:
		return streq(a->place->subzone, b->place->subzone);
	case SERVICE_SCOPE_NODE:
		return streq(a->place->node, b->place->node);
	case SERVICE_SCOPE_CLUSTER:
		return streq(a->app->cluster, b->app->cluster);
	case SERVICE_SCOPE_NETWORK:
		return streq(a->app->network, b->app->network);
	}
	return false;
}

/* Leading preferences that hold; -1 when the service does not want this endpoint at all. */
static int endpoint_rank(const struct wish *wish, const struct endpoint *e)
{
	const struct service_def *d = wish->service->def;
	size_t n = 0;

	if (wish->node && d->is_external_local && streq(e->workload->place->node, wish->node))
		return THE_NODE_RANK;
	/* internalTrafficPolicy does not hold at a node port */
	if (d->lb_mode != SERVICE_LB_FAILOVER && (d->lb_mode != SERVICE_LB_STRICT || wish->node))
		return 0;
	while (n < d->lb_scopes_count && scope_is_same(d->lb_scopes[n], wish->src, e->workload))
		n++;
	return d->lb_mode == SERVICE_LB_STRICT && n < d->lb_scopes_count ? -1 : (int)n;
}

/* Weighted choice among the usable endpoints of the best rank: one pass for the sum, one to find
 * it. */
static const struct endpoint *pick_ranked(const struct wish *wish, uint32_t random)
{
	const struct service *v = wish->service;
	uint64_t sum = 0;
	int best = -1;
	uint64_t at;

	if (!v->endpoints)
		return NULL;
	for (size_t i = 0; i < v->endpoints_count; i++) {
		const struct endpoint *e = &v->endpoints[i];
		int rank = endpoint_rank(wish, e);

		if (rank < best || rank < 0 || e->workload->capacity == 0 ||
		    !endpoint_is_usable(wish, e))
			continue;
		sum = rank > best ? e->workload->capacity : sum + e->workload->capacity;
		best = rank;
	}
	if (sum == 0)
		return NULL;
	at = (uint64_t)(((unsigned __int128)random * sum) >> 32);
	for (size_t i = 0; i < v->endpoints_count; i++) {
		const struct endpoint *e = &v->endpoints[i];

		if (e->workload->capacity == 0 || endpoint_rank(wish, e) != best ||
		    !endpoint_is_usable(wish, e))
			continue;
		if (at < e->workload->capacity)
			return e;
		at -= e->workload->capacity;
	}
	return NULL;
}

/* Where all rank alike, the running sums find one by halving; an unusable hit falls back to the
 * passes. */
static const struct endpoint *pick_fast(const struct wish *wish, uint32_t random)
{
	const struct service *v = wish->service;
	size_t low = 0, high = v->endpoints_count;
	uint64_t sum = high ? v->endpoints[high - 1].weight_end : 0;
	uint64_t at = (uint64_t)(((unsigned __int128)random * sum) >> 32);

	if (!v->endpoints || sum == 0)
		return NULL;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (v->endpoints[mid - 1].weight_end <= at)
			low = mid;
		else
			high = mid;
	}
	return endpoint_is_usable(wish, &v->endpoints[low]) ? &v->endpoints[low] : NULL;
}

/* FNV-1a over the client's address and the endpoint's name, mixed at the end (murmur3's fmix64):
 * the same on every node and worker, without a table of who went where. */
static uint64_t affinity_score(const struct cv_addr *client, const char *uid)
{
	uint64_t h = fnv1a(FNV1A_START, client, sizeof(*client));

	h = fnv1a(h, uid, strlen(uid));
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 33);
}

/* Session affinity: of the best rank the one with the highest score for this client, so that a
 * client moves only when its own endpoint goes or a better one comes. */
static const struct endpoint *pick_sticky(const struct wish *wish)
{
	const struct endpoint *found = NULL;
	uint64_t highest = 0;
	int best = 0;

	for (size_t i = 0; i < wish->service->endpoints_count; i++) {
		const struct endpoint *e = &wish->service->endpoints[i];
		int rank = endpoint_rank(wish, e);
		uint64_t score;

		if (rank < best || e->workload->capacity == 0 || !endpoint_is_usable(wish, e))
			continue;
		score = affinity_score(&wish->src->addrs[0], e->workload->uid);
		if (found && rank == best && score <= highest)
			continue;
		found = e;
		best = rank;
		highest = score;
	}
	return found;
}

/* The very one that the lot has fallen on: cast anew, those that can be reached directly would get
 * a part of what is meant for one that cannot. */
static const struct endpoint *pick_drawn(const struct wish *wish)
{
	const struct service *v = wish->service;

	if (wish->is_any || (wish->choice->among & CV_CHOICE_MASK) != CV_CHOICE_HERE)
		return NULL;
	for (size_t i = 0; i < v->endpoints_count; i++) {
		const struct endpoint *e = &v->endpoints[i];
		struct cv_sockaddr at;

		if (e->workload->capacity == 0 || !endpoint_is_usable(wish, e))
			continue;
		at = pick_at(v, e, wish->orig);
		if (cv_choice_here(&at) == wish->choice->among)
			return e;
	}
	return NULL;
}

static const struct endpoint *pick_usable(const struct wish *wish)
{
	const struct service_def *d = wish->service->def;
	uint32_t random = wish->choice->random;
	const struct endpoint *e;

	if (d->is_sticky && wish->src->addrs_count)
		return pick_sticky(wish);
	e = pick_drawn(wish);
	if (e)
		return e;
	if (d->lb_mode == SERVICE_LB_STRICT || d->lb_mode == SERVICE_LB_FAILOVER ||
	    (wish->node && d->is_external_local))
		return pick_ranked(wish, random);
	e = pick_fast(wish, random);
	/* a number that has hit what is not usable is not evenly spread any more */
	return e ? e : pick_ranked(wish, random * SPREAD);
}

const struct endpoint *pick_endpoint(const struct wish *wish)
{
	const struct endpoint *e = pick_usable(wish);
	struct wish any = *wish;

	any.is_any = true;
	if (e || (wish->choice->silent_count == 0 && wish->choice->among == CV_CHOICE_ALL))
		return e;
	return pick_usable(&any);
}
