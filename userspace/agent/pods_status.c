/* SPDX-License-Identifier: Apache-2.0 */
/* pods_status - what is told about the pods. Changes nothing. */
#include "pods.h"

#include <errno.h>
#include <string.h>

#include "pods_private.h"

static const char *const state_names[PODS_STATE_MAX] = {"pending", "captured", "error"};

const char *pods_state_name(enum pods_state state)
{
	return state_names[state];
}

static const char *waits_for(const struct pod *pod)
{
	const struct pods *p = pod->pods;

	if (pod->is_earlier)
		return "it has another sandbox now, but something holds this one: captured until "
		       "that ends";
	if (pod->left_key)
		return "its object is gone, its processes are not: captured until they end";
	if (pod->error[0])
		return pod->error;
	if (!p->is_dests_synced)
		return "waiting for the control plane";
	if (!zds_is_connected(p->config.zds))
		return "waiting for ztunnel";
	return pod->enrolment && pod->enrolment->is_acked
		       ? "waiting for the control plane to announce it"
		       : "waiting for ztunnel to take it";
}

/* Captured means: both ways, and the mesh has been told. */
static enum pods_state pod_state(const struct pod *pod)
{
	const struct enrolment *e = pod->enrolment;

	if (pod->left_key)
		return PODS_PENDING;
	if (!e || pod->error[0])
		return PODS_ERROR;
	if (!e->is_acked || !(e->entry.flags & CV_POD_ALIVE))
		return PODS_PENDING;
	if (pod->pods->is_dests_told && !dests_is_mesh(pod->pods->config.dests, &e->addrs.all[0]))
		return PODS_PENDING;
	return PODS_CAPTURED;
}

static void pod_info(const struct pod *pod, struct pods_info *ret)
{
	const struct enrolment *e = pod->enrolment;
	enum pods_state state = pod_state(pod);

	*ret = (struct pods_info){
		.namespace_ = pod->spec->namespace_,
		.name = pod->spec->name,
		.state = state,
		.error = state == PODS_CAPTURED ? "" : waits_for(pod),
		.netns_cookie = e ? e->cookie : 0,
		.addrs = e ? e->addrs.all : pod->spec->ips,
		.addr_count = e ? e->addrs.count : pod->spec->ip_count,
		.exclusions = &pod->spec->exclusions,
		.reroute = e ? &e->reroute : NULL,
		.rules_error = e ? e->rules_error : NULL,
		.guard_notice = e ? e->guard_notice : NULL,
		.is_kept = pod->left_key != NULL,
	};
}

enum pods_hold pods_hold(const struct pods *p, const char *key, bool *ret_is_soon,
			 const char **ret_why)
{
	const struct pod *pod = map_get_str(p->by_key, key);
	const struct enrolment *e = pod ? pod->enrolment : NULL;

	*ret_why = pod ? waits_for(pod) : "it is not known to be of the mesh";
	*ret_is_soon = p->is_synced && p->is_dests_synced && zds_is_connected(p->config.zds);
	if (!e || !e->is_captured)
		return PODS_HOLD_NONE;
	return e->is_acked && (e->entry.flags & CV_POD_ALIVE) ? PODS_HOLD_SERVED
							      : PODS_HOLD_REFUSING;
}

void pods_for_each(const struct pods *p, void (*fn)(void *arg, const struct pods_info *info),
		   void *arg)
{
	for (int is_kept = 0; is_kept < 2; is_kept++)
		map_for_each (p->by_key, it) {
			struct pods_info info;

			pod_info(it.value, &info);
			if (info.is_kept == (is_kept == 1))
				fn(arg, &info);
		}
}

void pods_count(const struct pods *p, size_t ret[PODS_STATE_MAX])
{
	memset(ret, 0, PODS_STATE_MAX * sizeof(*ret));
	map_for_each (p->by_key, it)
		ret[pod_state(it.value)]++;
}

size_t pods_draining(const struct pods *p)
{
	const struct enrolment *e;
	size_t n = 0;

	list_for_each_entry (e, &p->draining, link)
		n++;
	return n;
}

const char *pods_name(const struct pods *p, uint64_t netns_cookie)
{
	const struct enrolment *e = map_get(p->by_cookie, &netns_cookie, sizeof(netns_cookie));

	return e ? e->key : NULL;
}

int pods_netns_fd(const struct pods *p, uint64_t netns_cookie)
{
	const struct enrolment *e = map_get(p->by_cookie, &netns_cookie, sizeof(netns_cookie));

	return e ? e->netns_fd : -ENOENT;
}

const char *pods_name_by_addr(const struct pods *p, const struct cv_addr *addr)
{
	const struct enrolment *e;

	list_for_each_entry (e, &p->enrolments, link)
		if (enrolment_has_addr(e, addr))
			return e->key;
	return NULL;
}
