/* SPDX-License-Identifier: Apache-2.0 */
/* ca_client - with a CA that is not ours, as cert-manager's istio-csr: TLS to another host, a
 * bearer token, Istio's CreateCertificate. What it is asked is what Istio's own ztunnel asks. */
#include "xds/ca_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "http/grpc.h"
#include "net/tcp.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "userspace/control/ca.h"
#include "userspace/control/serving.h"
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
	struct loop *loop;
	char dir[64], root[96], token[96], address[64];
	struct ca *ca;
	struct serving *serving;
	struct grpc_server *server;
	struct grpc_method method;
	enum answer answer;
	char authorization[64], cluster[64], identity[256];
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

	assert_int_equal(ca_sign(f->ca, csr, f->identity, 3600, &chain), 0);
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
	const char *authorization = grpc_call_metadata(c, "authorization");
	const char *cluster = grpc_call_metadata(c, "clusterid");

	(void)str_copy(f->authorization, sizeof(f->authorization),
		       authorization ? authorization : "");
	(void)str_copy(f->cluster, sizeof(f->cluster), cluster ? cluster : "");
	grpc_call_set_ops(c, &server_ops, f);
}

static void server_start(struct fixture *f)
{
	struct grpc_server_config config = {.loop = f->loop,
					    .methods = &f->method,
					    .n_methods = 1,
					    .max_connections = 8,
					    .ssl_new = serving_ssl_new,
					    .arg = f->serving};
	struct sockaddr_in sa = {0};
	socklen_t len = sizeof(sa);
	struct cv_addr addr = {0};

	f->method = (struct grpc_method){
		.path = PATH, .max_message = 65536, .on_open = on_open, .arg = f};
	assert_int_equal(cv_addr_parse("127.0.0.1", &addr), 0);
	assert_int_equal(tcp_listen(&addr, 0, &config.listen_fd), 0);
	assert_int_equal(getsockname(config.listen_fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(f->address, sizeof(f->address), "localhost:%d", ntohs(sa.sin_port));
	assert_int_equal(grpc_server_new(&config, &f->server), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct dial_target target = {.cluster_id = "Kubernetes"};
	struct ca_material m = {0};
	char err[256];

	log_set_level(LOG_OFF);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->root, sizeof(f->root), "%s/root-cert.pem", f->dir);
	(void)snprintf(f->token, sizeof(f->token), "%s/token", f->dir);
	assert_int_equal(ca_files_load(f->dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &f->ca, err, sizeof(err)), 0);
	assert_int_equal(file_write_atomic(f->token, "abc\n", 4, 0600), 0);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(serving_new(f->loop, "cert-manager", "cluster.local", &f->serving), 0);
	assert_int_equal(serving_set_ca(f->serving, f->ca), 0);
	server_start(f);
	target.address = f->address;
	target.root_file = f->root;
	target.token_file = f->token;
	assert_int_equal(ca_client_new(f->loop, &target, &f->client), 0);
	assert_int_equal(tls_key_new(&f->key), 0);
	assert_int_equal(tls_csr_new(f->key, ID, &f->csr), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *command = str_format("rm -rf -- %s", f->dir);

	(void)ca_client_free(f->client);
	(void)grpc_server_free(f->server);
	(void)serving_free(f->serving);
	(void)ca_free(f->ca);
	(void)loop_free(f->loop);
	EVP_PKEY_free(f->key);
	free(f->csr);
	(void)tls_identity_unref(f->made);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): its own folder */
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
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_int_equal(f->n_answers, 1);
}

static void test_it_asks_as_istios_ztunnel_does(void **state)
{
	struct fixture *f = *state;

	sign(f);
	assert_int_equal(f->error, 0);
	assert_string_equal(f->authorization, "Bearer abc");
	assert_string_equal(f->cluster, "Kubernetes");
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
	assert_int_equal(file_write_atomic(f->token, "def\n", 4, 0600), 0);
	sign(f);
	assert_int_equal(f->error, 0);
	assert_string_equal(f->authorization, "Bearer def");
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
