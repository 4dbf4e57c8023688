/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* share_entry - makes and removes entries of the maps that pods share, and keeps account. *_put()
 * returns 0, or not when there is no room, in the map or in the pod's share. */
#include "bpf/lib/conn.h"
#include "bpf/lib/share.h"

static __noinline void conn_forget(const struct cv_tuple *t)
{
	if (t && !bpf_map_delete_elem(&cv_conns, t))
		share_give(t->netns_cookie, CV_SHARE_CONNS);
}

/* An earlier one of this tuple, whose end was not seen, makes way; so it does in the other maps. */
static __noinline int conn_put(const struct cv_tuple *t, const struct cv_conn *c)
{
	if (!t || !c || !share_take(t->netns_cookie, CV_SHARE_CONNS))
		return -1;
	if (!bpf_map_update_elem(&cv_conns, t, c, BPF_NOEXIST))
		return 0;
	conn_forget(t);
	if (!bpf_map_update_elem(&cv_conns, t, c, BPF_NOEXIST))
		return 0;
	share_give(t->netns_cookie, CV_SHARE_CONNS);
	return -1;
}

static __noinline void vouch_forget(const struct cv_tuple *key, const struct cv_vouch *v)
{
	__u64 cookie;
	bool is_hosts;

	if (!key || !v)
		return;
	cookie = v->netns_cookie;
	is_hosts = vouch_is_hosts(v);
	if (!bpf_map_delete_elem(&cv_vouched, key) && !is_hosts)
		share_give(cookie, CV_SHARE_VOUCHED);
}

static __noinline int vouch_put(const struct cv_tuple *key, const struct cv_vouch *v)
{
	struct cv_vouch *earlier;

	if (!key || !v)
		return -1;
	if (!bpf_map_update_elem(&cv_vouched, key, v, BPF_NOEXIST))
		return 0;
	earlier = bpf_map_lookup_elem(&cv_vouched, key);
	if (earlier)
		vouch_forget(key, earlier);
	return bpf_map_update_elem(&cv_vouched, key, v, BPF_NOEXIST);
}

static __noinline void direct_forget(const struct cv_tuple *key, __u64 src_cookie)
{
	if (key && !bpf_map_delete_elem(&cv_directs, key))
		share_give(src_cookie, CV_SHARE_DIRECTS);
}

static __noinline int direct_put(const struct cv_tuple *key, const struct cv_direct *d)
{
	struct cv_direct *earlier;

	if (!key || !d || !share_take(d->src_cookie, CV_SHARE_DIRECTS))
		return -1;
	if (!bpf_map_update_elem(&cv_directs, key, d, BPF_NOEXIST))
		return 0;
	earlier = bpf_map_lookup_elem(&cv_directs, key);
	if (earlier)
		direct_forget(key, earlier->src_cookie);
	if (!bpf_map_update_elem(&cv_directs, key, d, BPF_NOEXIST))
		return 0;
	share_give(d->src_cookie, CV_SHARE_DIRECTS);
	return -1;
}
