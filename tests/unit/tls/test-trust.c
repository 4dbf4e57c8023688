/* SPDX-License-Identifier: Apache-2.0 */
/* trust - who is on a revocation list is refused, also where the connection is open already; other
 * names of the trust domain; and a change of roots, which revokes nobody. */
#include "tls/trust.h"

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
	_cleanup_(tls_trust_freep) struct tls_trust *trust = NULL;
	const char *expected = SERVER, *why = NULL;
	size_t n = 7;

	assert_int_equal(tls_trust_new(&trust), 0);
	assert_int_equal(tls_trust_use(trust, f->server), 0);
	assert_int_equal(tls_trust_load_crl(trust, forged, strlen(forged), &n), 0);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	assert_int_equal(handshake(client, server), 3);
	assert_int_equal(tls_trust_load_crl(trust, none, strlen(none), &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(tls_peer_refusal(server, &why), 0);
	/* a connection that is open learns of it */
	assert_int_equal(tls_trust_load_crl(trust, real, strlen(real), &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(tls_peer_refusal(server, &why), -EKEYREVOKED);
	assert_int_equal(tls_peer_refusal(client, &why), 0);
	assert_false(tls_identity_is_revoked(f->server));
	assert_int_equal(tls_trust_use(trust, f->client), 0);
	assert_true(tls_identity_is_revoked(f->client));
	assert_int_equal(shake(f->client->client_ctx, f->server->server_ctx, SERVER) & 2, 0);
	assert_int_equal(shake(f->server->client_ctx, f->server->server_ctx, SERVER), 3);
	/* what cannot be read changes nothing */
	assert_int_equal(tls_trust_load_crl(trust, "x", 1, &n), -EBADMSG);
	assert_int_equal(tls_trust_load_crl(trust, real, strlen(real) / 2, &n), -EBADMSG);
	assert_int_equal(tls_peer_refusal(server, &why), -EKEYREVOKED);
}

/* An identity of the fixture's root under another name of the trust domain. */
static const struct tls_identity *identity_elsewhere(struct fixture *f, const char *spiffe)
{
	struct recipe how = {.issuer = f->root, .issuer_key = f->root_key};
	const struct tls_identity *id = NULL;
	_cleanup_(X509_freep) X509 *leaf = NULL;
	_cleanup_(freep) char *pem = NULL, *san = NULL;
	const char *chain[2] = {NULL, f->root_pem};

	assert_true(asprintf(&san, "critical,URI:%s", spiffe) > 0);
	how.san = san;
	leaf = certify(f->leaf_key, &how);
	pem = pem_of(leaf);
	chain[0] = pem;
	assert_int_equal(tls_identity_new(spiffe, f->leaf_key, chain, 2, &id), 0);
	return id;
}

static void other_names_of_the_trust_domain_are_let_in_while_they_are_listed(void **state)
{
	static const char *const names[] = {"old.example", "older.example"};
	struct fixture *f = *state;
	_cleanup_(tls_trust_freep) struct tls_trust *t = NULL;
	const struct tls_identity *old =
		identity_elsewhere(f, "spiffe://old.example/ns/b/sa/server");
	const struct tls_identity *other = identity_elsewhere(f, "spiffe://old.example/ns/b/sa/x");
	_cleanup_(SSL_freep) SSL *client = SSL_new(old->client_ctx);
	_cleanup_(SSL_freep) SSL *server = SSL_new(f->server->server_ctx);
	const char *expected = SERVER, *why = NULL;

	assert_int_equal(tls_trust_new(&t), 0);
	assert_int_equal(tls_trust_use(t, f->server), 0);
	assert_int_equal(tls_trust_use(t, f->client), 0);
	/* as a client, as a server: not before it is listed */
	assert_int_equal(shake(old->client_ctx, f->server->server_ctx, SERVER) & 2, 0);
	assert_int_equal(shake(f->client->client_ctx, old->server_ctx, SERVER) & 1, 0);
	assert_int_equal(tls_trust_set_domains(t, names, 2), 0);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	assert_int_equal(handshake(client, server), 3);
	assert_int_equal(shake(f->client->client_ctx, old->server_ctx, SERVER) & 1, 1);
	/* the account is still compared */
	assert_int_equal(shake(f->client->client_ctx, other->server_ctx, SERVER) & 1, 0);
	assert_int_equal(tls_peer_refusal(server, &why), 0);
	assert_int_equal(tls_trust_set_domains(t, names + 1, 1), 0);
	assert_int_equal(tls_peer_refusal(server, &why), -EKEYREJECTED);
	assert_non_null(strstr(why, "trust domain"));
	assert_int_equal(shake(old->client_ctx, f->server->server_ctx, SERVER) & 2, 0);
	(void)tls_identity_unref(old);
	(void)tls_identity_unref(other);
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
		cmocka_unit_test_setup_teardown(
			other_names_of_the_trust_domain_are_let_in_while_they_are_listed, setup,
			teardown),
		cmocka_unit_test_setup_teardown(a_new_root_beside_the_old_one_cuts_nobody, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
