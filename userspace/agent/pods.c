/* SPDX-License-Identifier: Apache-2.0 */
#include "pods_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define OFFERS_IN_FLIGHT 16
#define RETRY_MIN_US     (50 * 1000)
#define RETRY_MAX_US     (5 * 1000 * 1000)
#define REFUSED_RETRY_US (5 * 1000 * 1000)
/* How long a released pod's listeners and dial sockets stay, for connections under way and for
 * peers that have not heard yet. */
#define DRAIN_US (5 * 1000 * 1000)
/* After an agent's restart: how long ztunnel may take to come back before it is looked at which
 * pods are without one, and how often from then on. */
#define GRACE_US (3 * 1000 * 1000)
#define AGAIN_US (1000 * 1000)

static struct enrolment *by_cookie(const struct pods *p, uint64_t cookie)
{
	return map_get(p->by_cookie, &cookie, sizeof(cookie));
}

/* Who is behind a namespace may have changed. */
static void pods_changed(struct pods *p)
{
	if (p->config.on_changed)
		p->config.on_changed(p->config.arg);
}

/* ---- offers ---- */

static void pod_fail(struct pod *pod, const char *what)
{
	if (what != pod->error)
		(void)str_copy(pod->error, sizeof(pod->error), what);
	if (!pod->is_error_logged)
		log_warn("agent", "pod cannot be enrolled yet pod=%s error=\"%s\"", pod->spec->key,
			 pod->error);
	if (!pod->is_error_logged && pod->pods->config.on_failed)
		pod->pods->config.on_failed(pod->pods->config.arg, pod->spec->key, pod->error);
	pod->is_error_logged = true;
}

/* What the kernel calls an argument list that is too long is a map that is full. */
static const char *why(int r)
{
	return r == -E2BIG ? "no room in a BPF map" : strerror(-r);
}

static void pod_retry_in(struct pod *pod, uint64_t delay_us)
{
	(void)loop_timer_set(pod->pods->config.loop, &pod->retry, delay_us);
}

static void offer_one(struct pods *p, struct enrolment *e)
{
	struct zds_pod_add m;
	char text[128];
	int r;

	r = enrolment_offer(e, e->owner->spec, &m);
	if (r < 0) {
		(void)snprintf(text, sizeof(text), "cannot offer it to ztunnel: %s", why(r));
		pod_fail(e->owner, text);
		pod_retry_in(e->owner, RETRY_MAX_US);
		return;
	}
	r = zds_send(p->config.zds, &m.h, sizeof(m), e->listeners.fds, ZDS_LISTENERS);
	if (r < 0) {
		listeners_close(&e->listeners);
		return;
	}
	e->is_offered = true;
	p->in_flight++;
}

static bool may_offer(const struct pods *p)
{
	return p->is_synced && p->is_dests_synced && zds_is_connected(p->config.zds);
}

/* A bounded number at a time: each holds a dozen descriptors until ztunnel has answered. */
void pods_offer(struct pods *p)
{
	struct zds_header synced = {.type = ZDS_SYNCED};
	struct enrolment *e;

	if (!may_offer(p))
		return;
	list_for_each_entry (e, &p->enrolments, link) {
		if (p->in_flight >= OFFERS_IN_FLIGHT)
			return;
		if (!e->is_offered && e->owner->retry.at_us == 0 && !e->owner->left_key)
			offer_one(p, e);
	}
	/* With this ztunnel is ready, which in an upgrade is the earlier one's end: not before each
	 * pod that it has taken is steered to it. */
	if (!p->is_announced && p->in_flight == 0 &&
	    zds_send(p->config.zds, &synced, sizeof(synced), NULL, 0) == 0)
		p->is_announced = true;
}

/* ---- release ---- */

/* The end of an enrolment: nothing of it stays in the kernel. */
static void enrolment_end(struct pods *p, struct enrolment *e)
{
	struct zds_pod_ref del = {.h.type = ZDS_POD_DEL, .netns_cookie = e->cookie};

	for (size_t i = 0; i < e->addrs.count; i++)
		if (!pods_addr_is_of_another(p, e, &e->addrs.all[i]))
			datapath_steer_del(e->ctx->datapath, &e->addrs.all[i]);
	if (by_cookie(p, e->cookie) == e)
		(void)map_del(p->by_cookie, &e->cookie, sizeof(e->cookie));
	if (e->is_offered && !e->is_acked)
		p->in_flight--;
	if (e->is_offered)
		(void)zds_send(p->config.zds, &del.h, sizeof(del), NULL, 0);
	log_info("agent", "pod released pod=%s netns_cookie=%" PRIu64, e->key, e->cookie);
	enrolment_close(e);
}

