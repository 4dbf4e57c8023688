/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_told - how much of the direct connections' bytes has been told to ztunnel, which adds it
 * up: cv_direct_told, so that neither process keeps anything of a connection, and an agent
 * that is started again goes on where the last one was. Owner: direct. Thread: loop only. */
#include <stdbool.h>
#include <stdint.h>

#include "culvert/abi/maps.h"

/** struct direct_amount - bytes, as the client sees them. */
struct direct_amount {
	uint64_t sent, received;
};

/** struct direct_told_key - a connection. */
struct direct_told_key {
	struct cv_tuple key; /* as in cv_directs */
	uint64_t time_ns;    /* of its connect */
};

/** direct_told_get() - @fd: cv_direct_told. Return: what has been told. */
struct direct_amount direct_told_get(int fd, const struct direct_told_key *k);

/**
 * direct_told_raise() - an open connection has carried @now
 * Return: what is new and is to be told; nothing where there is no room to remember it: its end
 * tells then.
 */
struct direct_amount direct_told_raise(int fd, const struct direct_told_key *k,
				       const struct direct_amount *now);

/** direct_told_end() - it has carried @all and is over: forget it. Return: what has not been told.
 */
struct direct_amount direct_told_end(int fd, const struct direct_told_key *k,
				     const struct direct_amount *all);

/**
 * direct_told_is_stale() - is an entry of a connection whose end was not heard of?
 * @directs_fd: cv_directs. @now_ns: CLOCK_MONOTONIC.
 * True some minutes after it was asked for the first time of a connection that is not there: the
 * end of it may be on its way.
 */
bool direct_told_is_stale(int fd, int directs_fd, const struct cv_tuple *key, uint64_t now_ns);
