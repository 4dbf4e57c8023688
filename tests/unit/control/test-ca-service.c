/* SPDX-License-Identifier: Apache-2.0 */
/* ca_service and ca_client - over a real UNIX socket: signed, refused, waited for, given up. */
#include "userspace/control/ca_service.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "net/unix.h"
#include "tests/unit/control/ca-dir.h"
#include "tests/unit/source/fake-api.h"
#include "tests/unit/turn.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "userspace/lib/xds/ca.pb-c.h"
#include "xds/ca_client.h"
#include "xds/message.h"

#define ID          "spiffe://cluster.local/ns/demo/sa/web"
#define CREATE_PATH "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define CONNECTIONS 10

struct fixture {
	struct loop *loop;
	char dir[64], path[96];
	struct ca *ca;
	struct ca_service *service;
	struct grpc_server *grpc;
	struct grpc_method method, inner;
	struct caller caller; /* of the calls that come; "" on the node's own socket */
	bool must_not_ask;    /* for others */
	struct ca_client *client;
	EVP_PKEY *key;
	char *csr;
	bool is_known;
	size_t n_answers, n_chain;
	int error;
	const struct tls_identity *identity;
	bool must_free;
	struct ca_settings settings;
	struct csr_signer *signer; /* somebody else's; NULL: none */
	size_t n_asked;            /* of that one */
};

static bool is_known(void *arg, const struct caller *caller, const char *spiffe)
{
	struct fixture *f = arg;

	return f->is_known && streq(spiffe, ID);
}

static bool may_ask(void *arg, const struct caller *caller)
{
	return !((struct fixture *)arg)->must_not_ask;
}

/* Stands for the gate. */
static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct fixture *f = arg;
	struct grpc_peer with = *peer;

	with.caller = *f->caller.account ? &f->caller : NULL;
	f->inner.on_open(c, &with, f->inner.arg);
}

static void on_answer(void *arg, int error, const char *message, const char *const *chain, size_t n)
{
	struct fixture *f = arg;

	f->n_answers++;
	f->error = error;
	f->n_chain = n;
	assert_true((error == 0) == (n >= 2));
	if (error == 0 && !f->identity)
		assert_int_equal(tls_identity_new(ID, f->key, chain, n, &f->identity), 0);
	if (f->must_free)
		f->client = ca_client_free(f->client);
}

static void server_start(struct fixture *f)
{
	struct ca_service_config service = {
		.loop = f->loop,
		.ca = f->ca,
		.settings = f->settings,
		.signer = f->signer,
		.is_known = is_known,
		.may_ask = may_ask,
		.trust_domain = "cluster.local",
		.arg = f,
	};
	struct grpc_server_config config = {.loop = f->loop,
					    .methods = &f->method,
					    .n_methods = 1,
					    .max_connections = CONNECTIONS};

	assert_int_equal(ca_service_new(&service, &f->service), 0);
	f->inner = f->method = ca_service_method(f->service);
	f->method.on_open = on_open;
	f->method.arg = f;
	assert_int_equal(unix_stream_listen(f->path, 0600, &config.listen_fd), 0);
	assert_int_equal(grpc_server_new(&config, &f->grpc), 0);
}

