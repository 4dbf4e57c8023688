/* SPDX-License-Identifier: Apache-2.0 */
/* identity - two ends shake hands in memory; certificates that must not be accepted are not. Figure
 * wanted: wrong accepts = 0. */
#include "tls/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/tls/fixture.h"
#include "tls/key.h"

static void both_ends_know_each_other(void **state)
{
	struct fixture *f = *state;
	_cleanup_(SSL_freep) SSL *client = SSL_new(f->client->client_ctx);
	_cleanup_(SSL_freep) SSL *server = SSL_new(f->server->server_ctx);
	const char *expected[] = {"spiffe://cluster.local/ns/x/sa/other", SERVER};
	char id[SPIFFE_ID_SIZE];
	const unsigned char *alpn;
	unsigned int n;

	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_peer_identity(client, id, sizeof(id)), -ENOENT);
	assert_int_equal(tls_expect_identities(client, expected, 2), 0);
	assert_int_equal(handshake(client, server), 3);
	assert_int_equal(tls_peer_identity(client, id, sizeof(id)), 0);
	assert_string_equal(id, SERVER);
	assert_int_equal(tls_peer_identity(server, id, sizeof(id)), 0);
	assert_string_equal(id, CLIENT);
	assert_int_equal(tls_peer_identity(server, id, 8), -ENOBUFS);
	assert_int_equal(SSL_version(client), TLS1_3_VERSION);
	assert_string_equal(SSL_get_cipher(client), "TLS_AES_128_GCM_SHA256");
	SSL_get0_alpn_selected(server, &alpn, &n);
	assert_int_equal(n, 2);
	assert_memory_equal(alpn, "h2", 2);
}

/* A company's root may stay in its safe: what it hands out as root is what that one has signed. */
static void an_intermediate_is_trusted_as_a_root_is(void **state)
{
	struct fixture *f = *state, below = {.leaf_key = f->leaf_key};
	const struct recipe how = {
		.basic = "critical,CA:TRUE", .issuer = f->root, .issuer_key = f->root_key};
	const struct tls_identity *client, *server;

	assert_int_equal(tls_key_new(&below.root_key), 0);
	below.root = certify(below.root_key, &how);
	below.root_pem = pem_of(below.root);
	client = identity_of(&below, CLIENT);
	server = identity_of(&below, SERVER);
	assert_int_equal(shake(client->client_ctx, server->server_ctx, SERVER), 3);
	/* that it has the root's word is no reason to trust others of the root's */
	assert_int_equal(shake(client->client_ctx, f->server->server_ctx, SERVER) & 1, 0);
	(void)tls_identity_unref(client);
	(void)tls_identity_unref(server);
	EVP_PKEY_free(below.root_key);
	X509_free(below.root);
	free(below.root_pem);
}

static void tells_its_dates_and_serial(void **state)
{
	struct fixture *f = *state;
	time_t now = time(NULL);

	assert_true(f->server->not_before < now && f->server->not_before > now - 120);
	assert_true(f->server->not_after > now + DAY - 120);
	assert_true(strlen(f->server->serial) > 0);
	assert_string_equal(f->server->parts.namespace_, "b");
	assert_non_null(strstr(f->server->chain_pem, "BEGIN CERTIFICATE"));
	assert_string_equal(f->server->roots_pem, f->root_pem);
}

static void a_client_refuses_who_it_did_not_expect(void **state)
{
	struct fixture *f = *state;

	assert_false(shake(f->client->client_ctx, f->server->server_ctx,
			   "spiffe://cluster.local/ns/b/sa/servers") &
		     1);
	assert_false(shake(f->client->client_ctx, f->server->server_ctx,
			   "spiffe://cluster.local/ns/b/sa/serve") &
		     1);
	/* nobody expected: nobody accepted */
	assert_false(shake(f->client->client_ctx, f->server->server_ctx, NULL) & 1);
}

static void a_server_refuses_another_trust_domain(void **state)
{
	struct fixture *f = *state;
	_cleanup_(tls_identity_unrefp) const struct tls_identity *foreign =
		identity_of(f, "spiffe://elsewhere/ns/a/sa/client");

	assert_false(shake(foreign->client_ctx, f->server->server_ctx, SERVER) & 2);
}

static void a_server_demands_a_certificate(void **state)
{
	struct fixture *f = *state;
	SSL_CTX *bare = SSL_CTX_new(TLS_client_method());

	assert_false(shake(bare, f->server->server_ctx, NULL) & 2);
	SSL_CTX_free(bare);
}

static void speaks_tls_1_3_and_h2_only(void **state)
{
	static const unsigned char http1[] = "\x08http/1.1";
	struct fixture *f = *state;
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	assert_int_equal(shake(old, f->server->server_ctx, NULL), 0);
	SSL_CTX_set_max_proto_version(old, 0);
	SSL_CTX_set_alpn_protos(old, http1, sizeof(http1) - 1);
	assert_int_equal(shake(old, f->server->server_ctx, NULL), 0);
	SSL_CTX_free(old);
}

