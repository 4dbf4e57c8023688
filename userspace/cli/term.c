/* SPDX-License-Identifier: Apache-2.0 */
#include "term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TERM_LEAST 60

#define MINUTE 60.0
#define HOUR   3600.0
#define DAY    86400.0

const char *term_color(const char *code)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && (!no || !*no) ? code : "";
}

size_t term_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return TERM_WIDTH;
	return MAX(size.ws_col, (unsigned short)TERM_LEAST);
}

void term_wrap(const char *first, const char *indent, const char *text)
{
	size_t width = term_width(), at = strlen(first);
	const char *between = "";

	(void)fputs(first, stdout);
	while (*text) {
		size_t n = strcspn(text, " ");

		if (*between && at + 1 + n > width) {
			printf("\n%s", indent);
			at = strlen(indent);
			between = "";
		}
		printf("%s%.*s", between, (int)n, text);
		at += strlen(between) + n;
		between = " ";
		text += n;
		text += strspn(text, " ");
	}
	(void)putchar('\n');
}

const char *term_bytes(double n, char buf[TERM_NUMBER])
{
	static const char units[] = " KMGTPE";
	size_t i = 0;

	while (n >= 1024 && units[i + 1]) {
		n /= 1024;
		i++;
	}
	if (i == 0)
		(void)snprintf(buf, TERM_NUMBER, "%.0f", n);
	else
		(void)snprintf(buf, TERM_NUMBER, n < 10 ? "%.1f%c" : "%.0f%c", n, units[i]);
	return buf;
}

const char *term_age(double seconds, char buf[TERM_NUMBER])
{
	unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

	if (seconds < 10)
		(void)snprintf(buf, TERM_NUMBER, "%.1fs", seconds > 0 ? seconds : 0);
	else if (seconds < MINUTE)
		(void)snprintf(buf, TERM_NUMBER, "%llus", s);
	else if (seconds < HOUR)
		(void)snprintf(buf, TERM_NUMBER, "%llum%llus", s / 60, s % 60);
	else if (seconds < DAY)
		(void)snprintf(buf, TERM_NUMBER, "%lluh%llum", s / 3600, s / 60 % 60);
	else
		(void)snprintf(buf, TERM_NUMBER, "%llud", s / 86400);
	return buf;
}

bool term_next(struct term_rounds *r)
{
	uint64_t limit = r->is_watch || r->count > 0 ? r->count : 1;

	(void)fflush(stdout);
	if (limit > 0 && r->done == limit)
		return false;
	if (r->done > 0)
		(void)sleep((unsigned int)r->interval);
	if (r->is_watch)
		(void)fputs(isatty(STDOUT_FILENO) ? "\033[H\033[J"
			    : r->done > 0         ? "\n"
						  : "",
			    stdout);
	r->done++;
	return true;
}
