/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

const char *json_text(const json_t *o, const char *key, const char *fallback)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : fallback;
}
