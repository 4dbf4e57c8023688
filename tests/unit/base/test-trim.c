/* SPDX-License-Identifier: Apache-2.0 */
/* trim - what the start had mapped goes, what a rush had allocated goes, each time that it is over,
 * and everything still works. */
#include "base/trim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/reserve.h"

/* To look costs time: not after every turn, or nothing is ever quiet. */
#define LOOKS          100
#define TURNS_PER_LOOK 12
#define TURN_MS        100
#define EVERY_US       (5 * 1000 * 1000ULL)
#define PIECES         65536
#define PIECE_SIZE     512
#define RUSH_KB        (PIECES * PIECE_SIZE / 1024)
/* A piece in so many stays, as something does after every rush. */
#define KEEP 4096
/* ASan's allocator keeps what is freed, to recognise it: there is no rush to test with it. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITHOUT_RUSH
#endif
#endif

struct fixture {
	struct loop *loop;
	struct trim trim;
};

/* code_kb() - resident of the code and constants of every library. */
static unsigned long code_kb(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long kb, sum = 0;
	bool is_library = false;
	char line[512], mode[5];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*x-%*x %4s", mode) == 1)
			is_library = strstr(line, ".so") && mode[1] == '-';
		else if (is_library && sscanf(line, "Rss: %lu", &kb) == 1)
			sum += kb;
	}
	(void)fclose(f);
	return sum;
}

#ifndef WITHOUT_RUSH
/* own_kb() - resident of what is nobody else's. */
static unsigned long own_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long resident, shared;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu %lu", &resident, &shared), 2);
	(void)fclose(f);
	return (resident - shared) * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}
#endif

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(loop_new(&f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_del(&f->trim.timer);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

/* run_below() - turn the loop until @resident says less than @kb. */
static void run_below(struct fixture *f, unsigned long (*resident)(void), unsigned long kb)
{
	for (int i = 0; i < LOOKS && resident() >= kb; i++)
		for (int turn = 0; turn < TURNS_PER_LOOK; turn++)
			assert_int_equal(loop_run_once(f->loop, TURN_MS), 0);
	assert_true(resident() < kb);
}

static void digest(uint8_t ret[EVP_MAX_MD_SIZE])
{
	assert_int_equal(EVP_Digest("abc", 3, ret, NULL, EVP_sha256(), NULL), 1);
}

static void start_up_code_goes_and_comes_back(void **state)
{
	uint8_t before[EVP_MAX_MD_SIZE] = {0}, after[EVP_MAX_MD_SIZE] = {0};
	struct fixture *f = *state;
	unsigned long kb;

	digest(before);
	kb = code_kb();
	trim_start(&f->trim, f->loop, EVERY_US);
	run_below(f, code_kb, kb);
	digest(after);
	assert_memory_equal(before, after, sizeof(before));
}

static void a_reserve_is_filled_where_there_is_one(void **state)
{
	struct fixture *f = *state;

	trim_start(&f->trim, f->loop, EVERY_US);
	assert_int_equal(loop_run_once(f->loop, TURN_MS), 0);
	assert_int_equal(loop_run_once(f->loop, TURN_MS), 0);
	assert_false(reserve_give(1)); /* nobody has asked for one */
	assert_true(reserve_fill());
	assert_true(reserve_give(1));
	for (int i = 0; i < LOOKS && !reserve_is_whole(); i++)
		assert_int_equal(loop_run_once(f->loop, TURN_MS), 0);
	assert_true(reserve_is_whole());
	reserve_drop();
}

#ifndef WITHOUT_RUSH
/* rush() - allocate much in small pieces and free all but a few, which stay in the middle of it. */
static void rush(void *kept[PIECES / KEEP])
{
	static void *pieces[PIECES];

	for (int i = 0; i < PIECES; i++) {
		pieces[i] = malloc(PIECE_SIZE);
		assert_non_null(pieces[i]);
		memset(pieces[i], 1, PIECE_SIZE);
	}
	for (int i = 0; i < PIECES; i++)
		if (i % KEEP == KEEP - 1)
			kept[i / KEEP] = pieces[i];
		else
			free(pieces[i]);
}

static void memory_of_a_rush_goes_after_each(void **state)
{
	struct fixture *f = *state;
	void *kept[2][PIECES / KEEP];
	unsigned long kb = own_kb();

	trim_start(&f->trim, f->loop, EVERY_US);
	for (int i = 0; i < 2; i++) {
		rush(kept[i]);
		assert_true(own_kb() > kb + RUSH_KB / 2);
		run_below(f, own_kb, kb + RUSH_KB / 2);
	}
	for (int i = 0; i < PIECES / KEEP; i++) {
		free(kept[0][i]);
		free(kept[1][i]);
	}
}
#endif

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(start_up_code_goes_and_comes_back),
		T(a_reserve_is_filled_where_there_is_one),
#ifndef WITHOUT_RUSH
		T(memory_of_a_rush_goes_after_each),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
