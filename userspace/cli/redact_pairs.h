/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* redact_pairs - names with values in a text: YAML, properties, a shell's words. No state. */
#include <stdbool.h>

#define REDACT_HIDDEN "<left out>"

/** redact_is_secret() - is what has this name not to be shown? By what the name says. */
bool redact_is_secret(const char *name);
/** redact_is_path() - does the name say that its value is where something is? */
bool redact_is_path(const char *name);
/**
 * redact_pairs() - hide the values of such names in a text
 * "name: value" where a line or an element begins, with the lines below it that belong to it;
 * "name=value", "--name value", Redis's "requirepass value" anywhere; an option's that is the next
 * element of a list; the "value" beside a "name" or "key" that is a secret's. Values may be quoted.
 * What is doubtful is hidden. Return: the text without them, the caller's to free; NULL: there was
 * none. Without memory all is hidden.
 */
char *redact_pairs(const char *text);
