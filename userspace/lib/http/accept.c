/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "http/server.h"

#define QUALITY_MAX 1000

/* "0", "0.5", "1.000" */
static unsigned int quality_read(const char *s)
{
	unsigned int sum = 0, worth = QUALITY_MAX / 10;

	if (*s != '0')
		return QUALITY_MAX;
	if (s[1] != '.')
		return 0;
	for (s += 2; *s >= '0' && *s <= '9' && worth > 0; s++) {
		sum += (unsigned int)(*s - '0') * worth;
		worth /= 10;
	}
	return sum;
}

/* Of the parameters of one media type, up to the next. */
static unsigned int quality_of(const char *parameters)
{
	for (const char *p = parameters; *p && *p != ','; p++) {
		if (*p != ';')
			continue;
		p += strspn(p, "; \t");
		if (strncasecmp(p, "q=", 2) == 0)
			return quality_read(p + 2);
		p--;
	}
	return QUALITY_MAX;
}

unsigned int http_accept_quality(const char *accept, const char *type)
{
	size_t len = strlen(type);
	unsigned int most = 0;

	for (const char *p = accept; *p; p += strcspn(p, ",")) {
		p += strspn(p, ", \t");
		if (strncasecmp(p, type, len) == 0 && strchr(";, \t", p[len]))
			most = MAX(most, quality_of(p + len));
	}
	return most;
}
