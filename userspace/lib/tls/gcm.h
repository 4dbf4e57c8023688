/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gcm - AES-GCM of TLS records by Intel's libipsec-mb: with VAES, VPCLMULQDQ and AVX-512 a record
 * of 16 KiB costs a quarter of what it costs OpenSSL 3.0. With AVX2 and AES-NI alone it costs the
 * same, but records.h needs these ciphers, and saves two copies and OpenSSL's work for each record.
 * Everything else of TLS remains OpenSSL's. */
#include "base/macros.h"

/**
 * tls_gcm_load() - from now on contexts of identities (identity.h) use it. Once per process, before
 * any other thread: it sets OpenSSL's default properties, so that nothing but these contexts finds
 * it. Reads a shared library of 12 MB; to be called before a seccomp filter.
 * @ret_why: set in every case: what it came to, for a log line; static.
 * Return: 0; -EOPNOTSUPP built without it, or a processor without AVX2; -EPERM OpenSSL
 * has to keep to FIPS 140, or by its configuration takes AES-GCM from another provider than its
 * own; -ENOENT no such library here; -EIO the library or OpenSSL does not do what it should.
 * Without it all goes on with OpenSSL's own.
 */
_must_check_ int tls_gcm_load(const char **ret_why);

/** tls_gcm_query() - OpenSSL's property query for what is to use it. Return: static; NULL: not
 * loaded. */
const char *tls_gcm_query(void);
