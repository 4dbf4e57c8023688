/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_wildcard - addresses for names below a wildcard host that has a range of them: who asks for
 * api.example.com hears one of those of *.example.com, and a connection to it goes to the name. A
 * name has the same one on every node, and after a restart, as far as no other has it. An address
 * is no other name's before it was idle for an hour, and refused to pods that have not asked for
 * the name since: none decides where another's connection goes. Bounded: names per wildcard (as
 * the range has room; of one pod as many as it leaves free), of one pod, and in all. Thread: the
 * main loop. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

struct dns_wildcards; /* opaque */
struct service;

/** dns_wildcards_new() - none yet. Return: 0; -ENOMEM. */
_must_check_ int dns_wildcards_new(struct dns_wildcards **ret);
struct dns_wildcards *dns_wildcards_free(struct dns_wildcards *w);
DEFINE_CLEANUP(struct dns_wildcards *, dns_wildcards_free);

/** dns_wildcard_has() - is @v such a host? */
bool dns_wildcard_has(const struct service *v);

/** struct dns_wildcard_ask - @pod: netns cookie of who asks; @now_us: of the loop. */
struct dns_wildcard_ask {
	const char *name; /* lower case, without the last dot; below the wildcard */
	uint64_t pod;
	uint64_t now_us;
	bool is_v4;
};

/** dns_wildcard_take() - the address of a name. Return: 0; -ENOSPC this pod has its share;
 * -EAFNOSUPPORT none of that family; -ENOMEM. */
_must_check_ int dns_wildcard_take(struct dns_wildcards *w, const struct service *v,
				   const struct dns_wildcard_ask *ask, struct cv_addr *ret);

/** dns_wildcard_refused() - somebody got none; @now_us: of the loop. Return: how many since the
 * last line of the log about it, this one included, where one is due; 0: not yet. */
uint64_t dns_wildcard_refused(struct dns_wildcards *w, uint64_t now_us);

/** struct dns_wildcard_dial - @pod: netns cookie of who connects; @now_us: of the loop. */
struct dns_wildcard_dial {
	struct cv_addr addr;
	uint64_t pod;
	uint64_t now_us;
};

/** dns_wildcard_name() - what an address of @host's ("*.example.com") stands for. Return: borrowed
 * until the next take; NULL: this pod has not asked. */
const char *dns_wildcard_name(struct dns_wildcards *w, const char *host,
			      const struct dns_wildcard_dial *dial);
