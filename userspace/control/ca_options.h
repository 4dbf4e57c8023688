/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca_options - what the command line says of the CA, as numbers. No state. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "ca.h"
#include "ca_service.h"

/** struct ca_options - as they were given: times such as "24h" or "1h30m". */
struct ca_options {
	const char *root_ttl, *cert_ttl, *cert_ttl_max;
	uint64_t root_rsa_bits; /* 0: ECDSA P-256 */
};

/** ca_options_read() - @ret_root: its trust domain is left alone. @err: a sentence that names the
 * option. Return: 0; -EINVAL. */
_must_check_ int ca_options_read(const struct ca_options *o, struct ca_settings *ret,
				 struct ca_root *ret_root, char *err, size_t err_size);
