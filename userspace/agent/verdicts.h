/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* verdicts - cv_verdicts: what ztunnel has said of the policy, as far as there is room. Those of an
 * earlier generation only take room. Where there is none left those who have most of it lose what
 * they have, so that no pod, which may dial every port of every other, takes it from the others;
 * what is lost is asked for again. Owner: direct. Thread: loop only. */
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/maps.h"
#include "culvert/zds.h"

/* Room is made by a look at the whole map: no more often. */
#define VERDICTS_ROOM_US (1000 * 1000)

struct verdicts {
	int fd;              /* of the map; borrowed */
	uint64_t generation; /* as in cv_generation */
	uint64_t room_us;    /* when room was made; 0: not yet */
};

/** verdicts_find() - Return: ZDS_VERDICT_NONE: none of this generation. */
enum zds_verdict_kind verdicts_find(const struct verdicts *v, const struct cv_verdict_key *key);

/** verdicts_keep() - @kind: not ZDS_VERDICT_NONE. @now_us: CLOCK_MONOTONIC. Return: 0; 1: others of
 * this generation have gone for it; -E2BIG: no room, and it is too soon to make some; -errno. */
_must_check_ int verdicts_keep(struct verdicts *v, const struct cv_verdict_key *key,
			       enum zds_verdict_kind kind, uint64_t now_us);
