/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ESCAPE     "\\u0000"
#define ESCAPE_LEN (sizeof(ESCAPE) - 1)

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

json_t *kube_json_load(const char *text, size_t len)
{
	_cleanup_(freep) char *copy = NULL;

	/* the usual case, of texts that may be long: nothing is copied */
	if (!escape_find(text, text + len))
		return json_loadb(text, len, 0, NULL);
	copy = malloc(len);
	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	nuls_replace(copy, len);
	return json_loadb(copy, len, 0, NULL);
}
