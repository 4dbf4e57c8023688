/* SPDX-License-Identifier: Apache-2.0 */
/* words - what names and addresses look like (Kubernetes' apimachinery validation, RFC 1123). */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "source/schema.h"

#define LABEL_MAX     63
#define SUBDOMAIN_MAX 253
#define PORT_NAME_MAX 15

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]([a-z0-9-]*[a-z0-9])? of @n characters */
static bool is_labelled(const char *s, size_t n)
{
	if (n == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

bool word_is_label(const char *s)
{
	size_t n = strlen(s);

	return n <= LABEL_MAX && is_labelled(s, n);
}

/* @max: of each label. */
static bool is_dotted(const char *s, size_t max)
{
	if (strlen(s) > SUBDOMAIN_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(s, ".");

		if (n > max || !is_labelled(s, n))
			return false;
		if (s[n] == '\0')
			return true;
		s += n + 1;
	}
}

bool word_is_subdomain(const char *s)
{
	return is_dotted(s, LABEL_MAX);
}

bool word_is_name(const char *s)
{
	return is_dotted(s, SUBDOMAIN_MAX);
}

bool word_is_port_name(const char *s)
{
	bool has_letter = false;

	if (strlen(s) > PORT_NAME_MAX || !word_is_label(s) || strstr(s, "--"))
		return false;
	for (; *s; s++)
		has_letter |= *s >= 'a' && *s <= 'z';
	return has_letter;
}

/* [A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])? of @n characters */
static bool is_qualified(const char *s, size_t n)
{
	if (n == 0 || n > LABEL_MAX || !isalnum((unsigned char)s[0]) ||
	    !isalnum((unsigned char)s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

bool word_is_label_key(const char *s)
{
	char prefix[SUBDOMAIN_MAX + 1];
	const char *slash = strchr(s, '/');
	size_t n;

	if (!slash)
		return is_qualified(s, strlen(s));
	n = (size_t)(slash - s);
	if (n == 0 || n >= sizeof(prefix))
		return false;
	memcpy(prefix, s, n);
	prefix[n] = '\0';
	return word_is_name(prefix) && is_qualified(slash + 1, strlen(slash + 1));
}

bool word_is_in_lower(const char *s, bool (*is)(const char *s))
{
	char lower[SUBDOMAIN_MAX + LABEL_MAX + 2];
	size_t n = strlen(s);

	if (n >= sizeof(lower))
		return false;
	for (size_t i = 0; i <= n; i++)
		lower[i] = (char)tolower((unsigned char)s[i]);
	return is(lower);
}

bool word_is_annotation_key(const char *s)
{
	return word_is_in_lower(s, word_is_label_key);
}

bool word_is_label_value(const char *s)
{
	return !*s || is_qualified(s, strlen(s));
}

bool word_is_ip(const char *s)
{
	struct cv_addr a;

	return cv_addr_parse(s, &a) == 0;
}

bool word_is_ip_or_cidr(const char *s)
{
	struct cidr c;

	return cidr_parse(s, &c) == 0;
}

bool word_is_port(const char *s)
{
	uint64_t v;

	return str_parse_u64(s, 1, 65535, &v) == 0;
}

/* Behind the digits that @s begins with, and a fraction; @ret: were there any? */
static const char *skip_decimal(const char *s, bool *ret)
{
	size_t whole = strspn(s, "0123456789"), part = 0;

	s += whole;
	if (*s == '.') {
		part = strspn(s + 1, "0123456789");
		s += 1 + part;
	}
	*ret = whole + part > 0;
	return s;
}

/* Behind a unit of time, of which "ms" begins with "m"; NULL: there is none. */
static const char *skip_unit(const char *s)
{
	static const char *const units[] = {"ns", "us", "\u00b5s", "\u03bcs", "ms", "s", "m", "h"};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (str_has_prefix(s, units[i]))
			return s + strlen(units[i]);
	return NULL;
}

bool word_is_duration(const char *s)
{
	bool has_digits = true;

	s += *s == '-' || *s == '+';
	if (streq(s, "0"))
		return true;
	do {
		s = skip_decimal(s, &has_digits);
		s = has_digits ? skip_unit(s) : NULL;
	} while (s && *s);
	return s != NULL;
}
