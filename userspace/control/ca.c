/* SPDX-License-Identifier: Apache-2.0 */
#include "ca.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/addr.h"
#include "tls/key.h"
#include "tls/spiffe.h"
#include "tls/verify.h"

#define CSR_MAX      (16 * 1024)
#define BACKDATE_S   120
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096
#define AUTH_LEVEL   2 /* of the contexts of nodes: keys and digests as long as theirs must be */

DEFINE_CLEANUP(BIO *, BIO_free_all);
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free);
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free);
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free);

struct ca {
	struct ca_material m;
	char *roots_pem;
};

static void chain_clearp(struct ca_chain *chain)
{
	ca_chain_clear(chain);
}

void ca_chain_clear(struct ca_chain *chain)
{
	for (size_t i = 0; i < chain->n; i++)
		free(chain->pem[i]);
	chain->n = 0;
}

static int bio_take(BIO *bio, char **ret)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *copy = strndup(data, (size_t)len);

	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static int certs_to_pem(STACK_OF(X509) * certs, char **ret)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	for (int i = 0; i < sk_X509_num(certs); i++)
		if (!bio || !PEM_write_bio_X509(bio, sk_X509_value(certs, i)))
			return -ENOMEM;
	return bio_take(bio, ret);
}

static int chain_push(struct ca_chain *chain, X509 *cert)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	int r;

	if (chain->n >= CA_CHAIN_MAX)
		return -E2BIG;
	if (!bio || !PEM_write_bio_X509(bio, cert))
		return -ENOMEM;
	r = bio_take(bio, &chain->pem[chain->n]);
	if (r == 0)
		chain->n++;
	return r;
}

/* Does @cert chain to one of @roots? @purpose: of OpenSSL's, as nodes ask for it of what a peer
 * shows them; 0: any, with any key. Return: an X509_V_ code. */
static int chain_verify(X509 *cert, STACK_OF(X509) * between, STACK_OF(X509) * roots, int purpose)
{
	_cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (!store || !ctx || tls_store_trust(store, roots) < 0 ||
	    !X509_STORE_CTX_init(ctx, store, cert, between))
		return X509_V_ERR_OUT_OF_MEM;
	if (purpose) {
		(void)X509_STORE_CTX_set_purpose(ctx, purpose);
		X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), AUTH_LEVEL);
	}
	return X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
}

/* Does the certificate that we sign with chain to the roots that we hand out? */
static bool is_chained(const struct ca_material *m, STACK_OF(X509) * roots)
{
	return chain_verify(m->cert, m->chain, roots, 0) == X509_V_OK;
}

static int extensions_add(X509 *cert, X509 *issuer, const char *san)
{
	if (ca_extension_add(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
	    ca_extension_add(cert, issuer, NID_key_usage,
			     "critical,digitalSignature,keyEncipherment") < 0 ||
	    ca_extension_add(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") < 0 ||
	    ca_extension_add(cert, issuer, NID_authority_key_identifier, "keyid") < 0 ||
	    (san && ca_extension_add(cert, issuer, NID_subject_alt_name, san) < 0))
		return -EIO;
	return 0;
}

static int serial_set(X509 *cert)
{
	unsigned char serial[16];
	BIGNUM *bn;
	int r;

	random_bytes(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x3f) | 0x40;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	r = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) ? 0 : -EIO;
	BN_free(bn);
	return r;
}

/* From two minutes ago, so that clocks may differ; never longer than the CA's own certificate. */
static int validity_set(X509 *cert, const X509 *issuer, int64_t ttl_s)
{
	const ASN1_TIME *limit = X509_get0_notAfter(issuer);
	long ttl = ttl_s <= 0 ? CA_TTL_S : (long)ttl_s;

	if (X509_cmp_current_time(limit) <= 0)
		return -EKEYEXPIRED;
	if (!X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) ||
	    !X509_gmtime_adj(X509_getm_notAfter(cert), ttl))
		return -EIO;
	if (ASN1_TIME_compare(X509_get0_notAfter(cert), limit) > 0 &&
	    !X509_set1_notAfter(cert, limit))
		return -EIO;
	return 0;
}

static const EVP_MD *digest_for(EVP_PKEY *key)
{
	int base = EVP_PKEY_base_id(key);

	return base == EVP_PKEY_ED25519 || base == EVP_PKEY_ED448 ? NULL : EVP_sha256();
}

