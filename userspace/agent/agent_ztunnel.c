/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_private.h"
#include "base/log.h"
#include "direct_list.h"

#define METRICS_US  (5 * 1000 * 1000)
#define METRICS_MAX (ZDS_MAX_MESSAGE - sizeof(struct zds_header))

static void metrics_send(struct agent *a)
{
	_cleanup_(buf_resetp) struct buf b = {.limit = METRICS_MAX};
	struct zds_header h = {.type = ZDS_METRICS};
	uint64_t counters[CV_REASON_MAX];
	size_t pods[PODS_STATE_MAX];
	int r;

	r = datapath_counters(a->datapath, counters);
	if (r < 0)
		return;
	pods_count(a->pods, pods);
	r = buf_append(&b, &h, sizeof(h));
	if (r == 0)
		r = metrics_format(&b, counters, pods, datapath_no_room_counts(a->datapath));
	if (r == 0)
		(void)zds_send(a->zds, (struct zds_header *)(void *)buf_head(&b), buf_len(&b), NULL,
			       0);
}

static void on_metrics(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, metrics);

	if (zds_is_connected(a->zds)) {
		metrics_send(a);
		nameservers_resend(&a->nameservers);
	}
	(void)loop_timer_set(a->loop, t, METRICS_US);
}

int agent_metrics_start(struct agent *a)
{
	a->metrics.on_timer = on_metrics;
	return loop_timer_set(a->loop, &a->metrics, METRICS_US);
}

static void on_ztunnel_connected(void *arg)
{
	struct agent *a = arg;

	log_info("agent", "ztunnel is connected pid=%d", (int)zds_peer_pid(a->zds));
	stock_ztunnel_connected(&a->stock, zds_peer_pid(a->zds));
	if (a->is_retired)
		return;
	nameservers_send(&a->nameservers);
	pods_ztunnel_connected(a->pods);
	direct_ztunnel_connected(a->direct);
	metrics_send(a);
}

static void on_ztunnel_lost(void *arg)
{
	struct agent *a = arg;

	stock_ztunnel_lost(&a->stock);
	if (a->is_retired) {
		agent_retired_lost(a);
		return;
	}
	log_warn("agent", "ztunnel is gone: its pods' connections are refused until it is back");
	pods_ztunnel_lost(a->pods);
}

static void on_ack(void *arg, uint64_t netns_cookie, int error)
{
	struct agent *a = arg;

	if (!a->is_retired)
		pods_ack(a->pods, netns_cookie, error);
}

static void on_need(void *arg, const struct zds_sockets *need)
{
	struct agent *a = arg;

	pods_need(a->pods, need);
}

static void on_verdict(void *arg, const struct zds_verdict *verdict)
{
	struct agent *a = arg;

	if (!a->is_retired)
		direct_verdict(a->direct, verdict);
}

static void on_policy(void *arg)
{
	struct agent *a = arg;

	if (!a->is_retired)
		direct_void(a->direct);
}

/* The maps tell, whoever writes them. */
static void on_direct_ask(void *arg, const struct zds_direct_ask *ask)
{
	struct agent *a = arg;

	direct_list_answer(a->zds, a->datapath, ask);
}

const struct zds_ops agent_zds_ops = {
	.on_connected = on_ztunnel_connected,
	.on_lost = on_ztunnel_lost,
	.on_ack = on_ack,
	.on_need = on_need,
	.on_verdict = on_verdict,
	.on_policy = on_policy,
	.on_direct_ask = on_direct_ask,
};
