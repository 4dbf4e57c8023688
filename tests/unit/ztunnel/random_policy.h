/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* random_policy - random policies and connections out of a world so small that rules do hit. */
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/ztunnel/mesh.h"
#include "tests/unit/ztunnel/reference.h"
#include "ztunnel/authz.h"

/** struct random_memory - what a random policy points to. */
struct random_memory {
	size_t used;
	_Alignas(16) uint8_t bytes[128 * 1024];
};

#define RANDOM_NAMES 12

/** random_next() - 0..@n-1, the same numbers on each run. */
uint32_t random_next(uint32_t n);
/** random_policy() - number @slot of a set, filled from @mem, which is emptied first. */
struct ref_policy random_policy(struct random_memory *mem, uint32_t slot);
/** random_put() - as the control plane sends it. */
void random_put(struct state_builder *b, const struct ref_policy *p);
/** random_conn() - a connection as both evaluators want it; @identity backs @ret_conn. */
void random_conn(struct ref_conn *ret, struct authz_conn *ret_conn, char identity[128]);
