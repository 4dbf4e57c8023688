/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "ca.h"
#include "tls/key.h"

#define PEM_FILE_MAX (1024 * 1024)
#define ROOT_SECONDS (10L * 365 * 24 * 3600)
#define BACKDATE_S   120
#define PATH_BYTES   4096
#define CHAIN_CERTS  6

DEFINE_CLEANUP(BIO *, BIO_free_all);

void ca_material_clear(struct ca_material *m)
{
	EVP_PKEY_free(m->key);
	X509_free(m->cert);
	ca_certs_free(m->chain);
	ca_certs_free(m->roots);
	*m = (struct ca_material){0};
}

static void material_clearp(struct ca_material *m)
{
	ca_material_clear(m);
}

static int path_make(char ret[PATH_BYTES], const char *dir, const char *name)
{
	int n = snprintf(ret, PATH_BYTES, "%s/%s", dir, name);

	return n < 0 || n >= PATH_BYTES ? -ENAMETOOLONG : 0;
}

/* The file in a memory BIO; key files are wiped with it. */
static int file_bio(const char *dir, const char *name, BIO **ret)
{
	char path[PATH_BYTES];
	char *text = NULL;
	size_t len = 0;
	BIO *bio;
	int r;

	r = path_make(path, dir, name);
	if (r == 0)
		r = file_read(path, PEM_FILE_MAX, &text, &len);
	if (r < 0)
		return r;
	bio = BIO_new(BIO_s_secmem());
	if (bio && BIO_write(bio, text, (int)len) != (int)len) {
		BIO_free_all(bio);
		bio = NULL;
	}
	OPENSSL_cleanse(text, len);
	free(text);
	if (!bio)
		return -ENOMEM;
	*ret = bio;
	return 0;
}

static int key_read(const char *dir, EVP_PKEY **ret)
{
	_cleanup_(BIO_free_allp) BIO *bio = NULL;
	int r = file_bio(dir, "ca-key.pem", &bio);

	if (r < 0)
		return r;
	/* an empty passphrase: never ask on a terminal */
	*ret = PEM_read_bio_PrivateKey(bio, NULL, NULL, "");
	ERR_clear_error();
	return *ret ? 0 : -EBADMSG;
}

static int certs_read(const char *dir, const char *name, STACK_OF(X509) * *ret)
{
	_cleanup_(ca_certs_freep) STACK_OF(X509) *certs = sk_X509_new_null();
	_cleanup_(BIO_free_allp) BIO *bio = NULL;
	X509 *cert;
	int r = file_bio(dir, name, &bio);

	if (r < 0)
		return r;
	while (certs && (cert = PEM_read_bio_X509(bio, NULL, NULL, "")) != NULL)
		if (!sk_X509_push(certs, cert))
			X509_free(cert);
	r = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (!certs || !r || sk_X509_num(certs) == 0)
		return -EBADMSG;
	*ret = TAKE_PTR(certs);
	return 0;
}

static int bio_write_file(BIO *bio, const char *dir, const char *name, unsigned int mode)
{
	char path[PATH_BYTES];
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	int r = path_make(path, dir, name);

	return r < 0 ? r : file_write_atomic(path, data, (size_t)len, mode);
}

static int key_write(const char *dir, EVP_PKEY *key)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return -ENOMEM;
	return bio_write_file(bio, dir, "ca-key.pem", 0600);
}

static int cert_write(const char *dir, const char *name, X509 *cert)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert))
		return -ENOMEM;
	return bio_write_file(bio, dir, name, 0644);
}

static bool name_set(X509 *cert, const struct ca_root *root)
{
	X509_NAME *name = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
					  (const unsigned char *)root->trust_domain, -1, -1, 0) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
					  (const unsigned char *)"Culvert root", -1, -1, 0);
}

/* By which certificates below it name their issuer: it stays what it was, however whoever made it
 * came by it. @before: NULL: none. */
static int key_id_set(X509 *cert, const X509 *before)
{
	int at = before ? X509_get_ext_by_NID(before, NID_subject_key_identifier, -1) : -1;

	if (at < 0)
		return ca_extension_add(cert, cert, NID_subject_key_identifier, "hash");
	return X509_add_ext(cert, X509_get_ext(before, at), -1) ? 0 : -EIO;
}

