/* SPDX-License-Identifier: Apache-2.0 */
/* timeslice - the kernel takes it, for threads that start later, too. */
#include "base/timeslice.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SIZE_FIRST 48 /* of struct sched_attr as it began */

/* Words of struct sched_attr: 16 bytes to the nice value, 24 to the runtime. */
static uint64_t runtime_ns(void)
{
	unsigned char attr[SIZE_FIRST] = {0};
	uint64_t ns;

	assert_return_code(syscall(SYS_sched_getattr, 0, attr, sizeof(attr), 0), 0);
	memcpy(&ns, attr + 24, sizeof(ns));
	return ns;
}

static void *in_thread(void *ret)
{
	*(uint64_t *)ret = runtime_ns();
	return NULL;
}

static void threads_have_a_short_slice_and_their_priority(void **state)
{
	uint64_t before = runtime_ns(), beside = 0;
	pthread_t thread;

	if (before == 0)
		skip(); /* Linux before 6.12 has none of a thread's own */
	assert_return_code(setpriority(PRIO_PROCESS, 0, 3), 0);
	timeslice_shorten();
	assert_int_equal(runtime_ns(), 100000);
	assert_true(before > 100000);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 3);
	assert_int_equal(pthread_create(&thread, NULL, in_thread, &beside), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(beside, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_have_a_short_slice_and_their_priority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
