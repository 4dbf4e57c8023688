/* SPDX-License-Identifier: Apache-2.0 */
/* gcm_none - instead of gcm.c where libipsec-mb is not: it is for amd64 only. */
#include <errno.h>
#include <stddef.h>

#include "tls/gcm.h"
#include "tls/records.h"

int tls_gcm_load(const char **ret_why)
{
	*ret_why = "built without libipsec-mb";
	return -EOPNOTSUPP;
}

const char *tls_gcm_query(void)
{
	return NULL;
}

void tls_records_bind(struct tls_records *r)
{
}

size_t tls_records_seal(struct tls_records *r, const SSL *ssl, uint8_t *p, size_t n, uint8_t *ret)
{
	return 0;
}

size_t tls_records_open(struct tls_records *r, const SSL *ssl, const struct tls_sealed *in,
			uint8_t *ret, size_t *ret_used)
{
	return 0;
}
