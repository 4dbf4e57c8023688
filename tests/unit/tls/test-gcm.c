/* SPDX-License-Identifier: Apache-2.0 */
/* gcm - TLS between ends that use it and ends that do not, changed records, and who does not get
 * it. Where the processor lacks the instructions most of it is skipped. */
#include "tls/gcm.h"

#include <errno.h>
#include <stdbool.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "tests/unit/tls/fixture.h"
#include "tests/unit/tls/gcm.h"

#define TAG_LEN 16

DEFINE_CLEANUP(EVP_CIPHER *, EVP_CIPHER_free);

static struct {
	struct fixture *fixture;
	const struct tls_identity *clients[2],
		*servers[2]; /* made before and after it was loaded */
	int load;
	const char *why;
	bool was_query_null;
	int load_beside_other; /* while OpenSSL was to prefer another provider's */
} world;

static void need(void)
{
	if (world.load == 0)
		return;
	print_message("%s\n", world.why);
	skip();
}

/* A provider whose AES-GCM is found and does nothing. */
static int other_get_params(OSSL_PARAM params[])
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_IVLEN);

	return !p || OSSL_PARAM_set_size_t(p, 12);
}

static int other_nothing(void)
{
	return 0;
}

static const OSSL_ALGORITHM *other_query(void *provider, int what, int *ret_no_cache)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_CIPHER_GET_PARAMS, (void (*)(void))other_get_params},
		{OSSL_FUNC_CIPHER_NEWCTX, (void (*)(void))other_nothing},
		{OSSL_FUNC_CIPHER_FREECTX, (void (*)(void))other_nothing},
		{OSSL_FUNC_CIPHER_ENCRYPT_INIT, (void (*)(void))other_nothing},
		{OSSL_FUNC_CIPHER_UPDATE, (void (*)(void))other_nothing},
		{OSSL_FUNC_CIPHER_FINAL, (void (*)(void))other_nothing},
		{0, NULL},
	};
	static const OSSL_ALGORITHM list[] = {
		{"AES-128-GCM", "provider=other", functions, NULL},
		{NULL, NULL, NULL, NULL},
	};

	*ret_no_cache = 0;
	return what == OSSL_OP_CIPHER ? list : NULL;
}

static int other_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		      const OSSL_DISPATCH **ret, void **ret_ctx)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))other_query},
		{0, NULL},
	};

	*ret = functions;
	*ret_ctx = NULL;
	return 1;
}

/* load_beside_other() - Return: of tls_gcm_load(). */
static int load_beside_other(void)
{
	OSSL_PROVIDER *other = NULL;
	const char *why;
	int r;

	assert_int_equal(OSSL_PROVIDER_add_builtin(NULL, "other", other_init), 1);
	other = OSSL_PROVIDER_try_load(NULL, "other", 1);
	assert_non_null(other);
	assert_int_equal(EVP_set_default_properties(NULL, "?provider=other"), 1);
	r = tls_gcm_load(&why);
	assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
	assert_int_equal(OSSL_PROVIDER_unload(other), 1);
	return r;
}

static void what_openssl_is_to_prefer_stays(void **state)
{
	need();
	assert_int_equal(world.load_beside_other, -EPERM);
}

/* Whoever does not ask for it gets OpenSSL's own, which TLS 1.2 needs. */
static void nobody_else_gets_it(void **state)
{
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	_cleanup_(SSL_CTX_freep) SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	_cleanup_(SSL_CTX_freep) SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	_cleanup_(X509_freep) X509 *leaf = NULL;
	unsigned int made = contexts.made;

	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(c)), "default");
	leaf = certify(world.fixture->leaf_key,
		       &(struct recipe){.issuer = world.fixture->root,
					.issuer_key = world.fixture->root_key});
	assert_int_equal(SSL_CTX_use_certificate(server, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server, world.fixture->leaf_key), 1);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_CTX_set_max_proto_version(client, version);
		SSL_CTX_set_cipher_list(client, "ECDHE-ECDSA-AES128-GCM-SHA256");
		SSL_CTX_set_ciphersuites(client, "TLS_AES_128_GCM_SHA256");
		assert_int_equal(shake(client, server, NULL), 3);
	}
	assert_int_equal(contexts.made, made);
}

/* carry() - @n random bytes from one end to the other, in as many records as it takes. */
static void carry(SSL *from, SSL *to, size_t n)
{
	static uint8_t sent[50000], got[50000];
	size_t wrote = 0, have = 0, r;

	rand_fill(sent, n);
	for (int idle = 0; have < n && idle < 100; idle++) {
		if (wrote < n && SSL_write_ex(from, sent + wrote, n - wrote, &r) == 1) {
			wrote += r;
			idle = 0;
		}
		if (SSL_read_ex(to, got + have, n - have, &r) == 1) {
			have += r;
			idle = 0;
		}
	}
	assert_int_equal(have, n);
	assert_memory_equal(sent, got, n);
}

