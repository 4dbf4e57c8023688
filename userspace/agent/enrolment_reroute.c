/* SPDX-License-Identifier: Apache-2.0 */
/* enrolment_reroute - machines inside an enrolled pod. */
#include "base/log.h"
#include "enrolment.h"

static struct reroute_pod pod_of(const struct enrolment *e)
{
	return (struct reroute_pod){
		.home = e->ctx->home, .cookie = e->cookie, .netns_fd = e->netns_fd};
}

void enrolment_reroute_end(struct enrolment *e)
{
	const struct reroute_pod pod = pod_of(e);

	if (e->reroute.is_on)
		reroute_release(datapath_pin_dir(e->ctx->datapath), &pod);
	e->reroute = (struct reroute){0};
}

void enrolment_reroute(struct enrolment *e, const struct podspec *spec, bool is_whole)
{
	const struct reroute_pod pod = pod_of(e);
	const struct exclusions *x = &spec->exclusions;
	int before = e->reroute.error;

	if (!e->is_captured || (!e->reroute.is_on && x->reroute_count == 0))
		return;
	e->reroute.is_on = true;
	enrolment_flags_refresh(e);
	if (x->reroute_count == 0)
		enrolment_reroute_end(e);
	else
		reroute_sync(e->ctx->datapath, &pod, &e->reroute, x, is_whole);
	if (e->reroute.error < 0 && before == 0)
		log_error_errno("agent", e->reroute.error,
				"cannot take in machines inside a pod, whose connections to the "
				"mesh are dropped pod=%s",
				e->key);
	enrolment_flags_refresh(e);
}
