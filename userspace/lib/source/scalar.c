/* SPDX-License-Identifier: Apache-2.0 */
#include "source/scalar.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

/* The words of YAML 1.1, as Kubernetes' own reader takes them: it leaves y and n strings. */
static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
static const char *const falses[] = {"false", "False", "FALSE", "no", "No",
				     "NO",    "off",   "Off",   "OFF"};

static bool is_among(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (streq(text, words[i]))
			return true;
	return false;
}

/* The base of an integer, and where its digits begin; 0 when it is none. */
static int integer_base(const char *s, const char **ret_digits)
{
	*ret_digits = s + 2;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return 16;
	if (s[0] == '0' && s[1] == 'o')
		return 8;
	if (s[0] == '0' && s[1] == 'b')
		return 2;
	*ret_digits = s;
	if (s[0] == '0' && s[1] != '\0' && strspn(s, "01234567") == strlen(s))
		return 8;
	return 10;
}

static json_t *resolve_integer(const char *text)
{
	const char *digits;
	char *end;
	long long v;
	bool is_negative = *text == '-';
	int base;

	if (*text == '-' || *text == '+')
		text++;
	base = integer_base(text, &digits);
	if (!isxdigit((unsigned char)*digits))
		return NULL;
	errno = 0;
	v = strtoll(digits, &end, base);
	if (errno != 0 || *end != '\0')
		return NULL;
	return json_integer(is_negative ? -v : v);
}

/* strtod() alone would take "inf", "nan" and "0x1p3" too. */
static json_t *resolve_real(const char *text)
{
	const char *s = text + (*text == '-' || *text == '+');
	char *end;
	double v;

	if (!isdigit((unsigned char)s[0]) && !(s[0] == '.' && isdigit((unsigned char)s[1])))
		return NULL;
	if (strspn(s, "0123456789.eE+-") != strlen(s))
		return NULL;
	v = strtod(text, &end);
	if (*end != '\0' || !isfinite(v))
		return NULL;
	return json_real(v);
}

json_t *scalar_resolve(const char *text)
{
	json_t *v;

	if (is_among(text, nulls, ARRAY_SIZE(nulls)))
		return json_null();
	if (is_among(text, trues, ARRAY_SIZE(trues)))
		return json_true();
	if (is_among(text, falses, ARRAY_SIZE(falses)))
		return json_false();
	v = resolve_integer(text);
	if (!v)
		v = resolve_real(text);
	return v ? v : json_string(text);
}
