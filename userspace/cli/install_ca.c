/* SPDX-License-Identifier: Apache-2.0 */
#include "install_ca.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"

#define CACERTS "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/secrets/cacerts"
#define TRUSTED "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/configmaps/istio-ca-root-cert"
#define ROOTS   "root-cert.pem"

typedef STACK_OF(X509) certificates;

static void certificates_free(certificates *s)
{
	sk_X509_pop_free(s, X509_free);
}
DEFINE_CLEANUP(certificates *, certificates_free);

/* certificates_read() - NULL: none. Caller frees. */
static certificates *certificates_read(const char *pem)
{
	_cleanup_(certificates_freep) certificates *all = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert;

	while (all && bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, "")))
		if (sk_X509_push(all, cert) == 0)
			X509_free(cert);
	BIO_free(bio);
	return all && sk_X509_num(all) > 0 ? TAKE_PTR(all) : NULL;
}

/* roots_of() - of what is at @path. NULL: there is none, or it is not ours to see. */
static certificates *roots_of(struct kube *k, const char *path, bool is_base64)
{
	_cleanup_(json_decrefp) json_t *object = NULL;
	_cleanup_(freep) char *plain = NULL;
	const char *text;
	size_t n;

	if (kube_get(k, path, &object) < 0)
		return NULL;
	text = json_text(json_object_get(object, "data"), ROOTS, "");
	if (!is_base64)
		return certificates_read(text);
	n = strlen(text);
	plain = calloc(1, n + 4);
	if (!plain ||
	    EVP_DecodeBlock((unsigned char *)plain, (const unsigned char *)text, (int)n) < 0)
		return NULL;
	return certificates_read(plain);
}

static bool has_one_of(const certificates *roots, const certificates *others)
{
	for (int i = 0; i < sk_X509_num(roots); i++)
		for (int n = 0; n < sk_X509_num(others); n++)
			if (X509_cmp(sk_X509_value(roots, i), sk_X509_value(others, n)) == 0)
				return true;
	return false;
}

int install_check_ca(struct kube *k)
{
	_cleanup_(certificates_freep) certificates *to_come = roots_of(k, CACERTS, true);
	_cleanup_(certificates_freep) certificates *trusted =
		to_come ? roots_of(k, TRUSTED, false) : NULL;

	if (!to_come || !trusted || has_one_of(trusted, to_come))
		return 0;
	return cli_fail(
		"Secret cacerts is of another CA than the one in use: a control plane that starts "
		"now signs with it, and nodes do not trust it yet. Add its root to root-cert.pem "
		"of Secret istio-ca-secret and wait until `culvert ztunnel-config certificate` "
		"shows both roots on each node; --force goes on in spite of this");
}
