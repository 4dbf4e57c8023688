/* SPDX-License-Identifier: Apache-2.0 */
/* ca_secret - the CA of all replicas: made once, taken by the others, followed, and renewed by the
 * leader with the same key before its root ends. */
#include "userspace/control/ca_secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "tests/unit/control/ca-dir.h"
#include "tests/unit/source/fake-kube.h"
#include "tls/identity.h"
#include "tls/key.h"

#define ID "spiffe://cluster.local/ns/demo/sa/web"

struct fixture {
	struct fake_kube kube;
	json_t *secret; /* as the API server has it, base64 */
	char dir[64], one[80], two[80];
	int n_posts, n_patches;
	struct ca_secret *follower;
	struct ca *ca;
};

/* stringData becomes data, as at the API server. */
static void take(struct fixture *f, const json_t *body)
{
	json_t *data = json_object_get(f->secret, "data"), *value;
	const char *key;

	json_object_foreach (json_object_get(body, "stringData"), key, value) {
		size_t n = json_string_length(value);
		char *text = malloc(n / 3 * 4 + 5);

		(void)EVP_EncodeBlock((unsigned char *)text,
				      (const unsigned char *)json_string_value(value), (int)n);
		(void)json_object_set_new(data, key, json_string(text));
		free(text);
	}
}

static void answer(struct fixture *f, int fd, const char *format)
{
	char *text = json_dumps(f->secret, JSON_COMPACT);
	char *whole = str_format(format, text);

	fake_answer(fd, 200, whole);
	free(whole);
	free(text);
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	bool is_there = json_object_size(json_object_get(f->secret, "data")) > 0;
	json_t *o = json_loads(body, 0, NULL);

	assert_true(str_has_prefix(path, "/api/v1/namespaces/istio-system/secrets"));
	if (strstr(path, "watch=1")) {
		json_decref(o);
		return false;
	}
	if (strchr(path, '?')) {
		answer(f, fd, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}");
	} else if (streq(method, "POST")) {
		f->n_posts++;
		if (!is_there)
			take(f, o);
		fake_answer(fd, is_there ? 409 : 201, "{}");
	} else if (streq(method, "PATCH")) {
		f->n_patches++;
		take(f, o);
		fake_answer(fd, 200, "{}");
	} else if (is_there) {
		answer(f, fd, "%s");
	} else {
		fake_answer(fd, 404, "{}");
	}
	json_decref(o);
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kube_start(&f->kube, on_request, f);
	f->secret = json_pack("{s:{s:s,s:s},s:{}}", "metadata", "name", "istio-ca-secret",
			      "resourceVersion", "1", "data");
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->one, sizeof(f->one), "%s/one", f->dir);
	(void)snprintf(f->two, sizeof(f->two), "%s/two", f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)ca_secret_free(f->follower);
	(void)ca_free(f->ca);
	fake_kube_stop(&f->kube);
	json_decref(f->secret);
	ca_dir_remove(f->dir);
	free(f);
	return 0;
}

static int fetch(struct fixture *f, const char *dir, const struct ca_root *root)
{
	const struct bootstrap b = {
		.loop = f->kube.loop, .kube = f->kube.client, .namespace_ = "istio-system"};

	return ca_secret_fetch(&b, dir, root);
}

static struct ca *load(const char *dir)
{
	struct ca_material m = {0};
	struct ca *ca = NULL;
	char err[512];

