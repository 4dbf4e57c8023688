/* SPDX-License-Identifier: Apache-2.0 */
/* webhook - over TLS with our serving certificate, as the API server asks: large bodies, odd paths,
 * a body over the limit. */
#include "userspace/control/webhook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/files_limit.h"
#include "base/log.h"
#include "base/str.h"
#include "net/tcp.h"
#include "source/kube_call.h"
#include "tests/unit/control/ca-dir.h"
#include "userspace/control/admission.h"
#include "userspace/control/serving.h"

struct fixture {
	struct loop *loop;
	struct sockaddr_in address;
	char dir[64], url[64];
	struct ca *ca;
	struct serving *serving;
	struct http_server *server;
	struct validations seen;
	struct kube_config config;
	struct kube_client *client;
	struct kube_reply reply;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	socklen_t len = sizeof(f->address);
	struct cv_addr lo = {0};
	struct webhook_config webhook = {.ssl_new = serving_ssl_new_http1, .seen = &f->seen};

	log_set_level(LOG_ERROR);
	assert_int_equal(loop_new(&f->loop), 0);
	f->ca = ca_dir_make(f->dir);
	assert_int_equal(serving_new(f->loop,
				     &(struct serving_names){"istio-system", "cluster.local", ""},
				     &f->serving),
			 0);
	assert_int_equal(serving_set_ca(f->serving, f->ca), 0);
	assert_int_equal(cv_addr_parse("127.0.0.1", &lo), 0);
	assert_int_equal(tcp_listen(&lo, 0, &webhook.listen_fd), 0);
	assert_int_equal(getsockname(webhook.listen_fd, (struct sockaddr *)&f->address, &len), 0);
	webhook.loop = f->loop;
	webhook.ssl_arg = f->serving;
	assert_int_equal(webhook_serve(&webhook, &f->server), 0);
	(void)snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d", ntohs(f->address.sin_port));
	f->config.server = f->url;
	assert_int_equal(ca_roots_pem(f->ca, &f->config.ca_pem), 0);
	assert_int_equal(kube_client_new(f->loop, &f->config, &f->client), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	kube_reply_clear(&f->reply);
	(void)kube_client_free(f->client);
	free(f->config.ca_pem);
	(void)http_server_free(f->server);
	(void)serving_free(f->serving);
	(void)ca_free(f->ca);
	(void)loop_free(f->loop);
	ca_dir_remove(f->dir);
	free(f);
	return 0;
}

static int ask(struct fixture *f, const char *method, const char *path, const char *body)
{
	const struct kube_request_config config = {
		.method = method, .path = path, .body = body, .timeout_us = 20000000};

	assert_int_equal(kube_call(f->loop, f->client, &config, &f->reply), 0);
	return f->reply.status;
}

/* A policy with a list of @n names: as large as one likes. */
static char *review_make(size_t n, const char *action)
{
	json_t *names = json_array();
	json_t *review;
	char *text;

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(names, json_string("cluster.local/ns/a/sa/someone"));
	review = json_pack(
		"{s:{s:s,s:{s:s,s:s,s:s},s:{s:s,s:s,s:{s:s,s:s},s:{s:s,s:[{s:[{s:{s:o}}]}]}}}}",
		"request", "uid", "u1", "kind", "group", "security.istio.io", "version", "v1",
		"kind", "AuthorizationPolicy", "object", "apiVersion", "security.istio.io/v1",
		"kind", "AuthorizationPolicy", "metadata", "name", "x", "namespace", "demo", "spec",
		"action", action, "rules", "from", "source", "principals", names);
	text = json_dumps(review, JSON_COMPACT);
	json_decref(review);
	return text;
}

static bool is_allowed(const struct fixture *f)
{
	return json_is_true(json_object_get(json_object_get(f->reply.body, "response"), "allowed"));
}

static void test_reviews_of_any_size_are_answered(void **state)
{
	static const size_t sizes[] = {1, 400, 500, 600, 2000, 60000};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(freep) char *good = review_make(sizes[i], "ALLOW");
		_cleanup_(freep) char *bad = review_make(sizes[i], "MAYBE");

		assert_int_equal(ask(f, "POST", "/validate", good), 200);
		assert_true(is_allowed(f));
		assert_int_equal(ask(f, "POST", "/validate?timeout=10s", bad), 200);
		assert_false(is_allowed(f));
	}
}

