/* SPDX-License-Identifier: Apache-2.0 */
#include "redact_pairs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "base/str.h"

#define NAME_MAX_LEN 128
/* lines, and bytes of one, between a name and its value: a text may have very many */
#define BESIDE_MAX 64
#define INLINE_MAX 2048
#define QUOTES     "\\\"'" /* as they are, or of a text inside a text */

/** struct pair - a name whose value is a secret. */
struct pair {
	const char *name, *after; /* its first byte, and what follows it and its quotes */
	const char *from, *to;    /* what is to be hidden */
	bool is_key;              /* a line or an element begins with it */
	bool is_inline;           /* of "{a: b, c: d}" */
};

static bool has_end(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len >= n && strcasecmp(name + len - n, end) == 0;
}

/* is_auth() - "auth" as a word of its own: many names that end in it are of no secret. */
static bool is_auth(const char *name)
{
	size_t before = strlen(name) - strlen("auth");

	return has_end(name, "auth") && (before == 0 || !isalnum((unsigned char)name[before - 1]));
}

/* is_directive() - of Redis, whose files have nothing between a name and its value. */
static bool is_directive(const char *name)
{
	return strcasecmp(name, "requirepass") == 0 || strcasecmp(name, "masterauth") == 0;
}

bool redact_is_secret(const char *name)
{
	static const char *const parts[] = {
		"token",      "password",    "passwd",      "secret",    "credential",
		"passphrase", "private-key", "private_key", "api-key",   "api_key",
		"apikey",     "access-key",  "access_key",  "accesskey", "privatekey"};
	/* names of things that only sound like one */
	static const char *const fine[] = {"secretName"};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (streq(fine[i], name))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcasestr(name, parts[i]))
			return true;
	return has_end(name, "pass") || has_end(name, "pwd") || has_end(name, "masterauth") ||
	       is_auth(name) || streq(name, "kubectl.kubernetes.io/last-applied-configuration");
}

