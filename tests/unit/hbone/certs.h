/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* certs - a root and good identities under it, for tests. They assert. */

struct certs_root;
struct tls_identity;

struct certs_root *certs_root_new(void);
void certs_root_free(struct certs_root *r);
const struct tls_identity *certs_identity(const struct certs_root *root, const char *spiffe);
/** certs_revoke() - Return: a list of @root's with the certificate of @id on it, PEM; free(). */
char *certs_revoke(const struct certs_root *root, const struct tls_identity *id);
