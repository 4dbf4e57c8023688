/* SPDX-License-Identifier: Apache-2.0 */
/* pods_check - looking after enrolled pods: once a second whether their namespaces live, every few
 * seconds what is in them. That takes 0.1 ms for each, and there may be hundreds: a few at a time,
 * so that what ztunnel and the container runtime wait for comes in between. */
#include "base/log.h"
#include "pods_private.h"

#define CHECK_US      (1000 * 1000)
#define REFRESH_EVERY 5 /* checks */
#define SLICE_US      (10 * 1000)
#define SLICE_MIN     4  /* pods */
#define SLICES        64 /* of a check: well within a second */

/* DESIGN 4, Beside others: one that was attached earlier decides before ours. */
static void lookup_check(struct enrolment *e)
{
	bool is_alone = datapath_lookup_is_alone(e->netns_fd);

	if (!is_alone && !e->is_beside_logged)
		log_warn("agent",
			 "another sk_lookup program is attached in a pod and can override capture "
			 "pod=%s",
			 e->key);
	e->is_beside_logged = !is_alone;
}

static void pod_check(struct pod *pod, bool is_refresh)
{
	struct enrolment *e = pod->enrolment;

	if (!e || pod->left_key)
		return;
	if (!pods_netns_lives(pod)) {
		pods_reopen(pod);
		return;
	}
	if (e->is_captured)
		enrolment_reroute(e, pod->spec, is_refresh);
	if (is_refresh && e->is_captured) {
		lookup_check(e);
		enrolment_guard(e);
	}
	if (is_refresh && e->rules_error)
		enrolment_rules(e, pod->spec);
	if (is_refresh && enrolment_refresh(e, pod->spec) > 0) {
		log_info("agent", "pod has other addresses pod=%s", pod->spec->key);
		pods_addrs_claim(pod->pods, e);
		pods_unoffer(pod->pods, e);
	}
}

static bool is_refresh_due(const struct pods *p, const struct enrolment *e)
{
	return (p->checks + e->check_phase) % REFRESH_EVERY == 0;
}

/* Those that this check has not come to are the first of the list. Return: whether there may be
 * more. */
static bool slice(struct pods *p)
{
	for (size_t i = 0; i < p->slice_size; i++) {
		struct enrolment *e = list_entry(p->enrolments.next, struct enrolment, link);

		if (list_is_empty(&p->enrolments) || e->check == p->checks)
			return false;
		list_del(&e->link);
		list_add_tail(&p->enrolments, &e->link);
		e->check = p->checks;
		pod_check(e->owner, is_refresh_due(p, e));
	}
	return true;
}

static void on_slice(struct loop_timer *t)
{
	struct pods *p = container_of(t, struct pods, slice);

	if (slice(p))
		(void)loop_timer_set(p->config.loop, t, SLICE_US);
	pods_offer(p);
}

static void on_check(struct loop_timer *t)
{
	struct pods *p = container_of(t, struct pods, check);

	pods_left_check(p);
	if (p->slice.at_us == 0) {
		p->checks++;
		p->slice_size = MAX((size_t)SLICE_MIN, map_count(p->by_cookie) / SLICES + 1);
		on_slice(&p->slice);
	}
	if (p->has_stale && p->is_synced)
		pods_stale_sweep(p);
	pods_offer(p);
	(void)loop_timer_set(p->config.loop, t, CHECK_US);
}

void pods_check_add(struct pods *p, struct enrolment *e)
{
	e->check = p->checks;
	e->check_phase = p->check_phase++;
	list_add_tail(&p->enrolments, &e->link);
}

int pods_check_start(struct pods *p)
{
	p->check.on_timer = on_check;
	p->slice.on_timer = on_slice;
	return loop_timer_set(p->config.loop, &p->check, CHECK_US);
}

void pods_check_stop(struct pods *p)
{
	loop_timer_del(&p->check);
	loop_timer_del(&p->slice);
}
