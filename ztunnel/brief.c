/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/brief.h"

#include "base/macros.h"

/* at() - @b as it is now: spans that are over have been left behind. */
static struct brief at(const struct brief *b, uint64_t now_us)
{
	uint64_t passed = now_us - b->since_us;

	if (passed < BRIEF_US)
		return *b;
	if (passed >= 2 * BRIEF_US)
		return (struct brief){.begin_us = now_us, .since_us = now_us};
	return (struct brief){.begin_us = b->begin_us,
			      .since_us = b->since_us + BRIEF_US,
			      .before_us = b->lived_us};
}

void brief_ended(struct brief *b, uint64_t now_us, uint64_t opened_us)
{
	uint64_t lived = now_us > opened_us ? now_us - opened_us : 0;

	*b = at(b, now_us);
	if (lived < BRIEF_US)
		b->lived_us += lived;
}

uint32_t brief_open(const struct brief *b, uint64_t now_us)
{
	struct brief now = at(b, now_us);
	uint64_t span = MIN(now_us - now.begin_us, now_us - now.since_us + BRIEF_US);

	/* As many as have lived through all of the time, had they done so one after the other. */
	return (uint32_t)((now.lived_us + now.before_us) / MAX(span, (uint64_t)BRIEF_MIN_US));
}
