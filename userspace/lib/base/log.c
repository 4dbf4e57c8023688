/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log_output.h"
#include "base/str.h"

#define LOG_LINE_MAX 8192

static const char *const level_names[LOG_LEVEL_MAX] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn",   [LOG_INFO] = "info",
	[LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
};

static atomic_bool is_json_format;

/* One line under construction. What doesn't fit is left out, and so is all behind it; room for the
 * end of a JSON string and of the line is always kept. */
struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	bool is_full;
};

static void line_put(struct line *l, const char *s, size_t n)
{
	/* the end of a string may stand behind the limit */
	size_t limit = sizeof(l->text) - 8;
	size_t room = l->is_full || l->len > limit ? 0 : limit - l->len;

	l->is_full = l->is_full || n > room;
	n = MIN(n, room);
	memcpy(l->text + l->len, s, n);
	l->len += n;
}

/* line_put_whole() - or nothing of it. */
static void line_put_whole(struct line *l, const char *s, size_t n)
{
	size_t len = l->len;

	line_put(l, s, n);
	if (l->is_full)
		l->len = len;
}

static void line_putc(struct line *l, char c)
{
	line_put(l, &c, 1);
}

static void line_puts(struct line *l, const char *s)
{
	line_put(l, s, strlen(s));
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static void line_put_escaped(struct line *l, const char *prefix, unsigned char c)
{
	char text[8];

	(void)snprintf(text, sizeof(text), "%s%02x", prefix, c);
	line_put_whole(l, text, strlen(text));
}

/* line_put_text() - control bytes become \xNN: what strangers send must not be able to forge a
 * line. */
static void line_put_text(struct line *l, const char *s, size_t n)
{
	while (n > 0) {
		size_t plain = 0;

		while (plain < n && !is_control(s[plain]))
			plain++;
		line_put(l, s, plain);
		s += plain;
		n -= plain;
		if (n > 0) {
			line_put_escaped(l, "\\x", (unsigned char)*s++);
			n--;
		}
	}
}

/* plain_len() - how many of the @n bytes mean themselves in JSON: most do, and are copied at once.
 */
static size_t plain_len(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= ' ' && s[i] <= '~' && s[i] != '"' && s[i] != '\\')
		i++;
	return i;
}

/* line_put_json_char() - what the @n bytes at @s begin with: a character of UTF-8, or a byte that
 * is none. Return: how many bytes that was. */
static size_t line_put_json_char(struct line *l, const char *s, size_t n)
{
	size_t len = str_utf8_len(s);

	if (len == 0 || len > n || is_control(*s)) {
		line_put_escaped(l, "\\u00", (unsigned char)*s);
		return 1;
	}
	if (*s == '"' || *s == '\\')
		line_put_whole(l, *s == '"' ? "\\\"" : "\\\\", 2);
	else
		line_put_whole(l, s, len);
	return len;
}

/* line_put_json() - a string, which ends where the room does. @is_quoted: in it \" and \\ stand for
 * the second byte. Return: false: there was room for none of it. */
static bool line_put_json(struct line *l, const char *s, size_t n, bool is_quoted)
{
	line_putc(l, '"');
	if (l->is_full)
		return false;
	for (size_t i = 0; i < n;) {
		size_t plain = plain_len(s + i, n - i);

		line_put(l, s + i, plain);
		i += plain;
		if (is_quoted && i + 1 < n && s[i] == '\\')
			i++;
		if (i < n)
			i += line_put_json_char(l, s + i, n - i);
	}
	l->text[l->len++] = '"';
	return true;
}

/* key_len() - length of the key when @s starts with key=, else 0. */
static size_t key_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '.' || s[n] == '-')
		n++;
	return s[n] == '=' ? n : 0;
}

/* message_len() - the words before the first key=value pair. */
static size_t message_len(const char *s)
{
	for (size_t i = 0; s[i]; i++)
		if ((i == 0 || s[i - 1] == ' ') && key_len(s + i) > 0)
			return i;
	return strlen(s);
}

/* line_put_text_body() - message, tab, fields. */
static void line_put_text_body(struct line *l, const char *s)
{
	size_t n = message_len(s);
	size_t shown = n > 0 && s[n] ? n - 1 : n;

	line_put_text(l, s, shown);
	if (n > 0 && s[n])
		line_putc(l, '\t');
	line_put_text(l, s + n, strlen(s + n));
}

/* value_len() - a value ends at a space, unless it is quoted. */
static size_t value_len(const char *s)
{
	size_t n = 0;

	if (*s != '"')
		return strcspn(s, " ");
	for (n = 1; s[n] && s[n] != '"'; n++)
		if (s[n] == '\\' && s[n + 1])
			n++;
	return s[n] == '"' ? n + 1 : n;
}

static bool is_number(const char *s, size_t n)
{
	/* within what a double holds exactly; no leading zero: not a JSON number */
	return n > 0 && n <= 15 && strspn(s, "0123456789") >= n && (*s != '0' || n == 1);
}

