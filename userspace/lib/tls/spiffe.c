/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/spiffe.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "spiffe://"

static bool is_trust_domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_segment_char(char c)
{
	return is_trust_domain_char(c) || (c >= 'A' && c <= 'Z');
}

/* Copies one part up to '/' or the end; NULL when it is empty, too long or holds a foreign
 * character. */
static const char *take_part(const char *s, char *ret, size_t size, bool (*is_ok)(char))
{
	size_t n = strcspn(s, "/");

	if (n == 0 || n >= size)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!is_ok(s[i]))
			return NULL;
	memcpy(ret, s, n);
	ret[n] = '\0';
	/* SPIFFE-ID, section 2.2: path segments are not relative */
	if (streq(ret, ".") || streq(ret, ".."))
		return NULL;
	return s + n;
}

static const char *skip(const char *s, const char *literal)
{
	size_t n = strlen(literal);

	return s && strncmp(s, literal, n) == 0 ? s + n : NULL;
}

int spiffe_parse(const char *s, struct spiffe_id *ret)
{
	struct spiffe_id id;

	s = skip(s, SCHEME);
	if (s)
		s = take_part(s, id.trust_domain, sizeof(id.trust_domain), is_trust_domain_char);
	s = skip(s, "/ns/");
	if (s)
		s = take_part(s, id.namespace_, sizeof(id.namespace_), is_segment_char);
	s = skip(s, "/sa/");
	if (s)
		s = take_part(s, id.service_account, sizeof(id.service_account), is_segment_char);
	if (!s || *s)
		return -EINVAL;
	*ret = id;
	return 0;
}

int spiffe_format(const char *trust_domain, const char *namespace_, const char *service_account,
		  char ret[SPIFFE_ID_SIZE])
{
	struct spiffe_id id;
	int n;

	n = snprintf(ret, SPIFFE_ID_SIZE, SCHEME "%s/ns/%s/sa/%s", trust_domain, namespace_,
		     service_account);
	if (n < 0 || n >= SPIFFE_ID_SIZE || spiffe_parse(ret, &id) < 0) {
		ret[0] = '\0';
		return -EINVAL;
	}
	return 0;
}
