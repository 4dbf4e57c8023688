/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_told.h"

#include <bpf/bpf.h>

#include "sweep.h"

/* Return: false: of this connection nothing has been told. */
static bool told_find(int fd, const struct direct_told_key *k, struct cv_direct_told *ret)
{
	return bpf_map_lookup_elem(fd, &k->key, ret) == 0 && ret->time_ns == k->time_ns;
}

/* Counters of one connection only grow. */
static uint64_t growth(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static struct direct_amount amount_growth(const struct direct_amount *now,
					  const struct direct_amount *before)
{
	return (struct direct_amount){.sent = growth(now->sent, before->sent),
				      .received = growth(now->received, before->received)};
}

struct direct_amount direct_told_get(int fd, const struct direct_told_key *k)
{
	struct direct_amount told = {0};
	struct cv_direct_told t;

	if (told_find(fd, k, &t))
		told = (struct direct_amount){.sent = t.sent, .received = t.received};
	return told;
}

struct direct_amount direct_told_raise(int fd, const struct direct_told_key *k,
				       const struct direct_amount *now)
{
	struct direct_amount told, new;
	struct cv_direct_told t = {.time_ns = k->time_ns};

	if (now->sent == 0 && now->received == 0)
		return *now;
	told = direct_told_get(fd, k);
	new = amount_growth(now, &told);
	t.sent = told.sent + new.sent;
	t.received = told.received + new.received;
	if ((new.sent > 0 || new.received > 0) && bpf_map_update_elem(fd, &k->key, &t, BPF_ANY) < 0)
		return (struct direct_amount){0};
	return new;
}

struct direct_amount direct_told_end(int fd, const struct direct_told_key *k,
				     const struct direct_amount *all)
{
	struct direct_amount told = {0};
	struct cv_direct_told t;

	if (told_find(fd, k, &t)) {
		told = (struct direct_amount){.sent = t.sent, .received = t.received};
		(void)bpf_map_delete_elem(fd, &k->key);
	}
	return amount_growth(all, &told);
}

bool direct_told_is_stale(int fd, int directs_fd, const struct cv_tuple *key, uint64_t now_ns)
{
	struct cv_direct_told t;
	struct cv_direct c;

	if (bpf_map_lookup_elem(fd, key, &t) < 0)
		return false;
	if (bpf_map_lookup_elem(directs_fd, key, &c) == 0 && c.time_ns == t.time_ns)
		return false;
	if (t.gone_ns)
		return sweep_is_old(t.gone_ns, now_ns);
	t.gone_ns = now_ns;
	(void)bpf_map_update_elem(fd, key, &t, BPF_EXIST);
	return false;
}
