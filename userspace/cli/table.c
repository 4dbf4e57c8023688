/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "term.h"

#define COLUMNS_MAX 16
#define CELL_MIN    4
#define PORT_MAX    5 /* digits */

struct table {
	char **cells;
	size_t n_cells;
	size_t cap;
	size_t n_columns;
	size_t widths[COLUMNS_MAX];
	bool has_ids[COLUMNS_MAX]; /* SPIFFE IDs */
};

static bool is_id(const char *cell)
{
	return str_has_prefix(cell, "spiffe://");
}

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
		t->has_ids[i] |= is_id(copy);
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

/* An identity keeps twice as much as what stands beside it: its end alone names no namespace. */
static size_t width_counted(const struct table *t, size_t column)
{
	return t->has_ids[column] ? t->widths[column] / 2 : t->widths[column];
}

/* widest() - the column that gives way next; n_columns when none may. */
static size_t widest(const struct table *t)
{
	size_t found = t->n_columns;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->widths[i] <= MAX(strlen(t->cells[i]), (size_t)CELL_MIN))
			continue;
		if (found == t->n_columns || width_counted(t, i) > width_counted(t, found))
			found = i;
	}
	return found;
}

/* kept_len() - how much of a cell's end stays: identities are told apart by it, and addresses by
 * their ports. */
static size_t kept_len(const char *cell, size_t max)
{
	const char *colon = strrchr(cell, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;

	if (is_id(cell))
		return max;
	return digits > 0 && digits <= PORT_MAX && !colon[1 + digits] ? MIN(digits + 1, max) : 0;
}

static void cell_cut(char *cell, size_t width)
{
	size_t len = strlen(cell), kept;

	if (len <= width)
		return;
	kept = kept_len(cell, width - 2);
	memmove(cell + width - kept, cell + len - kept, kept + 1);
	memcpy(cell + width - kept - 2, "..", 2);
}

void table_fit(struct table *t, size_t width)
{
	while (table_width(t) > width) {
		size_t i = widest(t);

		if (i == t->n_columns)
			break;
		t->widths[i]--;
	}
	for (size_t i = 0; i < t->n_cells; i++)
		cell_cut(t->cells[i], t->widths[i % t->n_columns]);
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
