/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/str.h"
#include "source/yaml.h"

#define FILE_MAX_BYTES (1 << 20)

/** struct load - one reading of a kubeconfig. */
struct load {
	const char *path;
	json_t *body; /* owned */
	struct kube_config config;
	char *err;
	size_t err_size;
};

void kube_config_clear(struct kube_config *c)
{
	free(c->server);
	free(c->ca_file);
	free(c->ca_pem);
	free(c->token_file);
	free(c->token);
	free(c->cert_file);
	free(c->key_file);
	free(c->cert_pem);
	if (c->key_pem)
		explicit_bzero(c->key_pem, strlen(c->key_pem));
	free(c->key_pem);
	free(c->tls_server_name);
	free(c->namespace_);
	memset(c, 0, sizeof(*c));
}

static void strip_end(char *s, const char *what)
{
	size_t n = strlen(s);

	while (n > 0 && strchr(what, s[n - 1]))
		s[--n] = '\0';
}

int kube_config_in_cluster(const char *dir, struct kube_config *ret, char *err, size_t err_size)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	_cleanup_(freep) char *file = NULL;
	bool is_v6 = host && strchr(host, ':');

	if (!host || !*host) {
		(void)snprintf(
			err, err_size,
			"not in a pod: KUBERNETES_SERVICE_HOST is not set; --kubeconfig FILE "
			"says where the API server is");
		return -ENOENT;
	}
	c.server = str_format("https://%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
			      port && *port ? port : "443");
	c.ca_file = str_format("%s/ca.crt", dir);
	c.token_file = str_format("%s/token", dir);
	file = str_format("%s/namespace", dir);
	if (!c.server || !c.ca_file || !c.token_file || !file)
		return -ENOMEM;
	if (file_read(file, PATH_MAX, &c.namespace_, NULL) < 0)
		c.namespace_ = strdup("default");
	if (!c.namespace_)
		return -ENOMEM;
	strip_end(c.namespace_, " \n\r\t");
	*ret = c;
	memset(&c, 0, sizeof(c));
	return 0;
}

static int fail(struct load *l, const char *field, const char *expected)
{
	(void)snprintf(l->err, l->err_size, "%s: %s: expected %s", l->path, field, expected);
	return -EINVAL;
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct load *l = arg;

	if (!l->body)
		l->body = json_incref(doc->body);
	return 0;
}

/* The element of a named list ("clusters") that has this name. */
static json_t *named(const json_t *body, const char *list, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(body, list), i, one) {
		const char *s = json_string_value(json_object_get(one, "name"));

		if (s && name && streq(s, name))
			return one;
	}
	return NULL;
}

static int copy_string(const json_t *from, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(from, key));

	if (!s || !*s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

/* Relative paths are relative to the kubeconfig. */
static int copy_path(struct load *l, const json_t *from, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(from, key));
	const char *slash = strrchr(l->path, '/');

	if (!s || !*s)
		return 0;
	if (s[0] == '/' || !slash)
		*ret = strdup(s);
	else
		*ret = str_format("%.*s/%s", (int)(slash - l->path), l->path, s);
	return *ret ? 0 : -ENOMEM;
}

static int copy_base64(struct load *l, const json_t *from, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(from, key));
	size_t n = s ? strlen(s) : 0;
	int len;

	if (n == 0)
		return 0;
	*ret = malloc(n / 4 * 3 + 1);
	if (!*ret)
		return -ENOMEM;
	len = n % 4 == 0 ? EVP_DecodeBlock((unsigned char *)*ret, (const unsigned char *)s, (int)n)
			 : -1;
	if (len < 0)
		return fail(l, key, "base64");
	(*ret)[len] = '\0';
	return 0;
}

static int read_cluster(struct load *l, const json_t *cluster)
{
	struct kube_config *c = &l->config;
	int r;

	if (json_is_true(json_object_get(cluster, "insecure-skip-tls-verify")))
		return fail(l, "cluster.insecure-skip-tls-verify",
			    "a server whose certificate is verified");
	if (json_object_get(cluster, "proxy-url"))
		return fail(l, "cluster.proxy-url", "none: proxies are not supported");
	r = copy_string(cluster, "server", &c->server);
	if (r == 0 && (!c->server || !str_has_prefix(c->server, "http")))
		return fail(l, "cluster.server", "the URL of an API server");
	if (r == 0)
		r = copy_path(l, cluster, "certificate-authority", &c->ca_file);
	if (r == 0)
		r = copy_base64(l, cluster, "certificate-authority-data", &c->ca_pem);
	if (r == 0)
		r = copy_string(cluster, "tls-server-name", &c->tls_server_name);
	if (r == 0)
		strip_end(c->server, "/");
	return r;
}

static int read_user(struct load *l, const json_t *user)
{
	static const char *const unsupported[] = {"exec", "auth-provider", "username", "password"};
	struct kube_config *c = &l->config;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (json_object_get(user, unsupported[i]))
			return fail(l, unsupported[i],
				    "a token or a client certificate: this is not supported");
	r = copy_path(l, user, "client-certificate", &c->cert_file);
	if (r == 0)
		r = copy_base64(l, user, "client-certificate-data", &c->cert_pem);
	if (r == 0)
		r = copy_path(l, user, "client-key", &c->key_file);
	if (r == 0)
		r = copy_base64(l, user, "client-key-data", &c->key_pem);
	if (r == 0)
		r = copy_path(l, user, "tokenFile", &c->token_file);
	return r < 0 ? r : copy_string(user, "token", &c->token);
}

static int read_context(struct load *l)
{
	const char *current = json_string_value(json_object_get(l->body, "current-context"));
	const json_t *context = json_object_get(named(l->body, "contexts", current), "context");
	const char *cluster = json_string_value(json_object_get(context, "cluster"));
	const char *user = json_string_value(json_object_get(context, "user"));
	const json_t *found;
	int r;

	if (!context)
		return fail(l, "current-context", "the name of a context of this file");
	found = json_object_get(named(l->body, "clusters", cluster), "cluster");
	if (!found)
		return fail(l, "context.cluster", "the name of a cluster of this file");
	r = read_cluster(l, found);
	if (r == 0)
		r = read_user(l, json_object_get(named(l->body, "users", user), "user"));
	return r < 0 ? r : copy_string(context, "namespace", &l->config.namespace_);
}

int kube_config_load(const char *path, struct kube_config *ret, char *err, size_t err_size)
{
	struct load l = {.path = path, .err = err, .err_size = err_size};
	struct yaml_problem problem = {0};
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r;

	r = file_read(path, FILE_MAX_BYTES, &text, &len);
	if (r < 0) {
		(void)snprintf(err, err_size, "%s: %s", path, strerror(-r));
		return r;
	}
	r = yaml_parse(text, len, on_document, &l, &problem);
	if (r == -EBADMSG)
		r = fail(&l, problem.message, "YAML");
	else if (r == 0)
		r = l.body ? read_context(&l) : fail(&l, "file", "a kubeconfig");
	json_decref(l.body);
	if (r < 0) {
		kube_config_clear(&l.config);
		return r;
	}
	*ret = l.config;
	return 0;
}
