/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdio.h>

#include "source/source_impl.h"

struct source *source_free(struct source *s)
{
	return s ? s->ops->free(s) : NULL;
}

int source_error_format(const struct source_error *err, char *buf, size_t size)
{
	char line[16] = "", object[600] = "";

	if (err->line)
		(void)snprintf(line, sizeof(line), "%u:", err->line);
	if (*err->kind)
		(void)snprintf(object, sizeof(object), " %s %s%s%s:", err->kind, err->namespace_,
			       *err->namespace_ ? "/" : "", err->name);
	return snprintf(buf, size, "%s%s%s%s%s%s%s %s", err->file, *err->file ? ":" : "", line,
			object, *err->field ? " " : "", err->field, *err->field ? ":" : "",
			err->message);
}