static void server_stop(struct fixture *f)
{
	f->grpc = grpc_server_free(f->grpc);
	f->service = ca_service_free(f->service);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	f->ca = ca_dir_make(f->dir);
	(void)snprintf(f->path, sizeof(f->path), "%s/xds.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(tls_key_new(&f->key), 0);
	assert_int_equal(tls_csr_new(f->key, ID, &f->csr), 0);
	server_start(f);
	assert_int_equal(ca_client_new(f->loop, &(struct dial_target){.path = f->path}, &f->client),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"ca-cert.pem", "ca-key.pem", "root-cert.pem",
					    "cert-chain.pem", "xds.sock"};
	struct fixture *f = *state;

	(void)ca_client_free(f->client);
	server_stop(f);
	(void)tls_identity_unref(f->identity);
	(void)ca_free(f->ca);
	(void)loop_free(f->loop);
	EVP_PKEY_free(f->key);
	free(f->csr);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *path = str_format("%s/%s", f->dir, names[i]);

		(void)unlink(path);
	}
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void run_until_answers(struct fixture *f, size_t n)
{
	turn_until(f->loop, 10000, f->n_answers >= n);
	assert_int_equal(f->n_answers, n);
}

static void run_a_while(struct fixture *f)
{
	for (int i = 0; i < 40; i++)
		(void)loop_run_once(f->loop, 1);
}

static void ask(struct fixture *f)
{
	assert_int_equal(ca_client_sign(f->client, ID, f->csr, on_answer, f), 0);
}

static void gets_a_certificate(void **state)
{
	struct fixture *f = *state;

	f->is_known = true;
	ask(f);
	run_until_answers(f, 1);
	assert_int_equal(f->error, 0);
	assert_string_equal(f->identity->id, ID);
}

static void is_answered_once_the_pod_is_known(struct fixture *f)
{
	ask(f);
	run_a_while(f);
	assert_int_equal(f->n_answers, 0);
	f->is_known = true;
	ca_service_retry(f->service);
	run_until_answers(f, 1);
	assert_int_equal(f->error, 0);
}

static void waits_for_a_pod_that_is_about_to_appear(void **state)
{
	struct fixture *f = *state;

	is_answered_once_the_pod_is_known(f);
}

static void refuses_an_identity_without_a_pod(void **state)
{
	struct fixture *f = *state;
	struct ca_service_counts n;

	ask(f);
	run_until_answers(f, 1);
	assert_int_equal(f->error, -EACCES);
	n = ca_service_counts(f->service);
	assert_int_equal(n.asked, 1);
	assert_int_equal(n.granted, 0);
	assert_int_equal(n.strangers, 1);
	assert_int_equal(n.malformed + n.failed, 0);
}

static void refuses_a_bad_request(void **state)
{
	struct fixture *f = *state;
	struct ca_service_counts n;

	f->is_known = true;
	assert_int_equal(ca_client_sign(f->client, "spiffe://x", f->csr, on_answer, f), -EINVAL);
	assert_int_equal(ca_client_sign(f->client, ID, "garbage", on_answer, f), 0);
	run_until_answers(f, 1);
	assert_int_equal(f->error, -EREMOTEIO);
	n = ca_service_counts(f->service);
	assert_int_equal(n.malformed, 1);
	assert_int_equal(n.granted + n.strangers + n.failed, 0);
}

static void reports_an_absent_control_plane_from_the_loop(void **state)
{
	struct fixture *f = *state;

	server_stop(f);
	ask(f);
	assert_int_equal(f->n_answers, 0);
	run_until_answers(f, 1);
	assert_int_equal(f->error, -ECONNREFUSED);
	/* and finds it again */
	server_start(f);
	f->is_known = true;
	ask(f);
	run_until_answers(f, 2);
	assert_int_equal(f->error, 0);
}

static void open_requests_fail_when_the_control_plane_dies(void **state)
{
	struct fixture *f = *state;

	ask(f);
	run_a_while(f);
	server_stop(f);
	run_until_answers(f, 1);
	assert_int_equal(f->error, -ECONNRESET);
	server_start(f);
	f->is_known = true;
	ask(f);
	run_until_answers(f, 2);
	assert_int_equal(f->error, 0);
}

static void forgotten_requests_stay_silent(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {0};

	ask(f);
	assert_int_equal(ca_client_sign(f->client, ID, f->csr, on_answer, &other), 0);
	run_a_while(f);
	ca_client_cancel(f->client, &other);
	f->is_known = true;
	ca_service_retry(f->service);
	run_until_answers(f, 1);
	run_a_while(f);
	assert_int_equal(other.n_answers, 0);
	ask(f);
	f->client = ca_client_free(f->client);
	run_a_while(f);
	assert_int_equal(f->n_answers, 1);
}

static void may_be_freed_in_its_answer(void **state)
{
	struct fixture *f = *state;

	f->is_known = true;
	f->must_free = true;
	ask(f);
	ask(f);
	run_until_answers(f, 1);
	assert_null(f->client);
}

static void bounds_its_open_requests(void **state)
{
	struct fixture *f = *state;
	int r = 0;

	for (int i = 0; r == 0 && i < 1000; i++)
		r = ca_client_sign(f->client, ID, f->csr, on_answer, f);
	assert_int_equal(r, -ENOBUFS);
}

static void on_refused(struct grpc_call *c, void *arg, int status, const char *message)
{
}

/* Each has as many as a connection takes. */
static void calls_without_a_request_keep_nobody_out(void **state)
{
	static const struct grpc_call_ops ops = {.on_end = on_refused};
	const struct grpc_call_config config = {
		.path = CREATE_PATH, .max_message = 1024, .ops = &ops};
	struct fixture *f = *state;
	struct grpc_client *silent[CONNECTIONS - 1];
	struct grpc_call *call;

	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		int fds[2], r = 0;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		assert_int_equal(grpc_server_accept(f->grpc, fds[0]), 0);
		assert_int_equal(grpc_client_new(f->loop, fds[1], NULL, NULL, &silent[i]), 0);
		for (size_t n = 0; n < 100 && r == 0; n++)
			r = grpc_client_call(silent[i], &config, &call);
		run_a_while(f);
	}
	f->is_known = true;
	ask(f);
	run_until_answers(f, 1);
	assert_int_equal(f->error, 0);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		(void)grpc_client_free(silent[i]);
}

