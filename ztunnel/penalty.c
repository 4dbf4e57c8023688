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

static void add(struct penalty *p, const struct cv_addr *addr, uint64_t weight, uint64_t now_us)
{
	size_t i = find(p, addr);
	uint64_t leaked;

	if (i == PENALTY_MAX) {
		i = p->next;
		p->next = (p->next + 1) % PENALTY_MAX;
		p->peers[i].addr = *addr;
		p->peers[i].level = 0;
		p->peers[i].until_us = 0;
		p->peers[i].at_us = now_us;
	}
	/* another worker's loop may have looked at its clock a moment later */
	now_us = MAX(now_us, p->peers[i].at_us);
	leaked = (now_us - p->peers[i].at_us) / PENALTY_LEAK_US;
	p->peers[i].at_us += leaked * PENALTY_LEAK_US;
	p->peers[i].level -= MIN(leaked, p->peers[i].level);
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