bool redact_is_path(const char *name)
{
	static const char *const ends[] = {"file", "path", "dir"};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (has_end(name, ends[i]))
			return true;
	return false;
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static const char *line_end(const char *s)
{
	const char *end = strchrnul(s, '\n');

	/* properties go on after a backslash */
	while (*end && end > s && end[-1] == '\\')
		end = strchrnul(end + 1, '\n');
	return end;
}

/* quoted_end() - @s: at the quote. Return: behind the other one; NULL: there is none. */
static const char *quoted_end(const char *s)
{
	char quote = *s;

	for (s++; *s && *s != quote; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : NULL;
}

/* word_end() - as a shell takes words apart. */
static const char *word_end(const char *s)
{
	while (*s && !isspace((unsigned char)*s) && !strchr(";&|<>)", *s)) {
		const char *end = NULL;

		if (*s == '"' || *s == '\'' || *s == '`')
			end = quoted_end(s);
		else if (*s == '(')
			end = strchr(s, ')') ? strchr(s, ')') + 1 : NULL;
		else if (*s == '\\' && s[1])
			end = s + 2;
		else
			end = s + 1;
		if (!end)
			break;
		s = end;
	}
	return s;
}

/* key_find() - does a line or an element begin with the name? */
static void key_find(const char *text, struct pair *p)
{
	const char *s = p->name;

	while (s > text && strchr(QUOTES, s[-1]))
		s--;
	while (s > text && (s[-1] == ' ' || s[-1] == '\t'))
		s--;
	p->is_inline = s > text && strchr("{,[", s[-1]);
	p->is_key = s == text || s[-1] == '\n' || p->is_inline || (s[-1] == '-' && s[0] == ' ');
}

/* lines_end() - of lines that are further in than the name: they belong to it. @s: at the end of
 * its own. */
static const char *lines_end(const char *text, const struct pair *p, const char *s)
{
	const char *line = p->name;
	size_t column;

	while (line > text && line[-1] != '\n')
		line--;
	column = strspn(line, " -");
	while (*s) {
		const char *next = s + 1;
		size_t in = strspn(next, " ");
		bool is_blank = next[in] == '\n' || next[in] == '\0';
		bool is_list = in == column && next[in] == '-' && next[in + 1] != '-';

		if (!is_blank && in <= column && !is_list)
			break;
		s = strchrnul(next, '\n');
	}
	return s;
}

static const char *inline_end(const char *s)
{
	const char *end = *s == '"' || *s == '\'' ? quoted_end(s) : NULL;

	if (*s == '{' || *s == '[')
		return line_end(s);
	return end ? end : s + strcspn(s, ",}]\n");
}

static bool is_word(const char *from, const char *to, const char *word)
{
	return (size_t)(to - from) == strlen(word) && strncmp(from, word, strlen(word)) == 0;
}

/* is_worth() - is there something that could be a secret? */
static bool is_worth(const struct pair *p, const char *name)
{
	static const char *const plain[] = {"true", "false", "null", "{}", "[]", REDACT_HIDDEN};
	const char *value = p->from + strspn(p->from, QUOTES);

	if (p->to <= p->from || (*value == '/' && redact_is_path(name)))
		return false;
	if (is_auth(name) && strchr("{[\n", *p->from)) /* settings; its secrets have names, too */
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (is_word(p->from, p->to, plain[i]))
			return false;
	return true;
}

static void colon_value(const char *text, struct pair *p)
{
	const char *line = p->from, *end;

	if (p->is_inline) {
		p->to = inline_end(p->from);
		return;
	}
	end = *line == '"' || *line == '\'' ? quoted_end(line) : NULL;
	p->to = lines_end(text, p, line_end(end ? end : line));
}

/* element_value() - of an option that is an element of a list the next one is the value. @s: behind
 * it, at a comma or the end of its line. Return: is there one? */
static bool element_value(struct pair *p, const char *s)
{
	const char *end;

	if (*s == ',') {
		p->from = s + 1 + strspn(s + 1, " \t\n");
		p->to = inline_end(p->from);
		return p->from[strspn(p->from, QUOTES)] != '-';
	}
	s += 1 + strspn(s + 1, " ");
	if (s[0] != '-' || s[1] != ' ')
		return false;
	p->from = s + 1 + strspn(s + 1, " ");
	end = *p->from == '"' || *p->from == '\'' ? quoted_end(p->from) : NULL;
	p->to = end ? end : line_end(p->from);
	return p->from[strspn(p->from, QUOTES)] != '-';
}

/* value_find() - @name: of @p. Return: is its value one to be hidden? */
static bool value_find(const char *text, const char *name, struct pair *p)
{
	const char *s = p->after + strspn(p->after, " \t");
	bool is_option = *name == '-' || (is_directive(name) && *s != '=' && *s != ':');
	bool is_equal = *s == '=' || (*s == ':' && s[1] == '=');
	bool is_spaced;

	key_find(text, p);
	if (is_option && p->is_key && (*s == '\n' || *s == ','))
		return element_value(p, s) && is_worth(p, name);
	if (!is_equal && !(*s == ':' && p->is_key) && !(is_option && s > p->after && *s != '-'))
		return false;
	/* "A= B=c" is a shell's: nothing is between them */
	is_spaced = !is_equal || p->is_key || s > p->after;
	if (*s == ':' || *s == '=')
		s += is_equal && *s == ':' ? 2 : 1;
	p->from = s + (is_spaced ? strspn(s, " \t") : 0);
	if (!is_equal && !is_option)
		colon_value(text, p);
	else if (is_equal && !is_option && p->is_key && !p->is_inline)
		p->to = line_end(p->from);
	else
		p->to = word_end(p->from);
	return is_worth(p, name);
}

/* says_secret() - is @s "name: PASSWORD", as an element of a list of variables begins? */
static bool says_secret(const char *s)
{
	static const char *const keys[] = {"name", "key"};
	char name[NAME_MAX_LEN];
	size_t n;

	s += strspn(s, " -" QUOTES);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *after = s + strlen(keys[i]);

		if (!str_has_prefix(s, keys[i]))
			continue;
		after += strspn(after, QUOTES " ");
		if (*after != ':')
			continue;
		after += 1 + strspn(after + 1, QUOTES " ");
		for (n = 0; is_name_char(after[n]) && n + 1 < sizeof(name); n++)
			name[n] = after[n];
		name[n] = '\0';
		return redact_is_secret(name);
	}
	return false;
}

/* inline_says_secret() - does anything in the braces around a "value"? */
static bool inline_says_secret(const char *text, const char *at)
{
	const char *first = (size_t)(at - text) > INLINE_MAX ? at - INLINE_MAX : text, *last;

	while (at > first && *at != '{' && *at != '\n')
		at--;
	at++;
	for (last = at + strnlen(at, 2 * INLINE_MAX); at < last && *at != '}' && *at != '\n';) {
		if (says_secret(at))
			return true;
		at += strcspn(at, ",}\n");
		at += *at == ',';
	}
	return false;
}

static size_t column_of(const char *line)
{
	return strspn(line, " -");
}

/* is_first() - does an element of a list begin in this line? */
static bool is_first(const char *line)
{
	return line[strspn(line, " ")] == '-';
}

static const char *line_before(const char *text, const char *line)
{
	if (line == text)
		return NULL;
	for (line--; line > text && line[-1] != '\n'; line--)
		;
	return line;
}

/* has_secret_name() - is a "value" that of something whose name, beside it, is a secret's? */
static bool has_secret_name(const char *text, const struct pair *p)
{
	const char *own = p->name, *line;
	size_t column, left = BESIDE_MAX;

	if (p->is_inline)
		return inline_says_secret(text, p->name);
	while (own > text && own[-1] != '\n')
		own--;
	column = column_of(own);
	for (line = own; line && left-- > 0 && column_of(line) >= column;
	     line = line_before(text, line)) {
		if (column_of(line) == column && says_secret(line))
			return true;
		if (column_of(line) == column && is_first(line))
			break;
	}
	left = BESIDE_MAX;
	for (line = strchr(own, '\n'); line && left-- > 0; line = strchr(line + 1, '\n')) {
		size_t at = column_of(line + 1);

		if (at < column || (at == column && is_first(line + 1)))
			break;
		if (at == column && says_secret(line + 1))
			return true;
	}
	return false;
}

/* pair_find() - the first one at @s or behind it. */
static bool pair_find(const char *text, const char *s, struct pair *ret)
{
	char name[NAME_MAX_LEN];
	bool is_named;
	size_t n;

	for (; *s; s += n) {
		struct pair p = {.name = s};

		for (n = 0; is_name_char(s[n]); n++)
			;
		if (n == 0) {
			n = 1;
			continue;
		}
		if (n >= sizeof(name))
			continue;
		memcpy(name, s, n);
		name[n] = '\0';
		p.after = s + n + strspn(s + n, QUOTES);
		is_named = streq(name, "value");
		if ((is_named || redact_is_secret(name)) && value_find(text, name, &p) &&
		    (!is_named || has_secret_name(text, &p))) {
			*ret = p;
			return true;
		}
	}
	return false;
}

char *redact_pairs(const char *text)
{
	_cleanup_(buf_resetp) struct buf out = {0};
	const char *s = text;
	struct pair p;
	int r = 0;

	while (r == 0 && pair_find(text, s, &p)) {
		r = buf_append(&out, s, (size_t)(p.from - s));
		if (r == 0)
			r = buf_append_str(&out, REDACT_HIDDEN);
		s = p.to;
	}
	if (s == text && r == 0)
		return NULL;
	if (r == 0)
		r = buf_append_str(&out, s);
	if (r == 0)
		r = buf_append(&out, "", 1);
	return strdup(r == 0 ? (const char *)buf_head(&out) : REDACT_HIDDEN);
}
