/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* enrolment - one network namespace in the mesh: what the kernel and ztunnel have of it, and the
 * steps in their order (DESIGN 4, Order): open, offer (listeners to ztunnel), capture, and back:
 * uncapture, close. Owner: pods. Thread: loop only. Goes by netns cookie, which is never reused;
 * names and addresses are. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/loop.h"
#include "culvert/zds.h"
#include "datapath.h"
#include "guard.h"
#include "guard_thread.h"
#include "netns.h"
#include "podspec.h"
#include "reroute.h"
#include "sockets.h"

struct enrolment;

/** struct enrolment_others - what is known of other pods. */
struct enrolment_others {
	/* Is @addr another's than that of pod @key ("namespace/name")? Then @ret_name says whose.
	 */
	bool (*owns)(void *arg, const char *key, const struct cv_addr *addr,
		     char ret_name[CV_NAME_LEN]);
	/* Has an enrolment besides @self this address, its own or not? */
	bool (*have)(void *arg, const struct enrolment *self, const struct cv_addr *addr);
};

/** struct enrolment_context - what all enrolments of an agent share; borrowed, outlives them. */
struct enrolment_context {
	struct datapath *datapath;
	struct netns_home *home;
	struct sockets_marker marker;
	struct guard_thread *guards;           /* NULL: guards are attached at once */
	const struct enrolment_others *others; /* NULL: nothing is known */
	void *others_arg;
	bool is_direct; /* pods of this node may talk without a tunnel: CV_POD_DIRECT */
	enum guard_bypass bypass;
	bool is_registry_only; /* unknown destinations are refused: CV_POD_REGISTRY_ONLY */
	bool is_incomplete;    /* the maps lack mesh destinations: CV_POD_UNKNOWN_TO_TUNNEL */
};

#define ENROLMENT_ERROR_LEN 256

_Static_assert(NETNS_MAX_ADDRS <= 32, "bits of enrolment.unsteered");

/** struct enrolment_addrs - those of a namespace. */
struct enrolment_addrs {
	struct cv_addr all[NETNS_MAX_ADDRS]; /* the pod's own first, then others that it has */
	size_t count, own_count;
	struct cv_addr refused[NETNS_MAX_ADDRS]; /* it has them, but another pod owns them */
	size_t refused_count;
};

struct enrolment {
	const struct enrolment_context *ctx;
	struct list link;        /* pods' list */
	struct pod *owner;       /* NULL once it is draining */
	struct loop_timer timer; /* drain */
	void *drain_arg;
	uint64_t cookie;
	int netns_fd; /* owned */
	struct netns_file file;
	char key[CV_NAME_LEN]; /* "namespace/name", cut as in the map */
	struct enrolment_addrs addrs;
	uint32_t unsteered;  /* bits of addrs.all that another pod has too, see pods */
	struct cv_pod entry; /* as in cv_pods */
	struct listeners listeners;
	struct reroute reroute;
	unsigned int check; /* the last that has come to it, see pods_check.c */
	unsigned int check_phase;
	bool is_encrypt;          /* as in its podspec */
	uint32_t rules_flags;     /* of its exclusions, as far as they are in force */
	const char *rules_error;  /* why they are not; NULL */
	bool is_blind;            /* sealed before the mesh's destinations were known */
	bool is_captured;         /* the entry has CAPTURE: connections are captured or refused */
	bool is_offered;          /* POD_ADD sent to the ztunnel of now */
	bool is_acked;            /* and taken */
	bool is_adopted;          /* found captured at start */
	bool is_beside_logged;    /* said that another sk_lookup program is there */
	bool is_guarding;         /* asked for, and not told of yet */
	bool is_guarded;          /* cv_guard is on its links */
	bool was_guarded;         /* it has been, and may be there still */
	const char *tunnels;      /* it is, but packets may not go from link to link: why */
	const char *guard_notice; /* what is not as it should be, or not yet; NULL */
};

/**
 * enrolment_open() - take a namespace: cookie, addresses. What the maps have of it is adopted.
 * @err: a sentence, on failure.
 * Return: 0; -EINVAL it is not a pod's namespace, or not this pod's; -errno.
 */
_must_check_ int enrolment_open(const struct enrolment_context *ctx, const struct podspec *spec,
				struct enrolment **ret, char *err, size_t err_size);

/** enrolment_fits() - is it the namespace at @netns that has the addresses which the Pod says it
 * has? Enters it. False for a Pod that has none yet. */
bool enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
		    const char *netns);

/** enrolment_close() - take everything out of the kernel and free. Steer entries are the caller's,
 * see pods. Takes NULL. Return: NULL. */
struct enrolment *enrolment_close(struct enrolment *e);

/** enrolment_forget() - free, but leave the kernel as it is: the next agent adopts it. Takes NULL.
 * Return: NULL. */
