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

/* Responses of a type that wait for their acks: one, but two where more is to follow on the first,
 * so that a client which takes in a whole mesh need not wait for us after each part. */
#define SUB_IN_FLIGHT_MAX 2

/** struct sub_response - one that is on its way. */
struct sub_response {
	uint64_t nonce;
	uint64_t seq; /* changes up to here are in it, or in those before it */
	size_t count;
	uint64_t behind_us; /* sub.behind_us, of one that is the last of a change */
};

struct sub {
	bool is_open;
	bool is_first; /* the first response is sent even when it is empty: it means "in sync" */
	struct sub_response in_flight[SUB_IN_FLIGHT_MAX]; /* the oldest first */
	unsigned int n_in_flight;
	uint64_t sent_seq;  /* changes up to here were sent */
	uint64_t open_seq;  /* the last change when it was opened */
	uint64_t behind_us; /* when the first change came that it was not sent; 0: none, or new */
	struct map *held;   /* name -> the client's version; until its first round is through */
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
