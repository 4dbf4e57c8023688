/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* shares - puts right what cv_shares has of a pod: the programs keep account of what they make and
 * remove themselves, and what goes otherwise (the sweep's, an agent's before this one) would make a
 * pod's share smaller for good. Owner: sweep. Thread: loop only. */
#include <stdint.h>

#include "datapath.h"

#define SHARES_EVERY_NS (5ull * 1000 * 1000 * 1000)

/** shares_sweep() - accounts of pods that are gone go, and of a pod that seems to have more than
 * half of a share the entries are counted, and all of a map that seems nearly full; no more often
 * than that. @again_ns: of the caller's, zeroed; CLOCK_MONOTONIC. */
void shares_sweep(struct datapath *d, uint64_t *again_ns);