struct enrolment *enrolment_forget(struct enrolment *e);
DEFINE_CLEANUP(struct enrolment *, enrolment_forget);

/** enrolment_offer() - make the listeners and fill the message that offers them. The descriptors
 * are in e->listeners. Return: 0; -errno. */
_must_check_ int enrolment_offer(struct enrolment *e, const struct podspec *spec,
				 struct zds_pod_add *ret);

/** enrolment_capture() - ztunnel has taken the listeners: vouching, steer entries, sk_lookup,
 * capture, in this order. Lets go of the listeners. Links that have no guard yet get theirs soon.
 * Return: 0; -errno (then nothing new is captured). */
_must_check_ int enrolment_capture(struct enrolment *e, bool has_dns);

/**
 * enrolment_seal() - capture before ztunnel has been asked: until it has taken the pod, what would
 * go to it is refused, and what comes in finds nobody
 * @is_blind: the mesh's destinations are not known, so every destination counts as one; ends with
 * enrolment_see(), or with enrolment_capture().
 * Its links' guards come soon.
 * Return: 0; -errno (close it then).
 */
_must_check_ int enrolment_seal(struct enrolment *e, bool has_dns, bool is_blind);
/** enrolment_see() - the mesh's destinations are known now. Logs a failure. */
void enrolment_see(struct enrolment *e);

/**
 * enrolment_ztunnel_lost() - refuse what would go to ztunnel. Logs a failure.
 * Return: true: not yet. An earlier ztunnel, which had the pod before this agent came, listens for
 * it still: to be asked again.
 */
bool enrolment_ztunnel_lost(struct enrolment *e);

/** enrolment_uncapture() - new connections are plain again; those under way still find their names
 * and listeners, and new tunnels the one at port 15008, until it is closed. */
void enrolment_uncapture(struct enrolment *e);
/** enrolment_unsteer() - of a namespace that is not captured, what an agent before this one, which
 * has not come to close it, left of that. */
void enrolment_unsteer(struct enrolment *e);
/** enrolment_recapture() - back from that, before it is closed. Return: 0; -errno. */
_must_check_ int enrolment_recapture(struct enrolment *e, bool has_dns);

/** enrolment_flags_refresh() - the context has changed: say so in the pod's entry.
 * Logs a failure. */
void enrolment_flags_refresh(struct enrolment *e);

/** enrolment_rules() - the podspec's exclusions, or is_encrypt, have changed: put them in force.
 * Where there is no room the pod is captured whole, which is logged. */
void enrolment_rules(struct enrolment *e, const struct podspec *spec);

/** enrolment_reroute() - let machines inside it in, behind the interfaces that the podspec names
 * and that are there now. @is_whole: repair what is there. */
void enrolment_reroute(struct enrolment *e, const struct podspec *spec, bool is_whole);
/** enrolment_reroute_end() - nothing of that stays. */
void enrolment_reroute_end(struct enrolment *e);

/** enrolment_guard() - guard its links soon, or look again who else is there. Without a guard the
 * pod does not talk directly. What is not as it should be is logged once, and in guard_notice, as
 * is that it waits for its first. */
void enrolment_guard(struct enrolment *e);
/** enrolment_guard_end() - it needs none any more; its links are left to guard_sweep(). */
void enrolment_guard_end(struct enrolment *e);
/** enrolment_exempt() - as guard_exempt(); without it one or the other may miss its second try. */
void enrolment_exempt(const struct enrolment *e);

/** enrolment_is_direct() - may it talk without a tunnel, as far as that is anybody's wish? */
static inline bool enrolment_is_direct(const struct enrolment *e)
{
	return e->ctx->is_direct && !e->is_encrypt;
}

/** enrolment_has_addr() - is it one of the addresses? */
bool enrolment_has_addr(const struct enrolment *e, const struct cv_addr *addr);

/** enrolment_owns_addr() - is it one of the Pod's own? */
bool enrolment_owns_addr(const struct enrolment *e, const struct cv_addr *addr);

/** enrolment_yield() - if it has this address and does not own it, give it up to pod @to, which
 * does; logged. Return: was it so? Then a new offer is due. */
bool enrolment_yield(struct enrolment *e, const struct cv_addr *addr, const char *to);

/** enrolment_lose() - if it has this address, own or not, another pod has it from now on. */
void enrolment_lose(struct enrolment *e, const struct cv_addr *addr);

/**
 * enrolment_refresh() - look whether the namespace's addresses have changed; take what is gone out
 * of the maps. What is new needs a new offer, since the agent keeps no listener to steer to.
 * Return: 0 no change; 1 changed; -errno of looking (nothing changed).
 */
_must_check_ int enrolment_refresh(struct enrolment *e, const struct podspec *spec);
