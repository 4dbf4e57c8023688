/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* redact - secrets out of objects that leave the cluster. No state. */
#include <jansson.h>

/** redact_json() - replace in place: values of environment variables; what is called token,
 * password, secret, key (of certificates), certificate data; PEM blocks of private keys, wherever;
 * the annotation that holds a copy of the object; managedFields go. */
void redact_json(json_t *v);
