/* SPDX-License-Identifier: Apache-2.0 */
#include "validations.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "source/schema.h"

#define LABELS_MAX 256

static bool is_same(const struct admission_subject *a, const struct admission_subject *b)
{
	return a->kind == b->kind && a->api_version == b->api_version;
}

void validations_count(struct validations *v, const struct admission_subject *subject)
{
	size_t i = 0;

	if (!subject->kind)
		return;
	while (i < v->n_rows && !is_same(&v->rows[i].subject, subject))
		i++;
	if (i == VALIDATIONS_MAX)
		return;
	if (i == v->n_rows)
		v->rows[v->n_rows++].subject = *subject;
	if (subject->is_allowed)
		v->rows[i].passed++;
	else
		v->rows[i].failed++;
}

/* Kubernetes' own name of a kind: all of ours follow the rule. */
static void plural_make(const char *kind, char *ret, size_t size)
{
	size_t len = strlen(kind);
	bool is_y = len > 0 && kind[len - 1] == 'y';

	(void)snprintf(ret, size, "%.*s%s", (int)(len - is_y), kind, is_y ? "ies" : "s");
	for (char *c = ret; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

/* "group="...",version="...",resource="..."" */
static void labels_make(const struct admission_subject *s, char ret[LABELS_MAX])
{
	const char *group = s->kind->api_versions[0];
	const char *version = s->api_version ? strchr(s->api_version, '/') + 1 : "other";
	char plural[64];

	plural_make(s->kind->kind, plural, sizeof(plural));
	(void)snprintf(ret, LABELS_MAX, "group=\"%.*s\",version=\"%s\",resource=\"%s\"",
		       (int)strcspn(group, "/"), group, version, plural);
}

int validations_write(const struct validations *v, struct buf *into)
{
	char labels[LABELS_MAX];
	int r;

	r = buf_append_str(into, "# HELP galley_validation_passed Resource is valid.\n"
				 "# TYPE galley_validation_passed counter\n");
	for (size_t i = 0; r == 0 && i < v->n_rows; i++) {
		labels_make(&v->rows[i].subject, labels);
		r = buf_printf(into, "galley_validation_passed{%s} %" PRIu64 "\n", labels,
			       v->rows[i].passed);
	}
	if (r == 0)
		r = buf_append_str(into,
				   "# HELP galley_validation_failed Resource validation failed.\n"
				   "# TYPE galley_validation_failed counter\n");
	for (size_t i = 0; r == 0 && i < v->n_rows; i++) {
		labels_make(&v->rows[i].subject, labels);
		r = buf_printf(into,
			       "galley_validation_failed{%s,reason=\"invalid_resource\"} %" PRIu64
			       "\n",
			       labels, v->rows[i].failed);
	}
	return r < 0 ? r
		     : buf_printf(into,
				  "# HELP galley_validation_http_error Resource validation http "
				  "serve errors.\n# TYPE galley_validation_http_error counter\n"
				  "galley_validation_http_error{status=\"400\"} %" PRIu64 "\n",
				  v->malformed);
}
