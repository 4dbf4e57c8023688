/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* conn - a connection's tuple, as its dialling end sees it unless it says otherwise. */
#include "bpf/lib/addr.h"
#include "bpf/maps.h"

/* Key of cv_directs for a connection that either end tells. Returns true when who tells it is the
 * key's remote end. */
static __always_inline bool tuple_pair(const struct cv_tuple *t, struct cv_tuple *ret)
{
	bool is_turned = !cv_tuple_is_first(t);

	if (is_turned)
		*ret = cv_tuple_turned(t);
	else
		*ret = *t;
	ret->netns_cookie = 0;
	return is_turned;
}

/* The direct connection that an end sees like this, and which end it is. NULL: none. */
static __always_inline struct cv_direct *direct_find(const struct cv_tuple *t, bool *is_client)
{
	struct cv_tuple key;
	struct cv_direct *d;
	bool is_turned;

	if (is_tunnel_only)
		return NULL;
	is_turned = tuple_pair(t, &key);
	d = bpf_map_lookup_elem(&cv_directs, &key);
	if (!d)
		return NULL;
	*is_client = is_turned == ((d->flags & CV_DIRECT_TURNED) != 0);
	return d;
}

/* A dial of the node's own processes, which may look after its pods. */
static __always_inline bool vouch_is_hosts(const struct cv_vouch *v)
{
	return cfg.host_cookie && v->netns_cookie == (__u32)cfg.host_cookie;
}

static __always_inline __u32 vouch_now(void)
{
	return (bpf_ktime_get_ns() / 1000000000) & CV_VOUCH_TIME;
}

/* Key of cv_vouched: sk_lookup cannot know its namespace, so none is in it. The tuples stay apart
 * because one end is an address of the pod's. */
static __always_inline struct cv_tuple tuple_vouched(const struct cv_tuple *t)
{
	struct cv_tuple v = *t;

	v.netns_cookie = 0;
	return v;
}
