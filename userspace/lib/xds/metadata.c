/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/metadata.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"

void metadata_init(struct metadata *m)
{
	google__protobuf__struct__init(&m->message);
	m->message.fields = m->pointers;
}

void metadata_add(struct metadata *m, const char *key, const char *text)
{
	size_t i = m->message.n_fields++;
	Google__Protobuf__StructField *f;
	Google__Protobuf__Value *v;

	assert(i < METADATA_MAX);
	f = &m->fields[i];
	v = &m->values[i];
	google__protobuf__value__init(v);
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	v->string_value = (char *)(uintptr_t)text;
	google__protobuf__struct_field__init(f);
	f->key = (char *)(uintptr_t)key;
	f->value = v;
	m->pointers[i] = f;
}

const char *metadata_text(const Google__Protobuf__Struct *s, const char *key)
{
	for (size_t i = 0; s && i < s->n_fields; i++) {
		const Google__Protobuf__StructField *f = s->fields[i];

		if (streq(f->key, key) && f->value &&
		    f->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
			return f->value->string_value;
	}
	return NULL;
}

void metadata_copy(const Google__Protobuf__Struct *s, const char *key, char *dst, size_t size)
{
	const char *text = metadata_text(s, key);

	if (text && str_copy(dst, size, text) == 0)
		(void)str_utf8(dst);
}
