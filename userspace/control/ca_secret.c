/* SPDX-License-Identifier: Apache-2.0 */
#include "ca_secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "base/str.h"
#include "source/kube_watch.h"

#define SECRET     "istio-ca-secret"
#define PEM_MAX    (256 * 1024)
#define CHECK_US   3600000000ULL
#define REQUEST_US 10000000ULL

struct ca_secret {
	struct ca_secret_config config;
	struct kube_watch *watch;
	struct kube_request *request;
	struct loop_timer check;
	const char *doing; /* by @request, once it is done */
	char *dir, *path;
};

static const char *const names[] = {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"};

/* What is the same is left alone: whoever follows the folder hears of changes only. */
static int file_update(const char *path, const void *p, size_t n)
{
	char *have = NULL;
	size_t len = 0;
	int r = file_read(path, PEM_MAX, &have, &len);
	bool is_same = r == 0 && len == n && CRYPTO_memcmp(have, p, n) == 0;

	if (have)
		OPENSSL_cleanse(have, len);
	free(have);
	return is_same ? 0 : file_write_atomic(path, p, n, 0600);
}

/* A Secret's value to a file. */
static int value_write(const json_t *secret, const char *dir, const char *name)
{
	const char *text =
		json_string_value(json_object_get(json_object_get(secret, "data"), name));
	_cleanup_(freep) char *path = str_format("%s/%s", dir, name);
	size_t n = text ? strlen(text) : 0;
	unsigned char *pem;
	int len, r;

	if (!path)
		return -ENOMEM;
	if (n == 0) /* what an earlier Secret had there is no part of this one */
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	pem = malloc(n / 4 * 3 + 4);
	if (!pem)
		return -ENOMEM;
	len = n % 4 || n > PEM_MAX ? -1 : EVP_DecodeBlock(pem, (const unsigned char *)text, (int)n);
	while (len > 0 && pem[len - 1] == '\0')
		len--;
	r = len <= 0 ? -EBADMSG : file_update(path, pem, (size_t)len);
	OPENSSL_cleanse(pem, n / 4 * 3 + 4);
	free(pem);
	return r;
}

static bool has_value(const json_t *data, const char *name)
{
	return json_string_length(json_object_get(data, name)) > 0;
}

/* A Secret without certificate or key is none of ours, and changes nothing. An older Istio's keeps
 * the root, which is the signer, under ca-cert.pem alone; cert-chain.pem may be empty. */
static int secret_write(const json_t *secret, const char *dir)
{
	json_t *data = json_object_get(secret, "data"), *whole;
	int r = 0;

	if (!has_value(data, "ca-cert.pem") || !has_value(data, "ca-key.pem"))
		return -EBADMSG;
	whole = json_pack("{s:o}", "data", json_copy(data));
	if (whole && !has_value(data, "root-cert.pem"))
		r = json_object_set(json_object_get(whole, "data"), "root-cert.pem",
				    json_object_get(data, "ca-cert.pem"));
	if (!whole || r < 0)
		r = -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++)
		r = value_write(whole, dir, names[i]);
	json_decref(whole);
	return r;
}

static int file_to_json(json_t *data, const char *dir, const char *name)
{
	_cleanup_(freep) char *path = str_format("%s/%s", dir, name);
	char *text = NULL;
	size_t len;
	int r = path ? file_read(path, PEM_MAX, &text, &len) : -ENOMEM;

	if (r == 0)
		r = json_object_set_new(data, name, json_stringn(text, len)) < 0 ? -ENOMEM : 0;
	if (text)
		OPENSSL_cleanse(text, len);
	free(text);
	return r;
}

static char *secret_text(const struct bootstrap *b, const char *dir)
{
	json_t *data = json_object(), *body;
	char *text;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++)
		r = file_to_json(data, dir, names[i]);
	body = json_pack("{s:s,s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "v1", "kind", "Secret",
			 "type", "istio.io/ca-root", "metadata", "name", SECRET, "namespace",
			 b->namespace_, "stringData", data);
	text = r == 0 && body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return text;
}

/* Make a CA and offer it to all. Return: 0; -EEXIST another was first; -errno. */
static int ca_make(const struct bootstrap *b, const char *dir, const struct ca_root *root)
{
	_cleanup_(freep) char *path = str_format("/api/v1/namespaces/%s/secrets", b->namespace_);
	struct kube_request_config config = {.method = "POST", .path = path};
	struct ca_material m = {0};
	struct kube_reply c = {0};
	char err[256];
	char *text;
	int r = ca_files_load_or_make(dir, root, &m, err, sizeof(err));

	ca_material_clear(&m);
	if (r < 0) {
		log_error("ca", "%s", err);
		return r;
	}
	text = secret_text(b, dir);
	config.body = text;
	r = path && text ? bootstrap_call(b, &config, &c) : -ENOMEM;
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
	if (r == 0 && !kube_reply_is_ok(&c))
		r = c.status == 409 ? -EEXIST : -EREMOTEIO;
	kube_reply_clear(&c);
	return r;
}

/* Return: 0; -ENOENT there is none; -errno. */
static int ca_take(const struct bootstrap *b, const char *dir)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/secrets/" SECRET, b->namespace_);
	const struct kube_request_config config = {.method = "GET", .path = path};
	struct kube_reply c = {0};
	int r = path ? bootstrap_call(b, &config, &c) : -ENOMEM;

	if (r == 0)
		r = c.status == 200 ? secret_write(c.body, dir) : -ENOENT;
	kube_reply_clear(&c);
	return r;
}

