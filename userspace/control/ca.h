/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca - signs workload certificates. Owner: the control plane; one thread. The key is wiped when it
 * is freed. */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define CA_CHAIN_MAX 8 /* strings in an answer */

DEFINE_CLEANUP(X509 *, X509_free);

static inline void ca_certs_free(STACK_OF(X509) * s)
{
	sk_X509_pop_free(s, X509_free);
}
DEFINE_CLEANUP(STACK_OF(X509) *, ca_certs_free);

/** struct ca_material - what a folder holds. */
struct ca_material {
	EVP_PKEY *key;
	X509 *cert;
	STACK_OF(X509) * chain; /* between @cert and the roots, without both */
	STACK_OF(X509) * roots;
};

void ca_material_clear(struct ca_material *m);

/** struct ca_root - how a root is made. */
struct ca_root {
	const char *trust_domain; /* in its subject */
	int64_t ttl_s;            /* 0: ten years */
	unsigned int rsa_bits;    /* 0: ECDSA P-256 */
};

/** ca_files_load_or_make() - as ca_files_load(), with a root to one's taste. */
_must_check_ int ca_files_load_or_make(const char *dir, const struct ca_root *root,
				       struct ca_material *ret, char *err, size_t err_size);
/**
 * ca_root_renew() - a root that signs itself, again, with the same key, name and key identifier,
 * whoever made it (Istio's Secret is taken over as it is): whoever trusts the one before trusts
 * what it signs
 * @ret_pem: free with free(). Return: 0; -EALREADY more than a fifth of its life is left, or it is
 * no root; -EIO; -ENOMEM.
 */
_must_check_ int ca_root_renew(const struct ca_material *m, const struct ca_root *root,
			       char **ret_pem);
/**
 * ca_files_load() - read ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem (the last may be
 * missing), or make them at first start; a lock keeps two control planes from making two roots. Run
 * while root.
 * @dir: made if missing. @trust_domain: in the subject of a new root.
 * @err: a sentence on failure.
 * Return: 0; -errno.
 */
_must_check_ int ca_files_load(const char *dir, const char *trust_domain, struct ca_material *ret,
			       char *err, size_t err_size);

struct ca; /* opaque */

#define CA_TTL_S     (24L * 3600)      /* of a certificate that nobody said more of */
#define CA_TTL_MAX_S (90L * 24 * 3600) /* Istio's */

/**
 * ca_files_reload() - as ca_files_load(), but nothing is made and root is not needed for what
 * anybody may read.
 * @now: its key is used where the folder has its certificate; else ca-key.pem must be readable.
 */
_must_check_ int ca_files_reload(const char *dir, const struct ca *now, struct ca_material *ret,
				 char *err, size_t err_size);

/** ca_new() - @m is taken on success. Return: 0; -EINVAL key, certificate and roots do not belong
 * together, or nodes would not accept what they sign, @err says how; -ENOMEM; -EIO. */
_must_check_ int ca_new(struct ca_material *m, struct ca **ret, char *err, size_t err_size);
struct ca *ca_free(struct ca *ca);
DEFINE_CLEANUP(struct ca *, ca_free);

/** struct ca_chain - an answer: PEM strings, leaf first, last the bundle of roots. */
struct ca_chain {
	char *pem[CA_CHAIN_MAX];
	size_t n;
};

void ca_chain_clear(struct ca_chain *chain);

/**
 * ca_sign() - issue a certificate for @spiffe, valid from two minutes ago, for
 * clients and servers. Only the public key is taken from the request; its proof of possession is
 * checked.
 * @csr_pem: at most 16 KiB; P-256, P-384 or RSA of 2048..4096 bits.
 * @ttl_s:   wanted life; <= 0: 24 h. It never outlives the CA's own.
 * Return: 0; -EBADMSG the request; -EINVAL @spiffe; -EKEYEXPIRED the CA's own certificate has
 * ended; -EIO; -ENOMEM.
 */
_must_check_ int ca_sign(struct ca *ca, const char *csr_pem, const char *spiffe, int64_t ttl_s,
			 struct ca_chain *ret);
/** ca_request_is_for() - may @csr_pem be handed to somebody who signs all that it says? It proves
 * possession of a good key and says nothing but "URI:@spiffe". */
bool ca_request_is_for(const char *csr_pem, const char *spiffe);
/**
 * ca_sign_server() - issue a certificate for our own listening socket, for 24 h
 * @key: its key. @names: DNS names and IP addresses as text, @n of them, of a word's characters
 * only. Return: as ca_sign().
 */
_must_check_ int ca_sign_server(struct ca *ca, EVP_PKEY *key, const char *const *names, size_t n,
				struct ca_chain *ret);
/** ca_extension_add() - an X.509v3 extension to a certificate that is being made. @issuer: @cert
 * itself for a root. @nid, @value: in OpenSSL's words. Return: 0; -EIO. */
_must_check_ int ca_extension_add(X509 *cert, X509 *issuer, int nid, const char *value);
/** ca_roots_pem() - the roots, one after the other; free with free(). Return: 0; -ENOMEM. */
_must_check_ int ca_roots_pem(const struct ca *ca, char **ret);
/** ca_roots_lasting_pem() - the same, of those that have not ended. @ret_is_all: none has. */
_must_check_ int ca_roots_lasting_pem(const struct ca *ca, char **ret, bool *ret_is_all);
/** ca_material_of() - what it was made from; borrowed. */
const struct ca_material *ca_material_of(const struct ca *ca);
#define CA_VERSION_SIZE 33
/** ca_version() - a text that differs when roots, signer or chain do. Return: 0; -ENOMEM. */
_must_check_ int ca_version(const struct ca *ca, char ret[CA_VERSION_SIZE]);
/** ca_is_trusted_by() - do certificates of @ca chain to the roots of @other? */
bool ca_is_trusted_by(const struct ca *ca, const struct ca *other);
/** ca_not_after() - when the first of the signing certificate and its chain ends. */
time_t ca_not_after(const struct ca *ca);
/** ca_root_not_after() - when the first of the roots ends. */
time_t ca_root_not_after(const struct ca *ca);
