/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/memory.h"

#include "base/log.h"
#include "base/reserve.h"
#include "ztunnel/memory_limit.h"

#define TARGET "memory"
/* At the limit each connection that ends lets another one in: that is one episode, not many. */
#define SAY_AGAIN_US (10 * 1000000ULL)

static _Thread_local struct {
	uint64_t said_us; /* 0: that all is well, or nothing yet */
	uint64_t seen_us; /* when it was short last */
} episode;

static void note_short(uint64_t now_us, bool is_limit)
{
	if (episode.said_us == 0) {
		log_warn(TARGET, "out of memory%s: new connections are refused",
			 is_limit ? ", the cgroup's limit is near" : "");
		episode.said_us = now_us;
	}
	episode.seen_us = now_us;
}

static void note_enough(uint64_t now_us)
{
	if (episode.said_us == 0 || now_us - episode.seen_us < SAY_AGAIN_US)
		return;
	log_info(TARGET, "there is memory again for new connections");
	episode.said_us = 0;
}

bool memory_is_short(uint64_t now_us)
{
	bool is_given = !reserve_is_whole() && !reserve_fill();
	bool is_short = is_given || memory_limit_is_near(now_us);

	if (is_short)
		note_short(now_us, !is_given);
	else
		note_enough(now_us);
	return is_short;
}
