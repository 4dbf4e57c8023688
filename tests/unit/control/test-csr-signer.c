/* SPDX-License-Identifier: Apache-2.0 */
/* csr_signer - a request is made, approved, waited for and taken away; what goes wrong is told. */
#include "userspace/control/csr_signer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/cleanup.h"
#include "tests/unit/source/fake-kube.h"
#include "tls/key.h"
#include "userspace/control/ca.h"

DEFINE_CLEANUP(X509_REQ *, X509_REQ_free);

#define ONE   "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n"
#define TWO   "-----BEGIN CERTIFICATE-----\ndHdv\n-----END CERTIFICATE-----\n"
#define ROOTS "-----BEGIN CERTIFICATE-----\ncm9vdA==\n-----END CERTIFICATE-----\n"
#define ID    "spiffe://cluster.local/ns/demo/sa/web"

struct fixture {
	struct fake_kube kube;
	struct csr_signer *signer;
	struct csr_request *request;
	int make_status, n_looks, looks_before, look_status, n_deleted;
	bool is_approved;
	const char *status; /* of the request, once it was looked at often enough */
	int n_answers, error;
	size_t n;
	char chain[512], message[256], expiration[32];
};

static void on_make(struct fixture *f, int fd, const char *body)
{
	json_t *o = json_loads(body, 0, NULL);
	const json_t *spec = json_object_get(o, "spec");

	assert_string_equal(json_string_value(json_object_get(spec, "signerName")),
			    "example.com/mesh");
	assert_string_equal(json_string_value(json_object_get(spec, "request")), "Y3Ny"); /* csr */
	(void)snprintf(f->expiration, sizeof(f->expiration), "%d",
		       (int)json_integer_value(json_object_get(spec, "expirationSeconds")));
	(void)json_object_set_new(json_object_get(o, "metadata"), "name", json_string("culvert-x"));
	if (f->make_status / 100 == 2) {
		char *text = json_dumps(o, 0);

		fake_answer(fd, f->make_status, text);
		free(text);
	} else {
		fake_answer(fd, f->make_status, "{\"message\":\"may not\"}");
	}
	json_decref(o);
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	if (streq(method, "POST")) {
		on_make(f, fd, body);
	} else if (streq(method, "PUT")) {
		assert_true(str_has_suffix(path, "/culvert-x/approval"));
		f->is_approved = strstr(body, "\"Approved\"") != NULL;
		fake_answer(fd, 200, "{}");
	} else if (streq(method, "DELETE")) {
		f->n_deleted++;
		fake_answer(fd, 200, "{}");
	} else {
		assert_true(f->is_approved);
		if (f->n_looks++ < f->looks_before)
			fake_answer(fd, f->look_status, "{}");
		else
			fake_answer(fd, 200, f->status);
	}
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct csr_signer_config config = {.signer = "example.com/mesh",
					   .roots_pem = ROOTS,
					   .look_us = 10000,
					   .patience_us = 500000};

	fake_kube_start(&f->kube, on_request, f);
	f->make_status = 201;
	f->look_status = 200;
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	assert_int_equal(csr_signer_new(&config, &f->signer), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)csr_signer_free(f->signer);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static void on_signed(void *arg, int error, const char *message, char **chain, size_t n)
{
	struct fixture *f = arg;

	f->n_answers++;
	f->error = error;
	f->n = n;
	(void)str_copy(f->message, sizeof(f->message), message);
	f->chain[0] = '\0';
	for (size_t i = 0; i < n; i++)
		(void)snprintf(f->chain + strlen(f->chain), sizeof(f->chain) - strlen(f->chain),
			       "%s|", chain[i]);
}

static void sign(struct fixture *f, int64_t ttl_s)
{
	const struct csr_wanted wanted = {
		.csr_pem = "csr", .ttl_s = ttl_s, .on_signed = on_signed, .arg = f};

	assert_int_equal(csr_signer_sign(f->signer, &wanted, &f->request), 0);
	assert_int_equal(f->n_answers, 0);
}

static void run(struct fixture *f)
{
	for (int i = 0; i < 300 && f->n_answers == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_answers, 1);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

static char *signed_status(const char *pem)
{
	char base64[1024];

	(void)EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)pem,
			      (int)strlen(pem));
	return str_format("{\"status\":{\"certificate\":\"%s\"}}", base64);
}

