/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* spiffe - SPIFFE IDs in Istio's form, spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
 * No state. */
#include "base/macros.h"

#define SPIFFE_TRUST_DOMAIN_MAX 255 /* SPIFFE-ID, section 2.1 */
#define SPIFFE_NAMESPACE_MAX    63
#define SPIFFE_ACCOUNT_MAX      253
#define SPIFFE_ID_SIZE          592 /* the longest ID and its NUL */

struct spiffe_id {
	char trust_domain[SPIFFE_TRUST_DOMAIN_MAX + 1];
	char namespace_[SPIFFE_NAMESPACE_MAX + 1];
	char service_account[SPIFFE_ACCOUNT_MAX + 1];
};

/** spiffe_parse() - strict: lower-case trust domain, exactly five parts, no escapes. Return: 0;
 * -EINVAL, @ret untouched. */
_must_check_ int spiffe_parse(const char *s, struct spiffe_id *ret);

/** spiffe_format() - write the ID of its parts and check it. Return: 0; -EINVAL a part is
 * malformed, @ret is "" then. */
_must_check_ int spiffe_format(const char *trust_domain, const char *namespace_,
			       const char *service_account, char ret[SPIFFE_ID_SIZE]);
