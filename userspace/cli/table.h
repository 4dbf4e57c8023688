/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* table - aligned columns on stdout, widths taken from what is in them. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct table; /* opaque */

/** table_new() - @headers is copied; NULL-terminated, at most 16. Return: 0; -ENOMEM; -EINVAL. */
_must_check_ int table_new(const char *const *headers, struct table **ret);
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free);
/** table_row() - add a row: as many strings as there are headers, copied. Return: 0; -ENOMEM. */
int table_row(struct table *t, const char *const *cells);
/** table_print() - header and rows, two spaces between columns, none at the end of a line. */
void table_print(const struct table *t);
/** table_fit() - cut the widest columns until a line has at most @width bytes. Headers stay whole.
 * ".." ends a cell that was cut, or stands before the port of an address and the end of an
 * identity.
 */
void table_fit(struct table *t, size_t width);
/** table_show() - table_fit() to term_width(), then table_print(): how a command ends. */
void table_show(struct table *t);
