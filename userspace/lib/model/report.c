/* SPDX-License-Identifier: Apache-2.0 */
/* report - messages about one object at a time: gathered while it is worked on, told only when they
 * differ from those told last, so that a busy mesh does not repeat itself. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "model/impl.h"
#include "source/honoured.h"

static void report_tell(struct model *m, const struct entity *e, const struct report *one)
{
	const struct object *o = e->object;
	struct source_error err = {
		.file = o->file,
		.line = object_line(o, one->field),
		.kind = o->kind,
		.namespace_ = o->namespace_,
		.name = o->name,
		.field = one->field,
		.message = one->message,
		.is_warning = one->is_warning,
	};

	m->ops->on_error(m->arg, &err);
}

void report_clear(struct model *m, struct entity *e)
{
	if (e->report_hash)
		m->ops->on_error_cleared(m->arg, e->object->kind, e->object->namespace_,
					 e->object->name);
	e->report_hash = 0;
}

void report_begin(struct model *m)
{
	m->reports_count = 0;
}

void report(struct model *m, const char *field, bool is_warning, const char *fmt, ...)
{
	struct report *one = &m->reports[m->reports_count];
	va_list ap;

	if (m->reports_count == REPORTS_MAX)
		return;
	/* Zeroed, since it is hashed as it lies. */
	memset(one, 0, sizeof(*one));
	(void)snprintf(one->field, sizeof(one->field), "%s", field);
	(void)str_utf8(one->field);
	va_start(ap, fmt);
	(void)str_vprint(one->message, sizeof(one->message), fmt, ap);
	va_end(ap);
	one->is_warning = is_warning;
	m->reports_count++;
}

void report_waypoint(struct model *m, const struct object *o)
{
	if (honoured_is_waypoint(object_label(o, "istio.io/use-waypoint")))
		report(m, "metadata.labels[istio.io/use-waypoint]", true, HONOURED_WAYPOINT);
}

/* The same messages about another state of the object may stand on other lines: the object counts
 * too. */
static uint64_t reports_hash(const struct model *m, const struct entity *e)
{
	uint64_t hash = map_hash(m->reports, m->reports_count * sizeof(m->reports[0]));

	for (size_t i = 0; i < m->reports_count; i++)
		hash = hash * 31 + object_line(e->object, m->reports[i].field);
	return hash ? hash : 1;
}

void report_commit(struct model *m, struct entity *e)
{
	uint64_t hash = m->reports_count ? reports_hash(m, e) : 0;

	if (hash == e->report_hash)
		return;
	report_clear(m, e);
	for (size_t i = 0; i < m->reports_count; i++)
		report_tell(m, e, &m->reports[i]);
	e->report_hash = hash;
}
