/* SPDX-License-Identifier: Apache-2.0 */
#include "csr_signer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "ca.h"
#include "source/kube_json.h"

#define REQUESTS    "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define LOOK_US     100000ULL
#define LOOK_MAX_US 1000000ULL
#define PATIENCE_US 8000000ULL
#define REQUEST_US  5000000ULL
#define TTL_MIN_S   600 /* Kubernetes takes no less */
#define ROOTS_MAX   (1024 * 1024)
#define PEM_BEGIN   "-----BEGIN CERTIFICATE-----"

struct csr_signer {
	struct csr_signer_config config;
	char *signer, *roots_pem;
	struct list requests;
};

struct csr_request {
	struct csr_signer *signer;
	struct list link;
	struct csr_wanted wanted;
	struct kube_request *request;
	struct loop_timer again, patience;
	uint64_t look_us; /* until the next look */
	char name[256];   /* as the API server made it; "" before */
};

static void on_gone(void *arg, const struct kube_answer *a)
{
	if (a->error || (a->status / 100 != 2 && a->status != 404))
		log_debug("ca", "certificate request not deleted status=%d", a->status);
}

/* Nobody needs it any more; the API server clears away what is left of its own, too. */
static void take_away(const struct csr_request *q)
{
	_cleanup_(freep) char *path = str_format(REQUESTS "/%s", q->name);
	struct kube_request *r;
	const struct kube_request_config config = {
		.method = "DELETE", .path = path, .timeout_us = REQUEST_US, .on_done = on_gone};

	if (path && *q->name && kube_request_new(q->signer->config.kube, &config, &r) < 0)
		log_debug("ca", "certificate request not deleted name=%s", q->name);
}

static void request_free(struct csr_request *q)
{
	(void)kube_request_cancel(q->request);
	loop_timer_del(&q->again);
	loop_timer_del(&q->patience);
	list_del(&q->link);
	take_away(q);
	free(q);
}

static void finish(struct csr_request *q, int error, const char *message)
{
	const struct csr_wanted wanted = q->wanted;

	request_free(q);
	wanted.on_signed(wanted.arg, error, message, NULL, 0);
}

static void refused(struct csr_request *q, const char *what, const struct kube_answer *a)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s: status %d: %.300s", what, a->status,
		       a->error ? a->message : a->body);
	finish(q, -EREMOTEIO, text);
}

/* One string per certificate, then the roots. */
static int chain_make(const struct csr_signer *s, const char *pem, struct ca_chain *ret)
{
	const char *at = strstr(pem, PEM_BEGIN), *next;

	for (; at; at = next) {
		next = strstr(at + 1, PEM_BEGIN);
		if (ret->n + 1 >= CA_CHAIN_MAX)
			return -EBADMSG;
		ret->pem[ret->n] = next ? strndup(at, (size_t)(next - at)) : strdup(at);
		if (!ret->pem[ret->n])
			return -ENOMEM;
		ret->n++;
	}
	if (ret->n == 0)
		return -EBADMSG;
	ret->pem[ret->n] = strdup(s->roots_pem);
	return ret->pem[ret->n++] ? 0 : -ENOMEM;
}

static void signed_take(struct csr_request *q, const char *base64)
{
	const struct csr_wanted wanted = q->wanted;
	size_t n = strlen(base64);
	char *pem = calloc(1, n + 4);
	struct ca_chain chain = {0};
	int r = pem ? 0 : -ENOMEM;

	if (r == 0 &&
	    EVP_DecodeBlock((unsigned char *)pem, (const unsigned char *)base64, (int)n) < 0)
		r = -EBADMSG;
	if (r == 0)
		r = chain_make(q->signer, pem, &chain);
	free(pem);
	if (r < 0) {
		ca_chain_clear(&chain);
		finish(q, r, "the signer's answer holds no chain of certificates");
		return;
	}
	request_free(q);
	wanted.on_signed(wanted.arg, 0, "", chain.pem, chain.n);
	ca_chain_clear(&chain);
}

static const char *refusal_of(const json_t *status)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(status, "conditions"), i, one) {
		const char *type = json_string_value(json_object_get(one, "type"));
		const char *message = json_string_value(json_object_get(one, "message"));

		if (type && (streq(type, "Denied") || streq(type, "Failed")))
			return message ? message : type;
	}
	return NULL;
}

/* Later each time: a signer that is slow or away must not make the API server busy, which would
 * then have no time for us. */
static void look_later(struct csr_request *q)
{
	(void)loop_timer_set(q->signer->config.loop, &q->again, q->look_us);
	q->look_us = MIN(q->look_us * 2, LOOK_MAX_US);
}

/* An API server that has no time just now: what it was asked about lives on. */
static bool is_passing(const struct kube_answer *a)
{
	return a->error || a->status == 429 || a->status >= 500;
}

static void on_seen(void *arg, const struct kube_answer *a)
{
	struct csr_request *q = arg;
	json_t *body;
	const json_t *status;
	const char *base64, *refusal;

	q->request = NULL;
	if (is_passing(a)) {
		look_later(q);
		return;
	}
	if (a->status != 200) {
		refused(q, "the certificate request is gone, or may not be looked at", a);
		return;
	}
	body = kube_json_load(a->body, a->len);
	status = json_object_get(body, "status");
	base64 = json_string_value(json_object_get(status, "certificate"));
	refusal = refusal_of(status);
	if (base64 && *base64)
		signed_take(q, base64);
	else if (refusal)
		finish(q, -EACCES, refusal);
	else
		look_later(q);
	json_decref(body);
}

static int ask(struct csr_request *q, const struct kube_request_config *config)
{
	struct kube_request_config mine = *config;

	mine.timeout_us = REQUEST_US;
	mine.arg = q;
	return config->path ? kube_request_new(q->signer->config.kube, &mine, &q->request)
			    : -ENOMEM;
}