static void one_node_does_not_take_all_the_places(void **state)
{
	struct fixture *f = *state, greedy = {.key = f->key};
	struct ca_client *clients[CONNECTIONS - 1];
	struct dial_target target = {.path = f->path};
	int r = 0;

	f->caller = (struct caller){"istio-system", "ztunnel", "ztunnel-1", "uid-1"};
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		assert_int_equal(ca_client_new(f->loop, &target, &clients[i]), 0);
		for (r = 0; r == 0;)
			r = ca_client_sign(clients[i], ID, f->csr, on_answer, &greedy);
		assert_int_equal(r, -ENOBUFS);
	}
	run_a_while(f);
	assert_true(greedy.n_answers > 0);
	assert_int_equal(greedy.error, -EREMOTEIO);
	f->caller = (struct caller){"istio-system", "ztunnel", "ztunnel-2", "uid-2"};
	is_answered_once_the_pod_is_known(f);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		(void)ca_client_free(clients[i]);
	(void)tls_identity_unref(greedy.identity);
}

static void who_may_not_ask_for_others_hears_so_at_once(void **state)
{
	struct fixture *f = *state;

	f->caller = (struct caller){"demo", "web", "web-1", "uid-3"};
	f->must_not_ask = true;
	ask(f);
	run_a_while(f);
	assert_int_equal(f->n_answers, 1);
	assert_int_equal(f->error, -EACCES);
	assert_int_equal(ca_service_counts(f->service).strangers, 1);
}

static void nobody_gets_a_longer_life_than_was_set(void **state)
{
	struct fixture *f = *state;

	server_stop(f);
	f->settings = (struct ca_settings){.ttl_s = 60, .ttl_max_s = 600};
	server_start(f);
	f->is_known = true;
	ask(f); /* for a day */
	run_until_answers(f, 1);
	assert_int_equal(f->error, 0);
	assert_true(f->identity->not_after <= time(NULL) + 600);
}

static bool on_asked(struct fake_api *a, int fd, const char *method, const char *path,
		     const char *body)
{
	((struct fixture *)a->arg)->n_asked++;
	fake_answer(fd, 500, "{}");
	return true;
}

/* That one signs the names that a request says: one that says others must not come to it. */
static void somebody_elses_signer_gets_only_the_names_that_are_meant(void **state)
{
	struct fixture *f = *state;
	struct kube_config config = {0};
	struct csr_signer_config signer = {
		.loop = f->loop, .signer = "example.com/mesh", .roots_pem = ""};
	struct kube_client *kube;
	struct fake_api api;

	fake_start(&api, f->loop);
	api.on_request = on_asked;
	api.arg = f;
	config.server = api.url;
	assert_int_equal(kube_client_new(f->loop, &config, &kube), 0);
	signer.kube = kube;
	server_stop(f);
	assert_int_equal(csr_signer_new(&signer, &f->signer), 0);
	server_start(f);
	f->is_known = true;
	ask(f);
	run_until_answers(f, 1); /* the fake signs nothing */
	assert_true(f->error < 0);
	assert_int_equal(f->n_asked, 1);
	free(f->csr);
	assert_int_equal(tls_csr_new(f->key, "spiffe://cluster.local/ns/demo/sa/admin", &f->csr),
			 0);
	ask(f);
	run_until_answers(f, 2);
	assert_int_equal(f->error, -EREMOTEIO);
	assert_int_equal(f->n_asked, 1);
	server_stop(f);
	f->signer = csr_signer_free(f->signer);
	server_start(f);
	(void)kube_client_free(kube);
	fake_stop(&api);
}

/** struct silent_signer - somebody else's CA behind an API server that never answers. */
struct silent_signer {
	int fd;
	char url[64];
	struct kube_config config;
	struct kube_client *kube;
};

static void silent_signer_start(struct fixture *f, struct silent_signer *s)
{
	struct csr_signer_config config = {
		.loop = f->loop, .signer = "example.com/mesh", .roots_pem = ""};
	struct sockaddr_in sa = {0};
	socklen_t len = sizeof(sa);
	struct cv_addr addr;

	assert_int_equal(cv_addr_parse("127.0.0.1", &addr), 0);
	assert_int_equal(tcp_listen(&addr, 0, &s->fd), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(sa.sin_port));
	s->config.server = s->url;
	assert_int_equal(kube_client_new(f->loop, &s->config, &s->kube), 0);
	config.kube = s->kube;
	server_stop(f);
	assert_int_equal(csr_signer_new(&config, &f->signer), 0);
	server_start(f);
}

static void silent_signer_stop(struct fixture *f, struct silent_signer *s)
{
	server_stop(f);
	f->signer = csr_signer_free(f->signer);
	server_start(f);
	(void)kube_client_free(s->kube);
	(void)close(s->fd);
}

