/* SPDX-License-Identifier: Apache-2.0 */
/* clock_watch - each step is told, nothing else is. The clock of the machine is left alone: the
 * kernel's side of a timer that is cancelled by a step is played by this test; make kernels sets
 * the clock of an emulated machine. */
#include "base/clock_watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
	int fd; /* that timerfd_create() gave */
	int clock, flags;
	unsigned int n_armed;
	int read_error;
} fake;

int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __real_read(int fd, void *buf, size_t n);

int __wrap_timerfd_create(int clock, int flags)
{
	fake.clock = clock;
	fake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return fake.fd;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	assert_int_equal(fd, fake.fd);
	assert_true(new->it_value.tv_sec > 0);
	fake.flags = flags;
	fake.n_armed++;
	return 0;
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	ssize_t r = __real_read(fd, buf, n);

	if (fd != fake.fd || fake.read_error == 0)
		return r;
	errno = fake.read_error;
	return -1;
}

static unsigned int n_steps;

static void on_step(struct clock_watch *w)
{
	n_steps++;
}

static void set_clock(struct loop *l)
{
	assert_int_equal(eventfd_write(fake.fd, 1), 0);
	assert_true(loop_run_once(l, 1000) >= 0);
}

static void each_step_is_told(void **state)
{
	struct clock_watch w = {0};
	struct loop *l;

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(clock_watch_start(&w, l, on_step), 0);
	assert_int_equal(fake.clock, CLOCK_REALTIME);
	assert_int_equal(fake.flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
	assert_int_equal(fake.n_armed, 1);
	fake.read_error = ECANCELED;
	for (unsigned int i = 1; i <= 3; i++) {
		set_clock(l);
		assert_int_equal(n_steps, i);
		assert_int_equal(fake.n_armed, i + 1);
	}
	fake.read_error = EAGAIN;
	set_clock(l);
	assert_int_equal(n_steps, 3);
	clock_watch_stop(&w);
	clock_watch_stop(&w);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_step_is_told)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
