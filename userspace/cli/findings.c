/* SPDX-License-Identifier: Apache-2.0 */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "json.h"
#include "term.h"

#define MESSAGE_MAX 1024

static const char *const level_names[FINDING_LEVELS] = {"Info", "Warning", "Error"};

void findings_add(json_t *list, const struct finding *f, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)str_vprint(message, sizeof(message), fmt, ap);
	va_end(ap);
	(void)json_array_append_new(list,
				    json_pack("{s:s,s:s,s:s,s:s*,s:s}", "code", f->code, "level",
					      level_names[f->level], "origin", f->origin,
					      "reference", f->reference, "message", message));
}

enum finding_level findings_level(const char *word)
{
	for (int i = 0; i < FINDING_LEVELS; i++)
		if (strcasecmp(level_names[i], word) == 0)
			return (enum finding_level)i;
	return FINDING_LEVELS;
}

static enum finding_level level_of(const json_t *f)
{
	enum finding_level level = findings_level(json_text(f, "level", ""));

	return level == FINDING_LEVELS ? FINDING_ERROR : level;
}

size_t findings_count(const json_t *list, enum finding_level level)
{
	const json_t *f;
	size_t i, n = 0;

	json_array_foreach (list, i, f)
		n += level_of(f) >= level;
	return n;
}

static int compare(const void *a, const void *b)
{
	static const char *const keys[] = {"origin", "code", "reference", "message"};
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int d = (int)level_of(y) - (int)level_of(x);

	for (size_t i = 0; d == 0 && i < ARRAY_SIZE(keys); i++)
		d = strcmp(json_text(x, keys[i], ""), json_text(y, keys[i], ""));
	return d;
}

void findings_sort(json_t *list)
{
	size_t n = json_array_size(list), i;
	json_t **all = calloc(n ? n : 1, sizeof(*all));
	json_t *f;

	if (!all)
		return;
	json_array_foreach (list, i, f)
		all[i] = json_incref(f);
	qsort(all, n, sizeof(*all), compare);
	(void)json_array_clear(list);
	for (i = 0; i < n; i++) {
		if (i == 0 || !json_equal(all[i], all[i - 1]))
			(void)json_array_append(list, all[i]);
	}
	for (i = 0; i < n; i++)
		json_decref(all[i]);
	free(all);
}

void findings_print(const json_t *list)
{
	static const char *const colors[FINDING_LEVELS] = {"", TERM_BOLD, TERM_RED};
	const json_t *f;
	size_t i;

	json_array_foreach (list, i, f) {
		const char *reference = json_text(f, "reference", NULL);
		enum finding_level level = level_of(f);

		printf("%s%s%s [%s] (%s%s%s) %s\n", term_color(colors[level]), level_names[level],
		       term_color(*colors[level] ? TERM_NO_COLOR : ""), json_text(f, "code", ""),
		       json_text(f, "origin", ""), reference ? " " : "", reference ? reference : "",
		       json_text(f, "message", ""));
	}
}
