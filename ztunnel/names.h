/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* names - a worker's question for the addresses of a host, answered by the main thread's resolver.
 * Made, waited for and cancelled in the worker's thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"

struct dns;
struct name_query;
struct worker;

/** struct name_wait - embedded in who waits; zero before first use. */
struct name_wait {
	struct name_query *query; /* NULL: does not wait */
	/* @error, @addrs: as struct dns_ask's; -ESHUTDOWN: the main thread has ended. */
	void (*on_names)(struct name_wait *wait, int error, const struct cv_addr *addrs,
			 size_t count);
};

/** struct name_ask - whose addresses. */
struct name_ask {
	uint64_t netns_cookie; /* of the pod whose nameservers know */
	const char *host;      /* a wildcard: the name below it that has @addr */
	struct cv_addr addr;
};

/** names_ask() - @ask is copied. Return: 0, on_names() will be called; -ENOMEM; -ENAMETOOLONG. */
_must_check_ int names_ask(struct worker *w, const struct name_ask *ask, struct name_wait *wait);
/** names_cancel() - harmless when it does not wait. */
void names_cancel(struct name_wait *wait);
/** names_serve() - in the main thread: have a question answered by @d. */
void names_serve(struct name_query *q, struct dns *d);
/** names_error() - a sentence for the log. */
const char *names_error(int error);
