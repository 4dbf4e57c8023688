/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* share - how many entries of a map that every pod's connections are written to are one pod's, so
 * that none takes the others' room. About so many: the agent, which removes what is stale, puts
 * right what it makes wrong. */
#include "bpf/maps.h"

static __always_inline struct cv_share *share_find(__u64 cookie)
{
	return bpf_map_lookup_elem(&cv_shares, &cookie);
}

/* Two that go at once may bring it below zero, where entries are older than their account. */
static __always_inline bool share_has_room(const struct cv_share *s, enum cv_share_of of)
{
	return (__s32)s->count[of] < (__s32)cfg.share;
}

static __always_inline bool share_is_left(__u64 cookie, enum cv_share_of of)
{
	struct cv_share *s = share_find(cookie);

	return !s || share_has_room(s, of);
}

/* Before an entry is made. Returns false when the pod has its share, or no account of it can be
 * kept.
 */
static __always_inline bool share_take(__u64 cookie, enum cv_share_of of)
{
	struct cv_share none = {}, *s = share_find(cookie);

	if (!s) {
		(void)bpf_map_update_elem(&cv_shares, &cookie, &none, BPF_NOEXIST);
		s = share_find(cookie);
	}
	if (!s || !share_has_room(s, of))
		return false;
	__sync_fetch_and_add(&s->count[of], 1);
	return true;
}

/* After an entry has gone, or was not made. */
static __always_inline void share_give(__u64 cookie, enum cv_share_of of)
{
	struct cv_share *s = share_find(cookie);

	if (s && s->count[of])
		__sync_fetch_and_add(&s->count[of], -1);
}