static void on_drained(struct loop_timer *t)
{
	struct enrolment *e = container_of(t, struct enrolment, timer);
	struct pods *p = e->drain_arg;

	enrolment_end(p, e);
	pods_changed(p); /* what it leaves behind is judged as an outsider's */
	pods_offer(p);
}

/* Take the pod out of the mesh: at once for new connections, later for those under way. */
static void pod_release(struct pod *pod, bool is_namespace_gone)
{
	struct pods *p = pod->pods;
	struct enrolment *e = TAKE_PTR(pod->enrolment);

	if (!e)
		return;
	list_del(&e->link);
	e->owner = NULL;
	pods_changed(p);
	if (is_namespace_gone || !e->is_captured) {
		enrolment_uncapture(e);
		enrolment_end(p, e);
		return;
	}
	log_info("agent", "pod is leaving the mesh pod=%s netns_cookie=%" PRIu64, e->key,
		 e->cookie);
	enrolment_uncapture(e);
	list_add_tail(&p->draining, &e->link);
	e->drain_arg = p;
	e->timer.on_timer = on_drained;
	if (loop_timer_set(p->config.loop, &e->timer, DRAIN_US) < 0)
		enrolment_end(p, e);
}

/* ---- one pod ---- */

/* The label came back while the pod was draining: go on with what it still has, or end that first.
 * Its addresses, account and exclusions may be others now, so that it is offered again. */
static struct enrolment *draining_take_back(struct pod *pod, struct enrolment *old,
					    struct enrolment *new)
{
	struct pods *p = pod->pods;
	bool is_kept;

	loop_timer_del(&old->timer);
	list_del(&old->link);
	old->is_encrypt = new->is_encrypt;
	is_kept = old->is_acked && enrolment_refresh(old, pod->spec) >= 0;
	if (is_kept)
		enrolment_rules(old, pod->spec);
	if (!is_kept || enrolment_recapture(old, pod->spec->has_dns) < 0) {
		enrolment_end(p, old);
		enrolment_rules(new, pod->spec); /* they went with the old one's */
		return new;
	}
	enrolment_forget(new);
	old->is_offered = old->is_acked = false;
	return old;
}

/* Whoever had its namespace until now has it no longer. Before it is sealed: an end takes all out
 * of the maps. */
static int pod_take(struct pod *pod, struct enrolment **e)
{
	struct enrolment *old = by_cookie(pod->pods, (*e)->cookie);

	if (!old) {
		enrolment_unsteer(*e);
		return 0;
	}
	if (!old->owner) {
		*e = draining_take_back(pod, old, *e);
		return 0;
	}
	if (old->owner->left_key) {
		pods_left_replace(pod->pods, old);
		return 0;
	}
	(void)snprintf(pod->error, sizeof(pod->error),
		       "its network namespace is already enrolled as %s", old->key);
	enrolment_forget(*e);
	return -EEXIST;
}

static int pod_own(struct pod *pod, struct enrolment *e)
{
	struct pods *p = pod->pods;
	int r = map_put(p->by_cookie, &e->cookie, sizeof(e->cookie), e);

	if (r < 0) {
		enrolment_forget(e);
		return r;
	}
	pods_left_forget(p, e->cookie);
	pods_addrs_claim(p, e);
	e->owner = pod;
	pods_check_add(p, e);
	pod->enrolment = e;
	return 0;
}

/* Before the pod's first byte. */
static int pod_seal(struct pod *pod, struct enrolment *e)
{
	int r = enrolment_seal(e, pod->spec->has_dns, !pod->pods->is_dests_synced);

	if (r == 0)
		return 0;
	(void)snprintf(pod->error, sizeof(pod->error), "cannot capture it: %s", why(r));
	enrolment_close(e);
	return r;
}

