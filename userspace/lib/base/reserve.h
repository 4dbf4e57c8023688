/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reserve - memory that a thread holds back for what is open: when none is to be had otherwise,
 * what goes on goes on with it, and what would be new is refused until the reserve is whole again.
 * Held by malloc() and not mapped, because what is freed after a rush stays with the C library, and
 * a limit of the kernel's counts it still. A thread has its own, as it has its own arena: threads
 * share nothing here. Untouched, it is hardly resident. Never blocks. */
#include <stdbool.h>
#include <stddef.h>

/* In all, and in one piece: OpenSSL asks for 17 KiB at once, nothing that goes on needs more. Where
 * memory is in fragments smaller pieces have to do. */
#define RESERVE_SIZE      ((size_t)256 * 1024)
#define RESERVE_PIECE_MAX ((size_t)32 * 1024)
#define RESERVE_PIECE_MIN ((size_t)2 * 1024)

/** reserve_fill() - hold back what the calling thread does not yet, or has given. Return: whether
 * it has all. */
bool reserve_fill(void);
/** reserve_is_whole() - nothing has been given since the last reserve_fill(). True in a thread that
 * never called it. */
bool reserve_is_whole(void);
/** reserve_give() - malloc() found no memory: free a piece that is large enough, so that it may be
 * asked again.
 * @size: what was asked for, bytes.
 * Return: whether there was one. */
bool reserve_give(size_t size);
/** reserve_drop() - before the thread ends: nothing is held back any more. */
void reserve_drop(void);
