/* SPDX-License-Identifier: Apache-2.0 */
/* stolen - what fell into moments without a processor is left out, all else counts. */
#include "tests/bench/stolen.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "tests/bench/loadgen.h"

#define MS    1000000ULL
#define BEGIN (1000 * MS)
#define SLOW  (40 * MS)
#define FAST  (1 * MS)

static unsigned int steal; /* ticks that /proc/stat says */

void die(const char *what)
{
	perror(what);
	abort();
}

/* Of a processor that this process may run on, if it is the first. */
static int stat_print(char *buf, size_t size, unsigned int cpu)
{
	return snprintf(buf, size,
			"cpu  1 2 3 4 5 6 7 99 0 0\ncpu%u 1 2 3 4 5 6 7 %u 0 0\n"
			"cpu%u 1 2 3 4 5 6 7 50 0 0\nintr 5 6 7 8 9 10 11 12 13\n",
			cpu, steal, (unsigned int)CPU_SETSIZE - 1);
}

ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t at)
{
	cpu_set_t cpus;
	unsigned int cpu = 0;

	assert_return_code(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	return stat_print(buf, size, cpu);
}

static void the_processors_that_are_ours_are_counted(void **state)
{
	char text[256];
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(3, &cpus);
	steal = 7;
	(void)stat_print(text, sizeof(text), 3);
	assert_int_equal(stolen_ticks(text, &cpus), 7);
	CPU_SET(CPU_SETSIZE - 1, &cpus);
	assert_int_equal(stolen_ticks(text, &cpus), 57);
	CPU_ZERO(&cpus);
	assert_int_equal(stolen_ticks(text, &cpus), 0);
	assert_int_equal(stolen_ticks("", &cpus), 0);
}

/* A request each millisecond; all that are due from @from to @to ms wait until then. */
static struct stolen *run(unsigned int from, unsigned int to, unsigned int ticks)
{
	struct stolen *s = stolen_new(BEGIN, 0.5);

	for (uint64_t ms = 0; ms < 500; ms++) {
		bool is_stalled = ms >= from && ms < to;

		stolen_add(s, BEGIN + ms * MS, is_stalled ? SLOW : FAST);
		if (is_stalled)
			continue;
		if (ms == to)
			steal += ticks;
		stolen_look(s, BEGIN + ms * MS);
	}
	return s;
}

static void a_moment_without_a_processor_is_left_out(void **state)
{
	struct histogram h = {0};
	double left_out = stolen_free(run(130, 170, 4), &h);

	assert_true(histogram_at(&h, 0.999) < 2.0 * FAST);
	assert_int_equal(h.count, 400); /* the slices of 100 and 150 ms */
	assert_true(left_out > 0.19 && left_out < 0.21);
}

static void a_stall_that_nobody_else_made_counts(void **state)
{
	struct histogram h = {0};
	double left_out = stolen_free(run(130, 170, 0), &h);

	assert_true(histogram_at(&h, 0.99) > 0.98 * SLOW);
	assert_int_equal(h.count, 500);
	assert_true(left_out == 0);
}

static void what_is_seen_at_the_end_counts_for_the_end(void **state)
{
	struct histogram h = {0};
	struct stolen *s = run(500, 500, 0);

	steal++;
	assert_true(stolen_free(s, &h) > 0);
	assert_int_equal(h.count, 450);
}

static void nothing_was_due(void **state)
{
	struct histogram h = {0};

	assert_true(stolen_free(stolen_new(BEGIN, 0.1), &h) == 0);
	assert_int_equal(h.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_processors_that_are_ours_are_counted),
		cmocka_unit_test(a_moment_without_a_processor_is_left_out),
		cmocka_unit_test(a_stall_that_nobody_else_made_counts),
		cmocka_unit_test(what_is_seen_at_the_end_counts_for_the_end),
		cmocka_unit_test(nothing_was_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
