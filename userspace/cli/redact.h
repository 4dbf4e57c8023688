/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* redact - secrets out of what leaves the cluster. No state. */
#include <jansson.h>
#include <stddef.h>

/** redact_json() - replace in place: values of environment variables; what containers, probes and
 * hooks run, of all but the mesh's own; text that is called token, password, pass, auth, secret,
 * credential or key, also among the words of a command, unless it is called a file and is a path;
 * private keys as PEM or its base64, and what is packed, wherever; the annotation that holds a copy
 * of the object. JSON, YAML, properties and a shell's words in a text are treated alike.
 * managedFields go. */
void redact_json(json_t *v);
/** redact_text() - overwrite in @n bytes of any text: private keys as PEM, JSON web tokens, what
 * follows "Bearer", passwords in URLs. The length stays. */
void redact_text(char *s, size_t n);
