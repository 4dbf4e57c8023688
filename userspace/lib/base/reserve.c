/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reserve.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct piece {
	struct piece *next; /* no larger */
	size_t size;
};

static _Thread_local struct {
	struct piece *pieces; /* largest first */
	size_t wanted, held;  /* bytes */
	/* malloc() that fails for us has nothing to ask us for. Volatile: to a compiler malloc()
	 * reads nothing of ours. */
	volatile bool is_filling;
} reserve;

/* forget_content() - memory that was used before is resident: not for us. */
static void forget_content(struct piece *p)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t begin = ((uintptr_t)(p + 1) + page - 1) & ~(page - 1);
	uintptr_t end = ((uintptr_t)p + p->size) & ~(page - 1);

	if (begin < end)
		(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static bool hold(size_t size)
{
	struct piece **at = &reserve.pieces, *p = malloc(size);

	if (!p)
		return false;
	p->size = size;
	forget_content(p);
	while (*at && (*at)->size > size)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
	reserve.held += size;
	return true;
}

static void let_go(struct piece **at)
{
	struct piece *p = *at;

	*at = p->next;
	reserve.held -= p->size;
	free(p);
}

bool reserve_fill(void)
{
	reserve.wanted = RESERVE_SIZE;
	reserve.is_filling = true;
	for (size_t size = RESERVE_PIECE_MAX; size >= RESERVE_PIECE_MIN; size /= 2)
		while (reserve.held < reserve.wanted && hold(size))
			continue;
	reserve.is_filling = false;
	return reserve_is_whole();
}

bool reserve_is_whole(void)
{
	return reserve.held >= reserve.wanted;
}

bool reserve_give(size_t size)
{
	struct piece **at = &reserve.pieces;

	if (reserve.is_filling || !*at || (*at)->size < size)
		return false;
	while ((*at)->next && (*at)->next->size >= size)
		at = &(*at)->next;
	let_go(at);
	return true;
}

void reserve_drop(void)
{
	reserve.wanted = 0;
	while (reserve.pieces)
		let_go(&reserve.pieces);
}
