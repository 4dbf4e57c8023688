/* SPDX-License-Identifier: Apache-2.0 */
/* What is made here is OpenMetrics. Prometheus' text, which who knows no OpenMetrics asks for, is
 * the same but for this: a counter's family is called as its samples, with "_total", and there are
 * neither units nor an end. */
#include "ztunnel/metrics_text.h"

#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "http/server.h"

#define OPENMETRICS "application/openmetrics-text"
#define PLAIN       "text/plain"
#define HELP        "# HELP "
#define TYPE        "# TYPE "
#define UNIT        "# UNIT "

bool metrics_is_openmetrics(const char *accept)
{
	unsigned int wanted = http_accept_quality(accept, OPENMETRICS);

	return wanted > 0 && wanted >= http_accept_quality(accept, PLAIN);
}

/* Behind the name of "# TYPE name counter". */
static bool is_counter(const char *line)
{
	const char *name = line + strlen(TYPE);

	return str_has_prefix(line, TYPE) &&
	       str_has_prefix(name + strcspn(name, " \n"), " counter\n");
}

/* @next: the line behind it, which says what a family's help is of. */
static int line_write(const char *line, const char *next, struct buf *into)
{
	bool is_counters = is_counter(str_has_prefix(line, HELP) ? next : line);
	const char *name_end = line + strlen(TYPE);
	int r;

	if (str_has_prefix(line, UNIT))
		return 0;
	if (!is_counters)
		return buf_append(into, line, (size_t)(next - line));
	name_end += strcspn(name_end, " \n");
	r = buf_append(into, line, (size_t)(name_end - line));
	if (r == 0)
		r = buf_append_str(into, "_total");
	return r < 0 ? r : buf_append(into, name_end, (size_t)(next - name_end));
}

static int plain_write(const char *text, struct buf *into)
{
	const char *next;
	int r = 0;

	for (const char *line = text; *line && r == 0; line = next) {
		next = strchrnul(line, '\n');
		next += *next == '\n';
		r = line_write(line, next, into);
	}
	return r;
}

const char *metrics_finish(struct buf *text, bool is_openmetrics)
{
	struct buf plain = {0};

	if (is_openmetrics)
		return buf_append_str(text, "# EOF\n") < 0 ? NULL
							   : OPENMETRICS
			       "; version=1.0.0; charset=utf-8";
	if (buf_append(text, "", 1) < 0 || plain_write((const char *)buf_head(text), &plain) < 0) {
		buf_reset(&plain);
		return NULL;
	}
	buf_reset(text);
	*text = plain;
	return PLAIN "; version=0.0.4; charset=utf-8";
}
