/* SPDX-License-Identifier: Apache-2.0 */
/* gcm_none - instead of gcm.c where libipsec-mb is not: it is for amd64 only. */
#include <errno.h>
#include <stddef.h>

#include "tls/gcm.h"

int tls_gcm_load(const char **ret_why)
{
	*ret_why = "built without libipsec-mb";
	return -EOPNOTSUPP;
}

const char *tls_gcm_query(void)
{
	return NULL;
}