/* talk() - data both ways, and new keys in between. */
static void talk(SSL *a, SSL *b)
{
	static const size_t lengths[] = {1, 15, 16, 17, 1000, 16383, 16384, 16385, 50000};

	for (int round = 0; round < 4; round++) {
		if (round > 0)
			assert_int_equal(
				SSL_key_update(round % 2 ? a : b, SSL_KEY_UPDATE_REQUESTED), 1);
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			carry(a, b, lengths[i]);
			carry(b, a, lengths[i]);
		}
	}
	assert_int_equal(SSL_get_key_update_type(a), SSL_KEY_UPDATE_NONE);
	assert_int_equal(SSL_get_key_update_type(b), SSL_KEY_UPDATE_NONE);
}

static void speaks_tls_with_openssl(void **state)
{
	static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"};

	need();
	for (int i = 0; i < 8; i++) {
		_cleanup_(SSL_freep) SSL *client = SSL_new(world.clients[i % 2]->client_ctx);
		_cleanup_(SSL_freep) SSL *server = SSL_new(world.servers[i / 2 % 2]->server_ctx);
		const char *expected = SERVER;
		unsigned int made = contexts.made;

		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		assert_int_equal(SSL_set_ciphersuites(client, suites[i / 4]), 1);
		assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
		assert_int_equal(handshake(client, server), 3);
		assert_string_equal(SSL_get_cipher(server), suites[i / 4]);
		talk(client, server);
		assert_int_equal(contexts.made > made, i % 4 != 0);
	}
	assert_int_equal(contexts.left, 0);
}

/* between() - one record of @from's, with one bit changed, for @to. */
static void between(SSL *from, SSL *to, size_t bit)
{
	BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
	uint8_t record[200];
	size_t n;
	int len;

	SSL_set0_wbio(from, out);
	assert_int_equal(SSL_write_ex(from, "one hundred bytes of secret", 27, &n), 1);
	len = BIO_read(out, record, sizeof(record));
	assert_int_equal(len, 5 + 27 + 1 + TAG_LEN);
	record[5 + bit / 8] ^= (uint8_t)(1U << bit % 8);
	assert_int_equal(BIO_write(in, record, len), len);
	SSL_set0_rbio(to, in);
}

static void a_changed_record_gives_nothing(void **state)
{
	need();
	for (size_t bit = 0; bit < (27 + 1 + TAG_LEN) * 8; bit += 37) {
		_cleanup_(SSL_freep) SSL *client = SSL_new(world.clients[1]->client_ctx);
		_cleanup_(SSL_freep) SSL *server = SSL_new(world.servers[1]->server_ctx);
		const char *expected = SERVER;
		uint8_t got[100] = {0}, nothing[100] = {0};
		size_t n = 0;

		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
		assert_int_equal(handshake(client, server), 3);
		between(client, server, bit);
		assert_int_equal(SSL_read_ex(server, got, sizeof(got), &n), 0);
		assert_int_equal(SSL_get_error(server, 0), SSL_ERROR_SSL);
		assert_int_equal(n, 0);
		assert_memory_equal(got, nothing, sizeof(got));
		ERR_clear_error();
	}
}

static void is_loaded_or_says_why(void **state)
{
	assert_true(world.was_query_null);
	assert_true(world.load == 0 || world.load == -EOPNOTSUPP || world.load == -EPERM ||
		    world.load == -ENOENT);
	assert_int_equal(world.load == 0, tls_gcm_query() != NULL);
	assert_true(strlen(world.why) > 0);
}

static int world_make(void **state)
{
	void *made = NULL;

	world.was_query_null = tls_gcm_query() == NULL;
	(void)setup(&made);
	world.fixture = made;
	world.clients[0] = tls_identity_ref(world.fixture->client);
	world.servers[0] = tls_identity_ref(world.fixture->server);
	world.load_beside_other = load_beside_other();
	world.load = tls_gcm_load(&world.why);
	world.clients[1] = identity_of(world.fixture, CLIENT);
	world.servers[1] = identity_of(world.fixture, SERVER);
	return 0;
}

static int world_end(void **state)
{
	void *made = world.fixture;

	for (int i = 0; i < 2; i++) {
		(void)tls_identity_unref(world.clients[i]);
		(void)tls_identity_unref(world.servers[i]);
	}
	return teardown(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_loaded_or_says_why),
		cmocka_unit_test(what_openssl_is_to_prefer_stays),
		cmocka_unit_test(nobody_else_gets_it),
		cmocka_unit_test(speaks_tls_with_openssl),
		cmocka_unit_test(a_changed_record_gives_nothing),
	};

	return cmocka_run_group_tests(tests, world_make, world_end);
}