/* @san: in OpenSSL's little language; NULL: no name. */
static int leaf_make(const struct ca_material *m, EVP_PKEY *key, const char *san, int64_t ttl_s,
		     X509 **ret)
{
	_cleanup_(X509_freep) X509 *cert = X509_new();
	int r;

	if (!cert || !X509_set_version(cert, X509_VERSION_3) || !X509_set_pubkey(cert, key) ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(m->cert)))
		return -ENOMEM;
	r = serial_set(cert);
	if (r == 0)
		r = validity_set(cert, m->cert, ttl_s);
	if (r == 0)
		r = extensions_add(cert, m->cert, san);
	if (r < 0)
		return r;
	if (X509_sign(cert, m->key, digest_for(m->key)) <= 0)
		return -EIO;
	*ret = TAKE_PTR(cert);
	return 0;
}

/* Return: an X509_V_ code. */
static int leaf_verify(const struct ca_material *m, X509 *leaf, int purpose)
{
	STACK_OF(X509) *between = sk_X509_dup(m->chain);
	int code = X509_V_ERR_OUT_OF_MEM;

	if (between && sk_X509_push(between, m->cert))
		code = chain_verify(leaf, between, m->roots, purpose);
	sk_X509_free(between);
	return code;
}

/* Would nodes take what it signs? A chain may be whole and allow no more below the signer, or allow
 * it other things than servers and clients. Without a name, which the chain may limit as well: what
 * names there will be is not known here. */
static int trial(const struct ca_material *m, char *err, size_t err_size)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *leaf = NULL;
	int r = tls_key_new(&key), code;

	if (r == 0)
		r = leaf_make(m, key, NULL, 0, &leaf);
	if (r < 0) {
		(void)snprintf(err, err_size, "ca-key.pem does not sign: %s", strerror(-r));
		return r;
	}
	code = leaf_verify(m, leaf, X509_PURPOSE_SSL_SERVER);
	if (code == X509_V_OK)
		code = leaf_verify(m, leaf, X509_PURPOSE_SSL_CLIENT);
	if (code == X509_V_OK)
		return 0;
	(void)snprintf(err, err_size, "nobody would accept what ca-cert.pem signs: %s",
		       X509_verify_cert_error_string(code));
	return -EINVAL;
}

int ca_new(struct ca_material *m, struct ca **ret, char *err, size_t err_size)
{
	struct ca *ca;
	int r;

	if (X509_check_private_key(m->cert, m->key) != 1) {
		(void)snprintf(err, err_size, "ca-key.pem is not the key of ca-cert.pem");
		return -EINVAL;
	}
	if (X509_check_ca(m->cert) != 1) {
		(void)snprintf(err, err_size,
			       "ca-cert.pem may not sign: basicConstraints CA, or keyUsage "
			       "keyCertSign, is not set");
		return -EINVAL;
	}
	if (!is_chained(m, m->roots)) {
		(void)snprintf(err, err_size,
			       "ca-cert.pem does not chain to root-cert.pem, or has expired");
		return -EINVAL;
	}
	r = trial(m, err, err_size);
	ERR_clear_error();
	if (r < 0)
		return r;
	ca = calloc(1, sizeof(*ca));
	r = ca ? certs_to_pem(m->roots, &ca->roots_pem) : -ENOMEM;
	if (r < 0) {
		(void)snprintf(err, err_size, "out of memory");
		free(ca);
		return r;
	}
	ca->m = *m;
	*m = (struct ca_material){0};
	*ret = ca;
	return 0;
}

struct ca *ca_free(struct ca *ca)
{
	if (!ca)
		return NULL;
	ca_material_clear(&ca->m);
	free(ca->roots_pem);
	free(ca);
	return NULL;
}

static bool is_key_fine(const EVP_PKEY *key)
{
	char group[32];

	if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA)
		return EVP_PKEY_bits(key) >= RSA_BITS_MIN && EVP_PKEY_bits(key) <= RSA_BITS_MAX;
	if (EVP_PKEY_base_id(key) != EVP_PKEY_EC ||
	    !EVP_PKEY_get_group_name(key, group, sizeof(group), NULL))
		return false;
	return streq(group, "prime256v1") || streq(group, "P-256") || streq(group, "secp384r1") ||
	       streq(group, "P-384");
}