	assert_int_equal(ca_files_load(dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	return ca;
}

static const struct ca_root usual = {.trust_domain = "cluster.local"};

static void test_the_second_replica_takes_what_the_first_made(void **state)
{
	struct fixture *f = *state;
	char va[CA_VERSION_SIZE], vb[CA_VERSION_SIZE];
	struct ca *a, *b;

	assert_int_equal(fetch(f, f->one, &usual), 0);
	assert_int_equal(fetch(f, f->two, &usual), 0);
	assert_int_equal(f->n_posts, 1);
	a = load(f->one);
	b = load(f->two);
	assert_int_equal(ca_version(a, va), 0);
	assert_int_equal(ca_version(b, vb), 0);
	assert_string_equal(va, vb);
	ca_free(a);
	ca_free(b);
}

static void test_keys_and_lives_are_to_ones_taste(void **state)
{
	static const struct ca_root root = {
		.trust_domain = "cluster.local", .ttl_s = 3600, .rsa_bits = 2048};
	struct fixture *f = *state;
	time_t left;
	struct ca *ca;

	assert_int_equal(fetch(f, f->one, &root), 0);
	ca = load(f->one);
	assert_int_equal(EVP_PKEY_base_id(ca_material_of(ca)->key), EVP_PKEY_RSA);
	assert_int_equal(EVP_PKEY_bits(ca_material_of(ca)->key), 2048);
	left = ca_root_not_after(ca) - time(NULL);
	assert_true(left > 3500 && left <= 3600);
	ca_free(ca);
}

static const struct ca *ca_now(void *arg)
{
	return ((const struct fixture *)arg)->ca;
}

static void follow(struct fixture *f)
{
	const struct ca_secret_config config = {.loop = f->kube.loop,
						.kube = f->kube.client,
						.namespace_ = "istio-system",
						.dir = f->two,
						.root = usual,
						.check_us = 20000,
						.ca = ca_now,
						.arg = f};

	assert_int_equal(ca_secret_new(&config, &f->follower), 0);
}

/* It leads until it has changed the Secret; what is there then is fetched into f->two. */
static void lead_until_patched(struct fixture *f)
{
	ca_secret_lead(f->follower, true);
	for (int i = 0; i < 1000 && f->n_patches == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_patches, 1);
	ca_secret_lead(f->follower, false);
	assert_int_equal(fetch(f, f->two, &usual), 0);
}

static void test_a_change_of_the_secret_reaches_the_files(void **state)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(freep) char *text = NULL;
	struct fixture *f = *state;

	assert_int_equal(fetch(f, f->one, &usual), 0);
	assert_int_equal(mkdir_p(f->two, 0700), 0);
	follow(f);
	path = str_format("%s/ca-key.pem", f->two);
	for (int i = 0; i < 1000 && file_read(path, 10000, &text, NULL) < 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_non_null(text);
	ca_free(load(f->two));
}

/* An intermediate has been replaced by a root: its chain would be sent along for ever. */
static void test_a_chain_that_is_empty_now_leaves_no_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *chain = str_format("%s/cert-chain.pem", f->two);
	_cleanup_(freep) char *root = str_format("%s/root-cert.pem", f->two);
	json_t *data = json_object_get(f->secret, "data");

	assert_int_equal(fetch(f, f->one, &usual), 0);
	assert_int_equal(fetch(f, f->two, &usual), 0);
	assert_int_equal(access(chain, F_OK), 0);
	assert_int_equal(json_object_set_new(data, "cert-chain.pem", json_string("")), 0);
	assert_int_equal(json_object_del(data, "root-cert.pem"), 0);
	assert_int_equal(fetch(f, f->two, &usual), 0);
	assert_int_equal(access(chain, F_OK), -1);
	assert_int_equal(access(root, F_OK), 0);
	ca_free(load(f->two));
	/* as Secret cacerts is mounted */
	assert_int_equal(file_write_atomic(chain, "", 0, 0600), 0);
	ca_free(load(f->two));
	/* without a key it is no CA at all: nothing is changed */
	assert_int_equal(json_object_set_new(data, "ca-key.pem", json_string("")), 0);
	assert_int_equal(fetch(f, f->two, &usual), -EBADMSG);
	ca_free(load(f->two));
}

static void test_the_leader_renews_a_root_in_the_last_fifth_of_its_life(void **state)
{
	struct fixture *f = *state;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	/* 120 s of them are past, by the clocks that may differ: 10 of 130 are left */
	static const struct ca_root brief = {.trust_domain = "cluster.local", .ttl_s = 10};
	_cleanup_(freep) char *csr = NULL;
	const struct tls_identity *identity = NULL;
	struct ca_chain chain = {0};
	struct ca *next;

	assert_int_equal(fetch(f, f->one, &brief), 0);
	f->ca = load(f->one);
	follow(f);
	for (int i = 0; i < 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_patches, 0); /* another leads */
	lead_until_patched(f);
	next = load(f->two);
	/* who has only the old root trusts what the new one signs, and the other way round */
	assert_true(ca_is_trusted_by(next, f->ca));
	assert_true(ca_is_trusted_by(f->ca, next));
	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, ID, &csr), 0);
	assert_int_equal(ca_sign(next, csr, ID, 0, &chain), 0);
	assert_int_equal(chain.n, 2); /* itself, and the bundle */
	free(chain.pem[1]);
	assert_int_equal(ca_roots_pem(f->ca, &chain.pem[1]), 0); /* the old root alone */
	assert_int_equal(tls_identity_new(ID, key, (const char *const *)chain.pem, 2, &identity),
			 0);
	tls_identity_unref(identity);
	ca_chain_clear(&chain);
	ca_free(f->ca);
	f->ca = next;
	ca_secret_lead(f->follower, true);
	for (int i = 0; i < 20; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_patches, 1); /* young again */
}

/* PEM of one that has signed itself, until a day ago. */
static char *ended_root(void)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *cert = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char pem[4096] = "";

	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -9L * 86400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -86400L));
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_true(PEM_write_bio_X509(bio, cert));
	assert_true(BIO_read(bio, pem, sizeof(pem) - 1) > 0);
	BIO_free(bio);
	return strdup(pem);
}

static int roots_of(const struct fixture *f)
{
	return sk_X509_num(ca_material_of(f->ca)->roots);
}

static void test_the_leader_takes_off_roots_that_have_ended(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *ended = ended_root();
	_cleanup_(freep) char *roots = NULL;
	json_t *patch;

	assert_int_equal(fetch(f, f->one, &usual), 0);
	f->ca = load(f->one);
	assert_int_equal(ca_roots_pem(f->ca, &roots), 0);
	patch = json_pack("{s:{s:s++}}", "stringData", "root-cert.pem", roots, ended, roots);
	take(f, patch);
	json_decref(patch);
	assert_int_equal(fetch(f, f->two, &usual), 0);
	(void)ca_free(f->ca);
	f->ca = load(f->two);
	assert_int_equal(roots_of(f), 3);
	follow(f);
	lead_until_patched(f);
	(void)ca_free(f->ca);
	f->ca = load(f->two);
	assert_int_equal(roots_of(f), 2);
	assert_true(ca_root_not_after(f->ca) > time(NULL));
	ca_secret_lead(f->follower, true);
	for (int i = 0; i < 20; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_patches, 1); /* nothing is left to do */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_second_replica_takes_what_the_first_made),
		TEST(test_keys_and_lives_are_to_ones_taste),
		TEST(test_a_change_of_the_secret_reaches_the_files),
		TEST(test_a_chain_that_is_empty_now_leaves_no_file),
		TEST(test_the_leader_renews_a_root_in_the_last_fifth_of_its_life),
		TEST(test_the_leader_takes_off_roots_that_have_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
