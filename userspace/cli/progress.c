/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "term.h"

#define QUIET_US 2000000u

static void line_end(struct progress *p)
{
	if (p->is_open)
		(void)fputs("\r\033[K", stdout);
	p->is_open = false;
}

static void line_say(struct progress *p, const char *color, const char *mark, const char *fmt,
		     va_list ap)
{
	char text[PROGRESS_TEXT_MAX];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	line_end(p);
	printf("%s%s%s %s\n", term_color(color), mark, term_color(TERM_NO_COLOR), text);
	(void)fflush(stdout);
	p->last[0] = '\0';
}

void progress_wait(struct progress *p, const char *fmt, ...)
{
	bool is_terminal = isatty(STDOUT_FILENO);
	uint64_t now = now_monotonic_us();
	char text[PROGRESS_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (streq(text, p->last) || (!is_terminal && *p->last && now - p->said_us < QUIET_US))
		return;
	(void)str_copy(p->last, sizeof(p->last), text);
	p->said_us = now;
	line_end(p);
	if (is_terminal)
		printf("- %.*s", (int)term_width() - 3, text);
	else
		printf("- %s\n", text);
	p->is_open = is_terminal;
	(void)fflush(stdout);
}

void progress_done(struct progress *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_say(p, TERM_GREEN, "✔", fmt, ap);
	va_end(ap);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_say(p, "", "-", fmt, ap);
	va_end(ap);
}

void progress_fail(struct progress *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_say(p, TERM_RED, "✘", fmt, ap);
	va_end(ap);
}

bool confirm(const char *question)
{
	char answer[16];

	printf("%s (y/N) ", question);
	(void)fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin)) {
		putchar('\n');
		return false;
	}
	return tolower((unsigned char)answer[0]) == 'y';
}