static int csr_read(const char *pem, X509_REQ **ret)
{
	_cleanup_(BIO_free_allp) BIO *bio = NULL;
	_cleanup_(X509_REQ_freep) X509_REQ *req = NULL;
	size_t len = strnlen(pem, CSR_MAX + 1);
	EVP_PKEY *key;

	if (len > CSR_MAX)
		return -EBADMSG;
	bio = BIO_new_mem_buf(pem, (int)len);
	req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, "") : NULL;
	key = req ? X509_REQ_get0_pubkey(req) : NULL;
	/* the size first: verifying with a huge key is costly */
	if (!key || !is_key_fine(key) || X509_REQ_verify(req, key) != 1)
		return -EBADMSG;
	*ret = TAKE_PTR(req);
	return 0;
}

/* Its only name is this URI. */
static bool is_only_name(X509_EXTENSION *ext, const char *spiffe)
{
	GENERAL_NAMES *names = X509V3_EXT_d2i(ext);
	const GENERAL_NAME *one =
		sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
	bool is_it =
		one && one->type == GEN_URI &&
		(size_t)ASN1_STRING_length(one->d.uniformResourceIdentifier) == strlen(spiffe) &&
		memcmp(ASN1_STRING_get0_data(one->d.uniformResourceIdentifier), spiffe,
		       strlen(spiffe)) == 0;

	GENERAL_NAMES_free(names);
	return is_it;
}

bool ca_request_is_for(const char *csr_pem, const char *spiffe)
{
	_cleanup_(X509_REQ_freep) X509_REQ *req = NULL;
	STACK_OF(X509_EXTENSION) * exts;
	bool is_it;

	if (csr_read(csr_pem, &req) < 0) {
		ERR_clear_error();
		return false;
	}
	exts = X509_REQ_get_extensions(req);
	is_it = X509_NAME_entry_count(X509_REQ_get_subject_name(req)) == 0 &&
		sk_X509_EXTENSION_num(exts) == 1 &&
		OBJ_obj2nid(X509_EXTENSION_get_object(sk_X509_EXTENSION_value(exts, 0))) ==
			NID_subject_alt_name &&
		is_only_name(sk_X509_EXTENSION_value(exts, 0), spiffe);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ERR_clear_error();
	return is_it;
}

int ca_extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	int r;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	r = ext && X509_add_ext(cert, ext, -1) ? 0 : -EIO;
	X509_EXTENSION_free(ext);
	return r;
}

static int chain_make(struct ca *ca, X509 *leaf, struct ca_chain *chain)
{
	int r = chain_push(chain, leaf);

	/* peers have the roots: a root that signs itself is not sent */
	if (r == 0 && X509_self_signed(ca->m.cert, 0) != 1)
		r = chain_push(chain, ca->m.cert);
	for (int i = 0; r == 0 && i < sk_X509_num(ca->m.chain); i++)
		r = chain_push(chain, sk_X509_value(ca->m.chain, i));
	if (r == 0 && chain->n == CA_CHAIN_MAX)
		r = -E2BIG;
	if (r < 0)
		return r;
	chain->pem[chain->n] = strdup(ca->roots_pem);
	return chain->pem[chain->n++] ? 0 : -ENOMEM;
}

/* A leaf for a key with what leads from it to the roots. */
static int leaf_chain(struct ca *ca, EVP_PKEY *key, const char *san, int64_t ttl_s,
		      struct ca_chain *ret)
{
	_cleanup_(X509_freep) X509 *leaf = NULL;
	_cleanup_(chain_clearp) struct ca_chain chain = {0};
	int r = leaf_make(&ca->m, key, san, ttl_s, &leaf);

	if (r == 0)
		r = chain_make(ca, leaf, &chain);
	if (r < 0)
		return r;
	*ret = chain;
	chain.n = 0;
	return 0;
}

int ca_sign(struct ca *ca, const char *csr_pem, const char *spiffe, int64_t ttl_s,
	    struct ca_chain *ret)
{
	_cleanup_(X509_REQ_freep) X509_REQ *req = NULL;
	char san[SPIFFE_ID_SIZE + 16];
	struct spiffe_id id;
	int r;

	if (spiffe_parse(spiffe, &id) < 0)
		return -EINVAL;
	/* spiffe_parse() leaves no character that this little language treats in its own way */
	(void)snprintf(san, sizeof(san), "critical,URI:%s", spiffe);
	r = csr_read(csr_pem, &req);
	if (r == 0)
		r = leaf_chain(ca, X509_REQ_get0_pubkey(req), san, ttl_s, ret);
	ERR_clear_error();
	return r;
}

