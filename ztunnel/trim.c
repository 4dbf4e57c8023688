/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/trim.h"

#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ztunnel/worker.h"

#define INTERVAL_US (10 * 1000000ULL)
/* By then it has started: keys, providers, filters. */
#define STARTED_US (1 * 1000000ULL)
/* A peak below this is not worth it. */
#define PEAK_MIN 1000

/* drop_segments() - what was mapped of a library to start with; what is still needed comes back
 * from the page cache, a few pages of many. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		uintptr_t end = info->dlpi_addr + p->p_vaddr + p->p_memsz;

		/* not what can have been written to, relocations included: that would be lost */
		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct trim *t = container_of(timer, struct trim, timer);
	uint32_t conns = 0;

	for (unsigned int i = 0; i < t->count; i++)
		conns += atomic_load_explicit(&t->workers[i].load_conns, memory_order_relaxed);
	t->peak = MAX(t->peak, conns);
	if (t->peak >= PEAK_MIN && conns < t->peak / 4) {
		(void)malloc_trim(0);
		t->peak = conns;
	}
	(void)loop_timer_set(t->loop, timer, INTERVAL_US);
}

static void on_started(struct loop_timer *timer)
{
	struct trim *t = container_of(timer, struct trim, timer);

	(void)dl_iterate_phdr(drop_segments, NULL);
	(void)malloc_trim(0);
	/* Once more for what came late: pods, certificates, first tunnels. */
	if (t->is_settled)
		timer->on_timer = on_timer;
	t->is_settled = true;
	(void)loop_timer_set(t->loop, timer, INTERVAL_US);
}

void trim_start(struct trim *t, struct loop *loop, struct worker *workers, unsigned int count)
{
	t->loop = loop;
	t->workers = workers;
	t->count = count;
	t->timer.on_timer = on_started;
	(void)loop_timer_set(loop, &t->timer, STARTED_US);
}
