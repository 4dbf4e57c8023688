/* SPDX-License-Identifier: Apache-2.0 */
/* channel - a peer that sends new keys on and on does not keep the loop; one that sends some does
 * no harm. */
#include "tls/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tls/fixture.h"

#define MANY 200
#define SOME 20

struct ends {
	int fds[2];
	SSL *server, *client;
};

static char *key_pem_of(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	return text;
}

/* @issuer, @issuer_key: NULL: it signs itself. */
static SSL_CTX *server_new(X509 *issuer, EVP_PKEY *issuer_key)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *cert = NULL;
	_cleanup_(freep) char *chain = NULL, *key_pem = NULL;
	SSL_CTX *ctx;

	assert_int_equal(tls_key_new(&key), 0);
	cert = certify(
		key,
		&(struct recipe){.san = "DNS:istiod", .issuer = issuer, .issuer_key = issuer_key});
	chain = pem_of(cert);
	key_pem = key_pem_of(key);
	assert_int_equal(tls_channel_server(chain, key_pem, &ctx), 0);
	return ctx;
}

static int set_up(void **state)
{
	static const unsigned char h2[] = {2, 'h', '2'};
	struct ends *e = calloc(1, sizeof(*e));
	SSL_CTX *ctx = server_new(NULL, NULL), *other = SSL_CTX_new(TLS_client_method());
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, e->fds),
			 0);
	assert_int_equal(SSL_CTX_set_alpn_protos(other, h2, sizeof(h2)), 0);
	e->server = SSL_new(ctx);
	e->client = SSL_new(other);
	SSL_CTX_free(ctx);
	SSL_CTX_free(other);
	assert_int_equal(SSL_set_fd(e->server, e->fds[0]), 1);
	assert_int_equal(SSL_set_fd(e->client, e->fds[1]), 1);
	SSL_set_accept_state(e->server);
	SSL_set_connect_state(e->client);
	for (int i = 0; i < 10; i++) {
		(void)SSL_do_handshake(e->client);
		(void)SSL_read(e->server, &c, 1);
	}
	assert_true(SSL_is_init_finished(e->client) && SSL_is_init_finished(e->server));
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct ends *e = *state;

	SSL_free(e->server);
	SSL_free(e->client);
	(void)close(e->fds[0]);
	(void)close(e->fds[1]);
	free(e);
	return 0;
}

static void send_keys(struct ends *e, int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(SSL_key_update(e->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(e->client), 1);
	}
}

static void new_keys_without_end_end_the_connection(void **state)
{
	struct ends *e = *state;
	char c;
	int n;

	send_keys(e, MANY);
	n = SSL_read(e->server, &c, 1);
	assert_true(n <= 0);
	assert_int_not_equal(SSL_get_error(e->server, n), SSL_ERROR_WANT_READ);
	/* most of them were not taken */
	assert_true(recv(e->fds[0], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
}

static void new_keys_now_and_then_do_no_harm(void **state)
{
	struct ends *e = *state;
	char c = 0;

	send_keys(e, SOME);
	assert_int_equal(SSL_write(e->client, "x", 1), 1);
	assert_int_equal(SSL_read(e->server, &c, 1), 1);
	assert_int_equal(c, 'x');
}

/* What stands in the file is trusted, whoever has signed it. */
static void a_root_may_be_an_intermediate(void **state)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *top = NULL, *key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL, *below = NULL;
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = NULL;
	_cleanup_(SSL_freep) SSL *client = NULL, *server = NULL;
	_cleanup_(freep) char *pem = NULL;
	char file[] = "/tmp/culvert-unit-XXXXXX", err[256];
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	assert_int_equal(tls_key_new(&top), 0);
	assert_int_equal(tls_key_new(&key), 0);
	root = certify(top, &(struct recipe){.basic = "critical,CA:TRUE"});
	below = certify(
		key,
		&(struct recipe){.basic = "critical,CA:TRUE", .issuer = root, .issuer_key = top});
	pem = pem_of(below);
	assert_int_equal(write(fd, pem, strlen(pem)), (ssize_t)strlen(pem));
	(void)close(fd);
	ctx = server_new(below, key);
	server = SSL_new(ctx);
	SSL_set_accept_state(server);
	assert_int_equal(tls_channel_client(file, "istiod", &client, err, sizeof(err)), 0);
	(void)unlink(file);
	assert_int_equal(handshake(client, server), 3);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(new_keys_without_end_end_the_connection),
		TEST(new_keys_now_and_then_do_no_harm),
		cmocka_unit_test(a_root_may_be_an_intermediate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
