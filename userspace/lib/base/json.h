/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* json - small helpers over jansson, which trust the shape of no document. No state. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** json_text() - Return: the string at @key, borrowed from @o; @fallback when there is none, or @o
 * is no object. */
const char *json_text(const json_t *o, const char *key, const char *fallback);

/** json_port() - Return: the port number at @key; 0: there is none from 1 to 65535. */
uint16_t json_port(const json_t *o, const char *key);

/** json_has_text() - is @text one of @list's strings? Not where it is no list. */
bool json_has_text(const json_t *list, const char *text);

/** json_is_blank() - may it stand between values? */
static inline bool json_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
