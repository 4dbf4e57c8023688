/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/crl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>

#include "tls/identity.h"

#define PEM_BYTES_MAX (16 * 1024 * 1024)
#define LISTS_MAX     1024

struct tls_crl {
	pthread_rwlock_t lock;
	STACK_OF(X509_CRL) * lists;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int crl_index = -1; /* of SSL_CTX: struct tls_crl, borrowed */

static void index_make(void)
{
	crl_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static void lists_free(STACK_OF(X509_CRL) * s)
{
	sk_X509_CRL_pop_free(s, X509_CRL_free);
}
DEFINE_CLEANUP(STACK_OF(X509_CRL) *, lists_free);

int tls_crl_new(struct tls_crl **ret)
{
	struct tls_crl *c = calloc(1, sizeof(*c));

	(void)pthread_once(&index_once, index_make);
	if (!c || crl_index < 0 || pthread_rwlock_init(&c->lock, NULL) != 0) {
		free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

struct tls_crl *tls_crl_free(struct tls_crl *c)
{
	if (!c)
		return NULL;
	lists_free(c->lists);
	(void)pthread_rwlock_destroy(&c->lock);
	free(c);
	return NULL;
}

static int lists_read(BIO *bio, STACK_OF(X509_CRL) * into, size_t *ret_count)
{
	X509_CRL *crl;

	*ret_count = 0;
	ERR_clear_error();
	while (sk_X509_CRL_num(into) < LISTS_MAX &&
	       (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		int n = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));

		if (!sk_X509_CRL_push(into, crl)) {
			X509_CRL_free(crl);
			return -ENOMEM;
		}
		*ret_count += n > 0 ? (size_t)n : 0;
	}
	/* the reader ends with NO_START_LINE; any other reason is a list that does not parse */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE ||
	    sk_X509_CRL_num(into) == 0)
		return -EBADMSG;
	return 0;
}

int tls_crl_load(struct tls_crl *c, const char *pem, size_t len, size_t *ret_count)
{
	_cleanup_(lists_freep) STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
	STACK_OF(X509_CRL) * old;
	BIO *bio;
	int r;

	if (len > PEM_BYTES_MAX)
		return -EBADMSG;
	bio = BIO_new_mem_buf(pem, (int)len);
	r = lists && bio ? lists_read(bio, lists, ret_count) : -ENOMEM;
	(void)BIO_free(bio);
	ERR_clear_error();
	if (r < 0)
		return r;
	(void)pthread_rwlock_wrlock(&c->lock);
	old = c->lists;
	c->lists = TAKE_PTR(lists);
	(void)pthread_rwlock_unlock(&c->lock);
	lists_free(old);
	return 0;
}

/* The issuer's name alone is not enough: another root may bear the same one. */
static bool is_revoked(STACK_OF(X509_CRL) * lists, X509 *cert, const X509 *issuer)
{
	for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
		X509_CRL *crl = sk_X509_CRL_value(lists, i);
		X509_REVOKED *entry = NULL;

		if (X509_CRL_get0_by_cert(crl, &entry, cert) == 1 &&
		    X509_CRL_verify(crl, X509_get0_pubkey(issuer)) == 1)
			return true;
	}
	return false;
}

bool tls_crl_has_revoked(struct tls_crl *c, STACK_OF(X509) * chain)
{
	bool is_bad = false;

	(void)pthread_rwlock_rdlock(&c->lock);
	for (int i = 0; i + 1 < sk_X509_num(chain) && c->lists && !is_bad; i++)
		is_bad = is_revoked(c->lists, sk_X509_value(chain, i), sk_X509_value(chain, i + 1));
	(void)pthread_rwlock_unlock(&c->lock);
	ERR_clear_error();
	return is_bad;
}

int tls_crl_use(struct tls_crl *c, const struct tls_identity *id)
{
	if (!SSL_CTX_set_ex_data(id->server_ctx, crl_index, c) ||
	    !SSL_CTX_set_ex_data(id->client_ctx, crl_index, c))
		return -ENOMEM;
	return 0;
}

struct tls_crl *tls_crl_of(const SSL_CTX *ctx)
{
	return crl_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, crl_index);
}

bool tls_crl_is_peer_revoked(const SSL *ssl)
{
	struct tls_crl *c = tls_crl_of(SSL_get_SSL_CTX(ssl));
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);

	return c && chain && tls_crl_has_revoked(c, chain);
}
