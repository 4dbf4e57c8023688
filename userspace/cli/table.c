/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "term.h"

#define COLUMNS_MAX 16
#define CELL_MIN    4

struct table {
	char **cells;
	size_t n_cells;
	size_t cap;
	size_t n_columns;
	size_t widths[COLUMNS_MAX];
};

static int table_reserve(struct table *t)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	char **cells;

	if (t->n_cells + t->n_columns <= t->cap)
		return 0;
	cells = realloc(t->cells, cap * sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	t->cells = cells;
	t->cap = cap;
	return 0;
}

int table_row(struct table *t, const char *const *cells)
{
	if (table_reserve(t) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_columns; i++) {
		char *copy = strdup(cells[i] ? cells[i] : "");

		if (!copy)
			return -ENOMEM;
		t->cells[t->n_cells++] = copy;
		t->widths[i] = MAX(t->widths[i], strlen(copy));
	}
	return 0;
}

int table_new(const char *const *headers, struct table **ret)
{
	_cleanup_(table_freep) struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	while (headers[t->n_columns])
		t->n_columns++;
	if (t->n_columns == 0 || t->n_columns > COLUMNS_MAX)
		return -EINVAL;
	if (table_row(t, headers) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
	return NULL;
}

/* last_filled() - index of the last cell of a row that isn't empty, so that no line ends in blanks.
 */
static size_t last_filled(const struct table *t, size_t row)
{
	size_t i = t->n_columns - 1;

	while (i > 0 && !t->cells[row + i][0])
		i--;
	return i;
}

static size_t table_width(const struct table *t)
{
	size_t sum = (t->n_columns - 1) * 2;

	for (size_t i = 0; i < t->n_columns; i++)
		sum += t->widths[i];
	return sum;
}

/* widest() - the column that gives way next; n_columns when none may. */
static size_t widest(const struct table *t)
{
	size_t found = t->n_columns;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->widths[i] <= MAX(strlen(t->cells[i]), (size_t)CELL_MIN))
			continue;
		if (found == t->n_columns || t->widths[i] > t->widths[found])
			found = i;
	}
	return found;
}

void table_fit(struct table *t, size_t width)
{
	while (table_width(t) > width) {
		size_t i = widest(t);

		if (i == t->n_columns)
			break;
		t->widths[i]--;
	}
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t max = t->widths[i % t->n_columns];

		if (strlen(t->cells[i]) > max)
			memcpy(t->cells[i] + max - 2, "..", sizeof(".."));
	}
}

void table_print(const struct table *t)
{
	for (size_t row = 0; row + t->n_columns <= t->n_cells; row += t->n_columns) {
		size_t last = last_filled(t, row);

		for (size_t i = 0; i < last; i++)
			printf("%-*s  ", (int)t->widths[i], t->cells[row + i]);
		puts(t->cells[row + last]);
	}
}

void table_show(struct table *t)
{
	table_fit(t, term_width());
	table_print(t);
}

void table_show_whole(struct table *t)
{
	if (isatty(STDOUT_FILENO))
		table_fit(t, term_width());
	table_print(t);
}
