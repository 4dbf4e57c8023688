/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/certs_json.h"

#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/identity.h"

#define TIME_STRLEN 32

static const char *time_format(const ASN1_TIME *at, char buf[TIME_STRLEN])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(at, &tm) != 1 || !strftime(buf, TIME_STRLEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf[0] = '\0';
	return buf;
}

static json_t *serial_to_json(const X509 *cert)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;
	json_t *value;

	for (char *s = hex; s && *s; s++)
		*s = (char)tolower((unsigned char)*s);
	value = json_string(hex ? hex : "");
	OPENSSL_free(hex);
	BN_free(number);
	return value;
}

/* The PEM once more in base64, as Istio's tools expect it. */
static json_t *pem_to_json(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	json_t *value = NULL;
	char *text;
	long len;

	if (bio && PEM_write_bio_X509(bio, cert) == 1) {
		unsigned char *out;

		len = BIO_get_mem_data(bio, &text);
		out = malloc(4 * ((size_t)len + 2) / 3 + 4);
		if (out) {
			EVP_EncodeBlock(out, (const unsigned char *)text, (int)len);
			value = json_string((const char *)out);
		}
		free(out);
	}
	BIO_free(bio);
	return value;
}

static json_t *x509_to_json(X509 *cert)
{
	char from[TIME_STRLEN];
	char until[TIME_STRLEN];

	return json_pack("{s:o, s:o, s:s, s:s}", "pem", pem_to_json(cert), "serialNumber",
			 serial_to_json(cert), "validFrom",
			 time_format(X509_get0_notBefore(cert), from), "expirationTime",
			 time_format(X509_get0_notAfter(cert), until));
}

static json_t *pems_to_json(const char *pem)
{
	json_t *list = json_array();
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
	X509 *cert;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		(void)json_array_append_new(list, x509_to_json(cert));
		X509_free(cert);
	}
	/* the end of the text is an error to PEM_read_bio */
	ERR_clear_error();
	BIO_free(bio);
	return list;
}

json_t *cert_to_json(const char *identity, const struct tls_identity *tls, const char *error)
{
	char state[256] = "Available";

	if (!tls && *error)
		(void)snprintf(state, sizeof(state), "Unavailable: %s", error);
	else if (!tls)
		(void)snprintf(state, sizeof(state), "Initializing");
	return json_pack("{s:s, s:s, s:o, s:o}", "identity", identity, "state", state, "certChain",
			 pems_to_json(tls ? tls->chain_pem : NULL), "rootCerts",
			 pems_to_json(tls ? tls->roots_pem : NULL));
}
