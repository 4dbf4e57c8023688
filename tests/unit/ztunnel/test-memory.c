/* SPDX-License-Identifier: Apache-2.0 */
/* memory - short near the limit of a cgroup, whose cache does not count, and while the reserve is
 * not whole; not a moment longer. */
#include "ztunnel/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/reserve.h"
#include "ztunnel/memory_limit.h"

#define LIMIT (256ULL << 20)
#define KEPT  (LIMIT / MEMORY_LIMIT_PART)

static const char *const files[] = {"memory.max", "memory.current", "memory.stat"};
static char dir[64];
static uint64_t now_us = 1000 * 1000;
static bool has_memory = true;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return has_memory || size < RESERVE_PIECE_MIN ? __real_malloc(size) : NULL;
}

static char *path_of(const char *name, char into[128])
{
	(void)snprintf(into, 128, "%s/%s", dir, name);
	return into;
}

/* put() - as the kernel does: the descriptor that somebody has reads what is new. */
static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f = fopen(path_of(name, path), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void put_number(const char *name, uint64_t n)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)n);
	put(name, text);
}

static void put_cache(uint64_t active, uint64_t inactive, uint64_t slab)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "anon 1\nfile 2\nkernel 3\ninactive_anon 999999999\ninactive_file %llu\n"
		       "active_file %llu\nslab_reclaimable %llu\nslab_unreclaimable 999999999\n",
		       (unsigned long long)inactive, (unsigned long long)active,
		       (unsigned long long)slab);
	put("memory.stat", text);
}

/* is_near() - at the next look. */
static bool is_near(void)
{
	now_us += 10 * 1000;
	return memory_limit_is_near(now_us);
}

static int setup(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/culvert-test-memory-XXXXXX");
	assert_non_null(mkdtemp(dir));
	put_number("memory.max", LIMIT);
	put_number("memory.current", 1 << 20);
	put_cache(0, 0, 0);
	memory_limit_init(dir);
	return 0;
}

static int teardown(void **state)
{
	char path[128];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)unlink(path_of(files[i], path));
	(void)rmdir(dir);
	return 0;
}

static void near_the_limit_means_near(void **state)
{
	assert_false(is_near());
	put_number("memory.current", LIMIT - KEPT - 1);
	assert_false(is_near());
	put_number("memory.current", LIMIT - KEPT);
	assert_true(is_near());
	put_number("memory.current", LIMIT - KEPT - 1);
	assert_false(is_near());
}

static void what_the_kernel_can_take_back_does_not_count(void **state)
{
	put_number("memory.current", LIMIT);
	put_cache(KEPT / 2, KEPT / 4, KEPT / 4);
	assert_true(is_near());
	put_cache(KEPT / 2, KEPT / 4, KEPT / 4 + 1);
	assert_false(is_near());
	put_cache(3 * LIMIT, 0, 0);
	assert_false(is_near());
}

static void a_limit_may_change_and_there_may_be_none(void **state)
{
	put_number("memory.current", 100ULL << 20);
	put_number("memory.max", 100ULL << 20);
	assert_true(is_near());
	put("memory.max", "max\n");
	assert_false(is_near());
	put_number("memory.max", (100ULL << 20) + 1);
	assert_true(is_near());
}

static void what_is_kept_free_has_bounds(void **state)
{
	put_number("memory.max", 8ULL << 20);
	put_number("memory.current", (8ULL << 20) - MEMORY_LIMIT_MIN);
	assert_true(is_near());
	put_number("memory.max", 64ULL << 30);
	put_number("memory.current", (64ULL << 30) - MEMORY_LIMIT_MAX - 1);
	assert_false(is_near());
	put_number("memory.current", (64ULL << 30) - MEMORY_LIMIT_MAX);
	assert_true(is_near());
}

static void between_two_looks_the_last_one_holds(void **state)
{
	assert_false(is_near());
	put_number("memory.current", LIMIT);
	assert_false(memory_limit_is_near(now_us + 9999));
	assert_true(memory_limit_is_near(now_us + 10000));
	now_us += 10000;
}

static void without_a_cgroup_there_is_no_limit(void **state)
{
	put_number("memory.current", LIMIT);
	memory_limit_init("/nowhere");
	assert_false(is_near());
}

static void short_means_the_limit_or_the_reserve(void **state)
{
	assert_true(reserve_fill());
	assert_false(memory_is_short(now_us += 10000));
	put_number("memory.current", LIMIT);
	assert_true(memory_is_short(now_us += 10000));
	put_number("memory.current", 1 << 20);
	assert_false(memory_is_short(now_us += 10000));
	has_memory = false;
	assert_false(memory_is_short(now_us += 10000));
	assert_true(reserve_give(1));
	assert_true(memory_is_short(now_us += 10000));
	has_memory = true;
	assert_false(memory_is_short(now_us += 10000));
	assert_true(reserve_is_whole());
	reserve_drop();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(near_the_limit_means_near),
		T(what_the_kernel_can_take_back_does_not_count),
		T(a_limit_may_change_and_there_may_be_none),
		T(what_is_kept_free_has_bounds),
		T(between_two_looks_the_last_one_holds),
		T(without_a_cgroup_there_is_no_limit),
		T(short_means_the_limit_or_the_reserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
