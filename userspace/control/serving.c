/* SPDX-License-Identifier: Apache-2.0 */
#include "serving.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock_watch.h"
#include "base/log.h"
#include "base/str.h"
#include "tls/channel.h"
#include "tls/key.h"

#define RENEW_US (8 * 3600 * 1000000ULL)
#define RETRY_US (60 * 1000000ULL)
#define NAMES    9

DEFINE_CLEANUP(BIO *, BIO_free_all);

struct serving {
	struct loop *loop;
	struct loop_timer renew;
	struct clock_watch clock;
	struct serving_names names;
	struct ca *ca;
	SSL_CTX *ctx, *http1; /* the same certificate */
};

static int key_text(EVP_PKEY *key, char **ret)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());
	char *data;
	long len;

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return -ENOMEM;
	len = BIO_get_mem_data(bio, &data);
	*ret = strndup(data, (size_t)len);
	return *ret ? 0 : -ENOMEM;
}

/* The leaf and what is between it and the roots: all but the last. */
static int contexts_make(EVP_PKEY *key, const struct ca_chain *chain, SSL_CTX **ret,
			 SSL_CTX **ret_http1)
{
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = NULL;
	_cleanup_(SSL_CTX_freep) SSL_CTX *http1 = NULL;
	_cleanup_(buf_resetp) struct buf pem = {0};
	char *text = NULL;
	int r = key_text(key, &text);

	for (size_t i = 0; r == 0 && i + 1 < chain->n; i++)
		r = buf_append_str(&pem, chain->pem[i]);
	if (r == 0)
		r = buf_append(&pem, "", 1);
	if (r == 0)
		r = tls_channel_server((const char *)buf_head(&pem), text, &ctx);
	if (r == 0)
		r = tls_channel_server((const char *)buf_head(&pem), text, &http1);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	if (r < 0)
		return r;
	tls_channel_use_http1(http1);
	*ret = TAKE_PTR(ctx);
	*ret_http1 = TAKE_PTR(http1);
	return 0;
}

typedef char name_t[300];

/* names_add() - those of a Service. */
static size_t names_add(const struct serving *s, const char *service, name_t *names, size_t n)
{
	(void)snprintf(names[n++], sizeof(name_t), "%s.%s.svc", service, s->names.namespace_);
	(void)snprintf(names[n++], sizeof(name_t), "%s.%s", service, s->names.namespace_);
	(void)snprintf(names[n++], sizeof(name_t), "%s.%s.svc.%s", service, s->names.namespace_,
		       s->names.cluster_domain);
	return n;
}

static int chain_sign(const struct serving *s, EVP_PKEY *key, struct ca_chain *ret)
{
	name_t names[NAMES], service;
	const char *list[NAMES];
	size_t n = names_add(s, "istiod", names, 0);

	(void)snprintf(service, sizeof(service), "istiod-%s", s->names.revision);
	if (*s->names.revision)
		n = names_add(s, service, names, n);
	(void)snprintf(names[n++], sizeof(names[0]), "istio-pilot.%s.svc", s->names.namespace_);
	(void)snprintf(names[n++], sizeof(names[0]), "localhost");
	(void)snprintf(names[n++], sizeof(names[0]), "127.0.0.1");
	for (size_t i = 0; i < n; i++)
		list[i] = names[i];
	return ca_sign_server(s->ca, key, list, n, ret);
}

static int renew(struct serving *s)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct ca_chain chain = {0};
	SSL_CTX *ctx = NULL, *http1 = NULL;
	int r = tls_key_new(&key);

	if (r == 0)
		r = chain_sign(s, key, &chain);
	if (r == 0)
		r = contexts_make(key, &chain, &ctx, &http1);
	ca_chain_clear(&chain);
	if (r < 0)
		return r;
	SSL_CTX_free(s->ctx);
	SSL_CTX_free(s->http1);
	s->ctx = ctx;
	s->http1 = http1;
	return 0;
}

static void on_renew(struct loop_timer *t)
{
	struct serving *s = container_of(t, struct serving, renew);
	int r = renew(s);

	if (r < 0)
		log_error_errno("control", r, "our serving certificate is not renewed");
	(void)loop_timer_set(s->loop, t, r < 0 ? RETRY_US : RENEW_US);
}

/* By the new time it may have ended, or not have begun. */
static void on_clock_step(struct clock_watch *w)
{
	struct serving *s = container_of(w, struct serving, clock);

	if (s->ca)
		(void)loop_timer_set(s->loop, &s->renew, 0);
}

int serving_set_ca(struct serving *s, struct ca *ca)
{
	int r;

	s->ca = ca;
	r = renew(s);
	(void)loop_timer_set(s->loop, &s->renew, r < 0 ? RETRY_US : RENEW_US);
	return r;
}

SSL *serving_ssl_new(void *arg)
{
	const struct serving *s = arg;

	return s->ctx ? SSL_new(s->ctx) : NULL;
}

SSL *serving_ssl_new_http1(void *arg)
{
	const struct serving *s = arg;

	return s->http1 ? SSL_new(s->http1) : NULL;
}

int serving_new(struct loop *loop, const struct serving_names *names, struct serving **ret)
{
	_cleanup_(serving_freep) struct serving *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->names = *names;
	s->renew.on_timer = on_renew;
	r = clock_watch_start(&s->clock, loop, on_clock_step);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct serving *serving_free(struct serving *s)
{
	if (!s)
		return NULL;
	clock_watch_stop(&s->clock);
	loop_timer_del(&s->renew);
	SSL_CTX_free(s->ctx);
	SSL_CTX_free(s->http1);
	free(s);
	return NULL;
}
