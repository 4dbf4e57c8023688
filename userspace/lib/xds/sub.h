/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* sub - what one client has been told of one type, and what it is to be told next. Owner:
 * xds/server. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/map.h"
#include "xds/batch.h"
#include "xds/resources.h"
#include "xds/types.h"
#include "xds/wanted.h"

struct sub {
	bool is_open;
	bool is_first; /* the first response is sent even when it is empty: it means "in sync" */
	bool is_in_flight; /* one response waits for its ack */
	uint64_t sent_seq; /* changes up to here were sent */
	uint64_t open_seq; /* the last change when it was opened */
	uint64_t nonce;
	size_t in_flight_count;
	uint64_t behind_us; /* when the first change came that it was not sent; 0: none, or new */
	uint64_t in_flight_us; /* the same of a response that is the last of them */
	struct map *held;      /* name -> the client's version; until its first round is through */
	struct wanted *wanted; /* NULL: everything */
};

/** sub_is_up_to_date() - all changes of @store were sent. */
static inline bool sub_is_up_to_date(const struct sub *sub, const struct resources *store)
{
	return sub->sent_seq == store->seq;
}

/** sub_is_behind() - there is something to send to it. */
bool sub_is_behind(const struct sub *sub, const struct resources *store);

/** struct sub_source - where it is filled from. All borrowed. */
struct sub_source {
	enum xds_type type;
	struct resources *store;           /* of this type */
	const struct address_index *index; /* for a client that asks by name */
	const char *node;                  /* the client's */
};

/** sub_fill() - as much of what it lacks as goes into @b, which is empty. Return: 0; -ENOMEM. */
_must_check_ int sub_fill(struct sub *sub, struct batch *b, const struct sub_source *from);