const struct ca_material *ca_material_of(const struct ca *ca)
{
	return &ca->m;
}

/* A root that was made again with its key and name: what it signs chains to the one before. */
static bool is_renewed(X509 *cert, STACK_OF(X509) * roots)
{
	for (int i = 0; i < sk_X509_num(roots); i++) {
		X509 *root = sk_X509_value(roots, i);

		if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_subject_name(root)) == 0 &&
		    EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(root)) == 1)
			return true;
	}
	return false;
}

bool ca_is_trusted_by(const struct ca *ca, const struct ca *other)
{
	bool is_trusted =
		is_chained(&ca->m, other->m.roots) || is_renewed(ca->m.cert, other->m.roots);

	ERR_clear_error();
	return is_trusted;
}

static bool digest_add(EVP_MD_CTX *ctx, X509 *cert)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;

	return X509_digest(cert, EVP_sha256(), digest, &len) && EVP_DigestUpdate(ctx, digest, len);
}

static bool digest_add_all(EVP_MD_CTX *ctx, STACK_OF(X509) * certs)
{
	bool is_good = EVP_DigestUpdate(ctx, "", 1);

	for (int i = 0; is_good && i < sk_X509_num(certs); i++)
		is_good = digest_add(ctx, sk_X509_value(certs, i));
	return is_good;
}

int ca_version(const struct ca *ca, char ret[CA_VERSION_SIZE])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) || !digest_add(ctx, ca->m.cert) ||
	    !digest_add_all(ctx, ca->m.chain) || !digest_add_all(ctx, ca->m.roots) ||
	    !EVP_DigestFinal_ex(ctx, digest, NULL))
		return -ENOMEM;
	str_hex(digest, (CA_VERSION_SIZE - 1) / 2, ret);
	return 0;
}

int ca_roots_pem(const struct ca *ca, char **ret)
{
	*ret = strdup(ca->roots_pem);
	return *ret ? 0 : -ENOMEM;
}

int ca_roots_lasting_pem(const struct ca *ca, char **ret, bool *ret_is_all)
{
	STACK_OF(X509) *roots = ca->m.roots, *lasting = sk_X509_new_null();
	int r = lasting ? 0 : -ENOMEM;

	for (int i = 0; i < sk_X509_num(roots) && r == 0; i++) {
		X509 *root = sk_X509_value(roots, i);

		if (X509_cmp_current_time(X509_get0_notAfter(root)) > 0 &&
		    !sk_X509_push(lasting, root))
			r = -ENOMEM;
	}
	if (r == 0) {
		*ret_is_all = sk_X509_num(lasting) == sk_X509_num(roots);
		r = certs_to_pem(lasting, ret);
	}
	sk_X509_free(lasting);
	return r;
}

int ca_sign_server(struct ca *ca, EVP_PKEY *key, const char *const *names, size_t n,
		   struct ca_chain *ret)
{
	_cleanup_(buf_resetp) struct buf san = {0};
	struct cv_addr addr;
	int r = buf_append_str(&san, "critical");

	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_printf(&san, ",%s:%s", cv_addr_parse(names[i], &addr) == 0 ? "IP" : "DNS",
			       names[i]);
	if (r == 0)
		r = buf_append(&san, "", 1);
	if (r == 0)
		r = leaf_chain(ca, key, (const char *)buf_head(&san), CA_TTL_S, ret);
	ERR_clear_error();
	return r;
}

/* @first: of those before; 0: none. Return: the earlier one. */
static time_t earlier_end(time_t first, const X509 *cert)
{
	struct tm tm;
	time_t t;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm))
		return first;
	t = timegm(&tm);
	return first == 0 || t < first ? t : first;
}

time_t ca_not_after(const struct ca *ca)
{
	time_t first = earlier_end(0, ca->m.cert);

	for (int i = 0; i < sk_X509_num(ca->m.chain); i++)
		first = earlier_end(first, sk_X509_value(ca->m.chain, i));
	return first;
}

time_t ca_root_not_after(const struct ca *ca)
{
	time_t first = 0;

	for (int i = 0; i < sk_X509_num(ca->m.roots); i++)
		first = earlier_end(first, sk_X509_value(ca->m.roots, i));
	return first;
}
