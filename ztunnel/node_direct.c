/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/agent_link.h"
#include "ztunnel/direct.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/state.h"

static const struct pod *pod_of(const struct node *n, uint64_t cookie)
{
	struct node_pod *np = node_pod_find(n, cookie);

	return np ? np->pod : NULL;
}

void node_direct_ask(void *arg, const struct zds_verdict *m)
{
	struct node *n = arg;
	struct zds_verdict answer = *m;

	answer.verdict =
		direct_judge(n->state, pod_of(n, m->src_cookie), pod_of(n, m->dst_cookie), &m->dst);
	n->has_asked = true;
	(void)agent_link_verdict(n->agent, &answer);
}

void node_direct_report(void *arg, const struct zds_direct *m)
{
	struct node *n = arg;

	direct_report(n->telemetry, n->state, pod_of(n, m->src_cookie), pod_of(n, m->dst_cookie),
		      m);
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