static void test_a_certificate_comes_with_its_chain_and_roots(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *status = signed_status(ONE TWO);

	f->status = status;
	f->looks_before = 3;
	sign(f, 60);
	run(f);
	assert_int_equal(f->error, 0);
	assert_int_equal(f->n, 3);
	assert_string_equal(f->chain, ONE "|" TWO "|" ROOTS "|");
	assert_string_equal(f->expiration, "600"); /* less is not taken */
	assert_int_equal(f->n_deleted, 1);
}

/* The API server has no time for a look, and then has. */
static void test_a_look_that_fails_is_no_end(void **state)
{
	static const int statuses[] = {429, 500, 503};
	struct fixture *f = *state;
	_cleanup_(freep) char *status = signed_status(ONE);

	f->status = status;
	f->looks_before = 2;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		f->look_status = statuses[i];
		f->n_answers = f->n_looks = 0;
		sign(f, 3600);
		run(f);
		assert_int_equal(f->error, 0);
	}
	/* but that it is not there any more is one */
	f->look_status = 404;
	f->n_answers = f->n_looks = 0;
	sign(f, 3600);
	run(f);
	assert_int_equal(f->error, -EREMOTEIO);
	assert_non_null(strstr(f->message, "is gone"));
	assert_int_equal(f->n_looks, 1);
}

static void test_a_signer_that_is_away_is_looked_for_less_and_less(void **state)
{
	struct fixture *f = *state;

	f->status = "{}";
	sign(f, 3600);
	run(f);
	assert_int_equal(f->error, -ETIMEDOUT);
	/* at 0, 10, 30, 70, 150 and 310 of 500 ms */
	assert_in_range(f->n_looks, 2, 6);
}

static void test_what_goes_wrong_is_told(void **state)
{
	static const struct {
		const char *status;
		int make_status, error;
	} table[] = {
		{"{\"status\":{\"conditions\":[{\"type\":\"Denied\",\"message\":\"no\"}]}}", 201,
		 -EACCES},
		{"{\"status\":{\"conditions\":[{\"type\":\"Failed\"}]}}", 201, -EACCES},
		{"{\"status\":{\"certificate\":\"bm9uZQ==\"}}", 201, -EBADMSG},
		{"{\"status\":{\"certificate\":\"%%%%\"}}", 201, -EBADMSG},
		{"{}", 201, -ETIMEDOUT}, /* no controller */
		{"", 403, -EREMOTEIO},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		f->status = table[i].status;
		f->make_status = table[i].make_status;
		f->n_answers = f->n_looks = f->n_deleted = 0;
		f->is_approved = false;
		sign(f, 3600);
		run(f);
		assert_int_equal(f->error, table[i].error);
		assert_true(*f->message);
		assert_int_equal(f->n, 0);
		assert_int_equal(f->n_deleted, table[i].make_status == 201);
	}
}

static void test_a_cancelled_one_is_taken_away_without_a_word(void **state)
{
	struct fixture *f = *state;

	f->status = "{}";
	sign(f, 3600);
	for (int i = 0; i < 300 && f->n_looks == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	f->request = csr_request_cancel(f->request);
	for (int i = 0; i < 300 && f->n_deleted == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_deleted, 1);
	assert_int_equal(f->n_answers, 0);
}

static void test_only_requests_for_exactly_the_identity_are_handed_on(void **state)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_REQ_freep) X509_REQ *req = X509_REQ_new();
	_cleanup_(freep) char *csr = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	char named[4096] = "";

	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, ID, &csr), 0);
	assert_true(ca_request_is_for(csr, ID));
	assert_false(ca_request_is_for(csr, ID "2"));
	assert_false(ca_request_is_for(csr, "spiffe://cluster.local/ns/demo/sa/we"));
	assert_false(ca_request_is_for("nonsense", ID));
	/* a name that other servers would believe */
	assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
					       (const unsigned char *)"system:admin", -1, -1, 0));
	assert_true(X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) > 0);
	assert_true(PEM_write_bio_X509_REQ(bio, req));
	assert_true(BIO_read(bio, named, sizeof(named) - 1) > 0);
	assert_false(ca_request_is_for(named, ID));
	BIO_free(bio);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_certificate_comes_with_its_chain_and_roots),
		TEST(test_a_look_that_fails_is_no_end),
		TEST(test_a_signer_that_is_away_is_looked_for_less_and_less),
		TEST(test_what_goes_wrong_is_told),
		TEST(test_a_cancelled_one_is_taken_away_without_a_word),
		TEST(test_only_requests_for_exactly_the_identity_are_handed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
