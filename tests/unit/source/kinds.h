/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kinds - of each of Istio's kinds a good object and a bad one, out of tests/kube/kinds.yaml, which
 * is tried on real API servers. For tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "source/schema.h"
#include "source/yaml.h"

#define KINDS_FILE "tests/kube/kinds.yaml"

struct kind_sample {
	const struct schema_kind *kind;
	json_t *good, *bad; /* whole objects: demo/good, demo/bad */
};

static inline json_t *kind_object(const struct schema_kind *k, const char *name, json_t *spec)
{
	json_t *o = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:O}", "apiVersion",
			      k->api_versions[0], "kind", k->kind, "metadata", "name", name,
			      "namespace", "demo", "resourceVersion", "5", "spec", spec);

	assert_non_null(o);
	return o;
}

static inline int kinds_on_document(void *arg, const struct yaml_document *doc)
{
	struct kind_sample *s = arg;
	const char *kind = json_string_value(json_object_get(doc->body, "kind"));
	const char *group = s->kind->api_versions[0];
	_cleanup_(freep) char *whole =
		str_format("%s.%.*s", s->kind->kind, (int)strcspn(group, "/"), group);

	if (!streq(kind, s->kind->kind) && !streq(kind, whole))
		return 0;
	s->good = kind_object(s->kind, "good", json_object_get(doc->body, "good"));
	s->bad = kind_object(s->kind, "bad", json_object_get(doc->body, "bad"));
	return 0;
}

static const struct schema_kind *const kinds_read[] = {schema_kinds_security, schema_kinds_istio,
						       schema_kinds_telemetry, NULL};
static const struct schema_kind *const kinds_unread[] = {schema_kinds_unread, NULL};

/* Calls @fn for each kind of @tables, NULL-ended, with what is @arg's. */
static inline void kinds_for_each(const struct schema_kind *const *tables,
				  void (*fn)(void *arg, const struct kind_sample *s), void *arg)
{
	_cleanup_(freep) char *text = NULL;
	struct yaml_problem problem = {0};
	size_t len;

	assert_int_equal(file_read(KINDS_FILE, 1 << 20, &text, &len), 0);
	for (; *tables; tables++)
		for (const struct schema_kind *k = *tables; k->kind; k++) {
			struct kind_sample s = {.kind = k};

			assert_int_equal(yaml_parse(text, len, kinds_on_document, &s, &problem), 0);
			if (!s.good)
				fail_msg("%s is not in " KINDS_FILE, k->kind);
			fn(arg, &s);
			json_decref(s.good);
			json_decref(s.bad);
		}
}
