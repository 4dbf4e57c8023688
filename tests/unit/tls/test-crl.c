/* SPDX-License-Identifier: Apache-2.0 */
/* crl - who is on a revocation list is refused, also where the connection is open already; and a
 * change of roots, which revokes nobody. */
#include "tls/crl.h"

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
#include "tls/identity.h"

static void who_is_on_a_revocation_list_is_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_(SSL_freep) SSL *client = SSL_new(f->client->client_ctx);
	_cleanup_(SSL_freep) SSL *server = SSL_new(f->server->server_ctx);
	_cleanup_(freep) char *forged = crl_pem(f->root, f->leaf_key, f->client);
	_cleanup_(freep) char *none = crl_pem(f->root, f->root_key, NULL);
	_cleanup_(freep) char *real = crl_pem(f->root, f->root_key, f->client);
	_cleanup_(tls_crl_freep) struct tls_crl *crl = NULL;
	const char *expected = SERVER;
	size_t n = 7;

	assert_int_equal(tls_crl_new(&crl), 0);
	assert_int_equal(tls_crl_use(crl, f->server), 0);
	assert_int_equal(tls_crl_load(crl, forged, strlen(forged), &n), 0);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	assert_int_equal(handshake(client, server), 3);
	assert_int_equal(tls_crl_load(crl, none, strlen(none), &n), 0);
	assert_int_equal(n, 0);
	assert_false(tls_crl_is_peer_revoked(server));
	/* a connection that is open learns of it */
	assert_int_equal(tls_crl_load(crl, real, strlen(real), &n), 0);
	assert_int_equal(n, 1);
	assert_true(tls_crl_is_peer_revoked(server));
	assert_false(tls_crl_is_peer_revoked(client));
	assert_int_equal(shake(f->client->client_ctx, f->server->server_ctx, SERVER) & 2, 0);
	assert_int_equal(shake(f->server->client_ctx, f->server->server_ctx, SERVER), 3);
	/* what cannot be read changes nothing */
	assert_int_equal(tls_crl_load(crl, "x", 1, &n), -EBADMSG);
	assert_int_equal(tls_crl_load(crl, real, strlen(real) / 2, &n), -EBADMSG);
	assert_true(tls_crl_is_peer_revoked(server));
}

/* Old and new root trusted together: certificates of either root get on with each other. */
static void a_new_root_beside_the_old_one_cuts_nobody(void **state)
{
	struct fixture *f = *state;
	_cleanup_(X509_freep) X509 *leaf = NULL, *root = NULL;
	_cleanup_(freep) char *pem = NULL, *root_pem = NULL, *bundle = NULL;
	const struct tls_identity *before = NULL, *after = NULL;
	struct recipe how = {.san = "critical,URI:" CLIENT};
	EVP_PKEY *key = NULL;
	const char *chain[2];

	assert_int_equal(tls_key_new(&key), 0);
	root = certify(key, &(struct recipe){.basic = "critical,CA:TRUE"});
	root_pem = pem_of(root);
	assert_true(asprintf(&bundle, "%s%s", f->root_pem, root_pem) > 0);
	chain[1] = bundle;
	how.issuer = root;
	how.issuer_key = key;
	leaf = certify(f->leaf_key, &how);
	pem = pem_of(leaf);
	chain[0] = pem;
	assert_int_equal(tls_identity_new(CLIENT, f->leaf_key, chain, 2, &after), 0);
	chain[0] = f->server->chain_pem;
	assert_int_equal(tls_identity_new(SERVER, f->leaf_key, chain, 2, &before), 0);
	assert_int_equal(shake(after->client_ctx, before->server_ctx, SERVER), 3);
	assert_int_equal(shake(before->client_ctx, after->server_ctx, CLIENT), 3);
	/* who has not heard of the new root yet does not take it */
	assert_int_equal(shake(after->client_ctx, f->server->server_ctx, SERVER) & 2, 0);
	(void)tls_identity_unref(before);
	(void)tls_identity_unref(after);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_is_on_a_revocation_list_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_new_root_beside_the_old_one_cuts_nobody, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
