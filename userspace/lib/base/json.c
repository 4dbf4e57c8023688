/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

const char *json_text(const json_t *o, const char *key, const char *fallback)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : fallback;
}

uint16_t json_port(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n < 1 || n > UINT16_MAX ? 0 : (uint16_t)n;
}