int ca_secret_fetch(const struct bootstrap *b, const char *dir, const struct ca_root *root)
{
	int r = mkdir_p(dir, 0700);

	if (r < 0)
		return r;
	r = ca_take(b, dir);
	if (r != -ENOENT)
		return r;
	r = ca_make(b, dir, root);
	return r == -EEXIST ? ca_take(b, dir) : r;
}

static int on_object(void *arg, json_t *secret)
{
	const struct ca_secret *s = arg;
	int r = secret_write(secret, s->dir);

	if (r < 0)
		log_error_errno("ca", r, "Secret " SECRET " not taken over, roots and signer stay");
	return r == -ENOMEM ? r : 0;
}

static void on_nothing(void *arg)
{
}

static void on_deleted(void *arg, json_t *secret)
{
	log_error("ca",
		  "Secret " SECRET " is gone: roots and signer stay until the next start, which "
		  "makes another CA");
}

static void on_trouble(void *arg, const char *message)
{
	if (message)
		log_warn("ca", "Secret " SECRET " is not followed: %s", message);
}

static const struct kube_watch_ops watch_ops = {
	.on_list_begin = on_nothing,
	.on_object = on_object,
	.on_deleted = on_deleted,
	.on_list_end = on_nothing,
	.on_trouble = on_trouble,
};

static void on_renewed(void *arg, const struct kube_answer *a)
{
	struct ca_secret *s = arg;

	s->request = NULL;
	if (a->error || a->status / 100 != 2)
		log_warn("ca", "Secret " SECRET " not written, so not: %s status=%d: %.200s",
			 s->doing, a->status, a->error ? a->message : a->body);
	else
		log_info("ca", "%s", s->doing);
}

/* @cert: a new one; NULL: there are only fewer roots. */
static char *renewal_text(const char *cert, const char *lasting)
{
	_cleanup_(freep) char *roots = str_format("%s%s", cert ? cert : "", lasting);
	json_t *body = roots ? json_pack("{s:{s:s*,s:s*,s:s}}", "stringData", "ca-cert.pem", cert,
					 "cert-chain.pem", cert, "root-cert.pem", roots)
			     : NULL;
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	return text;
}

static int secret_patch(struct ca_secret *s, const char *text)
{
	_cleanup_(freep) char *path = str_format("%s/" SECRET, s->path);
	const struct kube_request_config config = {.method = "PATCH",
						   .path = path,
						   .content_type = "application/merge-patch+json",
						   .body = text,
						   .timeout_us = REQUEST_US,
						   .on_done = on_renewed,
						   .arg = s};

	return path && text ? kube_request_new(s->config.kube, &config, &s->request) : -ENOMEM;
}

/* The old root stays beside the new one as long as it is good, and no longer: who asks when a root
 * ends would hear of it for ever. */
static int renew(struct ca_secret *s)
{
	_cleanup_(freep) char *cert = NULL;
	_cleanup_(freep) char *lasting = NULL;
	_cleanup_(freep) char *text = NULL;
	const struct ca *ca = s->config.ca(s->config.arg);
	int r = ca_root_renew(ca_material_of(ca), &s->config.root, &cert);
	bool is_all = true;

	if (r == 0 || r == -EALREADY)
		r = ca_roots_lasting_pem(ca, &lasting, &is_all);
	if (r < 0)
		return r;
	if (!cert && (is_all || !*lasting))
		return -EALREADY;
	s->doing = cert ? "the root was renewed, with the same key"
			: "roots that have ended were taken off";
	text = renewal_text(cert, lasting);
	return secret_patch(s, text);
}

static void on_check(struct loop_timer *t)
{
	struct ca_secret *s = container_of(t, struct ca_secret, check);
	int r = s->request ? 0 : renew(s);

	if (r < 0 && r != -EALREADY)
		log_warn_errno("ca", r, "the root cannot be renewed");
	(void)loop_timer_set(s->config.loop, t, s->config.check_us);
}

void ca_secret_lead(struct ca_secret *s, bool is_leader)
{
	if (is_leader) {
		(void)loop_timer_set(s->config.loop, &s->check, 0);
		return;
	}
	loop_timer_del(&s->check);
	s->request = kube_request_cancel(s->request);
}

int ca_secret_new(const struct ca_secret_config *config, struct ca_secret **ret)
{
	_cleanup_(ca_secret_freep) struct ca_secret *s = calloc(1, sizeof(*s));
	struct kube_watch_config watch = {.loop = config->loop,
					  .client = config->kube,
					  .selector = "fieldSelector=metadata.name%3D" SECRET,
					  .ops = &watch_ops};
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.check_us = config->check_us ? config->check_us : CHECK_US;
	s->check.on_timer = on_check;
	s->dir = strdup(config->dir);
	s->path = str_format("/api/v1/namespaces/%s/secrets", config->namespace_);
	if (!s->dir || !s->path)
		return -ENOMEM;
	watch.path = s->path;
	watch.arg = s;
	r = kube_watch_new(&watch, &s->watch);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct ca_secret *ca_secret_free(struct ca_secret *s)
{
	if (!s)
		return NULL;
	(void)kube_watch_free(s->watch);
	(void)kube_request_cancel(s->request);
	loop_timer_del(&s->check);
	free(s->dir);
	free(s->path);
	free(s);
	return NULL;
}
