/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/trust.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tls/identity.h"

#define PEM_BYTES_MAX (16 * 1024 * 1024)
#define LISTS_MAX     1024

struct tls_trust {
	pthread_rwlock_t lock;
	STACK_OF(X509_CRL) * lists;
	char **domains;
	size_t domain_count;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int trust_index = -1; /* of SSL_CTX: struct tls_trust, borrowed */

static void index_make(void)
{
	trust_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static void lists_free(STACK_OF(X509_CRL) * s)
{
	sk_X509_CRL_pop_free(s, X509_CRL_free);
}
DEFINE_CLEANUP(STACK_OF(X509_CRL) *, lists_free);

static void domains_free(char **domains, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(domains[i]);
	free(domains);
}

int tls_trust_new(struct tls_trust **ret)
{
	struct tls_trust *t = calloc(1, sizeof(*t));

	(void)pthread_once(&index_once, index_make);
	if (!t || trust_index < 0 || pthread_rwlock_init(&t->lock, NULL) != 0) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

struct tls_trust *tls_trust_free(struct tls_trust *t)
{
	if (!t)
		return NULL;
	lists_free(t->lists);
	domains_free(t->domains, t->domain_count);
	(void)pthread_rwlock_destroy(&t->lock);
	free(t);
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

int tls_trust_load_crl(struct tls_trust *t, const char *pem, size_t len, size_t *ret_count)
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
	(void)pthread_rwlock_wrlock(&t->lock);
	old = t->lists;
	t->lists = TAKE_PTR(lists);
	(void)pthread_rwlock_unlock(&t->lock);
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

bool tls_trust_has_revoked(struct tls_trust *t, STACK_OF(X509) * chain)
{
	bool is_bad = false;

	(void)pthread_rwlock_rdlock(&t->lock);
	for (int i = 0; i + 1 < sk_X509_num(chain) && t->lists && !is_bad; i++)
		is_bad = is_revoked(t->lists, sk_X509_value(chain, i), sk_X509_value(chain, i + 1));
	(void)pthread_rwlock_unlock(&t->lock);
	ERR_clear_error();
	return is_bad;
}

int tls_trust_set_domains(struct tls_trust *t, const char *const *names, size_t n)
{
	char **domains, **old;
	size_t count;

	if (n > TRUST_DOMAINS_MAX)
		return -EINVAL;
	domains = calloc(n + 1, sizeof(*domains));
	for (count = 0; domains && count < n; count++) {
		domains[count] = strdup(names[count]);
		if (!domains[count])
			break;
	}
	if (!domains || count < n) {
		domains_free(domains, domains ? count : 0);
		return -ENOMEM;
	}
	(void)pthread_rwlock_wrlock(&t->lock);
	old = t->domains;
	count = t->domain_count;
	t->domains = domains;
	t->domain_count = n;
	(void)pthread_rwlock_unlock(&t->lock);
	domains_free(old, count);
	return 0;
}

bool tls_trust_is_domain(struct tls_trust *t, const char *name)
{
	bool is_one = false;

	(void)pthread_rwlock_rdlock(&t->lock);
	for (size_t i = 0; i < t->domain_count && !is_one; i++)
		is_one = streq(t->domains[i], name);
	(void)pthread_rwlock_unlock(&t->lock);
	return is_one;
}

int tls_trust_use(struct tls_trust *t, const struct tls_identity *id)
{
	if (!SSL_CTX_set_ex_data(id->server_ctx, trust_index, t) ||
	    !SSL_CTX_set_ex_data(id->client_ctx, trust_index, t))
		return -ENOMEM;
	return 0;
}

struct tls_trust *tls_trust_of(const SSL_CTX *ctx)
{
	return trust_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, trust_index);
}
