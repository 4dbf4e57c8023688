/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-spiffe - identities as they stand in certificates and requests, and Forwarded values. */
#include <string.h>

#include "hbone/head.h"
#include "net/addr.h"
#include "net/cidr.h"
#include "tests/fuzz/fuzz.h"
#include "tls/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[4096], value[256];
	struct cv_sockaddr sockaddr;
	struct spiffe_id id;
	struct cidr cidr;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)!spiffe_parse(text, &id);
	(void)!cv_sockaddr_parse(text, &sockaddr);
	(void)!cidr_parse(text, &cidr);
	(void)!hbone_forwarded_get(text, "host", value, sizeof(value));
	return 0;
}