/* @before: NULL, or what it takes the place of, of the same key, under the same name. */
static int root_fill(X509 *cert, EVP_PKEY *key, const struct ca_root *root, const X509 *before)
{
	long ttl = root->ttl_s > 0 ? (long)root->ttl_s : ROOT_SECONDS;
	unsigned char serial[16];
	BIGNUM *bn;
	int r;

	random_bytes(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x3f) | 0x40; /* positive, full length */
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	r = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) ? 0 : -EIO;
	BN_free(bn);
	if (r < 0 || !X509_set_version(cert, X509_VERSION_3) ||
	    !X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) ||
	    !X509_gmtime_adj(X509_getm_notAfter(cert), ttl) || !X509_set_pubkey(cert, key) ||
	    !(before ? X509_set_subject_name(cert, X509_get_subject_name(before))
		     : name_set(cert, root)) ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(cert)))
		return -EIO;
	if (ca_extension_add(cert, cert, NID_basic_constraints, "critical,CA:TRUE") < 0 ||
	    ca_extension_add(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
	    key_id_set(cert, before) < 0)
		return -EIO;
	return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -EIO;
}

static int root_key_new(const struct ca_root *root, EVP_PKEY **ret)
{
	EVP_PKEY *key;

	if (root->rsa_bits == 0)
		return tls_key_new(ret);
	key = EVP_RSA_gen(root->rsa_bits);
	ERR_clear_error();
	if (!key)
		return -EIO;
	*ret = key;
	return 0;
}

/* At first start. A key that is already there is used: a start that was cut short left it. */
static int files_make(const char *dir, const struct ca_root *root)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *cert = X509_new();
	int r = key_read(dir, &key);

	if (r == -ENOENT) {
		r = root_key_new(root, &key);
		if (r == 0)
			r = key_write(dir, key);
	}
	if (r < 0)
		return r;
	r = cert ? root_fill(cert, key, root, NULL) : -ENOMEM;
	ERR_clear_error();
	if (r == 0)
		r = cert_write(dir, "root-cert.pem", cert);
	if (r == 0)
		r = cert_write(dir, "cert-chain.pem", cert);
	/* last: its presence says that the others are whole */
	return r < 0 ? r : cert_write(dir, "ca-cert.pem", cert);
}

static bool is_there(const char *dir, const char *name)
{
	char path[PATH_BYTES];

	return path_make(path, dir, name) == 0 && access(path, F_OK) == 0;
}

/* Take over what a start that was cut short left; never what somebody put there half. */
static bool is_ours_to_make(const char *dir)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(ca_certs_freep) STACK_OF(X509) *roots = NULL;

	if (is_there(dir, "ca-cert.pem"))
		return false;
	if (!is_there(dir, "root-cert.pem"))
		return !is_there(dir, "cert-chain.pem");
	return key_read(dir, &key) == 0 && certs_read(dir, "root-cert.pem", &roots) == 0 &&
	       X509_check_private_key(sk_X509_value(roots, 0), key) == 1;
}

/* Secret cacerts is mounted with all its keys, also those without a value. */
static bool is_empty(const char *dir, const char *name)
{
	char path[PATH_BYTES];
	struct stat st;

	return path_make(path, dir, name) == 0 && stat(path, &st) == 0 && st.st_size == 0;
}

/* cert-chain.pem begins with the CA's own certificate and may end with the root: neither is wanted
 * here. */
static int chain_read(const char *dir, struct ca_material *m)
{
	_cleanup_(ca_certs_freep) STACK_OF(X509) *all = NULL;
	int r = certs_read(dir, "cert-chain.pem", &all);

	m->chain = sk_X509_new_null();
	if (!m->chain)
		return -ENOMEM;
	if (r == -ENOENT || is_empty(dir, "cert-chain.pem"))
		return 0;
	for (int i = 0; r == 0 && i < sk_X509_num(all); i++) {
		X509 *cert = sk_X509_value(all, i);

		if (X509_cmp(cert, m->cert) == 0 || X509_self_signed(cert, 0) == 1)
			continue;
		if (sk_X509_num(m->chain) == CHAIN_CERTS)
			return -E2BIG;
		if (!X509_up_ref(cert) || !sk_X509_push(m->chain, cert))
			return -ENOMEM;
	}
	return r;
}

