/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trim.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/reserve.h"

/* Between two looks, while there is something to do and while there is not. */
#define BUSY_LOOK_US  (100 * 1000ULL)
#define QUIET_LOOK_US (1000 * 1000ULL)
/* Less than this part of a processor is quiet. */
#define QUIET_PART 100
/* Page faults since the last time below which nothing is worth it: 64 KiB of anonymous memory, or
 * 1 MiB of a library, of which the kernel maps 16 pages at a time. */
#define FAULTS_MIN 16
/* So many times at once. */
#define TIMES_MAX 4

/* drop_segments() - what was mapped of a library so far; what is still needed comes back from the
 * page cache, a few pages of many. */
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

static uint64_t timeval_us(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000ULL + (uint64_t)t->tv_usec;
}

/* is_quiet() - the process has done next to nothing since the last look. */
static bool is_quiet(struct trim *t, const struct rusage *use)
{
	uint64_t now = loop_now_us(t->loop);
	uint64_t cpu = timeval_us(&use->ru_utime) + timeval_us(&use->ru_stime);
	uint64_t passed = now - t->looked_us, spent = cpu - t->cpu_us;

	t->looked_us = now;
	t->cpu_us = cpu;
	t->credit_us = MIN(t->credit_us + passed, TIMES_MAX * t->every_us);
	return spent < passed / QUIET_PART;
}

void trim_code(void)
{
	(void)dl_iterate_phdr(drop_segments, NULL);
}

static void give_back(struct trim *t)
{
	trim_code();
	(void)malloc_trim(0);
	t->credit_us -= t->every_us;
}

static void on_timer(struct loop_timer *timer)
{
	struct trim *t = container_of(timer, struct trim, timer);
	uint64_t next = BUSY_LOOK_US;
	struct rusage use = {0};

	/* a thread that accepts nobody asks for it nowhere else; one without a reserve stays so */
	if (!reserve_is_whole())
		(void)reserve_fill();
	(void)getrusage(RUSAGE_SELF, &use);
	if (is_quiet(t, &use)) {
		next = QUIET_LOOK_US;
		/* Whatever has come since then, memory or code, came by a page fault. */
		if ((uint64_t)use.ru_minflt - t->faults >= FAULTS_MIN &&
		    t->credit_us >= t->every_us) {
			give_back(t);
			(void)getrusage(RUSAGE_SELF, &use);
			t->faults = (uint64_t)use.ru_minflt;
		}
	}
	(void)loop_timer_set(t->loop, timer, next);
}

void trim_start(struct trim *t, struct loop *loop, uint64_t every_us)
{
	t->every_us = every_us;
	t->loop = loop;
	t->timer.on_timer = on_timer;
	t->looked_us = loop_now_us(loop);
	t->credit_us = TIMES_MAX * t->every_us;
	(void)loop_timer_set(loop, &t->timer, BUSY_LOOK_US);
}