/* has_line() - do the metrics say that, as a whole line? */
static bool has_line(const struct fixture *f, const char *line)
{
	_cleanup_(buf_resetp) struct buf text = {0};
	_cleanup_(freep) char *wanted = str_format("\n%s\n", line);

	assert_int_equal(validations_write(&f->seen, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	return strstr((const char *)buf_head(&text), wanted) != NULL;
}

#define POLICIES "{group=\"security.istio.io\",version=\"v1\",resource=\"authorizationpolicies\""

static void test_what_was_said_is_counted(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *good = review_make(1, "ALLOW"), *bad = review_make(1, "MAYBE");

	assert_int_equal(ask(f, "POST", "/validate", good), 200);
	assert_int_equal(ask(f, "POST", "/validate", good), 200);
	assert_int_equal(ask(f, "POST", "/validate", bad), 200);
	assert_int_equal(ask(f, "POST", "/validate", "{}"), 400);
	assert_true(has_line(f, "galley_validation_passed" POLICIES "} 2"));
	assert_true(
		has_line(f, "galley_validation_failed" POLICIES ",reason=\"invalid_resource\"} 1"));
	assert_true(has_line(f, "galley_validation_http_error{status=\"400\"} 1"));
}

/* Whoever reaches the port may say so. */
static void test_words_of_strangers_make_no_series(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2 * VALIDATIONS_MAX; i++) {
		_cleanup_(freep) char *odd = str_format(
			"{\"request\":{\"uid\":\"u\",\"kind\":{\"group\":\"telemetry.istio.io\","
			"\"kind\":\"Telemetry\"},\"object\":{\"apiVersion\":\"telemetry.istio.io/"
			"v%u\"}}}",
			i + 2);
		_cleanup_(freep) char *unknown = str_format(
			"{\"request\":{\"uid\":\"u\",\"kind\":{\"group\":\"g%u\",\"kind\":\"K%u\"},"
			"\"object\":{}}}",
			i, i);

		assert_int_equal(ask(f, "POST", "/validate", odd), 200);
		assert_int_equal(ask(f, "POST", "/validate", unknown), 200);
	}
	assert_int_equal(f->seen.n_rows, 1);
	assert_true(has_line(f, "galley_validation_failed{group=\"telemetry.istio.io\",version="
				"\"other\",resource=\"telemetries\",reason=\"invalid_resource\"} "
				"128"));
}

static void test_what_is_no_review_is_told_so(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, "POST", "/validate", "{}"), 400);
	assert_int_equal(ask(f, "POST", "/validate", "nonsense"), 400);
	assert_int_equal(ask(f, "POST", "/inject", "{}"), 404);
	assert_int_equal(ask(f, "GET", "/validate", NULL), 405);
	assert_int_equal(ask(f, "POST", "/validate", ""), 400);
}

static void test_a_body_over_the_limit_is_refused(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(ADMISSION_BODY_MAX + 2);
	const struct kube_request_config config = {
		.method = "POST", .path = "/validate", .body = big, .timeout_us = 20000000};
	int r;

	memset(big, ' ', ADMISSION_BODY_MAX + 1);
	big[ADMISSION_BODY_MAX + 1] = '\0';
	/* by its length, or for want of one; the client may see the end before it has sent it all
	 */
	r = kube_call(f->loop, f->client, &config, &f->reply);
	if (r == 0 && f->reply.status != 413 && f->reply.status != 501)
		fail_msg("status %d", f->reply.status);
	free(big);
	assert_int_equal(ask(f, "POST", "/validate", "{}"), 400);
}

/* Every pod reaches the port, and while no answer comes no object of Istio's comes in. */
static void test_strangers_that_say_nothing_keep_no_review_waiting(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *review = review_make(1, "ALLOW");
	const struct kube_request_config config = {
		.method = "POST", .path = "/validate", .body = review, .timeout_us = 10000000};
	int fds[200];
	char c;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			connect(fds[i], (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	}
	/* nor do those that come after it end one that has just come */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_true(loop_run_once(f->loop, 0) >= 0);
	assert_int_equal(recv(fds[0], &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(kube_call(f->loop, f->client, &config, &f->reply), 0);
	assert_int_equal(f->reply.status, 200);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* More than that go on and on, from addresses other than the API server's. */
static void test_a_flood_from_elsewhere_delays_no_review(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *review = review_make(1, "ALLOW");
	struct sockaddr_in from = {.sin_family = AF_INET};
	int fds[900];
	size_t n = 0;
	uint64_t begun;

	assert_true(files_limit_raise(4096) >= 2000); /* both ends */
	assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &from.sin_addr), 1);
	for (size_t i = 0; i < 6; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(fds) / 6; k++, n++) {
			fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			assert_int_equal(bind(fds[n], (struct sockaddr *)&from, sizeof(from)), 0);
			assert_int_equal(
				connect(fds[n], (struct sockaddr *)&f->address, sizeof(f->address)),
				0);
		}
		begun = loop_now_us(f->loop);
		assert_int_equal(ask(f, "POST", "/validate", review), 200);
		assert_true(loop_now_us(f->loop) - begun < 900000);
	}
	while (n-- > 0)
		(void)close(fds[n]);
}

static void test_a_client_without_tls_gets_nothing(void **state)
{
	struct fixture *f = *state;

	memmove(f->url + 4, f->url + 5, strlen(f->url) - 4); /* http:// */
	assert_true(kube_call(f->loop, f->client,
			      &(struct kube_request_config){.method = "GET", .path = "/validate"},
			      &f->reply) < 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reviews_of_any_size_are_answered),
		TEST(test_what_was_said_is_counted),
		TEST(test_words_of_strangers_make_no_series),
		TEST(test_what_is_no_review_is_told_so),
		TEST(test_a_body_over_the_limit_is_refused),
		TEST(test_strangers_that_say_nothing_keep_no_review_waiting),
		TEST(test_a_flood_from_elsewhere_delays_no_review),
		TEST(test_a_client_without_tls_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
