/* SPDX-License-Identifier: Apache-2.0 */
#include "shares.h"

#include <bpf/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/str.h"
#include "map_keys.h"

#define AT_ONCE 32
#define SLACK   64 /* what may come and go while it is counted */

/* Whose entries of one map are counted. */
struct suspects {
	uint64_t cookies[AT_ONCE];
	uint32_t counts[AT_ONCE];
	size_t n;
};

struct shared {
	enum datapath_map map;
	uint64_t (*owner)(const struct cv_tuple *key, const void *value);
};

static uint64_t conn_owner(const struct cv_tuple *key, const void *value)
{
	(void)value;
	return key->netns_cookie;
}

static uint64_t vouch_owner(const struct cv_tuple *key, const void *value)
{
	const struct cv_vouch *v = value;

	(void)key;
	return v->netns_cookie;
}

static uint64_t direct_owner(const struct cv_tuple *key, const void *value)
{
	const struct cv_direct *d = value;

	(void)key;
	return d->src_cookie;
}

static const struct shared maps[CV_SHARES] = {
	[CV_SHARE_CONNS] = {DATAPATH_CONNS, conn_owner},
	[CV_SHARE_VOUCHED] = {DATAPATH_VOUCHED, vouch_owner},
	[CV_SHARE_DIRECTS] = {DATAPATH_DIRECTS, direct_owner},
};

static void suspects_count(struct suspects *s, uint64_t owner)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->cookies[i] == owner || s->cookies[i] == CV_SHARE_OF_ALL)
			s->counts[i]++;
}

static void entries_count(const struct datapath *d, const struct shared *m, struct suspects *s)
{
	int fd = datapath_map_fd(d, m->map);
	union {
		struct cv_conn conn;
		struct cv_vouch vouch;
		struct cv_direct direct;
	} value;
	struct cv_tuple key, next;

	map_keys_each (fd, key, next)
		if (bpf_map_lookup_elem(fd, &key, &value) == 0)
			suspects_count(s, m->owner(&key, &value));
}

/* The programs may count meanwhile; what that loses is found the next time. */
static void account_mend(int fd, uint64_t cookie, enum cv_share_of of, uint32_t there)
{
	struct cv_share share;

	if (bpf_map_lookup_elem(fd, &cookie, &share) < 0 || share.count[of] <= there + SLACK)
		return;
	share.count[of] = there;
	(void)bpf_map_update_elem(fd, &cookie, &share, BPF_EXIST);
}

/* Half of what a pod may have: more of it had better not be there without reason. */
static uint32_t suspect_from(uint32_t all)
{
	return MIN(CV_SHARED_MOST - MIN(all, CV_SHARED_MOST), CV_SHARE_OF_POD) / 2;
}

static uint32_t share_count(int fd, uint64_t cookie, enum cv_share_of of)
{
	struct cv_share share;

	return bpf_map_lookup_elem(fd, &cookie, &share) == 0 ? share.count[of] : 0;
}

static void suspect_add(struct suspects *s, uint64_t cookie)
{
	s->cookies[s->n] = cookie;
	s->counts[s->n++] = 0;
}

static void suspects_find(int fd, enum cv_share_of of, struct suspects *ret)
{
	uint32_t all = share_count(fd, CV_SHARE_OF_ALL, of);
	uint64_t key, next;

	ret->n = 0;
	if (all > CV_SHARED_MOST - CV_SHARE_OF_POD) /* a pod's share is less for it */
		suspect_add(ret, CV_SHARE_OF_ALL);
	map_keys_each (fd, key, next)
		if (ret->n < AT_ONCE && key != CV_SHARE_OF_ALL &&
		    share_count(fd, key, of) > suspect_from(all))
			suspect_add(ret, key);
}

static void gone_forget(struct datapath *d, int fd)
{
	uint64_t key, next;
	struct cv_pod pod;

	map_keys_each (fd, key, next)
		if (key != CV_SHARE_OF_ALL && datapath_pod_get(d, key, &pod) < 0)
			(void)bpf_map_delete_elem(fd, &key);
}

void shares_sweep(struct datapath *d, uint64_t *again_ns)
{
	int fd = datapath_map_fd(d, DATAPATH_SHARES);
	uint64_t now_ns = now_monotonic_us() * 1000;
	struct suspects s;

	if (now_ns < *again_ns)
		return;
	*again_ns = now_ns + SHARES_EVERY_NS;
	gone_forget(d, fd);
	for (enum cv_share_of of = 0; of < CV_SHARES; of++) {
		suspects_find(fd, of, &s);
		if (s.n > 0)
			entries_count(d, &maps[of], &s);
		for (size_t i = 0; i < s.n; i++)
			account_mend(fd, s.cookies[i], of, s.counts[i]);
	}
}
