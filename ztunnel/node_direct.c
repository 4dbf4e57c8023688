/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/admin.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/direct.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/pod.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"

static const struct pod *pod_of(const struct node *n, uint64_t cookie)
{
	struct node_pod *np = node_pod_find(n, cookie);

	return np ? np->pod : NULL;
}

static const struct workload *workload_of(const struct node *n, const struct pod *p)
{
	return p && n->state ? pod_workload(n->state, p) : NULL;
}

void node_direct_ask(void *arg, const struct zds_verdict *m)
{
	struct node *n = arg;
	struct zds_verdict answer = *m;

	if (m->src_cookie == CV_SRC_ANYONE)
		answer.verdict = direct_judge_plaintext(n->state, pod_of(n, m->dst_cookie), &m->dst,
							&m->src, &answer.is_of_src);
	else if (m->open)
		answer.verdict = direct_judge_open(n->state, pod_of(n, m->src_cookie),
						   pod_of(n, m->dst_cookie), m, &answer.is_of_src);
	else
		answer.verdict = direct_judge(n->state, pod_of(n, m->src_cookie),
					      pod_of(n, m->dst_cookie), &m->dst);
	n->has_asked = true;
	(void)agent_link_verdict(n->agent, &answer);
}

/* Neither the state nor a pod changes in between, and most of it is about the same two pods. */
void node_direct_report(void *arg, const struct zds_direct *m, size_t count)
{
	struct node *n = arg;
	struct direct_news news = {.now_us = now_monotonic_us()};

	for (; count > 0; count--, m++) {
		if (!news.m || news.m->src_cookie != m->src_cookie)
			news.src = workload_of(n, pod_of(n, m->src_cookie));
		if (!news.m || news.m->dst_cookie != m->dst_cookie)
			news.dst = workload_of(n, pod_of(n, m->dst_cookie));
		news.m = m;
		direct_report(n->telemetry, n->state, &news);
	}
}

/* Asked at the same time; who comes then is not told of them. */
#define LISTINGS_MAX 16

/* A list of the connections of this node that somebody waits for. */
struct listing {
	struct list link; /* node.listings */
	uint64_t id;
	struct admin_dump *dump; /* held */
};

static void listing_end(struct listing *l)
{
	list_del(&l->link);
	admin_dump_done(l->dump);
	free(l);
}

static struct listing *listing_find(struct node *n, uint64_t id)
{
	struct listing *l;

	list_for_each_entry (l, &n->listings, link)
		if (l->id == id)
			return l;
	return NULL;
}

static size_t listings_count(const struct node *n)
{
	const struct listing *l;
	size_t count = 0;

	list_for_each_entry (l, &n->listings, link)
		count++;
	return count;
}

static void list_one(const struct node *n, struct admin_dump *d, const struct zds_direct *m)
{
	const struct pod *src = pod_of(n, m->src_cookie);
	const struct pod *dst = pod_of(n, m->dst_cookie);
	const struct workload *from = workload_of(n, src), *to = workload_of(n, dst);
	struct admin_conn conn = {.src = m->src,
				  .original_dst = m->asked,
				  .actual_dst = m->dst,
				  .target = m->dst,
				  .protocol = "DIRECT",
				  .is_open = true,
				  .peer = to,
				  .peer_identity = to ? to->app->identity : NULL,
				  .client_identity = from ? from->app->identity : NULL,
				  .opened_us = m->opened_us,
				  .bytes_to_server = m->sent,
				  .bytes_to_client = m->received};

	if (from && !cv_addr_equal(&m->asked.addr, &m->dst.addr))
		conn.service =
			state_service_by_addr(n->state, &m->asked.addr, from->app->namespace_);
	if (src)
		(void)admin_dump_conn(d, src->uid, &conn);
	conn.is_inbound = true;
	conn.peer = from;
	conn.peer_identity = from ? from->app->identity : NULL;
	if (dst)
		(void)admin_dump_conn(d, dst->uid, &conn);
}

void node_direct_page(void *arg, const struct zds_direct_page *m)
{
	struct node *n = arg;
	struct listing *l = listing_find(n, m->id);

	if (!l)
		return;
	for (uint32_t i = 0; i < m->count; i++)
		list_one(n, l->dump, &m->open[i]);
	admin_dump_more(l->dump);
	if (m->next && agent_link_direct_ask(n->agent, l->id, m->next) == 0)
		return;
	if (!m->next)
		admin_dump_direct_listed(l->dump);
	listing_end(l);
}

void node_direct_list(struct node *n, struct admin_dump *d)
{
	struct listing *l;

	if (!n->agent || listings_count(n) >= LISTINGS_MAX)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->id = ++n->listing_id;
	l->dump = d;
	admin_dump_hold(d);
	list_add_tail(&n->listings, &l->link);
	if (agent_link_direct_ask(n->agent, l->id, 0) < 0)
		listing_end(l);
}

void node_direct_lost(struct node *n)
{
	while (!list_is_empty(&n->listings))
		listing_end(list_entry(n->listings.next, struct listing, link));
}

static bool is_verdict_other(const struct state *old, const struct state *new)
{
	return !old || state_is_synced(old) != state_is_synced(new) ||
	       state_policy_generation(old) != state_policy_generation(new);
}

void node_direct_state(struct node *n, const struct state *old)
{
	/* Before any answer that follows from the new state: the socket keeps the order. */
	if (n->has_asked && n->agent && (n->is_renewed || is_verdict_other(old, n->state)))
		(void)agent_link_policy(n->agent);
	n->is_renewed = false;
}

int node_direct_init(struct node *n)
{
	list_init(&n->listings);
	return telemetry_new(&n->telemetry);
}

void node_direct_free(struct node *n)
{
	n->telemetry = telemetry_free(n->telemetry);
}
