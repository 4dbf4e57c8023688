/* SPDX-License-Identifier: Apache-2.0 */
#include "match.h"

#include <string.h>

#include "base/str.h"

/* is_pair() - "@a@sep@b"? */
static bool is_pair(const char *s, const char *a, char sep, const char *b)
{
	size_t n = strlen(a);

	return strncmp(s, a, n) == 0 && s[n] == sep && streq(s + n + 1, b);
}

bool match_pod(const char *wanted, const char *namespace_, const char *name)
{
	return streq(wanted, name) || is_pair(wanted, namespace_, '/', name) ||
	       is_pair(wanted, name, '.', namespace_);
}

bool match_service(const char *wanted, const char *key)
{
	const char *host = strchr(key, '/');
	size_t n = strlen(wanted);

	if (streq(wanted, key))
		return true;
	if (!host || n == 0)
		return false;
	host++;
	return strncmp(wanted, host, n) == 0 && (host[n] == '\0' || host[n] == '.');
}
