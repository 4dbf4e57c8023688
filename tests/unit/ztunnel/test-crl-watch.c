/* SPDX-License-Identifier: Apache-2.0 */
/* crl_watch - a file that is written, replaced, broken and removed while it is followed. */
#include "ztunnel/crl_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "tests/unit/tls/fixture.h"
#include "tls/trust.h"

#define TURNS 300

struct seen {
	struct loop *loop;
	char folder[32];
	char path[64], other[64];
	unsigned int changes;
};

static void on_change(void *arg)
{
	((struct seen *)arg)->changes++;
}

static void put(struct seen *s, const char *text)
{
	FILE *f = fopen(s->other, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(s->other, s->path), 0);
}

static bool is_revoked(struct fixture *f, struct tls_trust *trust)
{
	X509 *leaf = SSL_CTX_get0_certificate(f->client->server_ctx);
	STACK_OF(X509) *chain = sk_X509_new_null();
	bool ret;

	(void)sk_X509_push(chain, leaf);
	(void)sk_X509_push(chain, f->root);
	ret = tls_trust_has_revoked(trust, chain);
	sk_X509_free(chain);
	return ret;
}

static void turn(struct seen *s, unsigned int want)
{
	for (int i = 0; i < TURNS && s->changes < want; i++)
		(void)loop_run_once(s->loop, 10);
	assert_int_equal(s->changes, want);
}

static void follows_the_file_and_forgets_nobody(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *none = crl_pem(f->root, f->root_key, NULL);
	_cleanup_(freep) char *real = crl_pem(f->root, f->root_key, f->client);
	_cleanup_(tls_trust_freep) struct tls_trust *trust = NULL;
	struct seen s = {.folder = "/tmp/culvert-crl-XXXXXX"};
	struct crl_watch_config config = {.path = s.path, .on_change = on_change, .arg = &s};
	struct crl_watch *w = NULL;

	assert_non_null(mkdtemp(s.folder));
	(void)snprintf(s.path, sizeof(s.path), "%s/crl.pem", s.folder);
	(void)snprintf(s.other, sizeof(s.other), "%s/new", s.folder);
	assert_int_equal(loop_new(&s.loop), 0);
	assert_int_equal(tls_trust_new(&trust), 0);
	config.loop = s.loop;
	config.trust = trust;
	assert_int_equal(crl_watch_new(&config, &w), 0);
	assert_false(is_revoked(f, trust));
	put(&s, real);
	turn(&s, 1);
	assert_true(is_revoked(f, trust));
	put(&s, "-----BEGIN X509 CRL-----\nbroken\n-----END X509 CRL-----\n");
	for (int i = 0; i < 10; i++)
		(void)loop_run_once(s.loop, 10);
	assert_int_equal(unlink(s.path), 0);
	for (int i = 0; i < 10; i++)
		(void)loop_run_once(s.loop, 10);
	assert_int_equal(s.changes, 1);
	assert_true(is_revoked(f, trust));
	put(&s, none);
	turn(&s, 2);
	assert_false(is_revoked(f, trust));
	crl_watch_free(w);
	assert_int_equal(unlink(s.path), 0);
	assert_int_equal(rmdir(s.folder), 0);
	loop_free(s.loop);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
	struct crl_watch_config config = {.path = "/nonexistent/crl.pem"};
	struct crl_watch *w = NULL;

	assert_int_equal(loop_new(&config.loop), 0);
	assert_int_equal(crl_watch_new(&config, &w), -ENOENT);
	assert_null(w);
	loop_free(config.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(follows_the_file_and_forgets_nobody, setup,
						teardown),
		cmocka_unit_test(a_folder_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
