/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/node_name.h"

#include <string.h>

#include "base/macros.h"

const char *node_name_of(const Envoy__Service__Discovery__V3__Node *node)
{
	for (size_t i = 0; node && node->metadata && i < node->metadata->n_fields; i++) {
		const Google__Protobuf__StructField *f = node->metadata->fields[i];

		if (streq(f->key, "NODE_NAME") && f->value &&
		    f->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
			return f->value->string_value;
	}
	return NULL;
}
