/* SPDX-License-Identifier: Apache-2.0 */
#include "http/head.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* cut() - end the word at @s with a NUL where @sep is. Return: what follows, or NULL. */
static char *cut(char *s, char sep)
{
	char *p = strchr(s, sep);

	if (!p)
		return NULL;
	*p = '\0';
	return p + 1;
}

static int parse_request_line(char *line, struct http_request *ret)
{
	char *target = cut(line, ' ');
	char *version = target ? cut(target, ' ') : NULL;
	char *query;

	if (!version || !*line || target[0] != '/')
		return -EINVAL;
	if (!streq(version, "HTTP/1.1") && !streq(version, "HTTP/1.0"))
		return -EINVAL;
	for (const char *p = target; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return -EINVAL;
	query = cut(target, '?');
	ret->method = line;
	ret->path = target;
	ret->query = query ? query : "";
	ret->accept = "";
	return 0;
}

/* parse_field() - what concerns the length, and the form of the answer. Return: 0 or the status to
 * refuse with. */
static unsigned int parse_field(char *line, struct http_head *h)
{
	char *value = cut(line, ':');
	uint64_t n;

	if (!value)
		return 400;
	value += strspn(value, " \t");
	if (strcasecmp(line, "transfer-encoding") == 0)
		return 501;
	if (strcasecmp(line, "accept") == 0)
		h->req.accept = value;
	if (strcasecmp(line, "content-length") != 0)
		return 0;
	if (str_parse_u64(value, 0, UINT64_MAX, &n) < 0)
		return 400;
	if (n > h->body_max)
		return 413;
	h->body_len = (size_t)n;
	return 0;
}

unsigned int http_head_parse(char *s, struct http_head *h)
{
	char *line = s;
	char *next;
	unsigned int status = 0;

	for (; line && status == 0; line = next) {
		next = strstr(line, "\r\n");
		if (next) {
			*next = '\0';
			next += 2;
		}
		if (line != s)
			status = parse_field(line, h);
		else if (parse_request_line(line, &h->req) < 0)
			status = 400;
	}
	return status;
}