/* @is_told: its object has just said what it is now. A retry looks at no other namespaces. */
static void pod_open(struct pod *pod, bool is_told)
{
	struct pods *p = pod->pods;
	struct enrolment *e;
	int r;

	r = enrolment_open(p->config.enrolment, pod->spec, &e, pod->error, sizeof(pod->error));
	if (r == -EINVAL && is_told && pods_netns_seek(p, pod->spec))
		r = enrolment_open(p->config.enrolment, pod->spec, &e, pod->error,
				   sizeof(pod->error));
	if (r == 0)
		r = pod_take(pod, &e);
	if (r == 0 && pod->spec->is_unstarted)
		r = pod_seal(pod, e);
	if (r == 0)
		r = pod_own(pod, e);
	if (r < 0) {
		pod_fail(pod, pod->error);
		pod->retry_us = MIN(MAX(pod->retry_us * 2, RETRY_MIN_US), RETRY_MAX_US);
		pod_retry_in(pod, pod->retry_us);
		return;
	}
	pod->retry_us = 0;
	pod->error[0] = '\0';
	pod->is_error_logged = false;
	if (p->has_stale && p->is_synced)
		pods_stale_sweep(p);
}

void pods_reopen(struct pod *pod)
{
	pod_release(pod, true);
	pod_open(pod, false);
}

static void on_pod_retry(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, retry);

	if (!pod->enrolment)
		pod_open(pod, false);
	pods_offer(pod->pods);
}

static struct pod *pod_free(struct pod *pod)
{
	if (!pod)
		return NULL;
	loop_timer_del(&pod->retry);
	enrolment_forget(pod->enrolment);
	podspec_free(pod->spec);
	free(pod->left_key);
	free(pod->left_with);
	free(pod);
	return NULL;
}

static int pod_new(struct pods *p, struct podspec *spec, struct pod **ret)
{
	struct pod *pod = calloc(1, sizeof(*pod));
	int r;

	if (!pod)
		return -ENOMEM;
	pod->pods = p;
	pod->retry.on_timer = on_pod_retry;
	r = map_put_str(p->by_key, spec->key, pod);
	if (r < 0) {
		free(pod);
		return r;
	}
	pod->spec = spec;
	*ret = pod;
	return 0;
}

/* The pod's object has changed in a way that matters. */
static void pod_change(struct pod *pod, struct podspec *spec)
{
	struct enrolment *e = pod->enrolment;
	bool is_same = podspec_is_same(pod->spec, spec);

	podspec_free(pod->spec);
	pod->spec = spec;
	loop_timer_del(&pod->retry);
	pod->is_error_logged = false;
	if (!e)
		return;
	e->is_encrypt = spec->is_encrypt;
	enrolment_rules(e, spec);
	enrolment_reroute(e, spec, false);
	pods_changed(pod->pods); /* what an annotation had let in is judged, too */
	if (is_same)
		return;
	if (!netns_file_is_same(spec->netns, &e->file)) {
		pod_release(pod, false);
		return;
	}
	/* Addresses, account or DNS: a new offer carries them. */
	if (enrolment_refresh(e, spec) < 0)
		pod_fail(pod, "status.podIPs: not addresses of the pod's network namespace");
	pods_addrs_claim(pod->pods, e);
	pods_unoffer(pod->pods, e);
}

int pods_put(struct pods *p, struct podspec *spec)
{
	struct pod *pod = map_get_str(p->by_key, spec->key);
	int r;

	if (pod) {
		pods_netns_settle(pod, spec);
		pod = map_get_str(p->by_key, spec->key);
	}
	if (pod && podspec_is_same(pod->spec, spec) &&
	    exclude_is_same(&pod->spec->exclusions, &spec->exclusions)) {
		podspec_free(spec);
		return 0;
	}
	if (pod) {
		pod_change(pod, spec);
	} else {
		r = pod_new(p, spec, &pod);
		if (r < 0) {
			podspec_free(spec);
			return r;
		}
	}
	if (!pod->enrolment)
		pod_open(pod, true);
	pods_offer(p);
	return 0;
}

static void pod_remove(struct pods *p, const char *key, bool is_ended)
{
	struct pod *pod = map_del_str(p->by_key, key);

	if (pod)
		pod_release(pod, is_ended || (pod->enrolment &&
					      !netns_file_is_same(pod->spec->netns,
								  &pod->enrolment->file)));
	pod_free(pod);
	if (p->has_stale && p->is_synced)
		pods_stale_sweep(p);
}

void pods_remove(struct pods *p, const char *key)
{
	pods_earlier_remove(p, key);
	pod_remove(p, key, false);
}