/* A context that presents @leaf (and @via) without any of our checks. */
static SSL_CTX *hostile_ctx(struct fixture *f, const SSL_METHOD *method, X509 *leaf, X509 *via)
{
	static const unsigned char h2[] = "\x02h2";
	SSL_CTX *ctx = SSL_CTX_new(method);

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_alpn_protos(ctx, h2, 3);
	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, f->leaf_key), 1);
	if (via)
		assert_int_equal(SSL_CTX_add1_chain_cert(ctx, via), 1);
	return ctx;
}

/* "spiffe://cluster.local/ns/b/sa/server\0.evil" as a URI: DER by hand. */
static const unsigned char nul_san[] =
	"\x30\x2d\x86\x2bspiffe://cluster.local/ns/b/sa/server\0.evil";

static void refuses_hostile_certificates(void **state)
{
	struct fixture *f = *state;
	_cleanup_(X509_freep) X509 *not_ca =
		certify(f->leaf_key, &(struct recipe){.san = "URI:" CLIENT,
						      .issuer = f->root,
						      .issuer_key = f->root_key});
	const struct {
		const char *what;
		struct recipe how;
		X509 *via;
	} cases[] = {
		{"no SAN", {.issuer = f->root, .issuer_key = f->root_key}, NULL},
		{"DNS only",
		 {.san = "DNS:server", .issuer = f->root, .issuer_key = f->root_key},
		 NULL},
		{"two URIs",
		 {.san = "URI:" SERVER ",URI:spiffe://cluster.local/ns/b/sa/x",
		  .issuer = f->root,
		  .issuer_key = f->root_key},
		 NULL},
		{"not SPIFFE",
		 {.san = "URI:https://x/", .issuer = f->root, .issuer_key = f->root_key},
		 NULL},
		{"NUL in the SAN",
		 {.raw_san = nul_san,
		  .raw_san_len = sizeof(nul_san) - 1,
		  .issuer = f->root,
		  .issuer_key = f->root_key},
		 NULL},
		{"expired",
		 {.san = "URI:" SERVER,
		  .from_s = -2 * DAY,
		  .to_s = -1,
		  .issuer = f->root,
		  .issuer_key = f->root_key},
		 NULL},
		{"not yet valid",
		 {.san = "URI:" SERVER,
		  .from_s = DAY,
		  .to_s = 2 * DAY,
		  .issuer = f->root,
		  .issuer_key = f->root_key},
		 NULL},
		{"self-signed", {.san = "URI:" SERVER}, NULL},
		{"issued by a leaf",
		 {.san = "URI:" SERVER, .issuer = not_ca, .issuer_key = f->leaf_key},
		 not_ca},
		{"wrong extended key usage",
		 {.san = "URI:" SERVER,
		  .eku = "codeSigning",
		  .issuer = f->root,
		  .issuer_key = f->root_key},
		 NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(X509_freep) X509 *leaf = certify(f->leaf_key, &cases[i].how);
		SSL_CTX *client = hostile_ctx(f, TLS_client_method(), leaf, cases[i].via);
		SSL_CTX *server = hostile_ctx(f, TLS_server_method(), leaf, cases[i].via);

		if (shake(client, f->server->server_ctx, NULL) & 2)
			fail_msg("the server took: %s", cases[i].what);
		if (shake(f->client->client_ctx, server, SERVER) & 1)
			fail_msg("the client took: %s", cases[i].what);
		SSL_CTX_free(client);
		SSL_CTX_free(server);
	}
}

static void usage_must_fit_the_side(void **state)
{
	struct fixture *f = *state;
	struct recipe how = {.san = "URI:" SERVER,
			     .eku = "clientAuth",
			     .issuer = f->root,
			     .issuer_key = f->root_key};
	_cleanup_(X509_freep) X509 *for_clients = certify(f->leaf_key, &how);
	_cleanup_(X509_freep) X509 *for_servers = NULL;
	SSL_CTX *server = hostile_ctx(f, TLS_server_method(), for_clients, NULL);
	SSL_CTX *client;

	how.eku = "serverAuth";
	for_servers = certify(f->leaf_key, &how);
	client = hostile_ctx(f, TLS_client_method(), for_servers, NULL);
	assert_false(shake(f->client->client_ctx, server, SERVER) & 1);
	assert_false(shake(client, f->server->server_ctx, NULL) & 2);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
}

static void refuses_a_costly_chain(void **state)
{
	struct fixture *f = *state;
	struct recipe how = {.san = "URI:" SERVER, .issuer = f->root, .issuer_key = f->root_key};
	_cleanup_(X509_freep) X509 *leaf = certify(f->leaf_key, &how);
	SSL_CTX *server = hostile_ctx(f, TLS_server_method(), leaf, NULL);

	assert_true(shake(f->client->client_ctx, server, SERVER) & 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(SSL_CTX_add1_chain_cert(server, f->root), 1);
	assert_false(shake(f->client->client_ctx, server, SERVER) & 1);
	SSL_CTX_free(server);
}

static void building_checks_what_it_is_given(void **state)
{
	struct fixture *f = *state;
	const struct tls_identity *id = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *other = NULL;
	const char *good[] = {f->server->chain_pem, f->root_pem};

	assert_int_equal(tls_key_new(&other), 0);
#define BUILD(spiffe, key, n, ...)                                                                 \
	tls_identity_new(spiffe, key, (const char *const[]){__VA_ARGS__}, n, &id)
	assert_int_equal(BUILD(SERVER, f->leaf_key, 1, good[0]), -EINVAL);
	assert_int_equal(BUILD("spiffe://x", f->leaf_key, 2, good[0], good[1]), -EINVAL);
	assert_int_equal(BUILD(CLIENT, f->leaf_key, 2, good[0], good[1]), -EBADMSG);
	assert_int_equal(BUILD(SERVER, other, 2, good[0], good[1]), -EBADMSG);
	assert_int_equal(BUILD(SERVER, f->leaf_key, 2, "", good[1]), -EBADMSG);
	assert_int_equal(BUILD(SERVER, f->leaf_key, 2, good[0], "x"), -EBADMSG);
	assert_int_equal(BUILD(SERVER, f->leaf_key, 2, good[0],
			       "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
			 -EBADMSG);
	/* the leaf is no root of its own */
	assert_int_equal(BUILD(SERVER, f->leaf_key, 2, good[0], f->client->chain_pem),
			 -EKEYREJECTED);
	assert_null(id);
}

static void expectations_are_checked(void **state)
{
	struct fixture *f = *state;
	_cleanup_(SSL_freep) SSL *ssl = SSL_new(f->client->client_ctx);
	const char *bad = "spiffe://td";
	const char *many[65];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = SERVER;
	assert_int_equal(tls_expect_identities(ssl, many, 0), -EINVAL);
	assert_int_equal(tls_expect_identities(ssl, many, 65), -EINVAL);
	assert_int_equal(tls_expect_identities(ssl, many, 64), 0);
	assert_int_equal(tls_expect_identities(ssl, &bad, 1), -EINVAL);
}

static void connections_outlive_their_identity(void **state)
{
	struct fixture *f = *state;
	const struct tls_identity *id = identity_of(f, "spiffe://cluster.local/ns/c/sa/short");
	_cleanup_(SSL_freep) SSL *server = SSL_new(id->server_ctx);
	_cleanup_(SSL_freep) SSL *client = SSL_new(f->client->client_ctx);
	const char *expected = "spiffe://cluster.local/ns/c/sa/short";

	assert_ptr_equal(tls_identity_ref(id), id);
	(void)tls_identity_unref(id);
	(void)tls_identity_unref(id);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	assert_int_equal(handshake(client, server), 3);
}

static void a_request_carries_a_critical_san(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *pem = NULL;
	STACK_OF(X509_EXTENSION) * exts;
	X509_REQ *req;
	BIO *bio;
	int i;

	assert_int_equal(tls_csr_new(f->leaf_key, "spiffe://td/x", &pem), -EINVAL);
	assert_null(pem);
	assert_int_equal(tls_csr_new(f->leaf_key, CLIENT, &pem), 0);
	bio = BIO_new_mem_buf(pem, -1);
	req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	assert_non_null(req);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(req)), 0);
	exts = X509_REQ_get_extensions(req);
	i = X509v3_get_ext_by_NID(exts, NID_subject_alt_name, -1);
	assert_int_equal(i, 0);
	assert_int_equal(X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(exts, i)), 1);
	assert_int_equal(X509_REQ_verify(req, f->leaf_key), 1);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(req);
	BIO_free(bio);
}

