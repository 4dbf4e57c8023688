/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/penalty.h"

#include "base/macros.h"
#include "net/addr.h"

/* find() - Return: the place of @addr's bucket; PENALTY_MAX: it has none. */
static size_t find(const struct penalty *p, const struct cv_addr *addr)
{
	size_t i = 0;

	while (i < PENALTY_MAX &&
	       !(p->peers[i].level > 0 && cv_addr_equal(&p->peers[i].addr, addr)))
		i++;
	return i;
}

static void leak(struct penalty *p, size_t i, uint64_t now_us)
{
	uint64_t leaked = (now_us - p->peers[i].at_us) / PENALTY_LEAK_US;

	p->peers[i].at_us += leaked * PENALTY_LEAK_US;
	p->peers[i].level -= MIN(leaked, p->peers[i].level);
}

/* place_for() - Return: a place, that of the lowest bucket till now; PENALTY_MAX: its owner did
 * more than @weight and is not heard. */
static size_t place_for(struct penalty *p, const struct cv_addr *addr, uint64_t weight,
			uint64_t now_us)
{
	size_t lowest = 0;

	for (size_t i = 0; i < PENALTY_MAX; i++) {
		leak(p, i, MAX(now_us, p->peers[i].at_us));
		if (p->peers[i].level < p->peers[lowest].level)
			lowest = i;
	}
	if (p->peers[lowest].until_us > now_us && p->peers[lowest].level > weight)
		return PENALTY_MAX;
	p->peers[lowest].addr = *addr;
	p->peers[lowest].level = 0;
	p->peers[lowest].until_us = 0;
	p->peers[lowest].at_us = now_us;
	return lowest;
}

static void add(struct penalty *p, const struct cv_addr *addr, uint64_t weight, uint64_t now_us)
{
	size_t i = find(p, addr);

	if (i == PENALTY_MAX)
		i = place_for(p, addr, weight, now_us);
	if (i == PENALTY_MAX)
		return;
	/* another worker's loop may have looked at its clock a moment later */
	now_us = MAX(now_us, p->peers[i].at_us);
	leak(p, i, now_us);
	p->peers[i].level =
		MIN(p->peers[i].level + weight, PENALTY_FLOOD * PENALTY_US_MAX / PENALTY_US);
	if (p->peers[i].level >= PENALTY_FLOOD)
		p->peers[i].until_us = now_us + p->peers[i].level * PENALTY_US / PENALTY_FLOOD;
}

void penalty_add(struct penalty *p, const struct cv_addr *addr, uint64_t weight, uint64_t now_us)
{
	(void)pthread_mutex_lock(&p->lock);
	add(p, addr, weight, now_us);
	(void)pthread_mutex_unlock(&p->lock);
}

bool penalty_is_on(struct penalty *p, const struct cv_addr *addr, uint64_t now_us)
{
	bool is_on;
	size_t i;

	(void)pthread_mutex_lock(&p->lock);
	i = find(p, addr);
	is_on = i < PENALTY_MAX && p->peers[i].until_us > now_us;
	(void)pthread_mutex_unlock(&p->lock);
	return is_on;
}
