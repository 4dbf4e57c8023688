/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* enrolment_private - what enrolment.c and enrolment_addrs.c share. Nobody else includes it, but
 * tests. */
#include "enrolment.h"

/* What is learnt inside the namespace. */
struct look {
	uint64_t cookie;
	struct cv_addr addrs[NETNS_MAX_ADDRS];
	size_t addr_count;
};

/** look_around() - for netns_call(). @arg: struct look, zeroed. Return: 0; -errno. */
int look_around(void *arg);

/**
 * addrs_choose() - which of a namespace's addresses count as its pod's: its own first, in the Pod's
 * order, then others, link-local ones last
 * While a Pod has none, its own are those that its network plugin has put there before the first
 * look. What it has besides and is another's is refused.
 * @err: a sentence, on failure. @ret: filled on success; not @e's own.
 * Return: 0; -EINVAL the namespace lacks one of the Pod's; -EADDRNOTAVAIL it has none.
 */
_must_check_ int addrs_choose(const struct podspec *spec, const struct enrolment *e,
			      const struct look *look, struct enrolment_addrs *ret,
			      char err[ENROLMENT_ERROR_LEN]);
/** addrs_refused_log() - a line for each that @old did not refuse yet. @key: the pod's. */
void addrs_refused_log(const struct enrolment *e, const char *key,
		       const struct enrolment_addrs *old);

/** enrolment_entry_init() - name and addresses of its entry. */
void enrolment_entry_init(struct enrolment *e);
/** enrolment_others_have() - has another enrolled pod this address, too? */
bool enrolment_others_have(const struct enrolment *e, const struct cv_addr *addr);
/** enrolment_rules_forget() - no exclusions, but for those of who has its address now. */
void enrolment_rules_forget(const struct enrolment *e);
