/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* passed - remembers which connections went past the mesh, for whoever asks why afterwards. One
 * look-up more for a destination that is known; nothing is sent to anyone. */
#include "bpf/lib/attempt.h"

static __always_inline void passed_again(struct cv_passed *p, __u64 now_ns)
{
	p->last_ns = now_ns;
	__sync_fetch_and_add(&p->count, 1);
}

static __noinline int passed_new(const struct cv_passed_key *key, const struct cv_passed *fresh)
{
	struct cv_passed_key made = {.reason = CV_PASSED_MADE};
	struct cv_passed *p;

	if (!key || !fresh)
		return 0;
	if (bpf_map_update_elem(&cv_passed, key, fresh, BPF_NOEXIST) == 0) {
		p = bpf_map_lookup_elem(&cv_passed, &made);
		if (p)
			__sync_fetch_and_add(&p->count, 1);
		return 0;
	}
	p = bpf_map_lookup_elem(&cv_passed, key); /* another CPU was faster */
	if (p) {
		passed_again(p, fresh->last_ns);
		return 0;
	}
	p = bpf_map_lookup_elem(&cv_passed, &made);
	if (p)
		p->last_ns = fresh->last_ns;
	return 0;
}

/* Counts the reason, remembers the destination. Verdict: as it is. */
static __noinline int passed(const struct cv_pod *pod, const struct attempt *a, __u32 reason)
{
	struct cv_passed_key key = {.reason = reason};
	struct cv_passed fresh = {.count = 1}, *p;

	count(reason);
	if (!pod || !a)
		return VERDICT_ALLOW;
	key.netns_cookie = a->cookie;
	key.addr = a->dst.addr;
	key.port = a->dst.port;
	fresh.first_ns = fresh.last_ns = bpf_ktime_get_ns();
	p = bpf_map_lookup_elem(&cv_passed, &key);
	if (p) {
		passed_again(p, fresh.last_ns);
		return VERDICT_ALLOW;
	}
	fresh.src = addr_is_v4(&key.addr) ? pod->addr4 : pod->addr6;
	__builtin_memcpy(fresh.pod, pod->name, sizeof(fresh.pod));
	passed_new(&key, &fresh);
	return VERDICT_ALLOW;
}
