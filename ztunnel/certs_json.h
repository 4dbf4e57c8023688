/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* certs_json - a certificate as config_dump shows it. No state. */
#include <jansson.h>

#include "base/macros.h"

struct tls_identity;

/**
 * cert_to_json() - {identity, state, certChain[], rootCerts[]}
 * @tls:   NULL: not fetched yet, then the lists are empty.
 * @error: why not; "" when there is none.
 * Return: new reference; NULL when out of memory.
 */
json_t *cert_to_json(const char *identity, const struct tls_identity *tls, const char *error);
