/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ESCAPE     "\\u0000"
#define ESCAPE_LEN (sizeof(ESCAPE) - 1)
#define DEPTH_MAX  64

/* As long as what it takes the place of. */
static const char stand_in[ESCAPE_LEN] = {'\\', 'u', 'f', 'd', 'd', '0'};

static char *escape_find(const char *from, const char *end)
{
	return memmem(from, (size_t)(end - from), ESCAPE, ESCAPE_LEN);
}

/* Does a backslash before @p, in the text that begins at @text, take @p's for itself? */
static bool is_escaped(const char *text, const char *p)
{
	const char *first = p;

	while (first > text && first[-1] == '\\')
		first--;
	return (p - first) % 2 != 0;
}

static void nuls_replace(char *text, size_t len)
{
	char *p = text;

	while ((p = escape_find(p, text + len))) {
		if (is_escaped(text, p)) {
			p++;
			continue;
		}
		memcpy(p, stand_in, ESCAPE_LEN);
		p += ESCAPE_LEN;
	}
}

/* jansson takes 2,048 levels, the server more, and a field that may hold anything (EnvoyFilter's
 * values, a status) has as many as whoever writes it likes: what is deeper than all that is read is
 * left out. */
static void depths_blank(char *text, size_t len)
{
	bool is_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		bool is_escape = is_string && c == '\\' && i + 1 < len;

		if (!is_string && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > DEPTH_MAX)
			memset(&text[i], ' ', is_escape ? 2 : 1);
		if (!is_string && (c == '{' || c == '['))
			depth++;
		if (c == '"')
			is_string = !is_string;
		i += is_escape;
	}
}

/* Integers are 64 bits to jansson and more to the server, in such fields. For the sake of one all
 * become reals: where an integer is expected that is the object's own mistake. */
static json_t *load_repaired(char *text, size_t len)
{
	json_error_t e;
	json_t *v;

	nuls_replace(text, len);
	depths_blank(text, len);
	v = json_loadb(text, len, 0, &e);
	return v || json_error_code(&e) != json_error_numeric_overflow
		       ? v
		       : json_loadb(text, len, JSON_DECODE_INT_AS_REAL, NULL);
}

json_t *kube_json_load(const char *text, size_t len)
{
	_cleanup_(freep) char *copy = NULL;
	json_t *v = NULL;

	/* the usual case, of texts that may be long: nothing is copied */
	if (!escape_find(text, text + len))
		v = json_loadb(text, len, 0, NULL);
	if (v)
		return v;
	copy = malloc(len + 1);
	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	return load_repaired(copy, len);
}
