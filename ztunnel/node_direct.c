/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/admin.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/direct.h"
#include "ztunnel/direct_table.h"
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
	return p && n->state ? state_workload_by_uid(n->state, p->uid) : NULL;
}

void node_direct_ask(void *arg, const struct zds_verdict *m)
{
	struct node *n = arg;
	struct zds_verdict answer = *m;

	if (m->src_cookie == CV_SRC_ANYONE)
		answer.verdict = direct_judge_plaintext(n->state, pod_of(n, m->dst_cookie), &m->dst,
							&m->src, &answer.is_of_src);
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
		direct_table_note(n->directs, m, news.now_us, &news.new_sent, &news.new_received);
		direct_report(n->telemetry, n->state, &news);
	}
}

/* One list of the connections of this node. */
struct listing {
	struct node *node;
	struct admin_dump *dump;
};

static void list_one(void *arg, const struct zds_direct *m)
{
	const struct listing *l = arg;
	const struct pod *src = pod_of(l->node, m->src_cookie);
	const struct pod *dst = pod_of(l->node, m->dst_cookie);
	const struct workload *from = workload_of(l->node, src), *to = workload_of(l->node, dst);
	struct admin_conn conn = {.src = m->src,
				  .original_dst = m->asked,
				  .actual_dst = m->dst,
				  .protocol = "DIRECT",
				  .is_open = true,
				  .peer = to,
				  .peer_identity = to ? to->app->identity : NULL,
				  .opened_us = m->opened_us,
				  .bytes_to_server = m->sent,
				  .bytes_to_client = m->received};

	if (from && !cv_addr_equal(&m->asked.addr, &m->dst.addr))
		conn.service = state_service_by_addr(l->node->state, &m->asked.addr,
						     from->app->namespace_);
	if (src)
		(void)admin_dump_conn(l->dump, src->uid, &conn);
	conn.is_inbound = true;
	conn.peer = from;
	conn.peer_identity = from ? from->app->identity : NULL;
	if (dst)
		(void)admin_dump_conn(l->dump, dst->uid, &conn);
}

void node_direct_list(struct node *n, struct admin_dump *d)
{
	struct listing l = {.node = n, .dump = d};

	direct_table_each(n->directs, now_monotonic_us(), list_one, &l);
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
	int r = telemetry_new(&n->telemetry);

	return r < 0 ? r : direct_table_new(&n->directs);
}

void node_direct_free(struct node *n)
{
	n->telemetry = telemetry_free(n->telemetry);
	n->directs = direct_table_free(n->directs);
}
