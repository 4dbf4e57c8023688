/* SPDX-License-Identifier: Apache-2.0 */
/* allocate - in a child process with a limit: each way to ask for memory goes on with the reserve
 * where there is none, and none of it is anybody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/reserve.h"

/* Left beside what the process has. */
#define ROOM   (4UL << 20)
#define PIECE  4000
#define PIECES 4096
/* The C library's own, and what is left of a piece of the reserve. */
#define PARTS(n) ((n)*3 / 4)

static void *pieces[PIECES];

static void *by_malloc(void *old)
{
	return malloc(PIECE);
}

static void *by_calloc(void *old)
{
	uint8_t *p = calloc(PIECE / 8, 8);

	for (size_t i = 0; p && i < PIECE; i++)
		if (p[i] != 0)
			_exit(10);
	return p;
}

static void *by_realloc(void *old)
{
	void *p = realloc(old, PIECE);

	if (p && strcmp(p, "kept") != 0)
		_exit(11);
	return p;
}

/* limit_memory() - the data segment as it is, and some room. */
static int limit_memory(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	struct rlimit limit;
	unsigned long data;

	if (!f || fscanf(f, "%*u %*u %*u %*u %*u %lu", &data) != 1)
		return -1;
	(void)fclose(f);
	limit.rlim_cur = limit.rlim_max = data * (unsigned long)sysconf(_SC_PAGESIZE) + ROOM;
	return setrlimit(RLIMIT_DATA, &limit);
}

/* Return: 0; which check failed. */
static int exhaust(void *(*ask)(void *old))
{
	char *olds[PIECES];
	size_t n = 0, at_limit;

	for (size_t i = 0; i < PIECES; i++)
		if (!(olds[i] = strdup("kept")))
			return 2;
	if (limit_memory() < 0 || !reserve_fill())
		return 3;
	while (n < PIECES && reserve_is_whole() && (pieces[n] = ask(olds[n])))
		n++;
	if (n == PIECES || reserve_is_whole())
		return 4; /* no limit, or it failed before the reserve was asked */
	at_limit = n;
	while (n < PIECES && (pieces[n] = ask(olds[n])))
		n++;
	if (n - at_limit < PARTS(RESERVE_SIZE / PIECE))
		return 5;
	if (reserve_fill())
		return 6;
	while (n > 0)
		free(pieces[--n]);
	return reserve_fill() ? 0 : 7;
}

static int in_child(void *(*ask)(void *old))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(exhaust(ask));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void malloc_goes_on_with_the_reserve(void **state)
{
	assert_int_equal(in_child(by_malloc), 0);
}

static void calloc_goes_on_with_the_reserve(void **state)
{
	assert_int_equal(in_child(by_calloc), 0);
}

static void realloc_goes_on_with_the_reserve(void **state)
{
	assert_int_equal(in_child(by_realloc), 0);
}

static void what_nobody_can_have_fails(void **state)
{
	volatile size_t huge = SIZE_MAX / 2;

	assert_true(reserve_fill());
	assert_null(malloc(huge));
	assert_null(calloc(huge, 4));
	assert_true(reserve_is_whole());
	reserve_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malloc_goes_on_with_the_reserve),
		cmocka_unit_test(calloc_goes_on_with_the_reserve),
		cmocka_unit_test(realloc_goes_on_with_the_reserve),
		cmocka_unit_test(what_nobody_can_have_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