static void says_why_a_handshake_failed(void **state)
{
	struct fixture *f = *state;
	_cleanup_(SSL_freep) SSL *client = SSL_new(f->client->client_ctx);
	_cleanup_(SSL_freep) SSL *server = SSL_new(f->server->server_ctx);
	const char *expected = CLIENT;
	char text[256];

	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	assert_int_equal(handshake(client, server) & 1, 0);
	assert_string_equal(tls_error_text(client, text, sizeof(text)),
			    "certificate verify failed: identity " SERVER
			    " is not one that was expected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_know_each_other),
		cmocka_unit_test(an_intermediate_is_trusted_as_a_root_is),
		cmocka_unit_test(tells_its_dates_and_serial),
		cmocka_unit_test(a_client_refuses_who_it_did_not_expect),
		cmocka_unit_test(a_server_refuses_another_trust_domain),
		cmocka_unit_test(a_server_demands_a_certificate),
		cmocka_unit_test(speaks_tls_1_3_and_h2_only),
		cmocka_unit_test(refuses_hostile_certificates),
		cmocka_unit_test(usage_must_fit_the_side),
		cmocka_unit_test(refuses_a_costly_chain),
		cmocka_unit_test(building_checks_what_it_is_given),
		cmocka_unit_test(expectations_are_checked),
		cmocka_unit_test(connections_outlive_their_identity),
		cmocka_unit_test(a_request_carries_a_critical_san),
		cmocka_unit_test(says_why_a_handshake_failed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
