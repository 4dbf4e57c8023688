/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* share - how many entries of a map that every pod's connections are written to are one pod's, so
 * that none takes the others' room. About so many: the agent, which removes what is stale, puts
 * right what it makes wrong. */
#include "bpf/lib/entry.h"

static __always_inline struct cv_share *share_find(__u64 cookie)
{
	return bpf_map_lookup_elem(&cv_shares, &cookie);
}

static __always_inline struct cv_share *share_of(__u64 cookie)
{
	const struct cv_share none = {};

	return entry_of(&cv_shares, &cookie, &none);
}

/* Two that go at once may bring a count below zero, where entries are older than their account. */
static __always_inline bool share_has_room(const struct cv_share *s, const struct cv_share *all,
					   enum cv_share_of of)
{
	__s32 held = (__s32)s->count[of];

	return held < (__s32)cfg.share && held < (__s32)(cfg.shared_most - all->count[of]);
}

static __always_inline bool share_is_left(__u64 cookie, enum cv_share_of of)
{
	struct cv_share *s = share_find(cookie), *all = share_find(CV_SHARE_OF_ALL);

	return !s || !all || share_has_room(s, all, of);
}

/* Before an entry is made. Returns false when the pod has its share, or no account of it can be
 * kept.
 */
static __always_inline bool share_take(__u64 cookie, enum cv_share_of of)
{
	struct cv_share *s = share_of(cookie), *all = share_of(CV_SHARE_OF_ALL);

	if (!s || !all || !share_has_room(s, all, of))
		return false;
	__sync_fetch_and_add(&s->count[of], 1);
	__sync_fetch_and_add(&all->count[of], 1);
	return true;
}

static __always_inline void share_less(__u64 cookie, enum cv_share_of of)
{
	struct cv_share *s = share_find(cookie);

	if (s && s->count[of])
		__sync_fetch_and_add(&s->count[of], -1);
}

/* After an entry has gone, or was not made. */
static __always_inline void share_give(__u64 cookie, enum cv_share_of of)
{
	share_less(cookie, of);
	share_less(CV_SHARE_OF_ALL, of);
}
