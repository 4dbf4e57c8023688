/* SPDX-License-Identifier: Apache-2.0 */
#include "match.h"

#include <string.h>

#include "base/str.h"

#define SUFFIX_LEN 5  /* of a pod's name behind its controller's */
#define HASH_MAX   10 /* of a ReplicaSet's behind its Deployment's */
/* What Kubernetes makes names of: no vowels, so that no words come of it. */
#define SAFE   "bcdfghjklmnpqrstvwxz2456789"
#define DIGITS "0123456789"

/* is_suffix() - what a controller hangs to its name for its pods? */
static bool is_suffix(const char *s)
{
	size_t n = strspn(s, SAFE);

	if (*s && s[strspn(s, DIGITS)] == '\0')
		return true;
	if (s[n] == '-' && n > 0 && n <= HASH_MAX) {
		s += n + 1;
		n = strspn(s, SAFE);
	}
	return n == SUFFIX_LEN && s[n] == '\0';
}

/* is_name() - the pod's, or its owner's, of so many characters? */
static bool is_name(const char *wanted, size_t len, const char *name)
{
	return strncmp(wanted, name, len) == 0 &&
	       (name[len] == '\0' || (len > 0 && name[len] == '-' && is_suffix(name + len + 1)));
}

bool match_pod(const char *wanted, const char *namespace_, const char *name)
{
	size_t len = strlen(wanted), ns = strlen(namespace_);
	bool has_dot =
		len > ns && wanted[len - ns - 1] == '.' && streq(wanted + len - ns, namespace_);

	if (is_name(wanted, len, name))
		return true;
	if (strncmp(wanted, namespace_, ns) == 0 && wanted[ns] == '/')
		return is_name(wanted + ns + 1, len - ns - 1, name);
	return has_dot && is_name(wanted, len - ns - 1, name);
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
