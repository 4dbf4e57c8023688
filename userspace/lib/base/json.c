/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <string.h>

#include "base/macros.h"

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

bool json_has_text(const json_t *list, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (json_is_string(one) && streq(json_string_value(one), text))
			return true;
	return false;
}
