/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* passed - the agent's side of cv_passed: what connect(2) let past the mesh. The programs only put
 * in; room is made here. Owner: agent. Thread: any that has the map. */
#include <jansson.h>
#include <stdint.h>

#include "base/macros.h"

/** passed_start() - make the marks, if an earlier agent has not. @fd: cv_passed. Return: 0; -errno.
 */
_must_check_ int passed_start(int fd);

/** passed_sweep() - when little room is left, take out those that were used least lately. Two
 * look-ups when there is room. */
void passed_sweep(int fd);

/**
 * passed_to_json() - append all to the array @into, in no order
 * @ret_since_us: CLOCK_REALTIME; what was used later is there.
 * Return: 0; -ENOMEM; -errno of bpf(2).
 */
_must_check_ int passed_to_json(int fd, json_t *into, uint64_t *ret_since_us);
