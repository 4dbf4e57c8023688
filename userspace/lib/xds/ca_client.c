/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/ca_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "http/grpc.h"
#include "tls/spiffe.h"
#include "userspace/lib/xds/ca.pb-c.h"
#include "xds/message.h"
#include "xds/metadata.h"

#define CREATE_PATH       "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define DEADLINE_US       10000000ULL
#define ANSWER_MAX        (1024 * 1024)
#define REQUESTS_MAX      64
#define VALIDITY_SECONDS  (24 * 3600)
#define CHAIN_STRINGS_MAX 16

struct ca_client {
	struct loop *loop;
	struct dial_target target;
	struct grpc_client *grpc;
	struct list requests;
	size_t n_requests;
};

struct request {
	struct ca_client *client;
	struct list link;
	struct loop_timer fail; /* an error that was known at once is told from the loop */
	int fail_error;
	struct grpc_call *call;
	Istio__V1__Auth__IstioCertificateResponse *answer;
	ca_client_cb cb;
	void *arg;
};

static void request_free(struct request *q)
{
	loop_timer_del(&q->fail);
	list_del(&q->link);
	q->client->n_requests--;
	if (q->answer)
		istio__v1__auth__istio_certificate_response__free_unpacked(q->answer, NULL);
	free(q);
}

/* The owner may free the client inside its callback: the request is out of reach by then. */
static void request_done(struct request *q, int error, const char *message)
{
	Istio__V1__Auth__IstioCertificateResponse *answer = TAKE_PTR(q->answer);
	ca_client_cb cb = q->cb;
	void *arg = q->arg;

	request_free(q);
	if (error == 0)
		cb(arg, 0, "", (const char *const *)answer->cert_chain, answer->n_cert_chain);
	else
		cb(arg, error, message, NULL, 0);
	if (answer)
		istio__v1__auth__istio_certificate_response__free_unpacked(answer, NULL);
}

static int error_of_status(int status)
{
	switch (status) {
	case GRPC_OK:
		return 0;
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
		return -EACCES;
	case GRPC_DEADLINE_EXCEEDED:
		return -ETIMEDOUT;
	case GRPC_UNAVAILABLE:
		return -ECONNRESET;
	default:
		return -EREMOTEIO;
	}
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	struct request *q = arg;

	if (q->answer)
		istio__v1__auth__istio_certificate_response__free_unpacked(q->answer, NULL);
	q->answer = istio__v1__auth__istio_certificate_response__unpack(NULL, len, data);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct request *q = arg;
	int r = error_of_status(status);

	q->call = NULL;
	if (r == 0 && (!q->answer || q->answer->n_cert_chain < 2 ||
		       q->answer->n_cert_chain > CHAIN_STRINGS_MAX)) {
		r = -EBADMSG;
		message = "the CA's answer holds no chain";
	}
	request_done(q, r, message);
}

static const struct grpc_call_ops call_ops = {
	.on_message = on_message,
	.on_end = on_end,
};

static void on_fail(struct loop_timer *t)
{
	struct request *q = container_of(t, struct request, fail);

	request_done(q, q->fail_error, "no connection to the control plane");
}

static void on_connection_closed(void *arg, int error)
{
	struct ca_client *c = arg;

	c->grpc = grpc_client_free(c->grpc);
}

static int request_send(struct request *q, const char *spiffe, const char *csr_pem)
{
	Istio__V1__Auth__IstioCertificateRequest m =
		ISTIO__V1__AUTH__ISTIO_CERTIFICATE_REQUEST__INIT;
	struct metadata metadata;
	int r;

	metadata_init(&metadata);
	metadata_add(&metadata, METADATA_IDENTITY, spiffe);
	m.csr = (char *)csr_pem;
	m.validity_duration = VALIDITY_SECONDS;
	m.metadata = &metadata.message;
	r = message_send(q->call, &m.base);
	if (r == 0)
		grpc_call_half_close(q->call);
	return r;
}

static int request_start(struct request *q, const char *spiffe, const char *csr_pem)
{
	_cleanup_(dial_credentials_clear) struct dial_credentials credentials = {0};
	struct ca_client *c = q->client;
	struct grpc_call_config config = {
		.path = CREATE_PATH,
		.timeout_us = DEADLINE_US,
		.max_message = ANSWER_MAX,
		.ops = &call_ops,
		.arg = q,
	};
	int r = 0;

	if (!c->grpc)
		r = dial(c->loop, &c->target, on_connection_closed, c, &c->grpc);
	if (r == 0)
		r = dial_credentials_read(&c->target, &credentials);
	if (r < 0)
		return r;
	config.metadata = credentials.metadata;
	config.n_metadata = credentials.n;
	r = grpc_client_call(c->grpc, &config, &q->call);
	if (r < 0)
		return r;
	r = request_send(q, spiffe, csr_pem);
	if (r < 0)
		grpc_call_cancel(TAKE_PTR(q->call));
	return r;
}

int ca_client_new(struct loop *loop, const struct dial_target *target, struct ca_client **ret)
{
	_cleanup_(ca_client_freep) struct ca_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	list_init(&c->requests);
	r = dial_target_copy(target, &c->target);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

static void requests_drop(struct ca_client *c, const void *arg, bool is_all)
{
	struct request *q, *tmp;

	list_for_each_entry_safe (q, tmp, &c->requests, link) {
		if (!is_all && q->arg != arg)
			continue;
		if (q->call)
			grpc_call_cancel(TAKE_PTR(q->call));
		request_free(q);
	}
}

struct ca_client *ca_client_free(struct ca_client *c)
{
	if (!c)
		return NULL;
	requests_drop(c, NULL, true);
	(void)grpc_client_free(c->grpc);
	dial_target_clear(&c->target);
	free(c);
	return NULL;
}

int ca_client_sign(struct ca_client *c, const char *spiffe, const char *csr_pem, ca_client_cb cb,
		   void *arg)
{
	struct spiffe_id id;
	struct request *q;
	int r;

	if (spiffe_parse(spiffe, &id) < 0)
		return -EINVAL;
	if (c->n_requests >= REQUESTS_MAX)
		return -ENOBUFS;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->client = c;
	q->cb = cb;
	q->arg = arg;
	q->fail.on_timer = on_fail;
	list_add_tail(&c->requests, &q->link);
	c->n_requests++;
	r = request_start(q, spiffe, csr_pem);
	if (r < 0) {
		q->fail_error = r;
		r = loop_timer_set(c->loop, &q->fail, 0);
	}
	if (r < 0)
		request_free(q);
	return r;
}

void ca_client_cancel(struct ca_client *c, const void *arg)
{
	requests_drop(c, arg, false);
}
