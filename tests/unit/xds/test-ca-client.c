/* SPDX-License-Identifier: Apache-2.0 */
/* ca_client - with a CA that is not ours, as cert-manager's istio-csr: TLS to another host, a
 * bearer token, Istio's CreateCertificate. What it is asked is what Istio's own ztunnel asks. */
#include "xds/ca_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "http/grpc.h"
#include "tests/unit/xds/remote.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "userspace/control/ca.h"
#include "userspace/lib/xds/ca.pb-c.h"
#include "xds/message.h"

#define ID   "spiffe://cluster.local/ns/demo/sa/web"
#define PATH "/istio.v1.auth.IstioCertificateService/CreateCertificate"

enum answer {
	ANSWER_GOOD,
	ANSWER_TWO_ROOTS,
	ANSWER_NO_ROOTS,
	ANSWER_NOTHING,
	ANSWER_REFUSED,
	ANSWER_UNAVAILABLE,
};

/* istio-csr's side of it, and ours. */
struct fixture {
	struct remote remote;
	enum answer answer;
	char identity[256];
	int64_t validity_s;
	bool is_csr_exact;
	struct ca_client *client;
	EVP_PKEY *key;
	char *csr;
	int n_answers, error;
	size_t n;
	const struct tls_identity *made;
};

static void answer(struct fixture *f, struct grpc_call *c, const char *csr)
{
	Istio__V1__Auth__IstioCertificateResponse m =
		ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	struct ca_chain chain = {0};
	char *both;

	assert_int_equal(ca_sign(f->remote.ca, csr, f->identity, 3600, &chain), 0);
	if (f->answer == ANSWER_TWO_ROOTS) {
		both = str_format("%s%s", chain.pem[1], chain.pem[1]);
		free(chain.pem[1]);
		chain.pem[1] = both;
	}
	m.cert_chain = chain.pem;
	m.n_cert_chain = f->answer == ANSWER_NO_ROOTS  ? 1
			 : f->answer == ANSWER_NOTHING ? 0
						       : chain.n;
	assert_int_equal(message_send(c, &m.base), 0);
	ca_chain_clear(&chain);
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void request_read(struct fixture *f, const Istio__V1__Auth__IstioCertificateRequest *req)
{
	const Google__Protobuf__StructField *field;

	assert_int_equal(req->metadata->n_fields, 1);
	field = req->metadata->fields[0];
	assert_string_equal(field->key, "ImpersonatedIdentity");
	(void)str_copy(f->identity, sizeof(f->identity), field->value->string_value);
	f->validity_s = req->validity_duration;
	f->is_csr_exact = ca_request_is_for(req->csr, f->identity);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	Istio__V1__Auth__IstioCertificateRequest *req =
		istio__v1__auth__istio_certificate_request__unpack(NULL, len, data);
	struct fixture *f = arg;

	assert_non_null(req);
	request_read(f, req);
	if (f->answer == ANSWER_REFUSED)
		grpc_call_finish(c, GRPC_UNAUTHENTICATED, "request authenticate failure");
	else if (f->answer == ANSWER_UNAVAILABLE)
		grpc_call_finish(c, GRPC_UNAVAILABLE, "the issuer is not ready");
	else
		answer(f, c, req->csr);
	istio__v1__auth__istio_certificate_request__free_unpacked(req, NULL);
}

static void on_server_end(struct grpc_call *c, void *arg, int status, const char *message)
{
}

static const struct grpc_call_ops server_ops = {.on_message = on_message, .on_end = on_server_end};

static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct fixture *f = arg;

	remote_learn(&f->remote, c);
	grpc_call_set_ops(c, &server_ops, f);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct grpc_method method = {
		.path = PATH, .max_message = 65536, .on_open = on_open, .arg = f};

	log_set_level(LOG_OFF);
	remote_start(&f->remote, "cert-manager", &method);
	assert_int_equal(ca_client_new(f->remote.loop, &f->remote.target, &f->client), 0);
	assert_int_equal(tls_key_new(&f->key), 0);
	assert_int_equal(tls_csr_new(f->key, ID, &f->csr), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)ca_client_free(f->client);
	remote_stop(&f->remote);
	EVP_PKEY_free(f->key);
	free(f->csr);
	(void)tls_identity_unref(f->made);
	free(f);
	return 0;
}

static void on_signed(void *arg, int error, const char *message, const char *const *chain, size_t n)
{
	struct fixture *f = arg;

	f->n_answers++;
	f->error = error;
	f->n = n;
	if (error == 0)
		assert_int_equal(tls_identity_new(ID, f->key, chain, n, &f->made), 0);
}

static void sign(struct fixture *f)
{
	f->n_answers = 0;
	assert_int_equal(ca_client_sign(f->client, ID, f->csr, on_signed, f), 0);
	for (int i = 0; i < 2000 && f->n_answers == 0; i++)
		assert_true(loop_run_once(f->remote.loop, 10) >= 0);
	assert_int_equal(f->n_answers, 1);
}

static void test_it_asks_as_istios_ztunnel_does(void **state)
{
	struct fixture *f = *state;

	sign(f);
	assert_int_equal(f->error, 0);
	assert_string_equal(f->remote.authorization, "Bearer abc");
	assert_string_equal(f->remote.cluster, "Kubernetes");
	assert_string_equal(f->identity, ID);
	assert_true(f->validity_s > 0);
	/* some CAs demand a critical SAN where the subject is empty */
	assert_true(f->is_csr_exact);
	assert_int_equal(f->n, 2);
}

static void test_the_last_element_may_hold_several_roots(void **state)
{
	struct fixture *f = *state;

	f->answer = ANSWER_TWO_ROOTS;
	sign(f);
	assert_int_equal(f->error, 0);
}

static void test_an_answer_without_roots_is_none(void **state)
{
	struct fixture *f = *state;

	f->answer = ANSWER_NO_ROOTS;
	sign(f);
	assert_int_equal(f->error, -EBADMSG);
	f->answer = ANSWER_NOTHING;
	sign(f);
	assert_int_equal(f->error, -EBADMSG);
}

static void test_a_refusal_is_told_and_the_next_one_is_asked_anew(void **state)
{
	struct fixture *f = *state;

	f->answer = ANSWER_REFUSED;
	sign(f);
	assert_int_equal(f->error, -EACCES);
	f->answer = ANSWER_UNAVAILABLE;
	sign(f);
	assert_true(f->error < 0);
	f->answer = ANSWER_GOOD;
	assert_int_equal(file_write_atomic(f->remote.token, "def\n", 4, 0600), 0);
	sign(f);
	assert_int_equal(f->error, 0);
	assert_string_equal(f->remote.authorization, "Bearer def");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_asks_as_istios_ztunnel_does),
		TEST(test_the_last_element_may_hold_several_roots),
		TEST(test_an_answer_without_roots_is_none),
		TEST(test_a_refusal_is_told_and_the_next_one_is_asked_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