/* line_put_value() - Return: false: there was no room for it. */
static bool line_put_value(struct line *l, const char *v, size_t n)
{
	if (n >= 2 && *v == '"' && v[n - 1] == '"')
		return line_put_json(l, v + 1, n - 2, true);
	if (!is_number(v, n))
		return line_put_json(l, v, n, false);
	line_put_whole(l, v, n);
	return !l->is_full;
}

/* line_put_member() - with as much of the value as there is room for, or nothing. */
static void line_put_member(struct line *l, const char *key, size_t key_len, const char *v,
			    size_t n)
{
	size_t start = l->len;

	line_putc(l, ',');
	(void)line_put_json(l, key, key_len, false);
	line_putc(l, ':');
	if (l->is_full || !line_put_value(l, v, n))
		l->len = start;
}

/* line_put_pair() - one key=value. Return: where the next word starts. */
static const char *line_put_pair(struct line *l, const char *s)
{
	size_t k = key_len(s);
	const char *v = s + k + 1;
	size_t n = value_len(v);

	line_put_member(l, s, k, v, n);
	return v + n;
}

/* line_put_json_body() - message and fields. Words after the first pair that aren't pairs belong to
 * the field "detail". */
static void line_put_json_body(struct line *l, const char *s)
{
	size_t n = message_len(s);
	size_t shown = n > 0 && s[n] ? n - 1 : n;

	line_puts(l, ",\"message\":");
	(void)line_put_json(l, s, shown, false);
	s += n;
	while (*s) {
		if (*s == ' ') {
			s++;
		} else if (key_len(s) > 0) {
			s = line_put_pair(l, s);
		} else {
			line_put_member(l, "detail", strlen("detail"), s, strlen(s));
			return;
		}
	}
}

static void line_put_time(struct line *l)
{
	char buf[48];
	struct timespec ts;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	n = strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf + n, sizeof(buf) - n, ".%06ldZ", ts.tv_nsec / 1000);
	line_puts(l, buf);
}

/* Return: false: it is lost. */
static bool line_write(enum log_level level, const char *target, const char *message)
{
	struct line l; /* not zeroed: 8 KiB for a line of a few hundred bytes */
	bool is_json = atomic_load_explicit(&is_json_format, memory_order_relaxed);

	l.len = 0;
	l.is_full = false;
	line_puts(&l, is_json ? "{\"time\":\"" : "");
	line_put_time(&l);
	line_puts(&l, is_json ? "\",\"level\":\"" : "\t");
	line_puts(&l, level_names[level]);
	line_puts(&l, is_json ? "\",\"scope\":\"" : "\t");
	line_puts(&l, target);
	line_puts(&l, is_json ? "\"" : "\t");
	if (is_json)
		line_put_json_body(&l, message);
	else
		line_put_text_body(&l, message);
	/* The room that line_put() keeps free. */
	if (is_json)
		l.text[l.len++] = '}';
	l.text[l.len++] = '\n';
	return log_output_write(l.text, l.len);
}

/* Return: false: there is no room for that either. */
static bool tell_lost(void)
{
	uint64_t n = log_output_take_lost();
	char message[96];

	if (n == 0)
		return true;
	(void)snprintf(message, sizeof(message),
		       "lines are lost, for nobody read them in time count=%" PRIu64, n);
	if (line_write(LOG_WARN, "log", message))
		return true;
	log_output_lose(n);
	return false;
}

static void write_line(enum log_level level, const char *target, const char *message)
{
	if (!tell_lost() || !line_write(level, target, message))
		log_output_lose(1);
}

void log_set_format_json(bool is_json)
{
	atomic_store_explicit(&is_json_format, is_json, memory_order_relaxed);
}

enum log_level log_level_from_string(const char *s)
{
	for (int i = 0; i < LOG_LEVEL_MAX; i++)
		if (streq(level_names[i], s))
			return (enum log_level)i;
	return streq(s, "off") ? LOG_OFF : LOG_LEVEL_INVALID;
}

const char *log_level_to_string(enum log_level level)
{
	if (level == LOG_OFF)
		return "off";
	return level >= LOG_ERROR && level < LOG_LEVEL_MAX ? level_names[level] : "invalid";
}

void log_write(enum log_level level, const char *target, const char *fmt, ...)
{
	char message[LOG_LINE_MAX / 2];
	int saved = errno;
	va_list ap;

	if (!log_is_on(level, target))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	write_line(level, target, message);
	errno = saved;
}

int log_write_errno(enum log_level level, const char *target, int r, const char *fmt, ...)
{
	char message[LOG_LINE_MAX / 2];
	int saved = errno;
	va_list ap;
	size_t n;

	if (!log_is_on(level, target))
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	n = strlen(message);
	(void)snprintf(message + n, sizeof(message) - n, ": %s", strerrordesc_np(r < 0 ? -r : r));
	write_line(level, target, message);
	errno = saved;
	return r;
}