static void on_again(struct loop_timer *t)
{
	struct csr_request *q = container_of(t, struct csr_request, again);
	_cleanup_(freep) char *path = str_format(REQUESTS "/%s", q->name);
	int r = ask(q, &(struct kube_request_config){
			       .method = "GET", .path = path, .on_done = on_seen});

	if (r < 0)
		finish(q, r, strerror(-r));
}

static void on_patience(struct loop_timer *t)
{
	finish(container_of(t, struct csr_request, patience), -ETIMEDOUT,
	       "the signer has not answered: is its controller there?");
}

static void on_approved(void *arg, const struct kube_answer *a)
{
	struct csr_request *q = arg;

	q->request = NULL;
	if (a->error || a->status / 100 != 2)
		refused(q, "the certificate request may not be approved", a);
	else
		on_again(&q->again);
}

static void approve(struct csr_request *q, json_t *body)
{
	_cleanup_(freep) char *path = str_format(REQUESTS "/%s/approval", q->name);
	_cleanup_(freep) char *text = NULL;
	int r;

	(void)json_object_set_new(body, "status",
				  json_pack("{s:[{s:s,s:s,s:s,s:s}]}", "conditions", "type",
					    "Approved", "status", "True", "reason",
					    "CulvertControl", "message",
					    "the node that asked runs a pod of this identity"));
	text = json_dumps(body, JSON_COMPACT);
	r = text ? ask(q,
		       &(struct kube_request_config){
			       .method = "PUT", .path = path, .body = text, .on_done = on_approved})
		 : -ENOMEM;
	if (r < 0)
		finish(q, r, strerror(-r));
}

static void on_made(void *arg, const struct kube_answer *a)
{
	struct csr_request *q = arg;
	json_t *body;
	const char *name;

	q->request = NULL;
	if (a->error || a->status / 100 != 2) {
		refused(q, "the certificate request may not be made", a);
		return;
	}
	body = kube_json_load(a->body, a->len);
	name = json_string_value(json_object_get(json_object_get(body, "metadata"), "name"));
	if (!name || str_copy(q->name, sizeof(q->name), name) < 0)
		finish(q, -EBADMSG, "the API server's answer has no name");
	else
		approve(q, body);
	json_decref(body);
}

static char *request_text(const struct csr_request *q)
{
	size_t n = strlen(q->wanted.csr_pem);
	char *base64 = malloc(n / 3 * 4 + 5);
	json_t *body;
	char *text;

	if (!base64)
		return NULL;
	(void)EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)q->wanted.csr_pem,
			      (int)n);
	body = json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:s,s:I,s:[s,s,s,s]}}", "apiVersion",
			 "certificates.k8s.io/v1", "kind", "CertificateSigningRequest", "metadata",
			 "generateName", "culvert-", "spec", "request", base64, "signerName",
			 q->signer->signer, "expirationSeconds",
			 (json_int_t)MAX(q->wanted.ttl_s, TTL_MIN_S), "usages", "digital signature",
			 "key encipherment", "server auth", "client auth");
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	free(base64);
	return text;
}

int csr_signer_sign(struct csr_signer *s, const struct csr_wanted *wanted, struct csr_request **ret)
{
	struct csr_request *q = calloc(1, sizeof(*q));
	_cleanup_(freep) char *text = NULL;
	int r;

	if (!q)
		return -ENOMEM;
	q->signer = s;
	q->wanted = *wanted;
	q->look_us = s->config.look_us;
	q->again.on_timer = on_again;
	q->patience.on_timer = on_patience;
	list_add_tail(&s->requests, &q->link);
	text = request_text(q);
	q->wanted.csr_pem = NULL; /* its giver's */
	r = text ? loop_timer_set(s->config.loop, &q->patience, s->config.patience_us) : -ENOMEM;
	if (r == 0)
		r = ask(q, &(struct kube_request_config){.method = "POST",
							 .path = REQUESTS,
							 .body = text,
							 .on_done = on_made});
	if (r < 0) {
		request_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

struct csr_request *csr_request_cancel(struct csr_request *q)
{
	if (q)
		request_free(q);
	return NULL;
}

int csr_signer_new(const struct csr_signer_config *config, struct csr_signer **ret)
{
	_cleanup_(csr_signer_freep) struct csr_signer *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.look_us = config->look_us ? config->look_us : LOOK_US;
	s->config.patience_us = config->patience_us ? config->patience_us : PATIENCE_US;
	list_init(&s->requests);
	s->signer = strdup(config->signer);
	s->roots_pem = strdup(config->roots_pem);
	if (!s->signer || !s->roots_pem)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

int csr_signer_open(struct loop *loop, struct kube_client *kube, const char *signer,
		    char **ret_roots, struct csr_signer **ret)
{
	struct csr_signer_config config = {.loop = loop, .kube = kube, .signer = signer};
	int r = file_read(CSR_SIGNER_CACERTS, ROOTS_MAX, ret_roots, NULL);

	if (r < 0)
		return log_error_errno(
			"ca", r,
			"--external-ca needs the root of %s: file=" CSR_SIGNER_CACERTS
			" (Secret external-ca-cert)",
			signer);
	config.roots_pem = *ret_roots;
	return csr_signer_new(&config, ret);
}

struct csr_signer *csr_signer_free(struct csr_signer *s)
{
	struct csr_request *q, *tmp;

	if (!s)
		return NULL;
	list_for_each_entry_safe (q, tmp, &s->requests, link)
		request_free(q);
	free(s->signer);
	free(s->roots_pem);
	free(s);
	return NULL;
}