void pods_end(struct pods *p, const char *key)
{
	pod_remove(p, key, true);
}

/* ---- ztunnel ---- */

static void captured_log(const struct enrolment *e)
{
	log_info("agent", "pod captured pod=%s netns_cookie=%" PRIu64 " addresses=%zu", e->key,
		 e->cookie, e->addrs.count);
}

void pods_ack(struct pods *p, uint64_t netns_cookie, int error)
{
	struct enrolment *e = by_cookie(p, netns_cookie);
	char text[160];
	int r;

	if (!e || !e->owner || !e->is_offered || e->is_acked)
		return;
	p->in_flight--;
	pods_clashes_resolve(p, e);
	r = error ? -error : enrolment_capture(e, e->owner->spec->has_dns);
	if (r == 0) {
		e->is_acked = true;
		enrolment_reroute(e, e->owner->spec, false);
		e->owner->error[0] = '\0';
		e->owner->is_error_logged = false;
		captured_log(e);
		pods_changed(p);
	} else {
		listeners_close(&e->listeners);
		e->is_offered = false;
		(void)snprintf(text, sizeof(text), "%s: %s",
			       error ? "ztunnel did not take the pod" : "cannot write the maps",
			       why(r));
		pod_fail(e->owner, text);
		pod_retry_in(e->owner, REFUSED_RETRY_US);
	}
	pods_offer(p);
}

void pods_ztunnel_connected(struct pods *p)
{
	loop_timer_del(&p->grace);
	p->is_announced = false;
	pods_offer(p);
}

/* In an upgrade the earlier ztunnel serves the pods for as long as this one takes to come, and to
 * come again. */
void pods_ztunnel_lost(struct pods *p)
{
	struct enrolment *e;
	bool is_served = false;

	p->in_flight = 0;
	list_for_each_entry (e, &p->enrolments, link)
		is_served |= enrolment_ztunnel_lost(e);
	list_for_each_entry (e, &p->draining, link)
		is_served |= enrolment_ztunnel_lost(e);
	if (is_served && loop_timer_set(p->config.loop, &p->grace, AGAIN_US) < 0)
		log_error("agent", "out of memory: it may be seen late that a ztunnel has ended");
}

static void on_grace(struct loop_timer *t)
{
	struct pods *p = container_of(t, struct pods, grace);

	if (zds_is_connected(p->config.zds))
		return;
	pods_ztunnel_lost(p);
	if (p->grace.at_us == 0)
		log_warn("agent", "no ztunnel has come back: its pods' connections are refused");
}

void pods_synced(struct pods *p)
{
	if (p->is_synced)
		return;
	p->is_synced = true;
	pods_stale_sweep(p);
	(void)loop_timer_set(p->config.loop, &p->grace, GRACE_US);
	pods_offer(p);
}

void pods_dests_synced(struct pods *p, bool is_told)
{
	struct enrolment *e;

	if (!p->is_dests_synced)
		list_for_each_entry (e, &p->enrolments, link)
			enrolment_see(e);
	p->is_dests_synced = true;
	p->is_dests_told = p->is_dests_told || is_told;
	pods_offer(p);
}

void pods_flags_changed(struct pods *p)
{
	struct enrolment *e;

	if (!p)
		return;
	list_for_each_entry (e, &p->enrolments, link)
		enrolment_flags_refresh(e);
}

/* ---- life ---- */

int pods_new(const struct pods_config *config, struct pods **ret)
{
	_cleanup_(pods_freep) struct pods *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->config = *config;
	list_init(&p->enrolments);
	list_init(&p->draining);
	p->grace.on_timer = on_grace;
	r = map_new(&p->by_key);
	if (r == 0)
		r = map_new(&p->by_cookie);
	if (r == 0)
		r = map_new(&p->earlier);
	if (r == 0)
		r = pods_check_start(p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct pods *pods_free(struct pods *p)
{
	struct enrolment *e, *tmp;

	if (!p)
		return NULL;
	pods_check_stop(p);
	loop_timer_del(&p->grace);
	if (p->by_key)
		map_for_each (p->by_key, it)
			pod_free(it.value);
	list_for_each_entry_safe (e, tmp, &p->draining, link)
		p->is_retired ? enrolment_forget(e) : enrolment_close(e);
	pods_left_free(p);
	map_free(p->by_key);
	map_free(p->by_cookie);
	free(p);
	return NULL;
}
