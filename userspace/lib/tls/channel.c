/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/channel.h"

#include <errno.h>
#include <stdint.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "net/addr.h"
#include "tls/verify.h"

DEFINE_CLEANUP(BIO *, BIO_free_all);
DEFINE_CLEANUP(X509 *, X509_free);
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);

static const unsigned char alpn_h2[] = {2, 'h', '2'};
static const unsigned char alpn_http1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

/* Of a handshake, and of what may come after it for as long as a connection lasts: new keys after
 * each 2^24 records, a ticket. */
#define MESSAGES_MAX 64

/* How many came, as a pointer. */
static int messages_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

/* on_message() - SSL_read() goes on until there are data for us: a peer that sends new keys on and
 * on would keep the loop for itself, and each costs far more to take than to send. With nothing to
 * read from, the connection is at its end. */
/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static void on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl,
		       void *arg)
{
	uintptr_t count = (uintptr_t)SSL_get_ex_data(ssl, messages_index()) + 1;

	if (is_write || type != SSL3_RT_HANDSHAKE)
		return;
	(void)SSL_set_ex_data(ssl, messages_index(), (void *)count);
	if (count > MESSAGES_MAX)
		SSL_set0_rbio(ssl, BIO_new(BIO_s_null()));
}

static int context_new(const SSL_METHOD *method, SSL_CTX **ret)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return -ENOMEM;
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_msg_callback(ctx, on_message);
	*ret = ctx;
	return 0;
}

static int roots_load(SSL_CTX *ctx, const char *root_file, char *err, size_t err_size)
{
	int r = 0;

	if (!root_file || streq(root_file, "SYSTEM"))
		return SSL_CTX_set_default_verify_paths(ctx) ? 0 : -ENOMEM;
	errno = 0;
	if (!SSL_CTX_load_verify_locations(ctx, root_file, NULL))
		r = errno ? -errno : -EBADMSG;
	if (r == 0)
		r = tls_store_trust_intermediates(SSL_CTX_get_cert_store(ctx));
	if (r < 0)
		(void)snprintf(err, err_size, "%s: %s", root_file,
			       r == -EBADMSG ? "no certificate in PEM" : strerror(-r));
	ERR_clear_error();
	return r;
}

static int name_expect(SSL *ssl, const char *name)
{
	struct cv_addr addr;

	if (cv_addr_parse(name, &addr) == 0)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) ? 0 : -ENOMEM;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name) ? 0 : -ENOMEM;
}

int tls_channel_client(const char *root_file, const char *server_name, SSL **ret, char *err,
		       size_t err_size)
{
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = NULL;
	_cleanup_(SSL_freep) SSL *ssl = NULL;
	int r = context_new(TLS_client_method(), &ctx);

	if (r == 0)
		r = roots_load(ctx, root_file, err, err_size);
	if (r < 0)
		return r;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_alpn_protos(ctx, alpn_h2, sizeof(alpn_h2)) != 0)
		return -ENOMEM;
	ssl = SSL_new(ctx);
	r = ssl ? name_expect(ssl, server_name) : -ENOMEM;
	if (r < 0)
		return r;
	SSL_set_connect_state(ssl);
	*ret = TAKE_PTR(ssl);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned int in_len, void *arg)
{
	const unsigned char *ours = arg;
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, out_len, ours, ours[0] + 1U, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int chain_use(SSL_CTX *ctx, const char *pem)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(pem, -1);
	_cleanup_(X509_freep) X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, "") : NULL;
	X509 *more;

	if (!leaf || !SSL_CTX_use_certificate(ctx, leaf))
		return -EBADMSG;
	while ((more = PEM_read_bio_X509(bio, NULL, NULL, "")) != NULL)
		if (!SSL_CTX_add0_chain_cert(ctx, more)) {
			X509_free(more);
			return -ENOMEM;
		}
	return 0;
}

int tls_channel_server(const char *chain_pem, const char *key_pem, SSL_CTX **ret)
{
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = NULL;
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(key_pem, -1);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	int r = bio ? context_new(TLS_server_method(), &ctx) : -ENOMEM;

	if (r == 0)
		r = chain_use(ctx, chain_pem);
	if (r < 0)
		return r;
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, "");
	if (!key || !SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx))
		r = -EBADMSG;
	ERR_clear_error();
	if (r < 0)
		return r;
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, (void *)(uintptr_t)alpn_h2);
	*ret = TAKE_PTR(ctx);
	return 0;
}

void tls_channel_use_http1(SSL_CTX *ctx)
{
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, (void *)(uintptr_t)alpn_http1);
}