/* A request that names nobody: for whose token it is. */
static void ask_for_oneself(struct fixture *f, struct grpc_client *client)
{
	static const struct grpc_call_ops ops = {.on_end = on_refused};
	const struct grpc_call_config config = {
		.path = CREATE_PATH, .max_message = 1024, .ops = &ops};
	Istio__V1__Auth__IstioCertificateRequest m =
		ISTIO__V1__AUTH__ISTIO_CERTIFICATE_REQUEST__INIT;
	struct grpc_call *call;

	assert_int_equal(tls_csr_new(f->key, ID, &m.csr), 0);
	assert_int_equal(grpc_client_call(client, &config, &call), 0);
	assert_int_equal(message_send(call, &m.base), 0);
	free(m.csr);
}

/* Any pod may ask for itself, and there are as many pods as somebody makes. */
static void pods_that_ask_for_themselves_keep_no_node_out(void **state)
{
	struct fixture *f = *state;
	struct grpc_client *clients[4];
	struct silent_signer silent = {0};
	struct ca_service_counts n;

	silent_signer_start(f, &silent);
	f->must_not_ask = true;
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		int fds[2];

		f->caller = (struct caller){"demo", "web", "web", ""};
		(void)snprintf(f->caller.pod_uid, sizeof(f->caller.pod_uid), "uid-%zu", i);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		assert_int_equal(grpc_server_accept(f->grpc, fds[0]), 0);
		assert_int_equal(grpc_client_new(f->loop, fds[1], NULL, NULL, &clients[i]), 0);
		for (int j = 0; j < 80; j++)
			ask_for_oneself(f, clients[i]);
		run_a_while(f);
	}
	f->caller = (struct caller){"istio-system", "ztunnel", "ztunnel-1", "uid-z"};
	f->must_not_ask = false;
	f->is_known = true;
	ask(f);
	run_a_while(f);
	n = ca_service_counts(f->service);
	assert_int_equal(f->n_answers, 0); /* it waits for the signer, as it must */
	assert_int_equal(n.failed, 320 - 64);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		(void)grpc_client_free(clients[i]);
	silent_signer_stop(f, &silent);
}

/* Of a long RSA key, as Istio's samples of cacerts have it: a signature takes milliseconds. */
static struct ca *slow_ca_make(const char *dir)
{
	static const struct ca_root root = {.trust_domain = "cluster.local", .rsa_bits = 3072};
	struct ca_material m = {0};
	struct ca *ca = NULL;
	char err[512];

	assert_int_equal(ca_files_load_or_make(dir, &root, &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	return ca;
}

/* When the root changes each node asks for all at once: leases and probes do not wait for that. */
static void many_are_signed_over_several_turns(void **state)
{
	enum { MANY = 60 };
	struct fixture *f = *state;
	char dir[] = "/tmp/culvert-unit-XXXXXX";
	size_t most = 0;

	assert_non_null(mkdtemp(dir));
	(void)ca_free(f->ca);
	f->ca = slow_ca_make(dir);
	ca_service_set_ca(f->service, f->ca);
	f->is_known = true;
	for (int i = 0; i < MANY; i++)
		ask(f);
	for (int i = 0; i < 10000 && f->n_answers < MANY; i++) {
		size_t before = ca_service_counts(f->service).granted;

		(void)loop_run_once(f->loop, 10);
		most = MAX(most, ca_service_counts(f->service).granted - before);
	}
	assert_int_equal(f->n_answers, MANY);
	assert_int_equal(f->error, 0);
	assert_in_range(most, 1, MANY / 2);
	/* nor is anything signed for who has given up */
	for (int i = 0; i < MANY; i++)
		ask(f);
	turn_until(f->loop, 10000, ca_service_counts(f->service).asked == 2 * MANY);
	ca_client_cancel(f->client, f);
	run_a_while(f);
	assert_in_range(ca_service_counts(f->service).granted, MANY, MANY + MANY / 2);
	ca_dir_remove(dir);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(gets_a_certificate),
		TEST(waits_for_a_pod_that_is_about_to_appear),
		TEST(refuses_an_identity_without_a_pod),
		TEST(refuses_a_bad_request),
		TEST(reports_an_absent_control_plane_from_the_loop),
		TEST(open_requests_fail_when_the_control_plane_dies),
		TEST(forgotten_requests_stay_silent),
		TEST(may_be_freed_in_its_answer),
		TEST(bounds_its_open_requests),
		TEST(calls_without_a_request_keep_nobody_out),
		TEST(one_node_does_not_take_all_the_places),
		TEST(who_may_not_ask_for_others_hears_so_at_once),
		TEST(nobody_gets_a_longer_life_than_was_set),
		TEST(somebody_elses_signer_gets_only_the_names_that_are_meant),
		TEST(pods_that_ask_for_themselves_keep_no_node_out),
		TEST(many_are_signed_over_several_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