static int fail(char *err, size_t err_size, int r, const char *dir, const char *name)
{
	(void)snprintf(err, err_size, "%s/%s: %s", dir, name,
		       r == -EBADMSG ? "no valid PEM of the expected kind" : strerror(-r));
	return r;
}

/* @now: NULL, or whose key is the one where the certificate is the same. */
static int key_find(const char *dir, const struct ca_material *now, struct ca_material *m)
{
	if (!now || X509_cmp(m->cert, now->cert) != 0)
		return key_read(dir, &m->key);
	if (!EVP_PKEY_up_ref(now->key))
		return -ENOMEM;
	m->key = now->key;
	return 0;
}

static int files_read(const char *dir, const struct ca_material *now, struct ca_material *m,
		      char *err, size_t err_size)
{
	_cleanup_(ca_certs_freep) STACK_OF(X509) *certs = NULL;
	int r = certs_read(dir, "ca-cert.pem", &certs);

	if (r < 0)
		return fail(err, err_size, r, dir, "ca-cert.pem");
	m->cert = sk_X509_value(certs, 0);
	(void)X509_up_ref(m->cert);
	r = key_find(dir, now, m);
	if (r < 0)
		return fail(err, err_size, r, dir, "ca-key.pem");
	r = certs_read(dir, "root-cert.pem", &m->roots);
	if (r < 0)
		return fail(err, err_size, r, dir, "root-cert.pem");
	r = chain_read(dir, m);
	return r < 0 ? fail(err, err_size, r, dir, "cert-chain.pem") : 0;
}

static int dir_lock(const char *dir, int *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int r = mkdir_p(dir, 0755);

	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

int ca_files_load_or_make(const char *dir, const struct ca_root *root, struct ca_material *ret,
			  char *err, size_t err_size)
{
	_cleanup_(material_clearp) struct ca_material m = {0};
	_cleanup_(close_fdp) int lock = -EBADF;
	int r = dir_lock(dir, &lock);

	if (r < 0)
		return fail(err, err_size, r, dir, "");
	if (is_ours_to_make(dir)) {
		r = files_make(dir, root);
		if (r < 0)
			return fail(err, err_size, r, dir, "ca-key.pem");
	}
	r = files_read(dir, NULL, &m, err, err_size);
	if (r < 0)
		return r;
	*ret = m;
	m = (struct ca_material){0};
	return 0;
}

int ca_files_load(const char *dir, const char *trust_domain, struct ca_material *ret, char *err,
		  size_t err_size)
{
	const struct ca_root root = {.trust_domain = trust_domain};

	return ca_files_load_or_make(dir, &root, ret, err, err_size);
}

/* Less than a fifth of its life is left: Istio's default, too. */
static bool is_due(const X509 *cert)
{
	int all_days, all_s, days, s;

	if (!ASN1_TIME_diff(&all_days, &all_s, X509_get0_notBefore(cert),
			    X509_get0_notAfter(cert)) ||
	    !ASN1_TIME_diff(&days, &s, NULL, X509_get0_notAfter(cert)))
		return false;
	return (days * 86400LL + s) * 5 < all_days * 86400LL + all_s;
}

int ca_root_renew(const struct ca_material *m, const struct ca_root *root, char **ret_pem)
{
	_cleanup_(X509_freep) X509 *cert = NULL;
	_cleanup_(BIO_free_allp) BIO *bio = NULL;
	char *data;
	long len;
	int r;

	if (X509_self_signed(m->cert, 1) != 1 || !is_due(m->cert))
		return -EALREADY;
	cert = X509_new();
	bio = BIO_new(BIO_s_mem());
	r = cert && bio ? root_fill(cert, m->key, root, m->cert) : -ENOMEM;
	ERR_clear_error();
	if (r < 0)
		return r;
	if (!PEM_write_bio_X509(bio, cert))
		return -ENOMEM;
	len = BIO_get_mem_data(bio, &data);
	*ret_pem = strndup(data, (size_t)len);
	return *ret_pem ? 0 : -ENOMEM;
}

int ca_files_reload(const char *dir, const struct ca *now, struct ca_material *ret, char *err,
		    size_t err_size)
{
	_cleanup_(material_clearp) struct ca_material m = {0};
	int r = files_read(dir, ca_material_of(now), &m, err, err_size);

	if (r < 0)
		return r;
	*ret = m;
	m = (struct ca_material){0};
	return 0;
}
