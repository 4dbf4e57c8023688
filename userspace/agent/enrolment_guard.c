/* SPDX-License-Identifier: Apache-2.0 */
/* enrolment_guard - the guard of an enrolment's links: asked for, told of, what is said of it. */
#include "enrolment.h"

#include <errno.h>

#include "base/log.h"

static const char waits[] = "its guard waits for its turn";

static struct guard_pod guard_pod(const struct enrolment *e)
{
	return (struct guard_pod){
		.home = e->ctx->home, .cookie = e->cookie, .netns_fd = e->netns_fd};
}

void enrolment_exempt(const struct enrolment *e)
{
	struct guard_pod pod = guard_pod(e);

	(void)guard_exempt(e->ctx->datapath, &pod);
}

static const char *guard_notice(const struct enrolment *e, int r)
{
	if (r == -ENODEV)
		return "no guard on the pod's link, which is no veth that ends on the host: what "
		       "goes round its sockets' hooks is not stopped, and it uses tunnels inside "
		       "the node too";
	if (r < 0)
		return "no guard on the pod's link, which could not be attached: what goes round "
		       "its sockets' hooks is not stopped, and it uses tunnels inside the node "
		       "too";
	return enrolment_is_direct(e) ? e->tunnels : NULL;
}

/* What is not as it should be stays said until it is known to be otherwise. */
static void guard_wait(struct enrolment *e)
{
	e->is_guarding = true;
	if (!e->is_guarded && !e->guard_notice)
		e->guard_notice = waits;
}

static void guard_notice_log(const struct enrolment *e, int r)
{
	if (r < 0)
		log_warn_errno("agent", r, "%s pod=%s", e->guard_notice, e->key);
	else if (e->ctx->bypass != GUARD_BYPASS_OFF) /* which is said once, of all pods */
		log_warn("agent", "%s pod=%s", e->guard_notice, e->key);
}

static void on_guarded(void *arg, int r, const char *tunnels)
{
	struct enrolment *e = arg;
	const char *was = e->guard_notice;

	e->is_guarding = false;
	e->is_guarded = r == 0;
	if (r == 0) {
		e->was_guarded = true;
		e->tunnels = tunnels;
	}
	e->guard_notice = guard_notice(e, r);
	if (e->guard_notice && e->guard_notice != was)
		guard_notice_log(e, r);
	enrolment_flags_refresh(e);
}

void enrolment_guard(struct enrolment *e)
{
	const struct guard_thread_want want = {.pod = guard_pod(e),
					       .bypass = e->ctx->bypass,
					       .on_done = on_guarded,
					       .arg = e,
					       .is_first = e->is_guarded || e->was_guarded};
	const char *tunnels = NULL;
	int r;

	if (!datapath_has_guard(e->ctx->datapath) || e->is_guarding)
		return;
	if (e->ctx->guards && guard_thread_attach(e->ctx->guards, &want) == 0) {
		guard_wait(e);
		return;
	}
	if (guard_thread_is_at(e->ctx->guards, e->cookie))
		return; /* the pod's next check asks again */
	r = guard_attach(e->ctx->datapath, &want.pod, e->ctx->bypass, &tunnels);
	on_guarded(e, r, tunnels);
}

/* In this order: what is under way is retired by whoever does it. */
void enrolment_guard_end(struct enrolment *e)
{
	guard_thread_cancel(e->ctx->guards, e);
	guard_retire(e->ctx->datapath, e->cookie);
	e->is_guarding = e->is_guarded = false;
	e->guard_notice = NULL;
}
