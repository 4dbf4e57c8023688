/* SPDX-License-Identifier: Apache-2.0 */
/* log_output - a reader that has stopped costs lines, which are counted, and next to no time. */
#include "base/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/str.h"

#define LINES 20000

static int saved_stderr, ends[2]; /* the reader's, the writer's */

static int pipe_begin(void **state)
{
	return pipe2(ends, O_CLOEXEC);
}

static int socket_begin(void **state)
{
	return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

static void log_begin(void)
{
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	log_open();
}

static int end(void **state)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	log_open(); /* it is no pipe any more */
	(void)close(saved_stderr);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			(void)close(ends[i]);
	return 0;
}

/* Of the lines that are there to be read: whole ones of ours. @io_lost: raised by what they say is
 * lost. */
static unsigned long drain(unsigned long *io_lost)
{
	static char text[4 << 20];
	unsigned long whole = 0;
	size_t len = 0;
	ssize_t n;
	char *rest = text, *line;

	while ((n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		const char *count = strstr(line, "in time\tcount=");

		if (count)
			*io_lost += strtoul(count + strlen("in time\tcount="), NULL, 10);
		else if (strstr(line, "\tinfo\ttest\tone of many\tn=") && str_has_suffix(line, "."))
			whole++;
	}
	return whole;
}

static void a_reader_that_stops_holds_nobody_up(void **state)
{
	uint64_t began_us = now_monotonic_us();
	unsigned long whole, lost = 0;
	char padding[400] = {0};

	log_begin();
	memset(padding, 'x', sizeof(padding) - 1);
	for (int i = 0; i < LINES; i++)
		log_info("test", "one of many n=%d %s.", i, padding);
	assert_true(now_monotonic_us() - began_us < 20 * 1000000ULL);
	whole = drain(&lost);
	assert_true(whole > 100 && whole < LINES);
	log_info("test", "one of many n=%d .", LINES);
	whole += drain(&lost);
	assert_int_equal(whole + lost, LINES + 1);
	log_info("test", "one of many n=%d .", LINES + 1);
	lost = 0;
	assert_int_equal(drain(&lost), 1);
	assert_int_equal(lost, 0);
}

static void a_line_in_two_pieces_ends_before_the_next(void **state)
{
	unsigned long lost = 0;
	char padding[3900] = {0};

	log_set_format_json(true); /* which makes six bytes of one of these */
	log_begin();
	memset(padding, '\x1', sizeof(padding) - 1);
	for (int i = 0; i < 1000; i++)
		log_info("test", "one of many n=%d %s.", i, padding);
	log_set_format_json(false);
	(void)drain(&lost);
	for (int i = 0; i < 3; i++)
		log_info("test", "one of many n=%d .", i);
	assert_int_equal(drain(&lost), 3);
	assert_true(lost > 0);
}

static void a_reader_that_is_gone_ends_nobody(void **state)
{
	log_begin();
	(void)close(ends[0]);
	ends[0] = -EBADF;
	log_info("test", "nobody hears");
}

#define of_pipe(test)   cmocka_unit_test_setup_teardown(test, pipe_begin, end)
#define of_socket(test) cmocka_unit_test_setup_teardown(test, socket_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		of_pipe(a_reader_that_stops_holds_nobody_up),
		of_socket(a_reader_that_stops_holds_nobody_up),
		of_pipe(a_line_in_two_pieces_ends_before_the_next),
		of_socket(a_line_in_two_pieces_ends_before_the_next),
		of_pipe(a_reader_that_is_gone_ends_nobody),
		of_socket(a_reader_that_is_gone_ends_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
