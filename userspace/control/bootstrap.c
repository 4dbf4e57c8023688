/* SPDX-License-Identifier: Apache-2.0 */
#include "bootstrap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "base/str.h"
#include "ca.h"

#define CALL_US   10000000ULL
#define AGAIN_US  1000000ULL
#define PEM_MAX   (256 * 1024)
#define DONE      1
#define SECRET    "istio-ca-secret"
#define TELL_EACH 30 /* tries between two lines of the log */

/** struct call - one request that is waited for. */
struct call {
	const struct bootstrap *b;
	struct loop_timer again;
	int error, status;
	char message[256];
	json_t *body;
};

static const char *const names[] = {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"};

static void on_done(void *arg, const struct kube_answer *a)
{
	struct call *c = arg;

	c->error = a->error;
	c->status = a->status;
	(void)snprintf(c->message, sizeof(c->message), "%s", a->message);
	c->body = json_loadb(a->body, a->len, 0, NULL);
	loop_stop(c->b->loop, DONE);
}

static void on_again(struct loop_timer *t)
{
	loop_stop(container_of(t, struct call, again)->b->loop, DONE);
}

/* Return: 0, answer in @c; -EINTR; -errno. */
static int call_once(struct call *c, const struct kube_request_config *config)
{
	struct kube_request_config mine = *config;
	struct kube_request *q;
	int r;

	mine.timeout_us = CALL_US;
	mine.on_done = on_done;
	mine.arg = c;
	r = kube_request_new(c->b->kube, &mine, &q);
	if (r < 0)
		return r;
	r = loop_run(c->b->loop);
	if (r == DONE)
		return 0;
	(void)kube_request_cancel(q);
	return r < 0 ? r : -EINTR;
}

static int pause_a_while(struct call *c)
{
	int r;

	c->again.on_timer = on_again;
	r = loop_timer_set(c->b->loop, &c->again, AGAIN_US);
	if (r == 0)
		r = loop_run(c->b->loop);
	loop_timer_del(&c->again);
	return r == DONE ? 0 : r < 0 ? r : -EINTR;
}

static bool is_answer(const struct call *c)
{
	return c->error == 0 && (c->status / 100 == 2 || c->status == 404 || c->status == 409);
}

/* Ask until there is an answer. Return: 0; -EINTR; -errno. */
static int call(struct call *c, const struct kube_request_config *config)
{
	for (unsigned int n = 0;; n++) {
		int r = call_once(c, config);

		if (r < 0 || is_answer(c))
			return r;
		if (n % TELL_EACH == 0)
			log_warn("control", "waiting for the API server path=%s status=%d: %s",
				 config->path, c->status,
				 c->error ? c->message
					  : json_string_value(json_object_get(c->body, "message")));
		json_decref(c->body);
		c->body = NULL;
		r = pause_a_while(c);
		if (r < 0)
			return r;
	}
}

int bootstrap_mesh_config(const struct bootstrap *b,
			  void (*on_error)(void *arg, const struct source_error *err), void *arg,
			  struct mesh_config *ret)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/configmaps/" MESH_CONFIG_NAME, b->root_namespace);
	const struct kube_request_config config = {.method = "GET", .path = path};
	_cleanup_(object_unrefp) struct object *o = NULL;
	struct call c = {.b = b};
	int r = path ? call(&c, &config) : -ENOMEM;

	if (r < 0 || c.status != 200) {
		json_decref(c.body);
		return r;
	}
	r = object_new_json(c.body, &o);
	return r < 0 ? r : mesh_config_read(o, on_error, arg, ret);
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
	/* cert-chain.pem may be empty, root-cert.pem is in an older Istio's */
	if (n == 0)
		return 0;
	pem = malloc(n / 4 * 3 + 4);
	if (!pem)
		return -ENOMEM;
	len = n % 4 || n > PEM_MAX ? -1 : EVP_DecodeBlock(pem, (const unsigned char *)text, (int)n);
	while (len > 0 && pem[len - 1] == '\0')
		len--;
	r = len <= 0 ? -EBADMSG : file_write_atomic(path, pem, (size_t)len, 0600);
	OPENSSL_cleanse(pem, n / 4 * 3 + 4);
	free(pem);
	return r;
}

static int secret_write(const json_t *secret, const char *dir)
{
	const json_t *data = json_object_get(secret, "data");
	const char *root = json_string_value(json_object_get(data, "root-cert.pem"));
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++)
		r = value_write(secret, dir, names[i]);
	/* Istio's own keeps the root, which is the signer, under ca-cert.pem alone */
	if (r == 0 && (!root || !*root)) {
		json_t *copy = json_pack("{s:{s:O}}", "data", "root-cert.pem",
					 json_object_get(data, "ca-cert.pem"));

		r = copy ? value_write(copy, dir, "root-cert.pem") : -EBADMSG;
		json_decref(copy);
	}
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
			 b->root_namespace, "stringData", data);
	text = r == 0 && body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return text;
}

/* Make a CA and offer it to all. Return: 0; -EEXIST another was first; -errno. */
static int ca_make(const struct bootstrap *b, const char *dir, const char *trust_domain)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/secrets", b->root_namespace);
	struct ca_material m = {0};
	struct call c = {.b = b};
	char err[256];
	char *text;
	int r = ca_files_load(dir, trust_domain, &m, err, sizeof(err));

	ca_material_clear(&m);
	if (r < 0) {
		log_error("ca", "%s", err);
		return r;
	}
	text = secret_text(b, dir);
	if (path && text)
		r = call(&c, &(struct kube_request_config){
				     .method = "POST", .path = path, .body = text});
	else
		r = -ENOMEM;
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
	json_decref(c.body);
	if (r == 0 && c.status / 100 != 2)
		r = c.status == 409 ? -EEXIST : -EREMOTEIO;
	return r;
}

/* Return: 0; -ENOENT there is none; -errno. */
static int ca_take(const struct bootstrap *b, const char *dir)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/secrets/" SECRET, b->root_namespace);
	const struct kube_request_config config = {.method = "GET", .path = path};
	struct call c = {.b = b};
	int r = path ? call(&c, &config) : -ENOMEM;

	if (r == 0)
		r = c.status == 200 ? secret_write(c.body, dir) : -ENOENT;
	json_decref(c.body);
	return r;
}

int bootstrap_ca(const struct bootstrap *b, const char *dir, const char *trust_domain)
{
	int r = mkdir_p(dir, 0700);

	if (r < 0)
		return r;
	r = ca_take(b, dir);
	if (r != -ENOENT)
		return r;
	r = ca_make(b, dir, trust_domain);
	return r == -EEXIST ? ca_take(b, dir) : r;
}
