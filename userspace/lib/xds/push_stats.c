/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/push_stats.h"

const uint64_t push_bounds_us[PUSH_BOUNDS] = {100000,  500000,   1000000,  3000000,
					      5000000, 10000000, 20000000, 30000000};

void push_stats_converged(struct push_stats *s, uint64_t took_us)
{
	s->converged++;
	s->converged_us += took_us;
	for (size_t i = 0; i < PUSH_BOUNDS; i++)
		s->converged_in[i] += took_us <= push_bounds_us[i];
}
