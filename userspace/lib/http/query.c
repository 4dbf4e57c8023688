/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "http/server.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* decode() - percent-decode @n bytes into @ret; a NUL byte is refused. */
static int decode(const char *s, size_t n, char *ret, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			int hi = i + 2 < n ? hex_digit(s[i + 1]) : -1;
			int lo = i + 2 < n ? hex_digit(s[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EINVAL;
			c = hi << 4 | lo;
			i += 2;
		}
		if (c == 0 || at + 1 >= size)
			return -EINVAL;
		ret[at++] = (char)c;
	}
	ret[at] = '\0';
	return 0;
}

int http_query_get(const char *query, const char *name, char *ret, size_t size)
{
	size_t name_len = strlen(name);
	size_t n;

	for (const char *p = query; *p; p += n + (p[n] == '&')) {
		n = strcspn(p, "&");
		if (n > name_len && p[name_len] == '=' && strncmp(p, name, name_len) == 0)
			return decode(p + name_len + 1, n - name_len - 1, ret, size);
		if (n == name_len && strncmp(p, name, n) == 0)
			return decode("", 0, ret, size);
	}
	return -ENOENT;
}
