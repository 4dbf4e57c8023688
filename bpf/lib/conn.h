/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* conn - a connection's tuple, always as its dialling end sees it. */
#include "bpf/lib/addr.h"
#include "bpf/maps.h"

/* The same connection, told by the other end. */
static __always_inline struct cv_tuple tuple_reverse(const struct cv_tuple *t)
{
	return (struct cv_tuple){
		.netns_cookie = t->netns_cookie,
		.local = t->remote,
		.remote = t->local,
		.local_port = t->remote_port,
		.remote_port = t->local_port,
	};
}

/* Key of cv_vouched: sk_lookup cannot know its namespace, so none is in it. The tuples stay apart
 * because one end is an address of the pod's. */
static __always_inline struct cv_tuple tuple_vouched(const struct cv_tuple *t)
{
	struct cv_tuple v = *t;

	v.netns_cookie = 0;
	return v;
}
